//! A copying thread's connections to the source: one for the rows, one for definitions. Both to the server that the follower follows, whose places they speak of.

use std::sync::Arc;
use std::time::Duration;

use common::config::Server;
use common::connect::CONNECT_TIMEOUT;

use super::marks::{Ask, Marks};
use super::objects;
use crate::error::ReaderError;
use crate::source::{Facts, Session, text};
use crate::wire::Wire;

/// How long the source may be silent over a query: sampling a large key is one walk over its index.
const PATIENCE: Duration = Duration::from_secs(600);

/// A thread's connections.
#[derive(Debug)]
pub struct Link {
    /// For SELECTs and marks.
    pub wire: Wire,
    /// For definitions.
    pub session: Session,
    /// What the source is.
    pub facts: Facts,
    /// How places are found.
    pub marks: Marks,
    server: Arc<Server>,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// Why the source lets us not in, or refuses to be set up.
    pub fn open(server: &Arc<Server>) -> Result<Self, ReaderError> {
        let mut session = Session::open(server)?;
        let facts = session.facts()?;
        objects::prepare(&mut session, &facts)?;
        let mut wire = Wire::connect(server, CONNECT_TIMEOUT)?;
        wire.set_patience(PATIENCE);
        wire.snapshot_session(facts.flavor)?;
        let mut asked = Rows(&mut wire);
        let marks = Marks::probe(&mut asked, facts.flavor, &facts.version, facts.gtids)?;
        for statement in marks.session() {
            asked.ask(statement)?;
        }
        Ok(Self { wire, session, facts, marks, server: server.clone() })
    }

    /// Whether this is the server.
    #[must_use]
    pub fn is_to(&self, server: &Arc<Server>) -> bool {
        Arc::ptr_eq(&self.server, server) || self.server == *server
    }
}

impl Link {
    /// The connection for definitions, while the other one is in the middle of a result.
    pub fn other(&mut self) -> impl Ask + '_ {
        Other(&mut self.session)
    }
}

/// The connection for definitions.
struct Other<'a>(&'a mut Session);

impl Ask for Other<'_> {
    fn ask(&mut self, sql: &str) -> Result<Vec<Vec<Option<Vec<u8>>>>, ReaderError> {
        let rows = self.0.rows("looking for the place of what was read", sql)?;
        let cells = |row: &mysql_async::Row| (0..row.len()).map(|i| text(row, i).map(String::into_bytes)).collect();
        Ok(rows.iter().map(cells).collect())
    }
}

/// A connection that answers queries.
struct Rows<'a>(&'a mut Wire);

impl Ask for Rows<'_> {
    fn ask(&mut self, sql: &str) -> Result<Vec<Vec<Option<Vec<u8>>>>, ReaderError> {
        Ok(self.0.query_rows(sql)?)
    }
}

impl Ask for Link {
    fn ask(&mut self, sql: &str) -> Result<Vec<Vec<Option<Vec<u8>>>>, ReaderError> {
        Rows(&mut self.wire).ask(sql)
    }
}

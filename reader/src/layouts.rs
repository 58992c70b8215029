//! Layouts that the log does not tell: from the source's information_schema, checked against each TABLE_MAP.
//!
//! Only names, signs, members and keys come from there; how rows are packed always comes from the TABLE_MAP. A definition that is newer than
//! the event that it is wanted for is not trusted, even if its types fit.

mod definition;

use std::collections::HashMap;

use common::config::Server;
use common::{Flavor, TableSchema};

use crate::error::ReaderError;
use crate::event::table_map::TableMap;
use crate::follow::Layouts;
use crate::source::{Session, number};
use definition::Definition;

/// Layouts kept before they are asked for anew.
const KEPT_MAX: usize = 20_000;

/// Layouts from information_schema, and those that the store remembers.
#[derive(Debug, Default)]
pub struct InformationSchema {
    session: Option<(Session, Server)>,
    version: String,
    /// By database and table; right until a statement names the table.
    known: HashMap<(String, String), TableSchema>,
}

impl InformationSchema {
    /// Starts with what the store remembers.
    #[must_use]
    pub fn new(known: HashMap<(String, String), TableSchema>) -> Self {
        Self { known, ..Self::default() }
    }

    fn definition(&mut self, map: &TableMap<'_>) -> Result<Option<Definition>, ReaderError> {
        let Some((session, server)) = &mut self.session else {
            return Err(ReaderError::Source("no connection to ask for layouts".to_owned()));
        };
        // Idle for hours, it may have been closed by the source: a second attempt is on a new connection.
        match Definition::read(session, map.database, map.table) {
            Err(error) if error.is_transient() => {
                *session = Session::open(server)?;
                Definition::read(session, map.database, map.table)
            }
            other => other,
        }
    }

    /// What ends such a problem for good.
    fn advice(&self, flavor: Flavor) -> String {
        let can = match flavor {
            Flavor::MySql => number(&self.version) >= (8, 0),
            Flavor::MariaDb => number(&self.version) >= (10, 5),
        };
        let then = "then copy this table anew (or exclude it, or begin a new store behind this place)";
        match can {
            true => format!("run at the source: SET GLOBAL binlog_row_metadata=FULL; {then}"),
            false => format!(
                "this source (version {}) cannot log layouts: let the reader be up to date before a table is altered; {then}",
                self.version
            ),
        }
    }
}

impl Layouts for InformationSchema {
    fn layout(&mut self, map: &TableMap<'_>, flavor: Flavor, timestamp: u32) -> Result<TableSchema, ReaderError> {
        let key = (map.database.to_owned(), map.table.to_owned());
        if let Some(known) = self.known.get(&key)
            && let Ok(schema) = definition::merge_known(known, map, flavor)
        {
            return Ok(schema);
        }
        let name = map.full_name();
        let advice = self.advice(flavor);
        let Some(definition) = self.definition(map)? else {
            return Err(ReaderError::Source(format!(
                "the layout of {name} is not known: it was dropped or renamed at the source since, and the log does not tell its column names; {advice}"
            )));
        };
        if definition.created > u64::from(timestamp) {
            return Err(ReaderError::Source(format!(
                "the layout of {name} is not known: it was altered at the source after this event was written, and the log does not tell its column \
                 names; {advice}"
            )));
        }
        let schema = definition.schema(map, flavor).map_err(|detail| {
            ReaderError::Source(format!(
                "the definition of {name} at the source does not fit the event ({detail}); {advice}"
            ))
        })?;
        if self.known.len() >= KEPT_MAX {
            self.known.clear();
        }
        self.known.insert(key, schema.clone());
        Ok(schema)
    }

    fn changed(&mut self, database: &str, table: &str, _timestamp: u32) {
        if table.is_empty() {
            self.known.retain(|(known, _), _| known != database);
        } else {
            self.known.remove(&(database.to_owned(), table.to_owned()));
        }
    }

    fn connected(&mut self, session: Session, server: &Server, version: &str) {
        self.session = Some((session, server.clone()));
        version.clone_into(&mut self.version);
    }
}

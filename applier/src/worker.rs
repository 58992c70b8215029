//! Execute and commit: one connection, one position row, one piece at a time.
//!
//! A scheduler may drive several of these, each with its own number; a serial applier drives number 0.

mod pieces;
mod prepared;
mod put;
mod rows;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use common::config::{OnDivergence, Snapshot, Write};
use common::record::Xid;
use common::snapshot::TableName;
use common::{SchemaId, Seq};

use crate::counters::Counters;
use crate::error::{Place, Result};
use crate::target::{Connector, Ledger, OwnerLock, Position, PositionStore, Progress, Session, Tables};
use crate::write::sql::{SqlState, TableWriter};
use crate::write::{Route, Routes};

/// How a worker writes.
#[derive(Clone, Copy, Debug)]
pub struct WorkerOptions {
    /// The way to write rows.
    pub write: Write,
    /// What to do about a divergence.
    pub on_divergence: OnDivergence,
}

/// What came of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is written; committed, if it closes.
    Done,
    /// It is rolled back, or a step of a snapshot came out otherwise than the log says (a table was skipped): read position, states and log again.
    /// With a seq, the plan must know that this seq is an XA PREPARE.
    Again(Option<(Seq, Xid)>),
}

/// A connection that applies.
#[derive(Debug)]
pub struct Worker {
    connector: Connector,
    session: Session,
    positions: PositionStore,
    options: WorkerOptions,
    counters: Arc<Counters>,
    tables: Tables,
    routes: Routes,
    sql: SqlState,
    /// Writers of SQL by layout, each with the route that it was made for.
    writers: HashMap<SchemaId, (Arc<Route>, Arc<TableWriter>)>,
    /// What our position row says, and is to say beside loaders.
    ledger: Ledger,
    /// The format description that this session knows.
    announced: Vec<u8>,
    /// The open destination transaction has its position row moved on already.
    advanced: bool,
    /// Up to this seq rows are written as SQL, to find the row at which row events failed.
    sql_until: Seq,
    /// The connection for DDL, once one was needed.
    ddl: Option<Session>,
    /// The next part number of a prepared branch that is being kept, by encoded xid.
    part: u32,
    /// What to do about objects of a snapshot.
    copying: Arc<Snapshot>,
    /// Tables whose secondary indexes are not built yet; None until asked for.
    deferred: Option<HashSet<TableName>>,
}

impl Worker {
    /// A worker on this session, whose position row stands at `position`.
    #[must_use]
    pub fn new(
        connector: Connector,
        session: Session,
        positions: PositionStore,
        options: WorkerOptions,
        counters: Arc<Counters>,
        position: &Position,
    ) -> Self {
        Self {
            connector,
            session,
            positions,
            options,
            counters,
            tables: Tables::default(),
            routes: Routes::new(options.write),
            sql: SqlState::default(),
            writers: HashMap::new(),
            ledger: Ledger::new(position),
            announced: Vec::new(),
            advanced: false,
            sql_until: Seq::NONE,
            ddl: None,
            part: 0,
            copying: Arc::default(),
            deferred: None,
        }
    }

    /// The session, to read positions on.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// What the configuration says about objects of a snapshot.
    pub fn use_snapshot(&mut self, options: Arc<Snapshot>) {
        self.copying = options;
    }

    pub(crate) fn snapshot_options(&self) -> Arc<Snapshot> {
        self.copying.clone()
    }

    pub(crate) fn deferred_mut(&mut self) -> &mut Option<HashSet<TableName>> {
        &mut self.deferred
    }

    /// Goes on from a position that was read anew.
    pub fn stand_at(&mut self, position: &Position) {
        self.ledger = Ledger::new(position);
    }

    /// Where it stands: everything up to this seq is committed.
    #[must_use]
    pub fn at(&self) -> Seq {
        self.ledger.low()
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Up to which seq the row that failed as a row event is searched for with SQL.
    #[must_use]
    pub fn sql_until(&self) -> Seq {
        self.sql_until
    }

    /// Writes rows as SQL up to this seq.
    pub fn use_sql_until(&mut self, seq: Seq) {
        self.sql_until = seq;
    }

    /// How rows are written now, and why not otherwise.
    #[must_use]
    pub fn describe_ways(&self) -> (crate::write::Way, String) {
        self.routes.describe()
    }

    /// Moves the position on with nothing to write; inside an open transaction, as a part of it (then an error leaves it to the caller to connect
    /// again, because the worker counts it as committed).
    ///
    /// # Errors
    /// When the destination refuses, or someone else moved the row.
    pub async fn move_position(&mut self, to: &Progress) -> Result<()> {
        let place = Place { seq: to.seq, gtid: to.gtid.clone(), end: to.end.clone().into() };
        let sql = self.advance_sql(to);
        let moving = || "moving the position at the destination".to_owned();
        let found = self.session.run(sql, moving).await.map_err(|e| e.at(&place))?;
        self.check_moved(found)?;
        self.moved(to);
        Ok(())
    }

    /// The statement that moves our position row to `to`; [`Worker::check_moved`] wants what it found, [`Worker::moved`] follows the COMMIT.
    pub(crate) fn advance_sql(&self, to: &Progress) -> String {
        let (low, beyond) = self.ledger.target(to);
        self.positions.advance_sql((self.ledger.low(), self.ledger.beyond()), &low, &beyond)
    }

    pub(crate) fn check_moved(&self, found: u64) -> Result<()> {
        self.positions.check_moved(self.ledger.low(), found)
    }

    /// Locks our position row in the open transaction.
    pub(crate) async fn hold_position(&mut self) -> Result<()> {
        self.positions.hold(&mut self.session, self.ledger.low()).await
    }

    /// The position is committed there.
    pub(crate) fn moved(&mut self, to: &Progress) {
        self.ledger.moved(to);
    }

    pub(crate) fn positions(&self) -> PositionStore {
        self.positions.clone()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(crate) fn take_ddl_session(&mut self) -> Option<Session> {
        self.ddl.take()
    }

    pub(crate) fn keep_ddl_session(&mut self, session: Session) {
        self.ddl = Some(session);
    }

    pub(crate) async fn drop_ddl_session(&mut self) {
        if let Some(session) = self.ddl.take() {
            session.close().await;
        }
    }

    pub(crate) fn ddl_lock_name(&self) -> String {
        OwnerLock::name(&self.positions.identity, "ddl")
    }

    /// Definitions may have changed.
    pub(crate) fn forget_definitions(&mut self) {
        self.tables.forget();
        self.writers.clear();
        self.routes.forget(false);
    }

    /// Ends the connection.
    pub async fn close(mut self) {
        self.drop_ddl_session().await;
        self.session.close().await;
    }
}

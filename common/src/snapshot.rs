//! The snapshot in the log: what existed at the source before it was followed, or is copied again, for all destinations or for some.
//!
//! A *run* copies a set of tables and other objects. Each [`SnapshotStep`] is a seq of its own, between source transactions, and exact at its place:
//! what it holds is the source's state after all transactions before it in the log, for the keys or the object that it speaks of. For one run the log holds, in this
//! order: [`Begin`](SnapshotStep::Begin); [`Object`](SnapshotStep::Object) for databases, sequences and tables; per table chunks, each a
//! [`Chunk`](SnapshotStep::Chunk) with its rows and its [`ChunkEnd`](SnapshotStep::ChunkEnd), and a [`TableEnd`](SnapshotStep::TableEnd) (tables are mixed);
//! objects that need the tables (routines, views, triggers, events); [`End`](SnapshotStep::End).
//!
//! For a destination a table of a run is *pending* from the run's Begin to its Object (its changes are passed over: the copy will hold them),
//! *copying* from there to its TableEnd (changes are put in place by key, whether the row is there or not), and *done* from then on (changes are strict).

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::BinlogPosition;
use crate::record::SessionContext;

/// Names a run within its store: microseconds since 1970 UTC at which it was begun, made unique.
pub type RunId = u64;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
pub struct TableName {
    /// Its database.
    pub database: String,
    /// Its name.
    pub table: String,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SnapshotStep {
    /// A run begins.
    Begin(Box<SnapshotBegin>),
    /// An object's definition; for a table of the run, its chunks follow.
    Object(Box<SnapshotObject>),
    /// Rows of one table: [`crate::record::Rows`] records of op Insert follow in the same seq, then [`SnapshotStep::ChunkEnd`].
    Chunk(Box<SnapshotChunk>),
    /// The last record of a chunk's seq.
    ChunkEnd {
        /// Rows in the chunk, for a check against what was read.
        row_count: u64,
    },
    /// The table is copied completely.
    TableEnd {
        /// The run.
        run: RunId,
        /// The table.
        table: TableName,
        /// Rows in its chunks.
        rows: u64,
        /// The place.
        at: BinlogPosition,
    },
    /// What was copied of this table so far does not count (it was altered, or could not be read at one point): destinations empty it and are where its
    /// Object left them. With `gone` the table was dropped or renamed at the source: nothing more comes for it, and it leaves the run.
    TableAgain {
        /// The run.
        run: RunId,
        /// The table.
        table: TableName,
        /// It no longer exists.
        gone: bool,
        /// The place.
        at: BinlogPosition,
    },
    /// The run is over.
    End {
        /// The run.
        run: RunId,
        /// An operator ended it early, or it was replaced by another: tables that are not done stay as they are.
        cancelled: bool,
        /// The place.
        at: BinlogPosition,
    },
}

/// A run begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotBegin {
    /// The run.
    pub run: RunId,
    /// Names of the destinations that it is for; empty = all that the configuration had.
    pub destinations: Vec<String>,
    /// It brings all that is selected at the source: a destination without a position begins here.
    pub whole: bool,
    /// Definitions only, no rows.
    pub schema_only: bool,
    /// Asked for by an operator: tables that are there are made anew, whatever `on_existing` says.
    pub again: bool,
    /// The tables, in the order of copying.
    pub tables: Vec<TableName>,
    /// Views, routines, triggers and events that will come.
    pub others: Vec<ObjectName>,
    /// How consistent places were found (`gtid`, `binlog-snapshot`, `row-locks`, `table-locks`), for people.
    pub way: String,
    /// The place.
    pub at: BinlogPosition,
}

/// What kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is what it is named after")]
pub enum ObjectKind {
    Database,
    Sequence,
    Table,
    Function,
    Procedure,
    View,
    Trigger,
    Event,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
pub struct ObjectName {
    /// What it is.
    pub kind: ObjectKind,
    /// Its database.
    pub database: String,
    /// Its name; empty for a database.
    pub name: String,
}

/// An object's definition.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotObject {
    /// The run.
    pub run: RunId,
    /// The object.
    pub object: ObjectName,
    /// The statement that makes it, as SHOW CREATE gives it, in UTF-8. Names in it are not qualified by the database unless the server did so:
    /// run it with `object.database` as the default database. Empty where the source would not show it; see `problem`.
    pub statement: String,
    /// Further statements of the same kind (a sequence's present value), run after it.
    pub more: Vec<String>,
    /// The definer, `user@host`, where it has one.
    pub definer: Option<String>,
    /// The session to run it in: what the server stored with it (`sql_mode`, character set, collations, time zone).
    pub context: SessionContext,
    /// Why there is no statement (the user may not see the body), with what to do; None if all is well.
    pub problem: Option<String>,
    /// Rows that the source's statistics say (tables).
    pub rows_estimate: u64,
    /// Bytes that the source's statistics say (tables): `data_length`.
    pub bytes_estimate: u64,
    /// It has a key by which rows can be put in place; without one all its chunks follow each other at one place of the log.
    pub keyed: bool,
    /// The place.
    pub at: BinlogPosition,
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotChunk {
    /// The run.
    pub run: RunId,
    /// The table.
    pub table: TableName,
    /// Which span of the table's key space, from 0; see [`Span`].
    pub span: u32,
    /// All spans of the table, if this chunk is the first to know them; else empty.
    pub spans: Vec<Span>,
    /// Where the span is copied up to, the last row of this chunk: SQL literals of the key's columns; empty if nothing was read or there is no key.
    pub reached: Vec<Vec<u8>>,
    /// The span is complete with this chunk.
    pub ends_span: bool,
    /// Rows in it (after those were left out that the binlog changed meanwhile).
    pub rows: u64,
    /// Bytes of their images.
    pub bytes: u64,
    /// The place.
    pub at: BinlogPosition,
}

/// A part of a table's key space that is copied in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Span {
    /// Rows behind this key, in the server's order: SQL literals of the key's columns; empty = from the first.
    pub after: Vec<Vec<u8>>,
    /// Up to and with this key; empty = to the last.
    pub until: Vec<Vec<u8>>,
    /// Nothing of it is left.
    pub done: bool,
}

/// How far a table is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum TableState {
    /// Its definition is not in the log yet.
    #[default]
    Pending,
    /// Its definition is; no chunk is.
    Made,
    /// These spans are left, or done.
    Copying(Vec<Span>),
    /// All of it is in the log.
    Done,
    /// Dropped at the source meanwhile.
    Gone,
}

/// How far a run is: all that a reader needs to go on after a restart. Kept in the header of each segment, and moved on by the steps after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RunState {
    /// What it is to bring.
    pub begin: SnapshotBegin,
    /// One for each of `begin.tables`.
    pub tables: Vec<TableState>,
    /// Rows copied, one for each of `begin.tables`.
    pub rows: Vec<u64>,
    /// Bytes copied, one for each of `begin.tables`.
    pub bytes: Vec<u64>,
    /// Rows and bytes that the source's statistics say, one for each of `begin.tables`.
    pub estimates: Vec<(u64, u64)>,
    /// Objects of `begin.others` that are in the log, from the first on.
    pub others_done: u32,
}

/// The snapshots of a store, as its log tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotState {
    /// `include` and `exclude` of the source under which tables were copied or found new; None before the first run. What a later configuration selects
    /// beyond it, is not copied yet.
    pub selection: Option<(Vec<String>, Vec<String>)>,
    /// Destinations that had a whole run begun for them, or none because of `mode = "none"`.
    pub destinations: Vec<String>,
    /// Runs that have not ended, oldest first.
    pub runs: Vec<RunState>,
}

impl SnapshotState {
    /// Moves on by a step that stands in the log.
    pub fn take(&mut self, step: &SnapshotStep) {
        match step {
            SnapshotStep::Begin(begin) => {
                if begin.whole {
                    for name in &begin.destinations {
                        if !self.destinations.contains(name) {
                            self.destinations.push(name.clone());
                        }
                    }
                }
                self.runs.retain(|run| run.begin.run != begin.run);
                let count = begin.tables.len();
                self.runs.push(RunState {
                    begin: (**begin).clone(),
                    tables: vec![TableState::Pending; count],
                    rows: vec![0; count],
                    bytes: vec![0; count],
                    estimates: vec![(0, 0); count],
                    others_done: 0,
                });
            }
            SnapshotStep::Object(object) => {
                let Some(run) = self.run_mut(object.run) else { return };
                let name = &object.object;
                if name.kind == ObjectKind::Table {
                    let table = TableName { database: name.database.clone(), table: name.name.clone() };
                    if let Some(index) = run.index(&table) {
                        run.set(index, TableState::Made);
                        if let Some(estimate) = run.estimates.get_mut(index) {
                            *estimate = (object.rows_estimate, object.bytes_estimate);
                        }
                    }
                } else if let Some(index) = run.begin.others.iter().position(|other| other == name) {
                    run.others_done = run.others_done.max(u32::try_from(index + 1).unwrap_or(u32::MAX));
                }
            }
            SnapshotStep::Chunk(chunk) => {
                let Some(run) = self.run_mut(chunk.run) else { return };
                let Some(index) = run.index(&chunk.table) else { return };
                if let Some(rows) = run.rows.get_mut(index) {
                    *rows += chunk.rows;
                }
                if let Some(bytes) = run.bytes.get_mut(index) {
                    *bytes += chunk.bytes;
                }
                let Some(state) = run.tables.get_mut(index) else { return };
                if !chunk.spans.is_empty() {
                    *state = TableState::Copying(chunk.spans.clone());
                }
                if let TableState::Copying(spans) = state
                    && let Some(span) = spans.get_mut(chunk.span as usize)
                {
                    if !chunk.reached.is_empty() {
                        span.after.clone_from(&chunk.reached);
                    }
                    span.done |= chunk.ends_span;
                }
            }
            SnapshotStep::ChunkEnd { .. } => {}
            SnapshotStep::TableEnd { run, table, .. } => {
                if let Some((run, index)) = self.run_mut(*run).and_then(|run| run.index(table).map(|i| (run, i))) {
                    run.set(index, TableState::Done);
                }
            }
            SnapshotStep::TableAgain { run, table, gone, .. } => {
                if let Some((run, index)) = self.run_mut(*run).and_then(|run| run.index(table).map(|i| (run, i))) {
                    run.set(index, if *gone { TableState::Gone } else { TableState::Made });
                    for sum in [&mut run.rows, &mut run.bytes] {
                        if let Some(sum) = sum.get_mut(index) {
                            *sum = 0;
                        }
                    }
                }
            }
            SnapshotStep::End { run, .. } => self.runs.retain(|state| state.begin.run != *run),
        }
    }

    /// The run of this name, unless it has ended.
    #[must_use]
    pub fn run(&self, run: RunId) -> Option<&RunState> {
        self.runs.iter().find(|state| state.begin.run == run)
    }

    fn run_mut(&mut self, run: RunId) -> Option<&mut RunState> {
        self.runs.iter_mut().find(|state| state.begin.run == run)
    }
}

impl RunState {
    /// Where this table stands in the lists.
    #[must_use]
    pub fn index(&self, table: &TableName) -> Option<usize> {
        self.begin.tables.iter().position(|known| known == table)
    }

    fn set(&mut self, index: usize, state: TableState) {
        if let Some(place) = self.tables.get_mut(index) {
            *place = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn name(table: &str) -> TableName {
        TableName { database: "shop".into(), table: table.into() }
    }

    #[test]
    fn a_run_is_where_its_steps_left_it_also_after_a_restart_in_between() {
        let at = BinlogPosition::default();
        let begin = SnapshotBegin {
            run: 7,
            whole: true,
            destinations: vec!["a".into()],
            tables: vec![name("t"), name("u")],
            ..SnapshotBegin::default()
        };
        let span = |after: &str, until: &str| Span {
            after: if after.is_empty() { vec![] } else { vec![after.into()] },
            until: if until.is_empty() { vec![] } else { vec![until.into()] },
            done: false,
        };
        let chunk = |span: u32, spans: Vec<Span>, reached: &str, ends_span: bool| {
            SnapshotStep::Chunk(Box::new(SnapshotChunk {
                run: 7,
                table: name("t"),
                span,
                spans,
                reached: vec![reached.into()],
                ends_span,
                rows: 10,
                bytes: 100,
                at: at.clone(),
            }))
        };
        let steps = [
            SnapshotStep::Begin(Box::new(begin)),
            chunk(0, vec![span("", "50"), span("50", "")], "10", false),
            SnapshotStep::ChunkEnd { row_count: 10 },
            chunk(1, vec![], "70", false),
            chunk(0, vec![], "50", true),
            SnapshotStep::TableAgain { run: 7, table: name("u"), gone: true, at: at.clone() },
        ];
        let mut state = SnapshotState::default();
        for step in &steps {
            state.take(step);
            // As a segment's header does.
            state = codec::decode(&codec::encode(&state).unwrap()).unwrap();
        }
        let run = state.run(7).unwrap();
        let done = Span { done: true, ..span("50", "50") };
        assert_eq!(run.tables, [TableState::Copying(vec![done, span("70", "")]), TableState::Gone]);
        assert_eq!((run.rows[0], run.bytes[0]), (30, 300));
        assert_eq!(state.destinations, ["a"]);
        state.take(&SnapshotStep::TableAgain { run: 7, table: name("t"), gone: false, at: at.clone() });
        assert_eq!((&state.run(7).unwrap().tables[0], state.run(7).unwrap().rows[0]), (&TableState::Made, 0));
        state.take(&SnapshotStep::End { run: 7, cancelled: false, at });
        assert!(state.runs.is_empty());
    }
}

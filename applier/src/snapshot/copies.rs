//! Where the copy of each table stands, in the order of the log.
//!
//! The planner moves it with every step that it reads; what the destination holds ([`Remembered`]) is where it begins. A table that is not in it is
//! done, or was never copied: its changes are strict.

use std::collections::{BTreeMap, HashMap, HashSet};

use common::snapshot::{ObjectKind, RunId, SnapshotBegin, SnapshotState, SnapshotStep, TableName};

/// Where the copy of a table stands at this destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stand {
    /// It is to be copied: its changes are passed over, the copy will hold them.
    Pending,
    /// It is made and empty, and not filled before its first chunk, which brings all that there is by then: its changes are passed over, DDL runs.
    /// For tables without a key, and for all after [`common::snapshot::SnapshotStep::TableAgain`].
    Made,
    /// It is made and being filled: its changes are put in place by key.
    Copying,
    /// It is copied: its changes are strict.
    Done,
    /// It could not be made here and `on_error` says skip: all of it is passed over until another run brings it.
    Skipped,
}

impl Stand {
    /// As the destination's table `snapshot` holds it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Made => "made",
            Self::Copying => "copying",
            Self::Done => "done",
            Self::Skipped => "skipped",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Made, Self::Copying, Self::Done, Self::Skipped]
            .into_iter()
            .find(|stand| stand.name() == name)
    }
}

/// Where the copy of one table stands, as the destination remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStand {
    /// The run that copies it.
    pub run: RunId,
    /// The table, by its name at the source.
    pub table: TableName,
    /// Where its copy stands.
    pub stand: Stand,
    /// Rows of its chunks that are here, for people.
    pub rows: u64,
    /// Rows that the source's statistics say, for people.
    pub rows_estimate: u64,
    /// Bytes of their images, for people.
    pub bytes: u64,
}

/// What the destination remembers of runs: those that have begun here and not ended, and every table that is not done, also of runs that have ended
/// (a cancelled one leaves its tables as they are).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Runs that have begun and not ended, oldest first; also those without tables.
    pub runs: Vec<RunId>,
    /// Tables of these runs, and those of earlier runs that are not done.
    pub tables: Vec<TableStand>,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    destination: String,
    runs: Vec<RunId>,
    /// By database and table; only what is not done.
    tables: HashMap<String, BTreeMap<String, (RunId, Stand)>>,
    /// Views, routines, triggers and events that a run will bring: database and name.
    others: HashSet<(String, String)>,
}

impl Copies {
    /// As this destination remembers them.
    #[must_use]
    pub fn new(destination: &str, remembered: &Remembered) -> Self {
        let mut copies = Self { destination: destination.to_owned(), runs: remembered.runs.clone(), ..Self::default() };
        for table in remembered.tables.iter().filter(|table| table.stand != Stand::Done) {
            copies.set(&table.table, table.run, table.stand);
        }
        copies
    }

    /// A run that the log holds further on brings this table: what comes before that is not needed.
    pub fn expect(&mut self, run: RunId, table: &TableName) {
        self.set(table, run, Stand::Pending);
    }

    /// What the header of a segment says about objects that are to come. Call it before the steps of that segment.
    pub fn learn_header(&mut self, state: &SnapshotState) {
        for run in &state.runs {
            if self.is_for_us(&run.begin) {
                let left = run.begin.others.iter().skip(run.others_done as usize);
                self.others.extend(left.map(|other| (other.database.clone(), other.name.clone())));
            }
        }
    }

    /// A step of which everything is applied already: only what objects are to come is not remembered elsewhere.
    pub fn learn(&mut self, step: &SnapshotStep) {
        match step {
            SnapshotStep::Begin(begin) if self.is_for_us(begin) => {
                self.others.extend(begin.others.iter().map(|other| (other.database.clone(), other.name.clone())));
            }
            SnapshotStep::Object(object) if self.runs(object.run) => {
                self.others.remove(&(object.object.database.clone(), object.object.name.clone()));
            }
            SnapshotStep::End { run, .. } if self.runs(*run) && self.runs.len() == 1 => self.others.clear(),
            _ => {}
        }
    }

    /// Whether a run will bring this view, routine, trigger or event: statements about it are passed over until then.
    #[must_use]
    pub fn will_come(&self, database: &str, name: &str) -> bool {
        !self.others.is_empty() && self.others.contains(&(database.to_owned(), name.to_owned()))
    }

    /// Whether the run is for this destination.
    #[must_use]
    pub fn is_for_us(&self, begin: &SnapshotBegin) -> bool {
        begin.destinations.is_empty() || begin.destinations.contains(&self.destination)
    }

    /// Nothing is left to be copied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Where this table stands.
    #[must_use]
    pub fn stand(&self, database: &str, table: &str) -> Stand {
        if self.tables.is_empty() {
            return Stand::Done;
        }
        self.tables.get(database).and_then(|tables| tables.get(table)).map_or(Stand::Done, |(_, stand)| *stand)
    }

    /// All tables of which this holds.
    pub fn tables(&self, which: impl Fn(Stand) -> bool) -> impl Iterator<Item = TableName> {
        self.tables.iter().flat_map(move |(database, tables)| {
            let which = &which;
            let names = tables.iter().filter(move |(_, (_, stand))| which(*stand)).map(|(table, _)| table);
            names.map(|table| TableName { database: database.clone(), table: table.clone() }).collect::<Vec<_>>()
        })
    }

    /// Whether the run is one of ours and has not ended.
    #[must_use]
    pub fn runs(&self, run: RunId) -> bool {
        self.runs.contains(&run)
    }

    /// Moves on by a step. False if it is nothing to this destination: its run is for others, or its table is not selected here, was skipped, or is brought by
    /// a later run. A Begin has its tables reduced to what is selected here before it comes.
    pub fn take(&mut self, step: &SnapshotStep) -> bool {
        self.learn(step);
        match step {
            SnapshotStep::Begin(begin) => {
                if !self.is_for_us(begin) {
                    return false;
                }
                self.runs.retain(|run| *run != begin.run);
                self.runs.push(begin.run);
                for table in &begin.tables {
                    // Later runs bring more than earlier ones.
                    if self.entry(table).is_none_or(|(run, _)| run <= begin.run) {
                        self.set(table, begin.run, Stand::Pending);
                    }
                }
                true
            }
            SnapshotStep::Object(object) => {
                let known = self.runs(object.run);
                if object.object.kind != ObjectKind::Table {
                    return known;
                }
                let table = TableName { database: object.object.database.clone(), table: object.object.name.clone() };
                let next = if object.keyed { Stand::Copying } else { Stand::Made };
                self.advance(object.run, &table, |stand| (stand == Stand::Pending).then_some(next))
            }
            SnapshotStep::Chunk(chunk) => self.advance(chunk.run, &chunk.table, |stand| match stand {
                Stand::Made | Stand::Copying => Some(Stand::Copying),
                Stand::Pending | Stand::Done | Stand::Skipped => None,
            }),
            SnapshotStep::ChunkEnd { .. } => false,
            SnapshotStep::TableEnd { run, table, .. } => {
                let ours = self.advance(*run, table, |stand| (stand != Stand::Skipped).then_some(Stand::Done));
                if ours {
                    self.remove(table);
                }
                ours
            }
            SnapshotStep::TableAgain { run, table, gone, .. } => {
                let ours = self.advance(*run, table, |stand| match stand {
                    Stand::Pending | Stand::Skipped => gone.then_some(stand),
                    Stand::Made | Stand::Copying | Stand::Done => Some(Stand::Made),
                });
                if ours && *gone {
                    self.remove(table);
                }
                ours
            }
            SnapshotStep::End { run, .. } => {
                let known = self.runs(*run);
                self.runs.retain(|other| other != run);
                known
            }
        }
    }

    /// A statement of the source renamed a table: its copy goes with it.
    pub fn rename(&mut self, from: &TableName, to: &TableName) -> bool {
        let Some((run, stand)) = self.entry(from) else { return false };
        self.remove(from);
        self.set(to, run, stand);
        true
    }

    /// A statement of the source dropped a table. False if it was none of those that are not done.
    pub fn drop_table(&mut self, table: &TableName) -> bool {
        let known = self.entry(table).is_some();
        self.remove(table);
        known
    }

    /// Where the copy of a table that is not done stands, and which run brings it.
    #[must_use]
    pub fn entry(&self, table: &TableName) -> Option<(RunId, Stand)> {
        self.tables.get(&table.database)?.get(&table.table).copied()
    }

    fn set(&mut self, table: &TableName, run: RunId, stand: Stand) {
        self.tables.entry(table.database.clone()).or_default().insert(table.table.clone(), (run, stand));
    }

    fn remove(&mut self, table: &TableName) {
        if let Some(tables) = self.tables.get_mut(&table.database) {
            tables.remove(&table.table);
            if tables.is_empty() {
                self.tables.remove(&table.database);
            }
        }
    }

    fn advance(&mut self, run: RunId, table: &TableName, next: impl FnOnce(Stand) -> Option<Stand>) -> bool {
        let entry = self.tables.get_mut(&table.database).and_then(|tables| tables.get_mut(&table.table));
        match entry {
            Some((of, stand)) if *of == run => match next(*stand) {
                Some(next) => {
                    *stand = next;
                    true
                }
                None => false,
            },
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use common::BinlogPosition;
    use common::record::SessionContext;
    use common::snapshot::{ObjectName, SnapshotChunk, SnapshotObject};

    use super::*;

    fn name(table: &str) -> TableName {
        TableName { database: "shop".into(), table: table.into() }
    }

    fn begin(run: RunId, destinations: &[&str], tables: &[&str]) -> SnapshotStep {
        SnapshotStep::Begin(Box::new(SnapshotBegin {
            run,
            destinations: destinations.iter().map(|&name| name.to_owned()).collect(),
            tables: tables.iter().map(|table| name(table)).collect(),
            others: vec![ObjectName { kind: ObjectKind::View, database: "shop".into(), name: "v".into() }],
            ..SnapshotBegin::default()
        }))
    }

    fn object(run: RunId, kind: ObjectKind, table: &str, keyed: bool) -> SnapshotStep {
        SnapshotStep::Object(Box::new(SnapshotObject {
            run,
            object: ObjectName { kind, database: "shop".into(), name: table.into() },
            statement: String::new(),
            more: Vec::new(),
            definer: None,
            context: SessionContext::default(),
            problem: None,
            rows_estimate: 0,
            bytes_estimate: 0,
            keyed,
            at: BinlogPosition::default(),
        }))
    }

    fn chunk(run: RunId, table: &str) -> SnapshotStep {
        SnapshotStep::Chunk(Box::new(SnapshotChunk {
            run,
            table: name(table),
            span: 0,
            spans: Vec::new(),
            reached: Vec::new(),
            ends_span: false,
            rows: 0,
            bytes: 0,
            at: BinlogPosition::default(),
        }))
    }

    fn again(run: RunId, table: &str, gone: bool) -> SnapshotStep {
        SnapshotStep::TableAgain { run, table: name(table), gone, at: BinlogPosition::default() }
    }

    fn table_end(run: RunId, table: &str) -> SnapshotStep {
        SnapshotStep::TableEnd { run, table: name(table), rows: 0, at: BinlogPosition::default() }
    }

    #[test]
    fn a_table_goes_from_pending_over_copying_to_done_and_begins_again_with_nothing() {
        let mut copies = Copies::new("d", &Remembered::default());
        assert!(copies.take(&begin(1, &["d"], &["t", "k"])));
        let stand = |copies: &Copies, table| copies.stand("shop", table);
        assert_eq!((stand(&copies, "t"), stand(&copies, "other")), (Stand::Pending, Stand::Done));
        assert!(!copies.take(&chunk(1, "t")), "no rows before the definition");
        assert!(copies.take(&object(1, ObjectKind::Table, "t", true)));
        assert!(copies.take(&object(1, ObjectKind::Table, "k", false)));
        assert_eq!((stand(&copies, "t"), stand(&copies, "k")), (Stand::Copying, Stand::Made));
        assert!(copies.take(&chunk(1, "k")) && copies.take(&again(1, "t", false)));
        assert_eq!((stand(&copies, "t"), stand(&copies, "k")), (Stand::Made, Stand::Copying));
        assert!(copies.take(&chunk(1, "t")) && copies.take(&table_end(1, "t")));
        assert!(copies.take(&again(1, "k", true)));
        assert!(copies.is_empty(), "{copies:?}");
    }

    #[test]
    fn runs_for_others_and_those_that_a_later_run_supersedes_are_nothing_to_us() {
        let mut copies = Copies::new("d", &Remembered::default());
        assert!(!copies.take(&begin(1, &["e"], &["t"])));
        assert!(!copies.take(&object(1, ObjectKind::Table, "t", true)) && !copies.take(&chunk(1, "t")));
        assert!(!copies.take(&object(1, ObjectKind::View, "v", true)));
        assert!(copies.take(&begin(2, &[], &["t"])) && copies.take(&object(2, ObjectKind::Table, "t", true)));
        assert!(copies.take(&begin(3, &["d"], &["t"])));
        assert!(!copies.take(&chunk(2, "t")) && !copies.take(&table_end(2, "t")));
        assert_eq!(copies.stand("shop", "t"), Stand::Pending);
    }

    #[test]
    fn a_cancelled_run_leaves_its_tables_and_renames_take_their_copies_along() {
        let mut copies = Copies::new("d", &Remembered::default());
        copies.take(&begin(1, &["d"], &["t", "u"]));
        copies.take(&object(1, ObjectKind::Table, "t", true));
        assert!(copies.will_come("shop", "v"));
        copies.take(&SnapshotStep::End { run: 1, cancelled: true, at: BinlogPosition::default() });
        assert!(!copies.will_come("shop", "v") && !copies.runs(1));
        assert_eq!((copies.stand("shop", "t"), copies.stand("shop", "u")), (Stand::Copying, Stand::Pending));
        assert!(copies.rename(&name("t"), &name("t2")) && copies.drop_table(&name("u")));
        assert_eq!(copies.tables(|_| true).collect::<Vec<_>>(), [name("t2")]);
    }
}

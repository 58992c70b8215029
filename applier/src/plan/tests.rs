use common::record::{
    Begin, Commit, CommitKind, Ddl, DdlKind, DdlObject, DdlRole, Op, PositionMark, RecordKind, Rows, SessionContext,
    Xid,
};
use common::schema::{Column, Flavor, LayoutOrigin, TableSchema};
use common::selection::Selection;
use common::{BinlogPosition, GtidSet, Seq, codec};

use super::*;
use crate::error::Result;
use crate::target::Position;

fn schema(table: &str) -> TableSchema {
    let column = Column {
        name: "id".into(),
        type_code: 3,
        meta: 0,
        nullable: false,
        unsigned: false,
        collation: 0,
        members: Vec::new(),
        visible: true,
    };
    TableSchema {
        database: "shop".into(),
        table: table.into(),
        flavor: Flavor::MySql,
        columns: vec![column],
        primary_key: Vec::new(),
        origin: LayoutOrigin::TableMap,
    }
}

struct Log {
    planner: Planner,
    seq: u64,
}

impl Log {
    fn new(budget: Budget, exclude: &[&str], applied: Position) -> Self {
        let selection = Selection::new(&["*.*"], exclude).unwrap();
        let mut log = Self { seq: applied.seq.0, planner: Planner::new(budget, selection, applied) };
        for table in ["t", "other"] {
            log.push(RecordKind::Schema, codec::encode(&schema(table)).unwrap()).unwrap();
        }
        log
    }

    fn push(&mut self, kind: RecordKind, payload: Vec<u8>) -> Result<()> {
        self.planner.push(Seq(self.seq), kind as u8, &payload)
    }

    fn begin(&mut self) {
        self.seq += 1;
        let begin = Begin {
            gtid: None,
            server_id: 1,
            committed_us: self.seq,
            original_us: 0,
            last_committed: 0,
            sequence_number: 0,
        };
        self.push(RecordKind::Begin, codec::encode(&begin).unwrap()).unwrap();
    }

    fn rows(&mut self, table: &str, bytes: usize) {
        let images = vec![0; bytes];
        let rows = Rows {
            schema: schema(table).id().unwrap(),
            op: Op::Insert,
            flags: 1,
            row_count: 1,
            columns_before: &[],
            columns_after: &[1],
            images: &images,
            more_bytes: 0,
        };
        self.push(RecordKind::Rows, codec::encode(&rows).unwrap()).unwrap();
    }

    fn commit(&mut self, kind: CommitKind) {
        let commit = Commit { end: BinlogPosition { file: "bin.1".into(), offset: self.seq }, kind, row_count: 0 };
        self.push(RecordKind::Commit, codec::encode(&commit).unwrap()).unwrap();
    }

    fn transaction(&mut self, table: &str, bytes: usize) {
        self.begin();
        self.rows(table, bytes);
        self.commit(CommitKind::Commit);
    }

    fn ddl(&mut self, kind: DdlKind, names: &[&str]) -> Result<()> {
        let object = |name: &&str| DdlObject {
            database: "shop".into(),
            name: (*name).into(),
            span: (0, 0),
            role: DdlRole::Target,
        };
        let ddl = Ddl {
            statement: b"a statement",
            database: b"shop",
            kind,
            objects: names.iter().map(object).collect(),
            context: SessionContext::default(),
            atomic_rows_follow: false,
        };
        self.begin();
        self.push(RecordKind::Ddl, codec::encode(&ddl).unwrap())
    }

    fn steps(&mut self) -> Vec<Step> {
        std::iter::from_fn(|| self.planner.take()).collect()
    }
}

fn xid() -> Xid {
    Xid { format_id: 1, gtrid: b"a".to_vec(), bqual: Vec::new() }
}

/// `open/close seq, actions` of each piece, or `ddl seq`.
fn describe(steps: &[Step]) -> Vec<String> {
    let one = |step: &Step| match step {
        Step::Rows(piece) => {
            let close = match &piece.close {
                Close::Open => "goes on".to_owned(),
                Close::Commit(progress) => format!("commits {}", progress.seq),
                Close::WasPrepare(seq, _) => format!("was a prepare {seq}"),
            };
            let opens = if piece.opens { "begins, " } else { "" };
            format!("{opens}{} actions, {close}", piece.actions.len())
        }
        Step::Ddl(step) => {
            let close = step.close.as_ref().map_or("goes on".to_owned(), |p| format!("commits {}", p.seq));
            format!("ddl{}, {close}", if step.apply { "" } else { " left out" })
        }
        Step::Chunk(step) => format!("chunk {} of {}, {} rows", step.progress.seq, step.chunk.table, step.rows),
        Step::Snapshot(work) => format!("snapshot {}", work.progress.seq),
    };
    steps.iter().map(one).collect()
}

#[test]
fn small_transactions_gather_and_stay_whole() {
    let mut log = Log::new(Budget { rows: 3, ..Budget::default() }, &[], Position::default());
    for _ in 0..2 {
        log.begin();
        log.rows("t", 4);
        log.rows("t", 4);
        log.commit(CommitKind::Commit);
    }
    log.transaction("t", 4);
    assert_eq!(describe(&log.steps()), ["begins, 4 actions, commits 2"]);
    assert!(log.planner.gathers());
    log.planner.flush();
    assert_eq!(describe(&log.steps()), ["begins, 1 actions, commits 3"]);
}

#[test]
fn a_transaction_beyond_the_budget_is_streamed_into_one_destination_transaction() {
    let mut log = Log::new(Budget { bytes: 1000, ..Budget::default() }, &[], Position::default());
    log.transaction("t", 4);
    log.begin();
    for _ in 0..5 {
        log.rows("t", 600);
    }
    log.commit(CommitKind::Commit);
    assert_eq!(
        describe(&log.steps()),
        ["begins, 1 actions, commits 1", "begins, 2 actions, goes on", "2 actions, goes on", "1 actions, commits 2"]
    );
}

#[test]
fn ddl_stands_alone_between_what_is_before_and_after() {
    let mut log = Log::new(Budget::default(), &[], Position::default());
    log.transaction("t", 4);
    log.ddl(DdlKind::AlterTable, &["t"]).unwrap();
    log.commit(CommitKind::Implicit);
    log.transaction("t", 4);
    log.planner.flush();
    assert_eq!(
        describe(&log.steps()),
        ["begins, 1 actions, commits 1", "ddl, commits 2", "begins, 1 actions, commits 3"]
    );
}

#[test]
fn rows_after_ddl_in_one_transaction_clear_its_intent_when_they_commit() {
    let mut log = Log::new(Budget::default(), &[], Position::default());
    log.ddl(DdlKind::CreateTable, &["t"]).unwrap();
    log.rows("t", 4);
    log.commit(CommitKind::Commit);
    let steps = log.steps();
    assert_eq!(describe(&steps), ["ddl, goes on", "begins, 1 actions, commits 1"]);
    assert!(matches!(&steps[1], Step::Rows(piece) if piece.clears_intent));
}

#[test]
fn what_is_not_selected_only_moves_the_position() {
    let mut log = Log::new(Budget::default(), &["shop.other"], Position::default());
    log.transaction("other", 4);
    log.ddl(DdlKind::AlterTable, &["other"]).unwrap();
    log.commit(CommitKind::Implicit);
    log.ddl(DdlKind::DropTable, &["t", "other"]).unwrap();
    log.commit(CommitKind::Implicit);
    let steps = log.steps();
    assert_eq!(describe(&steps), ["begins, 0 actions, commits 1", "ddl left out, commits 2", "ddl, commits 3"]);
    assert!(matches!(&steps[2], Step::Ddl(step) if step.only == Some(vec![("shop".to_owned(), "t".to_owned())])));
}

#[test]
fn a_rename_out_of_the_selection_stops_and_names_both() {
    let mut log = Log::new(Budget::default(), &["shop.other"], Position::default());
    let error = log.ddl(DdlKind::RenameTable, &["t", "other"]).unwrap_err().to_string();
    assert!(error.contains("shop.t, shop.other") && error.contains("seq 1"), "{error}");
}

#[test]
fn a_prepared_branch_is_kept_and_a_large_one_is_read_again_for_that() {
    let budget = Budget { bytes: 1000, ..Budget::default() };
    let mut log = Log::new(budget, &[], Position::default());
    log.begin();
    log.rows("t", 4);
    log.commit(CommitKind::XaPrepare { xid: xid() });
    log.planner.flush();
    let steps = log.steps();
    assert!(
        matches!(&steps[0], Step::Rows(p) if matches!(&p.actions[..], [Action::Prepare { changes, .. }] if changes.len() == 1))
    );
    for known in [false, true] {
        let mut log = Log::new(budget, &[], Position::default());
        if known {
            log.planner.expect_prepare(Seq(1), xid());
        }
        log.begin();
        log.rows("t", 1200);
        log.rows("t", 4);
        log.commit(CommitKind::XaPrepare { xid: xid() });
        let steps = log.steps();
        let close = if known { "commits 1" } else { "was a prepare 1" };
        assert_eq!(describe(&steps), ["begins, 1 actions, goes on".to_owned(), format!("1 actions, {close}")]);
        let kept = matches!(&steps[0], Step::Rows(p) if matches!(p.actions[0], Action::Prepare { .. }));
        assert_eq!(kept, known, "only once it is known are the first rows kept instead of written");
    }
}

#[test]
fn gaps_of_an_earlier_parallel_run_are_filled_and_nothing_is_applied_twice() {
    let applied = Position { seq: Seq(2), beyond: vec![(4, 5)], ..Position::default() };
    let mut log = Log::new(Budget::default(), &[], applied);
    for _ in 0..5 {
        log.transaction("t", 4);
    }
    log.planner.flush();
    assert_eq!(describe(&log.steps()), ["begins, 1 actions, commits 3", "begins, 2 actions, commits 7"]);
}

#[test]
fn a_position_mark_moves_the_position() {
    let mut log = Log::new(Budget::default(), &[], Position::default());
    log.seq += 1;
    let position = BinlogPosition { file: "bin.2".into(), offset: 4 };
    let mark = PositionMark { position: position.clone(), gtids: GtidSet::new(), source_us: 77 };
    log.push(RecordKind::PositionMark, codec::encode(&mark).unwrap()).unwrap();
    log.planner.flush();
    let steps = log.steps();
    assert!(
        matches!(&steps[0], Step::Rows(p) if matches!(&p.close, Close::Commit(c) if c.end == position && c.committed_us == 77))
    );
}

#[test]
fn a_record_of_a_newer_kind_stops_with_the_next_step() {
    let mut log = Log::new(Budget::default(), &[], Position::default());
    let error = log.planner.push(Seq(1), 200, &[]).unwrap_err().to_string();
    assert!(error.contains("kind 200") && error.contains("newer"), "{error}");
}

#[test]
fn a_step_ends_where_the_worker_is_to_stop() {
    let mut log = Log::new(Budget::default(), &[], Position::default());
    log.planner.end_step_at(Some(Seq(2)));
    for _ in 0..3 {
        log.transaction("t", 4);
    }
    assert_eq!(describe(&log.steps()), ["begins, 2 actions, commits 2"]);
}

//! Gathers records into steps.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::record::{
    Begin, Commit, CommitKind, PositionMark, RecordKind, Rows, RowsMore, SegmentStart, SourceInfo, XaOutcome, Xid,
};
use common::selection::Selection;
use common::snapshot::TableName;
use common::{BinlogPosition, Flavor, Gtid, SchemaId, Seq, TableSchema, codec};

use super::group::{Budget, Group};
use super::open::{Open, as_prepare};
use super::snapshot::OpenChunk;
use super::step::{Action, Change, Close, Piece, SourceTable, Step};
use crate::error::{ApplyError, Place, Result};
use crate::snapshot::{Copies, Stand};
use crate::target::{Position, Progress};

/// See the module's documentation.
#[derive(Debug)]
pub struct Planner {
    pub(super) budget: Budget,
    pub(super) selection: Selection,
    pub(super) applied: Position,
    /// The last seq that was put into a step or gathered.
    pub(super) seen: Seq,
    pub(super) source: Arc<SourceInfo>,
    pub(super) tables: HashMap<SchemaId, Arc<SourceTable>>,
    pub(super) open: Option<Open>,
    /// The chunk of a snapshot whose rows are coming in.
    pub(super) chunk: Option<OpenChunk>,
    pub(super) copies: Copies,
    /// The end of the last seq that ended.
    pub(super) last: Progress,
    /// Rows of tables that are to be copied yet.
    passed_over: Arc<AtomicU64>,
    pub(super) group: Group,
    /// Transactions that are known to be XA PREPAREs although their end has not been read.
    pub(super) prepares: HashMap<Seq, Xid>,
    pub(super) gtid: Option<Gtid>,
    pub(super) committed_us: u64,
    pub(super) ready: VecDeque<Step>,
    /// A step ends with this seq.
    pub(super) until: Option<Seq>,
}

impl Planner {
    /// Plans what is not in `applied`.
    #[must_use]
    pub fn new(budget: Budget, selection: Selection, applied: Position) -> Self {
        Self {
            budget,
            selection,
            seen: applied.seq,
            last: applied.progress(),
            chunk: None,
            copies: Copies::default(),
            passed_over: Arc::default(),
            gtid: applied.gtid.parse().ok(),
            committed_us: applied.committed_us,
            applied,
            source: Arc::new(no_source()),
            tables: HashMap::new(),
            open: None,
            group: Group::default(),
            prepares: HashMap::new(),
            ready: VecDeque::new(),
            until: None,
        }
    }

    /// Tells it that the transaction `seq` ends as XA PREPARE of this branch ([`Close::WasPrepare`]).
    pub fn expect_prepare(&mut self, seq: Seq, xid: Xid) {
        self.prepares.insert(seq, xid);
    }

    /// Where copies of tables stand at `applied`, and a counter of the rows that they make superfluous.
    pub fn with_copies(&mut self, copies: Copies, passed_over: Arc<AtomicU64>) {
        self.copies = copies;
        self.passed_over = passed_over;
    }

    /// What the header of a segment says, before its records: of steps before it that are applied only this is left.
    ///
    /// # Errors
    /// When it does not decode.
    pub fn segment(&mut self, header: &[u8]) -> Result<()> {
        if self.seen == self.applied.seq && self.last.seq == self.applied.seq {
            let start: SegmentStart = codec::decode(header)?;
            self.copies.learn_header(&start.snapshots);
        }
        Ok(())
    }

    /// Lets a step end with this seq, so that a worker can stop exactly there.
    pub fn end_step_at(&mut self, seq: Option<Seq>) {
        self.until = seq;
    }

    /// The next step, oldest first.
    pub fn take(&mut self) -> Option<Step> {
        self.ready.pop_front()
    }

    /// Whether whole transactions are gathered and not given out.
    #[must_use]
    pub fn gathers(&self) -> bool {
        !self.group.is_empty()
    }

    /// The last seq that ended and is in a step or gathered.
    #[must_use]
    pub fn seen(&self) -> Seq {
        self.seen
    }

    /// Gives out what is gathered, full or not.
    pub fn flush(&mut self) {
        self.ready.extend(self.group.take().map(Step::Rows));
    }

    /// Takes one record in. Records of transactions that are applied already only teach it schemas.
    ///
    /// # Errors
    /// When the record does not decode or does not fit where it stands.
    pub fn push(&mut self, seq: Seq, kind: u8, payload: &[u8]) -> Result<()> {
        let Some(kind) = RecordKind::from_byte(kind) else {
            return Err(ApplyError::refused(
                format!("seq {seq} holds a record of kind {kind}, which this program does not know"),
                "it was written by a newer Logweir: use that version for the applier too",
            ));
        };
        match kind {
            RecordKind::Schema => {
                let schema: TableSchema = codec::decode(payload)?;
                let id = schema.id()?;
                if let Entry::Vacant(place) = self.tables.entry(id) {
                    place.insert(Arc::new(SourceTable::new(id, schema)?));
                }
                return Ok(());
            }
            RecordKind::SourceInfo => {
                let source: SourceInfo = codec::decode(payload)?;
                // Another format description cannot be announced inside a transaction of the destination.
                if source != *self.source {
                    self.flush();
                    self.source = Arc::new(source);
                }
                return Ok(());
            }
            _ if self.applied.holds(seq) => {
                if kind == RecordKind::Snapshot {
                    self.copies.learn(&codec::decode(payload)?);
                }
                return Ok(());
            }
            _ => {}
        }
        let result = match kind {
            RecordKind::Begin => self.begin(seq, codec::decode(payload)?),
            RecordKind::Rows => self.rows(seq, payload),
            RecordKind::RowsMore => self.rows_more(seq, &codec::decode(payload)?),
            RecordKind::Ddl => self.ddl(seq, payload),
            RecordKind::XaOutcome => self.outcome(seq, codec::decode(payload)?),
            RecordKind::Commit => self.commit(seq, codec::decode(payload)?),
            RecordKind::PositionMark => self.mark(seq, codec::decode(payload)?),
            RecordKind::Snapshot => self.snapshot(seq, payload),
            RecordKind::Schema | RecordKind::SourceInfo => Ok(()),
        };
        result.map_err(|error| match &self.open {
            Some(open) => error.at(&open.place),
            None => error.at(&Place { seq, ..Place::default() }),
        })
    }

    fn begin(&mut self, seq: Seq, begin: Begin) -> Result<()> {
        if let Some(open) = &self.chunk {
            return Err(out_of_place(seq, &format!("begins although the chunk {} has not ended", open.seq())));
        }
        if let Some(open) = &self.open {
            return Err(out_of_place(seq, &format!("begins although seq {} has not ended", open.place.seq)));
        }
        self.open = Some(Open::new(seq, begin));
        Ok(())
    }

    pub(super) fn open(&mut self, seq: Seq) -> Result<&mut Open> {
        self.open
            .as_mut()
            .filter(|open| open.place.seq == seq)
            .ok_or_else(|| out_of_place(seq, "has changes outside a transaction"))
    }

    fn rows(&mut self, seq: Seq, payload: &[u8]) -> Result<()> {
        self.release_ddl(None);
        let rows: Rows<'_> = codec::decode(payload)?;
        let (schema, row_count) = (rows.schema, u64::from(rows.row_count));
        let table = self.tables.get(&schema).cloned();
        let table = table
            .ok_or_else(|| out_of_place(seq, &format!("names the layout {schema}, which its segment does not hold")))?;
        if self.chunk.is_some() {
            return self.chunk_rows(seq, &rows, table, payload);
        }
        let (database, name) = (&table.schema.database, &table.schema.table);
        let wanted = self.selection.selects(database, name);
        let stand = self.copies.stand(database, name);
        let passed = matches!(stand, Stand::Pending | Stand::Made | Stand::Skipped);
        let orphans = !self.copies.is_empty();
        if wanted && passed {
            self.passed_over.fetch_add(row_count, Ordering::Relaxed);
        }
        let open = self.open(seq)?;
        open.skipping_more = !wanted;
        if !wanted {
            return Ok(());
        }
        let us = open.begin.committed_us;
        let change = Change {
            place: open.place.clone(),
            table,
            server_id: open.begin.server_id,
            timestamp: u32::try_from(us / 1_000_000).unwrap_or(0),
            payload: payload.to_vec(),
            more: Vec::new(),
            idempotent: stand == Stand::Copying,
            passed,
            orphans,
        };
        open.rows += if passed { 0 } else { row_count };
        open.bytes += change.bytes() as u64;
        open.actions.push(Action::Rows(change));
        // A record whose images go on in RowsMore is given out only when the next one begins.
        if rows.more_bytes == 0 { self.stream(seq) } else { Ok(()) }
    }

    fn rows_more(&mut self, seq: Seq, more: &RowsMore<'_>) -> Result<()> {
        if self.chunk.is_some() {
            return self.chunk_more(seq, more);
        }
        let open = self.open(seq)?;
        if open.skipping_more {
            return Ok(());
        }
        let Some(Action::Rows(change)) = open.actions.last_mut() else {
            return Err(out_of_place(seq, "goes on with images that it has not begun"));
        };
        change.more.extend_from_slice(more.images);
        open.bytes += more.images.len() as u64;
        let wanted = change.rows()?.more_bytes;
        if change.more.len() as u64 >= wanted { self.stream(seq) } else { Ok(()) }
    }

    fn outcome(&mut self, seq: Seq, outcome: XaOutcome) -> Result<()> {
        let passed = |stand| matches!(stand, Stand::Pending | Stand::Made | Stand::Skipped);
        let pending: Arc<[TableName]> = self.copies.tables(passed).collect();
        let copying: Arc<[TableName]> = self.copies.tables(|stand| stand == Stand::Copying).collect();
        let open = self.open(seq)?;
        let place = open.place.clone();
        open.actions.push(Action::Outcome { place, xid: outcome.xid, commit: outcome.commit, pending, copying });
        Ok(())
    }

    /// Gives out a part of a transaction that is larger than the budget.
    fn stream(&mut self, seq: Seq) -> Result<()> {
        let budget = self.budget.bytes;
        if self.open(seq)?.bytes < budget {
            return Ok(());
        }
        self.flush();
        let prepare = self.prepares.get(&seq).cloned();
        let source = self.source.clone();
        let open = self.open(seq)?;
        let before = open.actions.len();
        let actions = as_prepare(std::mem::take(&mut open.actions), prepare.clone(), seq);
        if prepare.is_none() && actions.len() < before {
            open.passed_over = true;
            if actions.is_empty() {
                open.bytes = 0;
                return Ok(());
            }
        }
        let piece = Piece {
            opens: !open.streamed,
            actions,
            close: Close::Open,
            first: open.place.clone(),
            source,
            transactions: 0,
            rows: std::mem::take(&mut open.rows),
            bytes: std::mem::take(&mut open.bytes),
            clears_intent: false,
        };
        open.streamed = true;
        self.ready.push_back(Step::Rows(piece));
        Ok(())
    }

    fn commit(&mut self, seq: Seq, commit: Commit) -> Result<()> {
        self.open(seq)?;
        let Some(open) = self.open.as_ref() else { return Ok(()) };
        self.gtid = open.begin.gtid.clone().or(self.gtid.take());
        self.committed_us = open.begin.committed_us;
        // Set once: a transaction ends once.
        let _ = open.place.end.set(commit.end.clone());
        let alone = open.actions.is_empty() && !open.streamed && !open.passed_over;
        let progress = self.progress(seq, commit.end);
        self.release_ddl(alone.then(|| progress.clone()));
        let Some(mut open) = self.open.take() else { return Ok(()) };
        self.seen = seq;
        if alone && open.ddl_parts > 0 {
            return Ok(());
        }
        let prepare = match commit.kind {
            CommitKind::XaPrepare { xid } => Some(xid),
            CommitKind::Commit | CommitKind::Implicit | CommitKind::Rollback => None,
        };
        let known = self.prepares.remove(&seq);
        let close = match &prepare {
            Some(xid) if (open.streamed || open.passed_over) && known.is_none() => Close::WasPrepare(seq, xid.clone()),
            _ => Close::Commit(progress),
        };
        open.actions = as_prepare(open.actions, prepare, seq);
        if open.streamed || open.ddl_parts > 0 || matches!(close, Close::WasPrepare(..)) {
            self.flush();
            self.ready.push_back(Step::Rows(Piece {
                opens: !open.streamed,
                actions: open.actions,
                close,
                first: open.place,
                source: self.source.clone(),
                transactions: 1,
                rows: open.rows,
                bytes: open.bytes,
                clears_intent: open.ddl_parts > 0,
            }));
            return Ok(());
        }
        let Close::Commit(progress) = close else { return Ok(()) };
        self.gather(open.place, open.actions, progress, open.rows, open.bytes);
        Ok(())
    }

    fn mark(&mut self, seq: Seq, mark: PositionMark) -> Result<()> {
        if let Some(open) = &self.chunk {
            return Err(out_of_place(
                seq,
                &format!("marks a position although the chunk {} has not ended", open.seq()),
            ));
        }
        if let Some(open) = &self.open {
            return Err(out_of_place(seq, &format!("marks a position although seq {} has not ended", open.place.seq)));
        }
        self.committed_us = self.committed_us.max(mark.source_us);
        self.seen = seq;
        let progress = self.progress(seq, mark.position);
        let place = Arc::new(Place { seq, gtid: None, end: progress.end.clone().into() });
        self.gather(place, Vec::new(), progress, 0, 0);
        Ok(())
    }

    /// A seq ends here.
    pub(super) fn progress(&mut self, seq: Seq, end: BinlogPosition) -> Progress {
        self.last = Progress { seq, end, gtid: self.gtid.clone(), committed_us: self.committed_us };
        self.last.clone()
    }

    pub(super) fn gather(
        &mut self,
        place: Arc<Place>,
        actions: Vec<Action>,
        progress: Progress,
        rows: u64,
        bytes: u64,
    ) {
        if self.group.ends_before(progress.seq) {
            self.flush();
        }
        self.group.add(place, &self.source, actions, progress, (rows, bytes));
        if self.group.is_full(self.budget, self.until) {
            self.flush();
        }
    }
}

/// What stands for the source until the first segment says who it is.
fn no_source() -> SourceInfo {
    SourceInfo {
        flavor: Flavor::MySql,
        version: String::new(),
        server_uuid: String::new(),
        server_id: 0,
        epoch: 0,
        format_description: Vec::new(),
    }
}

pub(super) fn out_of_place(seq: Seq, what: &str) -> ApplyError {
    ApplyError::refused(
        format!("seq {seq} {what}"),
        "run `logweir store verify`; the records do not follow each other as they must",
    )
}

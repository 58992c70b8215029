//! What a worker is given.

use std::sync::Arc;

use common::record::{Op, Rows, SourceInfo, Xid};
use common::row::Layout;
use common::snapshot::{SnapshotChunk, SnapshotStep, TableName};
use common::{SchemaId, Seq, TableSchema, codec};

use crate::error::{ApplyError, Place, Result};
use crate::target::Progress;

/// One version of a table of the source.
#[derive(Debug)]
pub struct SourceTable {
    /// Its name in the log.
    pub id: SchemaId,
    /// Its columns.
    pub schema: TableSchema,
    /// How its images are cut.
    pub layout: Layout,
}

impl SourceTable {
    /// From the layout in the log.
    ///
    /// # Errors
    /// When it holds a column that cannot be cut.
    pub fn new(id: SchemaId, schema: TableSchema) -> Result<Self> {
        let layout = Layout::new(&schema).map_err(|source| ApplyError::Row { table: schema.full_name(), source })?;
        Ok(Self { id, schema, layout })
    }
}

/// Rows of one table that one event of the source changed: the record's payload, read when it is needed.
#[derive(Clone, Debug)]
pub struct Change {
    /// The transaction that it belongs to.
    pub place: Arc<Place>,
    /// Its table.
    pub table: Arc<SourceTable>,
    /// `server_id` of the server that first committed it.
    pub server_id: u32,
    /// Seconds since 1970 UTC of its commit.
    pub timestamp: u32,
    /// The encoded [`Rows`].
    pub payload: Vec<u8>,
    /// Images of the `RowsMore` records that follow it, in turn.
    pub more: Vec<u8>,
    /// Its table is being copied: a row is put in place by its key whether it is there or not, and one to delete may be missing.
    pub idempotent: bool,
    /// Its table is yet to be copied, so it counts only if its transaction is a prepared branch, which may end after that.
    pub(crate) passed: bool,
    /// Other tables of this destination are not copied yet: a row may refer to one that is not here.
    pub orphans: bool,
}

impl Change {
    /// A change with nothing special about it; `payload` is the encoded [`Rows`].
    #[must_use]
    pub fn new(place: Arc<Place>, table: Arc<SourceTable>, payload: Vec<u8>) -> Self {
        Self {
            place,
            table,
            server_id: 0,
            timestamp: 0,
            payload,
            more: Vec::new(),
            idempotent: false,
            passed: false,
            orphans: false,
        }
    }

    /// The record.
    ///
    /// # Errors
    /// When the payload is none.
    pub fn rows(&self) -> Result<Rows<'_>> {
        Ok(codec::decode(&self.payload)?)
    }

    /// All images as one slice; joined only if they were stored in parts.
    ///
    /// # Errors
    /// When the payload is none.
    pub fn images(&self) -> Result<std::borrow::Cow<'_, [u8]>> {
        let rows = self.rows()?;
        if self.more.is_empty() {
            return Ok(rows.images.into());
        }
        Ok([rows.images, &self.more].concat().into())
    }

    /// Memory that it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.more.len()
    }

    /// Its operation, for messages.
    #[must_use]
    pub fn op_name(op: Op) -> &'static str {
        match op {
            Op::Insert => "INSERT",
            Op::Update | Op::PartialUpdate => "UPDATE",
            Op::Delete => "DELETE",
        }
    }
}

/// One thing to do inside a destination transaction.
#[derive(Clone, Debug)]
pub enum Action {
    /// Write rows.
    Rows(Change),
    /// Keep these rows of a prepared branch until its outcome is known.
    Prepare {
        /// The branch.
        xid: Xid,
        /// The seq of the XA PREPARE.
        seq: Seq,
        /// Its changes, or some of them.
        changes: Vec<Change>,
    },
    /// A prepared branch ends: write what was kept, or forget it.
    Outcome {
        /// The transaction that says so.
        place: Arc<Place>,
        /// The branch.
        xid: Xid,
        /// XA COMMIT or XA ROLLBACK.
        commit: bool,
        /// Tables that are to be copied yet: what was kept for them is passed over.
        pending: Arc<[TableName]>,
        /// Tables that are being copied: what was kept for them is put in place by key ([`Change::idempotent`]).
        copying: Arc<[TableName]>,
    },
}

/// How a piece ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Close {
    /// The destination transaction goes on with the next piece.
    Open,
    /// Move the position there and commit.
    Commit(Progress),
    /// It turned out to be the XA PREPARE of this branch: roll back, and read this seq again knowing that.
    WasPrepare(Seq, Xid),
}

/// Changes for one destination transaction, or a part of one.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Whether it begins the destination transaction.
    pub opens: bool,
    /// What to do, in order.
    pub actions: Vec<Action>,
    /// How it ends.
    pub close: Close,
    /// The first source transaction in it.
    pub first: Arc<Place>,
    /// Who wrote it.
    pub source: Arc<SourceInfo>,
    /// Source transactions that end in it.
    pub transactions: u64,
    /// Rows in it.
    pub rows: u64,
    /// Bytes of images and statements in it.
    pub bytes: u64,
    /// An intent row of DDL earlier in this seq is to be removed with the commit.
    pub clears_intent: bool,
}

/// One statement of DDL.
#[derive(Clone, Debug)]
pub struct DdlStep {
    /// The transaction.
    pub place: Arc<Place>,
    /// Which statement of its transaction, from 0.
    pub part: u32,
    /// The encoded [`common::record::Ddl`].
    pub payload: Vec<u8>,
    /// Who wrote it.
    pub source: Arc<SourceInfo>,
    /// Whether to run it; if not (nothing of it is selected), only the position moves.
    pub apply: bool,
    /// Of a DROP of several objects, those that are selected (and here), if not all are; of a RENAME, the old and the new name in turn of those that are here.
    pub only: Option<Vec<(String, String)>>,
    /// Tables under copy that it renames or drops: what is remembered of their copies goes along, in the transaction that moves the position.
    pub moves: Vec<CopyMove>,
    /// Why it is not run although its object is selected: an incident that an operator must know of.
    pub left_out: Option<String>,
    /// Move the position there when done; None if more of the same transaction follows.
    pub close: Option<Progress>,
    /// The position before it.
    pub before: Seq,
}

/// Rows of one table of a snapshot: one destination transaction of a loader. Never without rows; an empty chunk only moves the position.
#[derive(Clone, Debug)]
pub struct ChunkStep {
    /// Its seq, for messages.
    pub place: Arc<Place>,
    /// What the log says of it.
    pub chunk: SnapshotChunk,
    /// The layout of its rows. All changes of a chunk have the same.
    pub table: Arc<SourceTable>,
    /// Its rows, all of op Insert.
    pub changes: Vec<Change>,
    /// Who wrote it.
    pub source: Arc<SourceInfo>,
    /// The position after it.
    pub progress: Progress,
    /// Rows in it; checked against the log.
    pub rows: u64,
    /// Bytes of their images.
    pub bytes: u64,
}

/// A step of a snapshot other than a chunk, of a run that is addressed to this destination.
#[derive(Clone, Debug)]
pub struct SnapshotWork {
    /// Its seq, for messages.
    pub place: Arc<Place>,
    /// What to do. In a Begin `tables` and `others` are reduced to what is selected here; Object, TableEnd and TableAgain come only for what is selected.
    pub step: SnapshotStep,
    /// The position after it.
    pub progress: Progress,
    /// Who wrote it.
    pub source: Arc<SourceInfo>,
}

/// A statement of the source renames or drops a table that is being copied here, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyMove {
    /// Its name so far.
    pub from: TableName,
    /// Its new name; None if it was dropped.
    pub to: Option<TableName>,
}

/// What a worker executes.
#[derive(Clone, Debug)]
pub enum Step {
    /// Rows.
    Rows(Piece),
    /// DDL, with nothing else under way.
    Ddl(Box<DdlStep>),
    /// Rows of a snapshot.
    Chunk(Box<ChunkStep>),
    /// Another step of a snapshot, with nothing else under way.
    Snapshot(Box<SnapshotWork>),
}

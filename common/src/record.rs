//! The records of the log. docs/FORMAT.md describes them for readers in other languages.
//!
//! The store keeps a record as a kind byte and a payload; here is what the payloads mean. A source transaction is a run of
//! records under one seq: [`Begin`], then [`Rows`] and [`Ddl`] in source order, then [`Commit`]. [`Schema`](RecordKind::Schema) and
//! [`SourceInfo`] records carry no change; they stand before the first record of their segment that needs them, so
//! that every segment can be read alone. A [`PositionMark`] is a seq of its own.

use bincode::{BorrowDecode, Decode, Encode};

use crate::schema::{Flavor, SchemaId};
use crate::snapshot::SnapshotState;
use crate::{BinlogPosition, Gtid, GtidSet};

/// The kind byte of a record in a frame. A kind that a program does not know stops it: it was written by a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// [`Begin`]: a source transaction starts.
    Begin = 1,
    /// [`Rows`]: rows of one table, changed by one statement.
    Rows = 2,
    /// [`Commit`]: the source transaction ends. The last record of its seq.
    Commit = 3,
    /// [`Ddl`]: a statement that was logged as text.
    Ddl = 4,
    /// [`crate::TableSchema`]: a layout that later [`Rows`] of this segment name.
    Schema = 5,
    /// [`SourceInfo`]: who wrote what follows.
    SourceInfo = 6,
    /// [`PositionMark`]: the source's position moved with nothing to apply. A seq of its own.
    PositionMark = 7,
    /// [`RowsMore`]: further bytes of the images of the [`Rows`] record before it.
    RowsMore = 8,
    /// [`XaOutcome`]: XA COMMIT or XA ROLLBACK of a branch that was prepared in an earlier seq.
    XaOutcome = 9,
    /// [`crate::snapshot::SnapshotStep`]: what existed at the source, or a mark of its copy. A seq of its own, for a chunk with its rows.
    Snapshot = 10,
}

impl RecordKind {
    /// The kind of this byte, or None for one of a later version.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Begin,
            2 => Self::Rows,
            3 => Self::Commit,
            4 => Self::Ddl,
            5 => Self::Schema,
            6 => Self::SourceInfo,
            7 => Self::PositionMark,
            8 => Self::RowsMore,
            9 => Self::XaOutcome,
            10 => Self::Snapshot,
            _ => return None,
        })
    }
}

/// A source transaction starts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Begin {
    /// Its GTID; None where the source has none.
    pub gtid: Option<Gtid>,
    /// `server_id` of the server on which it was first committed.
    pub server_id: u32,
    /// Microseconds since 1970 UTC of the commit at the server that we follow (`immediate_commit_timestamp`), or the
    /// event header's seconds where the source tells no better.
    pub committed_us: u64,
    /// The same at the server where it was first committed (`original_commit_timestamp`); equals `committed_us` where unknown.
    pub original_us: u64,
    /// MySQL's logical clock in its binlog file (`last_committed`, `sequence_number`); 0, 0 where the source has none.
    pub last_committed: i64,
    /// See `last_committed`.
    pub sequence_number: i64,
}

/// What a row record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Op {
    /// After images only.
    Insert,
    /// Before and after image of each row, in turn.
    Update,
    /// Before images only.
    Delete,
    /// As Update, but JSON columns of the after image may hold changes instead of values (`binlog_row_value_options=PARTIAL_JSON`,
    /// MySQL's `PARTIAL_UPDATE_ROWS_EVENT`).
    PartialUpdate,
}

/// Rows of one table that one event changed, images packed as in the source's row event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Rows<'a> {
    /// The layout of the images; its [`crate::TableSchema`] stands earlier in this segment.
    pub schema: SchemaId,
    /// What was done.
    pub op: Op,
    /// The flags of the source's row event: 1 = end of statement, 2 = foreign_key_checks off, 4 = unique_checks off,
    /// 8 = rows are complete (`Rows_log_event::enum_flag` in MySQL's sql/log_event.h).
    pub flags: u16,
    /// Rows in `images` and the [`RowsMore`] that follow.
    pub row_count: u32,
    /// One bit per column, lowest first: present in before images (Update, Delete), else empty.
    pub columns_before: &'a [u8],
    /// The same for after images (Insert, Update), else empty.
    pub columns_after: &'a [u8],
    /// The images: per row the NULL bitmap of the present columns and their packed values.
    pub images: &'a [u8],
    /// Bytes of images that follow in [`RowsMore`] records; 0 for all but rows beyond 16 MiB.
    pub more_bytes: u64,
}

/// Further bytes of the images of a [`Rows`] record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct RowsMore<'a> {
    /// Appended to the images so far.
    pub images: &'a [u8],
}

/// How a source transaction ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CommitKind {
    /// XID event, or a COMMIT query (non-transactional tables).
    Commit,
    /// The end of a statement that commits by itself (DDL).
    Implicit,
    /// A ROLLBACK query: a mixed transaction, of which the changes to non-transactional tables stay. The records say what stays.
    Rollback,
    /// XA PREPARE of this branch (`format_id`, gtrid and bqual as in the event): nothing is to be seen until its [`XaOutcome`].
    XaPrepare {
        /// The branch.
        xid: Xid,
    },
}

/// A branch of a distributed transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Xid {
    /// Format id.
    pub format_id: i32,
    /// Global transaction id, up to 64 bytes.
    pub gtrid: Vec<u8>,
    /// Branch qualifier, up to 64 bytes.
    pub bqual: Vec<u8>,
}

/// A source transaction ends. The last record of its seq.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Commit {
    /// The place after its last event: where following goes on.
    pub end: BinlogPosition,
    /// How it ended.
    pub kind: CommitKind,
    /// Rows in it, for a check against what was read.
    pub row_count: u64,
}

/// The outcome of a prepared branch; with [`Begin`] and [`Commit`] around it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct XaOutcome {
    /// The branch.
    pub xid: Xid,
    /// True for XA COMMIT, false for XA ROLLBACK.
    pub commit: bool,
}

/// A statement that the source logged as text: DDL, with all that it needs to mean the same elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Ddl<'a> {
    /// The statement in the bytes of `context.character_set_client`.
    pub statement: &'a [u8],
    /// The session's default database, empty if none.
    pub database: &'a [u8],
    /// What it is; the names of [`DdlKind`].
    pub kind: DdlKind,
    /// The objects that it names, in the order of the statement.
    pub objects: Vec<DdlObject>,
    /// The session in which it ran.
    pub context: SessionContext,
    /// True for the atomic CREATE TABLE … SELECT of MySQL 8.0.21 and later (logged as `CREATE TABLE … START TRANSACTION`),
    /// whose rows follow in the same seq.
    pub atomic_rows_follow: bool,
}

/// What kind of statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[expect(missing_docs, reason = "each is the statement that it is named after")]
pub enum DdlKind {
    CreateDatabase,
    AlterDatabase,
    DropDatabase,
    CreateTable,
    AlterTable,
    DropTable,
    RenameTable,
    TruncateTable,
    CreateIndex,
    DropIndex,
    CreateView,
    AlterView,
    DropView,
    CreateRoutine,
    AlterRoutine,
    DropRoutine,
    CreateTrigger,
    DropTrigger,
    CreateEvent,
    AlterEvent,
    DropEvent,
    CreateSequence,
    AlterSequence,
    DropSequence,
    /// Accounts, grants, server administration: captured by position, never applied.
    Administrative,
}

/// An object that a statement names.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DdlObject {
    /// Its database: as written, or the session's default.
    pub database: String,
    /// Its name; empty for a database itself.
    pub name: String,
    /// Where the (perhaps qualified) name stands in the statement, as byte offsets `start..end`.
    pub span: (u32, u32),
    /// What the statement does to it.
    pub role: DdlRole,
}

/// What a statement does to an object that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum DdlRole {
    /// It is created, changed or dropped.
    Target,
    /// It is only read: LIKE, SELECT, REFERENCES, a trigger's table.
    Reference,
    /// It is the new name of the object before it (RENAME, ALTER … RENAME).
    NewName,
}

/// The session in which a statement ran: the status variables of MySQL's Query event (sql/log_event.h, `Query_log_event`)
/// and the header's time. None where the event does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SessionContext {
    /// Seconds since 1970: `SET timestamp`.
    pub timestamp: u32,
    /// Microseconds to add to `timestamp`.
    pub microseconds: Option<u32>,
    /// `sql_mode` as a bitmap of the source's family.
    pub sql_mode: Option<u64>,
    /// `flags2`: OPTION_AUTO_IS_NULL 0x4000, OPTION_NOT_AUTOCOMMIT 0x80000, OPTION_NO_FOREIGN_KEY_CHECKS 0x4000000, OPTION_RELAXED_UNIQUE_CHECKS 0x8000000.
    pub flags2: Option<u32>,
    /// Collation ids: `character_set_client`, `collation_connection`, `collation_server`.
    pub charsets: Option<(u16, u16, u16)>,
    /// `time_zone`.
    pub time_zone: Option<String>,
    /// `auto_increment_increment`, `auto_increment_offset`.
    pub auto_increment: Option<(u16, u16)>,
    /// `lc_time_names` by number.
    pub lc_time_names: Option<u16>,
    /// `collation_database` by id.
    pub collation_database: Option<u16>,
    /// `explicit_defaults_for_timestamp`.
    pub explicit_defaults_for_timestamp: Option<bool>,
    /// `default_collation_for_utf8mb4` by id.
    pub default_collation_for_utf8mb4: Option<u16>,
    /// `sql_require_primary_key`.
    pub sql_require_primary_key: Option<bool>,
    /// `default_table_encryption`.
    pub default_table_encryption: Option<bool>,
    /// The invoker, `user` and `host`.
    pub invoker: Option<(String, String)>,
    /// MariaDB's `character_set_collations`: the default collation of a character set and the one meant instead, by id. Empty = none differ.
    pub character_set_collations: Vec<(u16, u16)>,
}

/// Who wrote what follows. Stands at the start of each segment and wherever it changes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SourceInfo {
    /// Family.
    pub flavor: Flavor,
    /// `@@version`.
    pub version: String,
    /// `@@server_uuid`, empty for MariaDB.
    pub server_uuid: String,
    /// `@@server_id`.
    pub server_id: u32,
    /// Grows with each incarnation of the source.
    pub epoch: u64,
    /// The source's format description event, whole, with its header; its checksum algorithm is set to OFF and its own CRC is right.
    pub format_description: Vec<u8>,
}

/// The source's position moved with nothing to apply (filtered or empty transactions, idle time).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PositionMark {
    /// Where following goes on.
    pub position: BinlogPosition,
    /// All transactions up to here.
    pub gtids: GtidSet,
    /// Microseconds since 1970 UTC by the source's clock.
    pub source_us: u64,
}

/// The opaque part of a segment's header: the state of the source at the segment's start.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SegmentStart {
    /// Epoch of the source.
    pub epoch: u64,
    /// Where following would go on.
    pub position: BinlogPosition,
    /// All transactions before this segment, those that were purged before the pipeline began included.
    pub gtids: GtidSet,
    /// Microseconds since 1970 UTC of the last commit before this segment; 0 if none.
    pub committed_us: u64,
    /// How far snapshots are at the segment's start.
    pub snapshots: SnapshotState,
}

#[cfg(test)]
mod tests;

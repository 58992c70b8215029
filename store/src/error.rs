//! What can go wrong, with the facts an operator needs and the next step in every message.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use common::Seq;

/// Why bytes of a segment cannot be what the writer wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The segment header is not ours, fails its checksum, or contradicts the file's name or its store.
    SegmentHeader(String),
    /// The frame does not start with the frame magic.
    Magic {
        /// The four bytes found.
        found: u32,
    },
    /// The frame header fails its checksum.
    HeaderChecksum {
        /// Checksum in the frame.
        stored: u32,
        /// Checksum of the bytes.
        computed: u32,
    },
    /// A field of a frame header with a valid checksum has a value that the format does not allow.
    Field(&'static str),
    /// The frame ends behind the end of the data.
    Truncated {
        /// Bytes needed from the frame's start.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// The frame carries another seq than the one that must follow: a lost, doubled or misplaced frame.
    Sequence {
        /// Seq that must follow.
        expected: u64,
        /// Seq found.
        found: u64,
    },
    /// The frame does not continue the frame before it.
    Chain {
        /// Header checksum of the frame before.
        expected: u32,
        /// Link found in the frame.
        found: u32,
    },
    /// The body fails its checksum.
    BodyChecksum {
        /// Checksum in the header.
        stored: u32,
        /// Checksum of the bytes.
        computed: u32,
    },
    /// The body does not decompress to its stated length.
    Compression(String),
    /// The records do not fill the body exactly.
    Records(&'static str),
    /// Bytes follow the frame that sealed the segment.
    AfterSeal,
    /// The segment is followed by another one but does not end with a seal.
    NotSealed,
    /// A segment between two others, or below the published end, does not exist.
    MissingSegment,
    /// A torn tail was found below a point that was durable: data that was acknowledged is gone.
    BelowDurable {
        /// The offset up to which the segment was durable.
        durable: u64,
        /// What the scan found there.
        cause: Box<Damage>,
    },
    /// The published end lies before the reader's position: the store was rebuilt or restored under it.
    TimeTravel,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::SegmentHeader(why) => write!(f, "segment header: {why}"),
            Damage::Magic { found } => write!(f, "no frame starts here (found {found:#010x})"),
            Damage::HeaderChecksum { stored, computed } => {
                write!(f, "frame header checksum is {stored:#010x}, its bytes give {computed:#010x}")
            }
            Damage::Field(what) => write!(f, "frame header: {what}"),
            Damage::Truncated { needed, available } => write!(f, "frame needs {needed} bytes, {available} are there"),
            Damage::Sequence { expected, found } => write!(f, "frame carries seq {found}, seq {expected} must follow"),
            Damage::Chain { expected, found } => {
                write!(f, "frame continues {found:#010x}, the frame before it is {expected:#010x}")
            }
            Damage::BodyChecksum { stored, computed } => {
                write!(f, "frame body checksum is {stored:#010x}, its bytes give {computed:#010x}")
            }
            Damage::Compression(why) => write!(f, "frame body does not decompress: {why}"),
            Damage::Records(why) => write!(f, "records: {why}"),
            Damage::AfterSeal => write!(f, "bytes follow the seal"),
            Damage::NotSealed => write!(f, "segment ends without a seal although another follows"),
            Damage::MissingSegment => write!(f, "segment is missing"),
            Damage::BelowDurable { durable, cause } => {
                write!(f, "bytes were durable up to offset {durable}, but: {cause}")
            }
            Damage::TimeTravel => write!(f, "the store's end lies before what was read from it"),
        }
    }
}

/// Every way in which the store refuses.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused an operation.
    #[error("{op} {} at offset {offset}: {source}", path.display())]
    Io {
        /// What was being done.
        op: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Offset in bytes, 0 where it has no meaning.
        offset: u64,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Data that was durable is damaged. Nothing was changed.
    #[error(
        "store is damaged: segment {segment} offset {offset} (seq {seq}): {kind}; nothing was changed: \
         run `logweir store verify` for the whole extent, then restore the segment from a copy"
    )]
    Corrupt {
        /// File name of the segment.
        segment: String,
        /// Offset of the damaged frame, in bytes.
        offset: u64,
        /// The seq that was expected there.
        seq: Seq,
        /// What is wrong.
        kind: Damage,
    },
    /// A file beside the segments is damaged.
    #[error("{}: {why}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the next step.
        why: String,
    },
    /// Another process writes this store.
    #[error("store {} is written by another process (pid {pid}); stop that reader first", dir.display())]
    Locked {
        /// The store's folder.
        dir: PathBuf,
        /// Its process id, 0 if it left none.
        pid: u32,
    },
    /// An earlier error made it unknown what is on disk; the writer takes nothing any more.
    #[error(
        "writer stopped after an error at {stage}; what the disk holds is unknown: restart the reader, recovery will find out"
    )]
    Poisoned {
        /// The operation that failed first.
        stage: &'static str,
    },
    /// The disk (or the store's `max_size`) is full. Nothing was written; try the same append again later.
    #[error(
        "store is full: {needed} bytes needed, {free} free; free disk space, raise store.max_size or let the slowest destination catch up"
    )]
    Full {
        /// Bytes needed for the append.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A consumer has passed the end of the log: acknowledged data is gone.
    #[error(
        "consumer {name} has applied seq {pos} but the log ends at seq {end}: acknowledged data is lost; restore the store, \
         or start a new one and take a new snapshot for {name}"
    )]
    BehindConsumer {
        /// Consumer's name.
        name: String,
        /// Its position.
        pos: Seq,
        /// Last complete seq of the log.
        end: Seq,
    },
    /// The store was written by a newer Logweir.
    #[error("{} has format version {found}, this program reads up to {supported}; use a newer Logweir", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Highest version this program reads.
        supported: u32,
    },
    /// The seq was deleted by retention.
    #[error(
        "seq {asked} is not in the store any more, it starts at seq {first}; take a new snapshot for this destination"
    )]
    Gone {
        /// Seq asked for.
        asked: Seq,
        /// First seq that is there completely.
        first: Seq,
    },
    /// The seq is not in the store yet.
    #[error("seq {asked} is beyond the end of the store (seq {last})")]
    Beyond {
        /// Seq asked for.
        asked: Seq,
        /// Last complete seq.
        last: Seq,
    },
    /// There is no store in the folder, or its writer has not finished creating it.
    #[error("no store in {} yet; start the reader first", dir.display())]
    NotYet {
        /// The folder.
        dir: PathBuf,
    },
    /// There is no segment to append to: call `roll` first (a new store, or a crash just after a seal).
    #[error("no open segment; the writer must roll to a new one first")]
    NoSegment,
    /// A frame, a header blob or a name passes a limit of the format.
    #[error("{what} is {len}, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// A consumer's name cannot be a file name.
    #[error(
        "consumer name {name:?} must be 1 to 64 characters of a-z, A-Z, 0-9, '-', '_' and '.', not starting with '.'"
    )]
    BadName {
        /// The name.
        name: String,
    },
}

/// Result with [`StoreError`].
pub type Result<T> = std::result::Result<T, StoreError>;

impl StoreError {
    pub(crate) fn io(op: &'static str, path: &Path, offset: u64, source: io::Error) -> StoreError {
        StoreError::Io { op, path: path.to_path_buf(), offset, source }
    }

    /// Whether the store holds damage: a service exits with code 3 on it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, StoreError::Corrupt { .. } | StoreError::BehindConsumer { .. } | StoreError::BadFile { .. })
    }
}

/// Whether an error says that there is no space left, which passes by itself.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

//! The store: an append-only log of checksummed segments in one folder. It knows bytes, sequence numbers and fsync; no SQL, no positions.
//!
//! One process writes ([`Writer`]); any number of processes read ([`Tail`]). What a reader sees is durable and complete: the writer publishes
//! an end only after `fdatasync`, and only between two seqs. The bytes are described in `docs/FORMAT-store.md`.
//!
//! See [`Writer::open`] for an example.

mod at_rest;
mod builder;
mod bytes;
mod catalogue;
mod compress;
mod consumer;
mod error;
mod frame;
mod header;
mod identity;
mod options;
mod planted;
mod record;
mod recovery;
mod retention;
mod roll;
mod scan;
mod segment;
mod tail;
#[cfg(test)]
mod tests;
mod verify;
pub mod vfs;
mod watermark;
mod writer;

pub use builder::FrameBuilder;
pub use catalogue::Catalogue;
pub use common::Seq;
pub use compress::{COMPRESS_MIN, Compression};
pub use consumer::{Consumer, ConsumerInfo};
pub use error::{Damage, Result, StoreError};
pub use frame::{BODY_MAX, FRAME_HEADER, FRAME_MAGIC, FrameHeader, RECORD_VERSION};
pub use header::{BLOB_MAX, HEADER_BLOCK, SEGMENT_FORMAT, SEGMENT_MAGIC, SegmentHeader};
pub use options::{Retention, StoreOptions};
pub use record::{RECORD_HEADER, RecordRef, Records};
pub use recovery::TornTail;
pub use retention::RemovedSegment;
pub use segment::{Seal, SegmentId, SegmentInfo};
pub use tail::{Frame, Tail};
pub use verify::{DamagedPlace, VerifyReport, list_segment_headers, list_segments, verify, verify_on};
pub use watermark::{LogEnd, Watermark, WriterState};
pub use writer::{Durable, Recovered, Writer, WriterStats};

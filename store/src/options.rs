//! How a store is written.

use std::time::Duration;

use crate::compress::Compression;

/// Options of a [`crate::Writer`].
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Length at which a segment is full and the caller should roll, in bytes. Default 64 MiB.
    pub segment_bytes: u64,
    /// Largest total of all segments, in bytes; appends are refused beyond it ([`crate::StoreError::Full`]). Default: the disk.
    pub max_size: Option<u64>,
    /// Compression of frames of 8 KiB and more. Default LZ4.
    pub compression: Compression,
    /// Which source this is a log of; opaque here, at most 4000 bytes. Kept in `STORE` when the store is created.
    pub identity: Vec<u8>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            segment_bytes: 64 << 20,
            max_size: None,
            compression: Compression::default(),
            identity: Vec::new(),
        }
    }
}

/// What [`crate::Writer::retain`] may delete. A segment that a registered consumer still needs is kept, except by [`Retention::evict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Segments sealed less than this long ago are kept, even where everyone has passed them. Default: seven days.
    pub keep_for: Duration,
    /// Above this total, segments that everyone has passed go before their time. In bytes.
    pub max_size: Option<u64>,
    /// Above `max_size`, take also what consumers still need, and mark them lost. Default: false, the writer waits instead.
    pub evict: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { keep_for: Duration::from_secs(7 * 24 * 3600), max_size: None, evict: false }
    }
}

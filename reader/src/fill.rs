//! How full the open segment is, told by the thread that writes to the one that decides when the next segment begins.
//!
//! Frames that are on their way count whole, as if nothing could be compressed: a segment is never longer than its length and one frame. Were
//! only the written ones counted, a queue of frames could make the open segment, which retention cannot delete, as long as the whole store may be.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by [`crate::follow::Output`] and [`crate::writing::Writing`].
#[derive(Debug)]
pub struct Fill {
    segment_bytes: u64,
    /// Segments begun by the writer.
    rolls: AtomicU64,
    /// Bytes of the open segment.
    stored: AtomicU64,
    /// Bytes of frames, uncompressed, that the writer has appended since the start.
    taken: AtomicU64,
}

/// What the sending side remembers.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sent {
    /// Bytes of frames since the start.
    pub(crate) bytes: u64,
    /// The same when the last roll was sent.
    pub(crate) at_roll: u64,
    /// Rolls.
    pub(crate) rolls: u64,
}

impl Fill {
    /// For segments of `segment_bytes`, of which the open one has `stored` bytes; None where none is open.
    #[must_use]
    pub fn new(segment_bytes: u64, stored: Option<u64>) -> Self {
        let stored = AtomicU64::new(stored.unwrap_or(segment_bytes));
        Self { segment_bytes, rolls: AtomicU64::new(0), stored, taken: AtomicU64::new(0) }
    }

    /// The writer has appended `frame` bytes, and the open segment has `stored`.
    pub(crate) fn appended(&self, frame: usize, stored: u64) {
        self.stored.store(stored, Ordering::Release);
        self.taken.fetch_add(frame as u64, Ordering::Release);
    }

    /// The writer has begun a segment.
    pub(crate) fn rolled(&self, stored: u64) {
        self.stored.store(stored, Ordering::Release);
        self.rolls.fetch_add(1, Ordering::Release);
    }

    /// Whether the open segment will have its length once everything sent is appended.
    pub(crate) fn is_full(&self, sent: &Sent) -> bool {
        // In this order: a frame appended in between counts twice rather than not at all.
        let rolls = self.rolls.load(Ordering::Acquire);
        let taken = self.taken.load(Ordering::Acquire);
        let stored = self.stored.load(Ordering::Acquire);
        let begun = if rolls < sent.rolls {
            // The roll itself is still on its way.
            sent.bytes - sent.at_roll
        } else {
            stored + sent.bytes.saturating_sub(taken)
        };
        begun >= self.segment_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::{Identity, Message, Output, Place};
    use std::sync::{Arc, mpsc};

    #[test]
    fn frames_on_their_way_fill_the_segment_too() {
        let fill = Fill::new(100, Some(10));
        let mut sent = Sent::default();
        assert!(!fill.is_full(&sent));
        sent.bytes = 90;
        assert!(fill.is_full(&sent), "10 written and 90 sent");
        fill.appended(90, 40);
        assert!(!fill.is_full(&sent), "compressed to 30");
        sent = Sent { bytes: 150, at_roll: 150, rolls: 1 };
        assert!(!fill.is_full(&sent), "nothing follows the roll that is on its way");
        sent.bytes = 250;
        assert!(fill.is_full(&sent));
        fill.appended(60, 60);
        fill.rolled(5);
        fill.appended(100, 45);
        assert!(!fill.is_full(&sent));
    }

    /// Seen as a store that was full for ever: the open segment had grown to nearly max_size and cannot be deleted.
    #[test]
    fn a_queue_of_frames_does_not_make_the_open_segment_long() {
        let (to, from) = mpsc::sync_channel(100);
        let (_emptied, free) = mpsc::channel();
        let mut output = Output::new(to, free, Arc::new(Fill::new(1 << 20, None)), Identity::default());
        for _ in 0..8 {
            output.start_seq(&Place::default()).unwrap();
            output.record(common::record::RecordKind::Rows, &vec![7_u8; 1 << 20]).unwrap();
            output.end_seq(&Place::default()).unwrap();
        }
        let kinds: String =
            from.try_iter().map(|message| if matches!(message, Message::Roll(_)) { 'R' } else { 'f' }).collect();
        assert_eq!(kinds, "Rf".repeat(8));
    }
}

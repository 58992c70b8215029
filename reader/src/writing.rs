//! The thread that owns the store's writer: append, sync, publish; wait where there is no room.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use store::{FrameBuilder, Retention, StoreError, StoreOptions, Writer};

use crate::board::Board;
use crate::fill::Fill;
use crate::follow::{Message, Progress};
use crate::snapshot::desk::Desk;
use crate::snapshot::run::store_limit;

/// A group of frames is synced at this size, or as soon as no further frame waits.
const GROUP_BYTES: usize = 1 << 20;
/// How often a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_millis(200);
/// How often old segments are looked for.
const RETAIN_EVERY: Duration = Duration::from_secs(10);
/// The same while a snapshot waits for them to go.
const RETAIN_FOR_COPY_EVERY: Duration = Duration::from_millis(100);
/// How often readers are shown that the writer lives.
const BEAT_EVERY: Duration = Duration::from_millis(500);

/// What the thread needs.
#[derive(Debug)]
pub struct Writing {
    /// Folder of the store.
    pub dir: PathBuf,
    /// To open it again after an abort.
    pub options: StoreOptions,
    /// What may be deleted.
    pub retention: Retention,
    /// Frames.
    pub from: Receiver<Message>,
    /// Emptied builders.
    pub free: Sender<FrameBuilder>,
    /// Where it tells how full the open segment is.
    pub fill: Arc<Fill>,
    /// Where it tells how far it is.
    pub board: Arc<Board>,
    /// Says whether the first snapshot is under way.
    pub desk: Desk,
    /// Where it tells how large the store is: bytes of all segments.
    pub store_bytes: Arc<AtomicU64>,
}

impl Writing {
    /// Runs until the other side hangs up; then everything is durable.
    ///
    /// # Errors
    /// An error of the disk. What is on it is then unknown, and only a new start may say.
    pub fn run(&mut self, writer: Writer) -> Result<(), StoreError> {
        let mut writer = Some(writer);
        self.store_bytes.store(writer.as_ref().map_or(0, |writer| writer.stats().store_bytes), Ordering::Relaxed);
        let (mut retained, mut beat) = (Instant::now(), Instant::now());
        loop {
            let retain_every = if self.copy_waits() { RETAIN_FOR_COPY_EVERY } else { RETAIN_EVERY };
            let message = match self.from.recv_timeout(BEAT_EVERY.min(retain_every)) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut group = 0;
            let mut progress = None;
            let mut next = message;
            while let Some(message) = next {
                match message {
                    Message::Frame(mut frame, reached) => {
                        let bytes = frame.len_bytes();
                        group += bytes;
                        if let Some(writer) = &mut writer {
                            self.insist(writer, &mut progress, |writer| writer.append(&mut frame))?;
                            self.fill.appended(bytes, writer.segment_len());
                        }
                        progress = Some(reached);
                        frame.clear();
                        // The other side may have ended meanwhile.
                        let _ = self.free.send(frame);
                    }
                    Message::Roll(blob) => {
                        if let Some(writer) = &mut writer {
                            self.insist(writer, &mut progress, |writer| writer.roll(&blob))?;
                            self.fill.rolled(writer.segment_len());
                            self.retain(writer, 0)?;
                            retained = Instant::now();
                        }
                    }
                    Message::Abort => {
                        // Only recovery cuts what was appended; the lock is free once the old writer is gone.
                        drop(writer.take());
                        let (opened, found) = Writer::open(&self.dir, self.options.clone())?;
                        tracing::info!(next_seq = %found.next_seq, "dropped an unfinished transaction");
                        writer = Some(opened);
                    }
                }
                next = if group < GROUP_BYTES { self.from.try_recv().ok() } else { None };
            }
            let Some(writer) = &mut writer else { break };
            self.sync(writer, progress)?;
            if beat.elapsed() >= BEAT_EVERY {
                writer.heartbeat();
                beat = Instant::now();
            }
            if retained.elapsed() >= retain_every {
                self.retain(writer, 0)?;
                retained = Instant::now();
            }
        }
        match writer {
            Some(writer) if !writer.inside_seq() => writer.close(),
            // What is unfinished is cut at the next start.
            _ => Ok(()),
        }
    }

    fn sync(&self, writer: &mut Writer, progress: Option<Progress>) -> Result<(), StoreError> {
        let Some(progress) = progress else { return Ok(()) };
        let durable = writer.sync()?;
        let stats = writer.stats();
        self.store_bytes.store(stats.store_bytes, Ordering::Relaxed);
        metrics::gauge!("logweir_store_bytes").set(stats.store_bytes as f64);
        metrics::counter!("logweir_store_syncs_total").absolute(stats.syncs);
        metrics::counter!("logweir_store_written_bytes_total").absolute(stats.stored_bytes);
        metrics::gauge!("logweir_durable_seq").set(durable.seq.0 as f64);
        self.board.durable(durable.seq.0, &progress);
        Ok(())
    }

    /// Tries until there is room. The source keeps its binlogs meanwhile; nothing is lost. What was appended before becomes visible first:
    /// the appliers must be able to pass it, or retention could never make the room that we wait for.
    fn insist(
        &self,
        writer: &mut Writer,
        appended: &mut Option<Progress>,
        mut action: impl FnMut(&mut Writer) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut told = false;
        loop {
            match action(writer) {
                Err(StoreError::Full { needed, free }) => {
                    self.sync(writer, appended.take())?;
                    if !told {
                        tracing::error!(
                            needed,
                            free,
                            "no room in the store: waiting; free disk space, raise store.max_size, or let the slowest destination catch up"
                        );
                        self.board.set_blocked(true);
                        self.board.failed("no room in the store");
                        told = true;
                    }
                    if self.board.stopping() {
                        return Err(StoreError::Full { needed, free });
                    }
                    self.retain(writer, needed)?;
                    writer.heartbeat();
                    std::thread::sleep(FULL_RETRY);
                }
                other => {
                    if told {
                        tracing::info!("there is room in the store again");
                        self.board.set_blocked(false);
                    }
                    return other;
                }
            }
        }
    }

    /// Whether a snapshot is under way.
    fn copies(&self) -> bool {
        self.desk.with_state(|state| !state.runs.is_empty())
    }

    /// Whether it reads nothing more before segments go.
    fn copy_waits(&self) -> bool {
        self.store_bytes.load(Ordering::Relaxed) > store_limit(self.retention.max_size) && self.copies()
    }

    /// Deletes what may go; while the first snapshot is under way at once, since nobody can want to go back behind it and it may be as large as the source. With `needed` bytes to come, passed segments go early as soon as those bytes would pass max_size, not only once it is passed.
    fn retain(&self, writer: &mut Writer, needed: u64) -> Result<(), StoreError> {
        let mut max_size = self.retention.max_size;
        if self.copies() {
            // A later snapshot may be as large too, and what all have passed must not hold it back.
            let limit = store_limit(max_size);
            max_size = Some(max_size.map_or(limit, |max| max.min(limit)));
        }
        let max_size = max_size.map(|max| max.saturating_sub(needed));
        let keep_for = if self.desk.first_run() { Duration::ZERO } else { self.retention.keep_for };
        let removed = writer.retain(&Retention { keep_for, max_size, ..self.retention })?;
        self.store_bytes.store(writer.stats().store_bytes, Ordering::Relaxed);
        if let (Some(first), Some(last)) = (removed.first(), removed.last()) {
            tracing::info!(segments = removed.len(), first = ?first.id, last = ?last.id, "deleted segments that everyone has passed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

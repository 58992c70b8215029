//! Reads the store on a thread of its own, one step ahead of the worker.
//!
//! The worker asks for a step; meanwhile the next is read and gathered. So a group grows for as long as the destination is busy, up
//! to the budget, and closes at once when the log is drained and the worker waits: that keeps latency at a few ms when idle
//! and commits large when behind.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as sync;
use std::time::{Duration, Instant};

use common::Seq;
use store::Tail;
use tokio::sync::mpsc;

use crate::error::{ApplyError, Result};
use crate::plan::{Planner, Step};

/// How long the thread sleeps at most before it looks whether it is still wanted.
const SLICE: Duration = Duration::from_millis(200);

/// Where the feed is, for `status`.
#[derive(Debug, Default)]
pub(crate) struct FeedStats {
    /// Bytes of the store after what was read.
    pub behind_bytes: AtomicU64,
    /// Last durable seq of the store.
    pub last_seq: AtomicU64,
    /// Bytes read since the start.
    pub read_bytes: AtomicU64,
}

/// Steps from the store, on demand.
#[derive(Debug)]
pub(crate) struct Feed {
    demand: sync::SyncSender<()>,
    steps: mpsc::Receiver<Result<Step>>,
    asked: bool,
}

impl Feed {
    /// Starts reading the store in `dir` so that `planner` sees everything from `from` on.
    ///
    /// # Errors
    /// When the store does not hold `from`.
    pub(crate) fn start(
        dir: &Path,
        mut planner: Planner,
        from: Seq,
        group_time: Duration,
        stats: Arc<FeedStats>,
    ) -> Result<Self> {
        let mut tail = Tail::open(dir)?;
        tail.seek_segment_of(from)?;
        if let Some(header) = tail.segment_header().filter(|header| !header.blob.is_empty()) {
            planner.segment(&header.blob)?;
        }
        let (demand, wanted) = sync::sync_channel(1);
        let (out, steps) = mpsc::channel(1);
        let read = move || {
            if let Err(error) = run(&mut tail, &mut planner, group_time, &wanted, &out, &stats) {
                // Nobody listening means that the worker has gone on without us.
                let _ = out.blocking_send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("feed".into()).spawn(read);
        thread.map_err(|error| {
            ApplyError::refused(
                format!("no thread to read the store: {error}"),
                "free memory or raise the limit of threads",
            )
        })?;
        Ok(Self { demand, steps, asked: false })
    }

    /// The next step. May be dropped and called again; nothing is lost by that.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Step> {
        if !self.asked {
            // Full or closed: then an answer is already there, or the end is.
            let _ = self.demand.try_send(());
            self.asked = true;
        }
        let step = self.steps.recv().await;
        self.asked = false;
        step.unwrap_or_else(|| Err(ApplyError::refused("the thread that reads the store is gone", "report this")))
    }
}

fn run(
    tail: &mut Tail,
    planner: &mut Planner,
    group_time: Duration,
    wanted: &sync::Receiver<()>,
    out: &mpsc::Sender<Result<Step>>,
    stats: &FeedStats,
) -> Result<()> {
    let mut step = None;
    loop {
        // Read ahead until there is a step, or nothing more.
        let mut demanded = false;
        while step.is_none() && !demanded {
            step = planner.take();
            if step.is_some() || !read_frame(tail, planner, stats)? {
                break;
            }
            demanded = wanted.try_recv().is_ok();
        }
        if !demanded && wanted.recv().is_err() {
            return Ok(());
        }
        let since = Instant::now();
        let found = loop {
            if let Some(found) = step.take().or_else(|| planner.take()) {
                break found;
            }
            if planner.gathers() && since.elapsed() > group_time {
                planner.flush();
            } else if read_frame(tail, planner, stats)? {
                continue;
            } else if planner.gathers() {
                planner.flush();
            } else if out.is_closed() {
                return Ok(());
            } else {
                tail.wait(SLICE);
            }
        };
        if out.blocking_send(Ok(found)).is_err() {
            return Ok(());
        }
    }
}

/// Takes one frame in; false if there is none now.
fn read_frame(tail: &mut Tail, planner: &mut Planner, stats: &FeedStats) -> Result<bool> {
    let read = match tail.next()? {
        Some(frame) => {
            for record in frame.records() {
                planner.push(record.seq, record.kind, record.payload)?;
            }
            Some((frame.segment.number, frame.offset + frame.stored_len, frame.stored_len))
        }
        None => None,
    };
    let end = tail.watermark();
    stats.last_seq.store(tail.last_seq().0, Ordering::Relaxed);
    match read {
        Some((segment, offset, len)) => {
            stats.read_bytes.fetch_add(len, Ordering::Relaxed);
            let whole = 64 << 20;
            let behind = match end.end.segment.checked_sub(segment) {
                Some(0) => end.end.offset.saturating_sub(offset),
                // Segments in between count with their usual size: this is for people.
                Some(n) => (n - 1) * whole + whole.saturating_sub(offset) + end.end.offset,
                None => 0,
            };
            stats.behind_bytes.store(behind, Ordering::Relaxed);
            Ok(true)
        }
        None => {
            stats.behind_bytes.store(0, Ordering::Relaxed);
            Ok(false)
        }
    }
}

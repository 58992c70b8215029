//! The scheduler of runs: what is copied when, by how many threads.
//!
//! One thread begins runs, hands their tables to copying threads ([`super::table`]), and appends what is not a table. All that must outlive it stands in the log.

mod begin;
mod due;
mod objects;
pub mod plan;
pub mod progress;
mod requests;
pub mod trouble;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use common::config::{OnObjectError, Pipeline};
use common::control::{Answer, Request, SnapshotSeen};
use common::snapshot::{RunState, SnapshotStep, TableName};

use super::chunk::Shape;
use super::desk::Desk;
use super::table::Copier;
use super::throttle::Throttle;
use crate::board::Board;
use crate::error::ReaderError;
use due::Wanted;
use plan::Plan;
use progress::Progress;
use trouble::Trouble;

/// The first pause before trying again; it doubles up to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long the scheduler waits before it looks around.
const TICK: Duration = Duration::from_millis(100);
/// Without `max_size`, the store holds no more than this while a run is under way.
const STORE_BYTES_MAX: u64 = 4 << 30;

/// How large the store may be for chunks to be read: half of its `max_size`, so that the binlog has the rest.
pub(crate) fn store_limit(max_size: Option<u64>) -> u64 {
    max_size.map_or(STORE_BYTES_MAX, |size| size / 2)
}

/// What a scheduler works with.
#[derive(Debug)]
pub struct RunContext {
    /// The configuration.
    pub pipeline: Pipeline,
    /// Where the follower is met.
    pub desk: Desk,
    /// Whether to pause.
    pub board: Arc<Board>,
    /// Bytes of the store's segments now.
    pub store_bytes: Arc<AtomicU64>,
}

/// A scheduler at work.
#[derive(Debug)]
pub struct Scheduler {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What all its threads share.
#[derive(Debug)]
pub struct Shared {
    pub(super) pipeline: Pipeline,
    pub(super) desk: Desk,
    board: Arc<Board>,
    store_bytes: Arc<AtomicU64>,
    pub(super) progress: Progress,
    threads: AtomicU64,
    cancel: AtomicBool,
    /// Made with the first connection.
    throttle: Mutex<Option<Arc<Throttle>>>,
    /// Limits that were changed before that.
    tuned: Mutex<Vec<(String, String)>>,
    /// Runs that wait for their Begin.
    wanted: Mutex<VecDeque<Wanted>>,
    woken: Condvar,
}

/// Starts it.
#[must_use]
pub fn start(context: RunContext) -> Scheduler {
    let RunContext { pipeline, desk, board, store_bytes } = context;
    let shared = Arc::new(Shared {
        threads: AtomicU64::new(pipeline.snapshot.threads),
        pipeline,
        desk,
        board,
        store_bytes,
        progress: Progress::default(),
        cancel: AtomicBool::new(false),
        throttle: Mutex::default(),
        tuned: Mutex::default(),
        wanted: Mutex::default(),
        woken: Condvar::new(),
    });
    let for_thread = shared.clone();
    let thread = std::thread::Builder::new().name("snapshot".into()).spawn(move || for_thread.schedule());
    let thread = match thread {
        Ok(thread) => Some(thread),
        Err(error) => {
            shared.desk.fail(ReaderError::Source(format!("this system gives no thread: {error}")));
            None
        }
    };
    Scheduler { shared, thread }
}

impl Scheduler {
    /// Answers a request of [`Request::Snapshot`], [`Request::CancelSnapshot`] or [`Request::Tune`]. May take as long as the source takes to list its tables; not for
    /// a thread that serves others.
    #[must_use]
    pub fn request(&self, request: Request) -> Answer {
        self.shared.request(request)
    }

    /// How far it is; None while no run is under way.
    #[must_use]
    pub fn seen(&self) -> Option<SnapshotSeen> {
        self.shared.seen()
    }

    /// Ends it; the desk is closed already.
    pub fn stop(mut self) {
        self.shared.woken.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the snapshot's thread panicked");
        }
    }
}

/// A run under way.
#[derive(Debug)]
pub struct Run<'a> {
    pub(super) shared: &'a Shared,
    pub(super) state: RunState,
    pub(super) plan: Plan,
    /// Each table's definition as it was read last. The lock is held while it is read.
    pub(super) shapes: Vec<Mutex<Option<Arc<Shape>>>>,
    /// Tables whose engine has no transactions.
    pub(super) engines: Vec<bool>,
    /// DDL events are taken over in their order.
    ddl: Mutex<()>,
    /// New names of tables that were renamed before they were done.
    pub(super) renamed: Mutex<Vec<TableName>>,
    pub(super) throttle: Arc<Throttle>,
}

impl Shared {
    /// Whether nothing more is to be done.
    pub(super) fn stopping(&self) -> bool {
        self.desk.closed() || self.board.stopping()
    }

    /// Whether an operator ended the run.
    pub(super) fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    pub(super) fn halted(&self) -> bool {
        self.stopping() || self.cancelled()
    }

    /// How many threads copy.
    pub(super) fn threads_now(&self) -> u64 {
        self.threads.load(Ordering::Relaxed)
    }

    fn wanted(&self) -> MutexGuard<'_, VecDeque<Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limits.
    pub(super) fn throttle(&self) -> Result<Arc<Throttle>, Trouble> {
        let server = self.desk.server()?;
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(throttle) = &*throttle {
            return Ok(throttle.clone());
        }
        let new = Arc::new(Throttle::new(&self.pipeline.snapshot, &server));
        for (key, value) in self.tuned.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Err(reason) = new.tune(key, value) {
                tracing::warn!(key, value, "{reason}");
            }
        }
        *throttle = Some(new.clone());
        Ok(new)
    }

    fn seen(&self) -> Option<SnapshotSeen> {
        let mut seen = self.progress.seen()?;
        let throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(throttle) = throttle {
            if seen.held_by.is_none()
                && let Some((words, since)) = throttle.held_by()
            {
                (seen.held_by, seen.held_since_us) = (Some(words), since);
            }
            for (key, seconds) in throttle.held_seconds() {
                *seen.held_seconds.entry(key).or_default() += seconds;
            }
        }
        Some(seen)
    }

    /// Does `what` until it succeeds, the source does not come back within `retry_for`, or an error stays that time does not mend.
    pub(super) fn insist<T>(&self, mut what: impl FnMut() -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut since = None;
        let mut pause = BACKOFF.0;
        loop {
            let (error, lost) = match what() {
                Err(Trouble::Lost(error)) => (error, true),
                Err(Trouble::Busy(error)) => (error, false),
                other => return other,
            };
            if self.stopping() {
                return Err(Trouble::Stopped);
            }
            if since.get_or_insert_with(Instant::now).elapsed() >= self.pipeline.source.retry_for {
                return Err(Trouble::Fatal(error));
            }
            if lost {
                tracing::warn!(retry_in = ?pause, "the copy waits: {error}");
            } else {
                tracing::debug!(retry_in = ?pause, "the copy waits: {error}");
            }
            self.rest(pause);
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// Waits, unless all is to end.
    pub(super) fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.stopping() {
            std::thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
    }

    fn schedule(&self) {
        if let Err(trouble) = self.runs() {
            self.fail(trouble);
        }
    }

    /// Ends the reader, if this is a reason to.
    pub(super) fn fail(&self, trouble: Trouble) {
        match trouble {
            Trouble::Stopped => {}
            Trouble::Lost(error) | Trouble::Busy(error) | Trouble::Table(_, error) | Trouble::Fatal(error) => {
                self.desk.fail(*error)
            }
        }
    }

    /// Run after run.
    fn runs(&self) -> Result<(), Trouble> {
        while !self.stopping() {
            let state = self.desk.state();
            if let Some(run) = state.runs.into_iter().next() {
                self.work(run)?;
                continue;
            }
            let asked = self.wanted().pop_front();
            let due = match asked {
                Some(wanted) => Some(wanted),
                None => due::next(&self.desk.state(), &self.pipeline)
                    .map_err(|error| Trouble::fatal(ReaderError::Source(error.to_string())))?,
            };
            match due {
                Some(wanted) => drop(self.insist(|| self.begin(&wanted))?),
                None => {
                    let wanted = self.wanted();
                    if wanted.is_empty() && !self.stopping() {
                        drop(self.woken.wait_timeout(wanted, TICK).unwrap_or_else(PoisonError::into_inner));
                    }
                }
            }
        }
        Ok(())
    }

    /// One run to its end.
    fn work(&self, state: RunState) -> Result<(), Trouble> {
        let id = state.begin.run;
        let began = Instant::now();
        self.cancel.store(false, Ordering::Relaxed);
        let run = self.insist(|| self.prepare(&state))?;
        self.insist(|| self.foundations(&run))?;
        self.copy(&run);
        if self.stopping() {
            return Ok(());
        }
        let mut cancelled = self.cancelled();
        if !cancelled {
            if !run.plan.complete() {
                // A thread has said why.
                return Err(Trouble::Stopped);
            }
            match self.insist(|| self.others(&run)) {
                Err(Trouble::Stopped) if self.cancelled() => cancelled = true,
                other => other?,
            }
        }
        if let Some(step) = run.renamed_step().filter(|_| !cancelled) {
            self.desk.append(step)?;
            run.renamed_begun();
        }
        self.desk.append(SnapshotStep::End { run: id, cancelled, at: common::BinlogPosition::default() })?;
        let seen = self.progress.seen().unwrap_or_default();
        self.progress.end();
        let words = if cancelled { "the copy was cancelled" } else { "the copy is complete" };
        let seconds = began.elapsed().as_secs();
        tracing::info!(run = id, tables = seen.tables, rows = seen.rows, bytes = seen.bytes, seconds, "{words}");
        Ok(())
    }

    /// The tables, by several threads.
    fn copy(&self, run: &Run<'_>) {
        let (left, gone) = mpsc::channel::<()>();
        let active = AtomicU64::new(0);
        std::thread::scope(|scope| {
            loop {
                if self.halted() {
                    run.plan.close();
                }
                let want = self.threads.load(Ordering::Relaxed);
                let mut running = active.load(Ordering::Relaxed);
                while !self.halted() && running < want && run.plan.waiting() > 0 {
                    let (left, active) = (left.clone(), &active);
                    active.fetch_add(1, Ordering::Relaxed);
                    running += 1;
                    let spawned =
                        std::thread::Builder::new().name(format!("copy-{running}")).spawn_scoped(scope, move || {
                            let mut copier = Copier::new(run);
                            if let Err(trouble) = copier
                                .work(&|| active.load(Ordering::Relaxed) <= self.threads.load(Ordering::Relaxed).max(1))
                            {
                                run.plan.close();
                                self.fail(trouble);
                            }
                            active.fetch_sub(1, Ordering::Relaxed);
                            let _ = left.send(());
                        });
                    if let Err(error) = spawned {
                        active.fetch_sub(1, Ordering::Relaxed);
                        running -= 1;
                        tracing::warn!(%error, "this system gives no further thread");
                        if running == 0 {
                            run.plan.close();
                            self.desk.fail(ReaderError::Source(format!("this system gives no thread: {error}")));
                        }
                        break;
                    }
                }
                if active.load(Ordering::Relaxed) == 0 && (run.plan.waiting() == 0 || run.plan.closed()) {
                    break;
                }
                let _ = gone.recv_timeout(TICK);
            }
        });
    }

    /// Waits while the store is larger than a run may make it.
    pub(super) fn wait_for_store(&self) {
        let limit = store_limit(self.pipeline.store.max_size);
        let mut held = false;
        loop {
            let bytes = self.store_bytes.load(Ordering::Relaxed);
            if bytes <= limit || self.halted() {
                break;
            }
            let mib = |bytes: u64| bytes >> 20;
            let words = format!(
                "store: it holds {} MiB, and chunks are read up to {} MiB; a destination is behind",
                mib(bytes),
                mib(limit)
            );
            if held {
                self.progress.release("store");
            }
            self.progress.hold("store", &words);
            held = true;
            std::thread::sleep(TICK / 2);
        }
        if held {
            self.progress.release("store");
        }
    }

    /// Whether a table that cannot be read is left out.
    pub(super) fn skips(&self) -> bool {
        self.pipeline.snapshot.on_error == OnObjectError::Skip
    }
}

impl Run<'_> {
    /// Takes over what DDL the follower has met. To be called after a window is opened, for all before it.
    pub(super) fn note_ddl(&self) -> Result<(), Trouble> {
        let _turn = self.ddl.lock().unwrap_or_else(PoisonError::into_inner);
        for event in self.shared.desk.ddl_events(Duration::ZERO)? {
            self.take_ddl(&event);
        }
        Ok(())
    }
}

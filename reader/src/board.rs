//! What the reader tells about itself, gathered from its threads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use common::control::{Answer, ErrorSeen, ReaderStatus, Request, State, now_us};

use crate::follow::{Counts, Progress};
use crate::snapshot::desk::Desk;
use crate::snapshot::run::Scheduler;

/// The window over which rates are taken.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// The state that status, metrics and the threads share.
#[derive(Debug)]
pub struct Board {
    inner: Mutex<Inner>,
    stop: AtomicBool,
    pause: AtomicBool,
    copying: RwLock<Option<Copying>>,
}

/// Who copies.
#[derive(Debug)]
struct Copying {
    desk: Desk,
    scheduler: Scheduler,
}

#[derive(Debug)]
struct Inner {
    status: ReaderStatus,
    samples: VecDeque<(Instant, u64, u64)>,
    /// Nothing more has come from the source at the moment.
    level: bool,
    blocked: bool,
}

impl Board {
    /// A reader that is starting.
    #[must_use]
    pub fn new(pipeline: &str) -> Self {
        let now = now_us();
        let status = ReaderStatus {
            pipeline: pipeline.to_owned(),
            pid: std::process::id(),
            started_us: now,
            state_since_us: now,
            ..ReaderStatus::default()
        };
        let inner = Inner { status, samples: VecDeque::new(), level: false, blocked: false };
        Self {
            inner: Mutex::new(inner),
            stop: AtomicBool::new(false),
            pause: AtomicBool::new(false),
            copying: RwLock::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the reader to end after the transaction in hand.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.set_state(State::Stopping);
    }

    /// Whether it was asked to.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks the reader to wait after the transaction in hand, or to go on.
    pub fn pause(&self, pause: bool) {
        self.pause.store(pause, Ordering::Relaxed);
    }

    /// Whether it was asked to wait.
    #[must_use]
    pub fn pausing(&self) -> bool {
        self.pause.load(Ordering::Relaxed)
    }

    /// Snapshots are looked after from now on.
    pub fn set_copying(&self, desk: Desk, scheduler: Scheduler) {
        *self.copying.write().unwrap_or_else(PoisonError::into_inner) = Some(Copying { desk, scheduler });
    }

    /// Nobody looks after them any more. Waits for a request in hand.
    pub fn take_copying(&self) -> Option<Scheduler> {
        self.copying.write().unwrap_or_else(PoisonError::into_inner).take().map(|copying| copying.scheduler)
    }

    /// Answers a request about snapshots; blocks, perhaps for as long as a query at the source takes.
    #[must_use]
    pub fn request(&self, request: Request) -> Answer {
        match &*self.copying.read().unwrap_or_else(PoisonError::into_inner) {
            Some(copying) => copying.scheduler.request(request),
            None => Answer::Refused { reason: "the reader is starting, or stopping".into() },
        }
    }

    /// Changes the status.
    pub fn update(&self, change: impl FnOnce(&mut ReaderStatus)) {
        change(&mut self.lock().status);
    }

    /// What the reader does now.
    pub fn set_state(&self, state: State) {
        let mut inner = self.lock();
        if inner.status.state != state {
            inner.status.state = state;
            inner.status.state_since_us = now_us();
        }
    }

    /// The store has no room, or has again.
    pub fn set_blocked(&self, blocked: bool) {
        self.lock().blocked = blocked;
    }

    /// What was seen so far, and whether the source has nothing more for the moment.
    pub fn seen(&self, counts: &Counts, level: bool) {
        let mut inner = self.lock();
        inner.level = level;
        let totals = &mut inner.status.totals;
        totals.transactions = counts.transactions;
        totals.rows = counts.rows;
        totals.ddl = counts.statements;
        totals.bytes = counts.bytes;
        totals.ignored = counts.skipped_statements;
        let now = Instant::now();
        if inner.samples.back().is_none_or(|(at, ..)| now - *at >= RATE_WINDOW / 20) {
            inner.samples.push_back((now, counts.rows, counts.bytes));
        }
        while inner.samples.front().is_some_and(|(at, ..)| now - *at > RATE_WINDOW) {
            inner.samples.pop_front();
        }
    }

    /// What is durable.
    pub fn durable(&self, seq: u64, progress: &Progress) {
        let position = &mut self.lock().status.position;
        position.seq = seq;
        position.binlog = Some(progress.place.position.clone());
        position.gtids = progress.place.gtids.to_string();
        position.committed_us = progress.place.committed_us;
    }

    /// Something went wrong.
    pub fn failed(&self, message: &str) {
        self.lock().status.last_error = Some(ErrorSeen { message: message.to_owned(), at_us: now_us() });
    }

    /// For `/healthz`.
    ///
    /// # Errors
    /// What keeps the reader from its work.
    pub fn health(&self) -> Result<String, String> {
        let status = self.status();
        match status.state {
            State::Retrying | State::Blocked => {
                let reason = status.last_error.map_or_else(String::new, |error| format!(": {}", error.message));
                Err(format!("{}{reason}", status.state.name()))
            }
            state => Ok(state.name().to_owned()),
        }
    }

    /// Takes the sums over into the metrics.
    pub fn publish_metrics(&self) {
        let status = self.status();
        metrics::counter!("logweir_transactions_total").absolute(status.totals.transactions);
        metrics::counter!("logweir_rows_total").absolute(status.totals.rows);
        metrics::counter!("logweir_ddl_total").absolute(status.totals.ddl);
        metrics::counter!("logweir_binlog_bytes_total").absolute(status.totals.bytes);
        metrics::counter!("logweir_ignored_statements_total").absolute(status.totals.ignored);
        metrics::gauge!("logweir_up").set(if status.state == State::Running { 1.0 } else { 0.0 });
        if let Some(seconds) = status.lag.seconds {
            metrics::gauge!("logweir_lag_seconds").set(seconds);
        }
        let (tables, done) = status.snapshot.map_or((0, 0), |snapshot| (snapshot.tables, snapshot.tables_done));
        metrics::gauge!("logweir_snapshot_tables").set(tables as f64);
        metrics::gauge!("logweir_snapshot_tables_done").set(done as f64);
        if let Some(copying) = &*self.copying.read().unwrap_or_else(PoisonError::into_inner) {
            let (rows, bytes) = copying.desk.appended();
            metrics::counter!("logweir_snapshot_rows_total").absolute(rows);
            metrics::counter!("logweir_snapshot_bytes_total").absolute(bytes);
        }
    }

    /// The status for `logweir status`.
    #[must_use]
    pub fn status(&self) -> ReaderStatus {
        let snapshot = {
            let copying = self.copying.read().unwrap_or_else(PoisonError::into_inner);
            copying.as_ref().and_then(|copying| copying.scheduler.seen())
        };
        let inner = self.lock();
        let mut status = inner.status.clone();
        status.snapshot = snapshot;
        if inner.blocked && status.state == State::Running {
            status.state = State::Blocked;
        }
        let seconds = if inner.level && status.state == State::Running {
            Some(0.0)
        } else if status.position.committed_us > 0 {
            Some(now_us().saturating_sub(status.position.committed_us) as f64 / 1e6)
        } else {
            None
        };
        status.lag.seconds = seconds;
        status.lag.bytes = (inner.level && status.state == State::Running).then_some(0);
        if let (Some(first), Some(last)) = (inner.samples.front(), inner.samples.back())
            && last.0 > first.0
        {
            // Measured to now, so that a rate falls to nothing when nothing comes any more.
            let seconds = first.0.elapsed().as_secs_f64();
            status.rows_per_second = (last.1 - first.1) as f64 / seconds;
            status.bytes_per_second = (last.2 - first.2) as f64 / seconds;
        }
        status
    }
}

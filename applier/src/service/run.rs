//! The loop: connect, read the position, apply, and after any passing error begin again there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Seq;
use common::config::{Destination, Pipeline};
use common::control::State;
use common::record::Xid;
use common::selection::Selection;
use common::snapshot::SnapshotBegin;
use store::{Consumer, Tail};
use tokio::sync::watch;

use super::start::{ServiceOptions, decide};
use super::status::Board;
use crate::counters::Counters;
use crate::error::{ApplyError, Result, Verdict};
use crate::feed::FeedStats;
use crate::plan::Budget;
use crate::snapshot::states;
use crate::target::{Connector, Identity, OwnerLock, PositionStore};
use crate::worker::{Worker, WorkerOptions};

/// How long a change waits for a lock at the destination before it is tried again.
const LOCK_WAIT: Duration = Duration::from_secs(50);
/// Pauses between tries grow from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// Why a service ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// It reached `--until`.
    Reached,
}

/// What operators have told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) stop: bool,
    pub(crate) pause: bool,
}

/// One applier.
#[derive(Debug)]
pub struct Service {
    pub(super) pipeline: Pipeline,
    pub(super) destination: Destination,
    pub(super) options: ServiceOptions,
    pub(super) connector: Connector,
    pub(super) identity: Identity,
    pub(super) lock: OwnerLock,
    pub(super) counters: Arc<Counters>,
    pub(super) feed_stats: Arc<FeedStats>,
    pub(super) board: Arc<Board>,
    pub(super) wish: watch::Sender<Wish>,
    pub(super) prepares: Vec<(Seq, Xid)>,
    pub(super) sql_until: Seq,
    pub(super) consumer: Option<ConsumerHold>,
    /// When the position was written last.
    pub(super) idle_since: Instant,
    /// Begins of runs that the store held when this process started to apply.
    pub(super) later: Option<Vec<(Seq, SnapshotBegin)>>,
}

pub(super) struct ConsumerHold(pub(super) Consumer);

impl std::fmt::Debug for ConsumerHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

impl Service {
    /// An applier for one destination of a pipeline.
    ///
    /// # Errors
    /// When there is no store yet.
    pub fn new(pipeline: Pipeline, destination: Destination, options: ServiceOptions) -> Result<Self> {
        let tail = Tail::open(&pipeline.store.dir)?;
        let identity = Identity {
            database: destination.position_database.clone(),
            pipeline: pipeline.name.clone(),
            destination: destination.name.clone(),
            store: uuid_text(tail.store_uuid()),
        };
        let (wish, _) = watch::channel(Wish::default());
        let counters = Arc::new(Counters::default());
        let feed_stats = Arc::new(FeedStats::default());
        let board = Arc::new(Board::new(&pipeline.name, &destination.name, counters.clone(), feed_stats.clone()));
        Ok(Self {
            connector: Connector::new(destination.server.clone(), LOCK_WAIT),
            lock: OwnerLock::new(&identity),
            identity,
            pipeline,
            destination,
            options,
            counters,
            feed_stats,
            board,
            wish,
            prepares: Vec::new(),
            sql_until: Seq::NONE,
            consumer: None,
            idle_since: Instant::now(),
            later: None,
        })
    }

    /// Asks it to finish the transaction in hand and end; any thread may call this.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + Clone + 'static {
        let wish = self.wish.clone();
        move || wish.send_modify(|w| w.stop = true)
    }

    /// Asks it to pause or go on.
    pub fn pauser(&self) -> impl Fn(bool) + Send + Sync + Clone + 'static {
        let wish = self.wish.clone();
        move |pause| wish.send_modify(|w| w.pause = pause)
    }

    /// What it tells about itself.
    #[must_use]
    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// Runs until it is told to stop, reaches `--until`, or cannot go on.
    ///
    /// # Errors
    /// What it cannot overcome, and passing errors that lasted longer than `retry_for`.
    pub async fn run(&mut self) -> Result<Ended> {
        let mut since: Option<(Instant, Seq)> = None;
        let mut pause = BACKOFF.0;
        loop {
            let error = match self.connected().await {
                Ok(ended) => return Ok(ended),
                Err(error) => error,
            };
            if error.verdict() != Verdict::Retry {
                return Err(error);
            }
            // Progress since the last error: then it is another one.
            let at = self.board.applied();
            let begun = match since {
                Some((begun, seq)) if seq == at => begun,
                _ => {
                    pause = BACKOFF.0;
                    Instant::now()
                }
            };
            since = Some((begun, at));
            if begun.elapsed() > self.destination.retry_for {
                return Err(ApplyError::refused(
                    format!("gave up after {:?} (retry_for): {error}", self.destination.retry_for),
                    "mend the destination, then start the applier again; it goes on where it was",
                ));
            }
            self.board.error(&error);
            self.board.state(State::Retrying);
            Counters::add(&self.counters.retries, 1);
            tracing::warn!(%error, again_in_ms = pause.as_millis() as u64, "trying again");
            let mut wish = self.wish.subscribe();
            let stopped = wish.wait_for(|w| w.stop);
            if tokio::time::timeout(pause, stopped).await.is_ok() {
                return Ok(Ended::Stopped);
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// One life of a connection.
    async fn connected(&mut self) -> Result<Ended> {
        let positions = PositionStore { identity: self.identity.clone(), worker: 0 };
        let mut session = self.connector.open().await?;
        self.lock.take(&mut session).await?;
        positions.create(&mut session).await?;
        states::create(&mut session, &self.identity).await?;
        let mut found = positions.read(&mut session).await?;
        let fresh = found.is_none();
        if fresh && self.begins_with_snapshot() {
            found = self.await_run(&mut session).await?;
            if found.is_none() {
                return Ok(Ended::Stopped);
            }
        }
        let overridden = self.options.override_position && self.options.from.is_some();
        let start = decide(&self.pipeline.store.dir, found, &self.options)?;
        if fresh || overridden {
            if overridden {
                positions.forget(&mut session).await?;
            }
            positions.begin_at(&mut session, start.position.seq).await?;
        }
        // --from is spent: after a lost connection the position row counts.
        self.options.from = None;
        if self.consumer.is_none() {
            self.consumer = Some(ConsumerHold(Consumer::register(&self.pipeline.store.dir, &self.destination.name)?));
        }
        self.board.connected(&self.connector.url(), &session.facts);
        tracing::info!(seq = start.position.seq.0, server = %session.facts.version, "applying");
        let options = WorkerOptions { write: self.destination.write, on_divergence: self.destination.on_divergence };
        let mut worker =
            Worker::new(self.connector.clone(), session, positions, options, self.counters.clone(), &start.position);
        worker.use_snapshot(Arc::new(self.pipeline.snapshot.clone()));
        worker.use_sql_until(self.sql_until);
        Counters::add(&self.counters.reconnects, u64::from(self.board.applied() != Seq::NONE));
        self.board.applied_at(&start.position);
        let result = self.apply(&mut worker, start.until).await;
        self.sql_until = worker.sql_until();
        if result.is_ok()
            && let Some(consumer) = &mut self.consumer
        {
            consumer.0.advance(worker.at())?;
            consumer.0.flush()?;
            worker.close().await;
        }
        result
    }

    pub(super) fn budget(&self) -> Budget {
        let d = &self.destination;
        Budget { rows: d.group_rows, bytes: d.group_bytes, ..Budget::default() }
    }

    pub(super) fn selection(&self) -> Result<Selection> {
        let selection = Selection::new(&self.destination.include, &self.destination.exclude);
        let selection =
            selection.map_err(|e| ApplyError::refused(e.to_string(), "mend include or exclude of this destination"))?;
        Ok(selection.without_databases(self.pipeline.position_databases()))
    }
}

fn uuid_text(bytes: [u8; 16]) -> String {
    let mut out = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

//! The loop: connect, read the position, apply, and after any passing error begin again there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Seq;
use common::config::{Destination, Pipeline};
use common::control::State;
use common::record::Xid;
use common::selection::Selection;
use store::{Consumer, Tail};
use tokio::sync::watch;

use super::start::{ServiceOptions, decide};
use super::status::Board;
use crate::counters::Counters;
use crate::error::{ApplyError, Result, Verdict};
use crate::feed::{Feed, FeedStats};
use crate::plan::{Action, Budget, Close, Planner, Step};
use crate::target::{Connector, Identity, OwnerLock, PositionStore, Progress};
use crate::worker::{Outcome, Worker, WorkerOptions};

/// Positions that bring no change are written at most this often.
const IDLE_POSITION_EVERY: Duration = Duration::from_secs(1);
/// When nothing comes, the store is told this much later what is applied; it writes it down a few times a second itself.
const SAY_POSITION_AFTER: Duration = Duration::from_millis(250);
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
    pipeline: Pipeline,
    destination: Destination,
    options: ServiceOptions,
    connector: Connector,
    identity: Identity,
    lock: OwnerLock,
    counters: Arc<Counters>,
    feed_stats: Arc<FeedStats>,
    pub(super) board: Arc<Board>,
    wish: watch::Sender<Wish>,
    prepares: Vec<(Seq, Xid)>,
    sql_until: Seq,
    consumer: Option<ConsumerHold>,
    /// What is applied although its position is not written yet.
    idle: Option<Progress>,
    idle_since: Instant,
}

struct ConsumerHold(Consumer);

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
            idle: None,
            idle_since: Instant::now(),
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
        let found = positions.read(&mut session).await?;
        let fresh = found.is_none();
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
        worker.use_sql_until(self.sql_until);
        Counters::add(&self.counters.reconnects, u64::from(self.board.applied() != Seq::NONE));
        self.board.applied_at(&start.position);
        self.idle = None;
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

    /// Applies until told otherwise. Begins again from the position whenever the worker says so.
    async fn apply(&mut self, worker: &mut Worker, until: Option<Seq>) -> Result<Ended> {
        loop {
            let positions = PositionStore { identity: self.identity.clone(), worker: 0 };
            let position = positions.read(worker.session()).await?.unwrap_or_default();
            worker.stand_at(&position);
            let from = position.seq.next();
            let mut planner = Planner::new(self.budget(), self.selection()?, position);
            planner.end_step_at(until);
            for (seq, xid) in self.prepares.drain(..) {
                planner.expect_prepare(seq, xid);
            }
            let group_time = self.destination.group_time;
            let mut feed = Feed::start(&self.pipeline.store.dir, planner, from, group_time, self.feed_stats.clone())?;
            match self.steps(worker, &mut feed, until).await? {
                Some(ended) => return Ok(ended),
                None => continue,
            }
        }
    }

    /// Takes step after step; None when the log must be read again from the position.
    async fn steps(&mut self, worker: &mut Worker, feed: &mut Feed, until: Option<Seq>) -> Result<Option<Ended>> {
        let mut wish = self.wish.subscribe();
        let mut inside = false;
        loop {
            // A transaction in hand is finished whatever is wished.
            if !inside {
                if until.is_some_and(|until| self.applied(worker) >= until) {
                    self.write_idle(worker).await?;
                    return Ok(Some(Ended::Reached));
                }
                let now = *wish.borrow_and_update();
                if now.stop || now.pause {
                    self.write_idle(worker).await?;
                    if now.stop {
                        self.board.state(State::Stopping);
                        return Ok(Some(Ended::Stopped));
                    }
                    self.board.state(State::Paused);
                    if tokio::time::timeout(Duration::from_secs(60), wish.changed()).await.is_err() {
                        // Keeps the connection alive, and notices its loss.
                        worker.session().run("DO 0", || "looking whether the destination is there".into()).await?;
                    }
                    continue;
                }
                self.board.state(State::Running);
            }
            let idle = self.idle.is_some();
            let unsaid = self.consumer.as_ref().is_some_and(|consumer| consumer.0.is_ahead());
            let step = tokio::select! {
                biased;
                step = feed.next() => step?,
                _ = wish.changed(), if !inside => continue,
                () = tokio::time::sleep(IDLE_POSITION_EVERY), if idle && !inside => {
                    self.write_idle(worker).await?;
                    continue;
                }
                () = tokio::time::sleep(SAY_POSITION_AFTER), if unsaid && !inside => {
                    if let Some(consumer) = &mut self.consumer {
                        consumer.0.advance(worker.at())?;
                    }
                    continue;
                }
                () = tokio::time::sleep(Duration::from_secs(60)), if !idle && !inside => {
                    worker.session().run("DO 0", || "looking whether the destination is there".into()).await?;
                    continue;
                }
            };
            match step {
                Step::Rows(piece) => {
                    if piece.opens
                        && piece.actions.is_empty()
                        && !piece.clears_intent
                        && let Close::Commit(progress) = piece.close
                    {
                        self.nothing_to_write(worker, progress, piece.transactions).await?;
                        continue;
                    }
                    let rows = piece.actions.iter().any(|a| matches!(a, Action::Rows(_)));
                    if worker.execute(&piece).await? != Outcome::Done {
                        return self.again(worker, &piece.close).await;
                    }
                    inside = !matches!(piece.close, Close::Commit(_));
                    Counters::add(&self.counters.rows, piece.rows);
                    Counters::add(&self.counters.bytes, piece.bytes);
                    if let Close::Commit(progress) = &piece.close {
                        Counters::add(&self.counters.commits, 1);
                        self.done(worker, progress, piece.transactions)?;
                    }
                    if rows {
                        self.board.ways(worker.describe_ways());
                    }
                }
                Step::Chunk(_) | Step::Snapshot(_) => {
                    return Err(ApplyError::refused("a snapshot's step before its time", "report this"));
                }
                Step::Ddl(step) => {
                    self.write_idle(worker).await?;
                    worker.run_ddl(&step).await?;
                    if let Some(progress) = &step.close {
                        self.done(worker, progress, 1)?;
                    }
                }
            }
        }
    }

    async fn again(&mut self, worker: &mut Worker, close: &Close) -> Result<Option<Ended>> {
        if let Close::WasPrepare(seq, xid) = close {
            self.prepares.push((*seq, xid.clone()));
        }
        self.idle = None;
        let _ = worker;
        Ok(None)
    }

    fn applied(&self, worker: &Worker) -> Seq {
        self.idle.as_ref().map_or(worker.at(), |idle| idle.seq)
    }

    async fn nothing_to_write(&mut self, worker: &mut Worker, progress: Progress, transactions: u64) -> Result<()> {
        if self.idle.is_none() {
            self.idle_since = Instant::now();
        }
        self.board.moved(&progress);
        Counters::add(&self.counters.transactions, transactions);
        self.idle = Some(progress);
        if self.idle_since.elapsed() > IDLE_POSITION_EVERY { self.write_idle(worker).await } else { Ok(()) }
    }

    async fn write_idle(&mut self, worker: &mut Worker) -> Result<()> {
        let Some(progress) = self.idle.take() else { return Ok(()) };
        worker.move_position(&progress).await?;
        self.done(worker, &progress, 0)
    }

    fn done(&mut self, worker: &Worker, progress: &Progress, transactions: u64) -> Result<()> {
        self.idle = None;
        Counters::add(&self.counters.transactions, transactions);
        self.board.moved(progress);
        if let Some(consumer) = &mut self.consumer {
            consumer.0.advance(worker.at())?;
        }
        Ok(())
    }

    fn budget(&self) -> Budget {
        let d = &self.destination;
        Budget { rows: d.group_rows, bytes: d.group_bytes, ..Budget::default() }
    }

    fn selection(&self) -> Result<Selection> {
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

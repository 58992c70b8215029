//! Takes step after step and gives each to who does it: rows, DDL and steps of snapshots to worker 0, chunks to loaders.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Seq;
use common::control::State;
use common::snapshot::SnapshotStep;

use super::run::{Ended, Service};
use crate::counters::Counters;
use crate::error::Result;
use crate::feed::Feed;
use crate::plan::{Action, Close, Piece, Planner, SnapshotWork, Step};
use crate::snapshot::loaders::{Landed, LoaderOptions, Loaders};
use crate::snapshot::{Copies, states};
use crate::target::{PositionStore, Progress};
use crate::worker::{Outcome, Worker};

/// Positions that bring no change are written at most this often.
const IDLE_POSITION_EVERY: Duration = Duration::from_secs(1);
/// When nothing comes, the store is told this much later what is applied; it writes it down a few times a second itself.
const SAY_POSITION_AFTER: Duration = Duration::from_millis(250);

impl Service {
    /// Applies until told otherwise. Begins again from the position whenever a step says so.
    pub(super) async fn apply(&mut self, worker: &mut Worker, until: Option<Seq>) -> Result<Ended> {
        loop {
            let positions = PositionStore { identity: self.identity.clone(), worker: 0 };
            let position = positions.read(worker.session()).await?.unwrap_or_default();
            positions.collapse(worker.session(), &position).await?;
            worker.stand_at(&position);
            let from = position.seq.next();
            let remembered = states::read(worker.session(), &self.identity).await?;
            self.board.remembered(&remembered);
            let mut copies = Copies::new(&self.destination.name, &remembered);
            self.expect_later_runs(worker, &mut copies, &position).await?;
            let mut planner = Planner::new(self.budget(), self.selection()?, position);
            planner.with_copies(copies, self.counters.passed_over.clone());
            planner.end_step_at(until);
            for (seq, xid) in self.prepares.drain(..) {
                planner.expect_prepare(seq, xid);
            }
            let group_time = self.destination.group_time;
            let mut feed = Feed::start(&self.pipeline.store.dir, planner, from, group_time, self.feed_stats.clone())?;
            let mut loaders = Loaders::new(LoaderOptions {
                connector: self.connector.clone(),
                identity: self.identity.clone(),
                snapshot: Arc::new(self.pipeline.snapshot.clone()),
                counters: self.counters.clone(),
            });
            let result = self.steps(worker, &mut loaders, &mut feed, until).await;
            // Whatever came of it: nothing of ours writes on behind our back.
            loaders.settle().await;
            if let Some(ended) = result? {
                return Ok(ended);
            }
        }
    }

    /// Takes step after step; None when the log must be read again from the position.
    async fn steps(
        &mut self,
        worker: &mut Worker,
        loaders: &mut Loaders,
        feed: &mut Feed,
        until: Option<Seq>,
    ) -> Result<Option<Ended>> {
        let mut wish = self.wish.subscribe();
        let mut inside = false;
        loop {
            // A transaction in hand is finished whatever is wished.
            if !inside {
                let now = *wish.borrow_and_update();
                let reached = until.is_some_and(|until| worker.ledger().top().seq >= until);
                if (reached || now.stop || now.pause) && self.land_all(worker, loaders).await? {
                    return Ok(None);
                }
                if reached {
                    self.write_idle(worker).await?;
                    return Ok(Some(Ended::Reached));
                }
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
            let idle = !inside && worker.ledger().is_ahead();
            let unsaid = self.consumer.as_ref().is_some_and(|consumer| consumer.0.is_ahead());
            let write_at = tokio::time::Instant::from_std(self.idle_since + IDLE_POSITION_EVERY);
            let step = tokio::select! {
                biased;
                () = tokio::time::sleep_until(write_at), if idle => {
                    self.write_idle(worker).await?;
                    continue;
                }
                landed = loaders.landed(worker), if loaders.any() => {
                    if self.landed(worker, &landed?) {
                        return self.begin_again(worker, inside).await;
                    }
                    continue;
                }
                step = feed.next(), if !loaders.all_busy() || inside => step?,
                _ = wish.changed(), if !inside => continue,
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
                    // A row may be in a chunk that is under way.
                    while concerns(&piece, loaders) {
                        let landed = loaders.landed(worker).await?;
                        if self.landed(worker, &landed) {
                            return self.begin_again(worker, inside).await;
                        }
                    }
                    let rows = piece.actions.iter().any(|a| matches!(a, Action::Rows(_)));
                    if worker.execute(&piece).await? != Outcome::Done {
                        return self.again(&piece.close);
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
                Step::Chunk(step) => {
                    loaders.hand(step, worker).await?;
                }
                Step::Snapshot(work) => {
                    if self.land_all(worker, loaders).await? {
                        return Ok(None);
                    }
                    let outcome = self.snapshot_step(worker, &work).await?;
                    loaders.forget_definitions();
                    if matches!(work.step, SnapshotStep::End { .. }) {
                        loaders.close().await;
                    }
                    self.done(worker, &work.progress, 0)?;
                    if outcome != Outcome::Done {
                        return Ok(None);
                    }
                }
                Step::Ddl(step) => {
                    if self.land_all(worker, loaders).await? {
                        return Ok(None);
                    }
                    self.write_idle(worker).await?;
                    worker.run_ddl(&step).await?;
                    loaders.forget_definitions();
                    self.board.copies_moved(&step.moves);
                    if let Some(progress) = &step.close {
                        self.done(worker, progress, 1)?;
                    }
                }
            }
        }
    }

    async fn snapshot_step(&mut self, worker: &mut Worker, work: &SnapshotWork) -> Result<Outcome> {
        let outcome = match &work.step {
            SnapshotStep::Begin(_) => worker.begin_run(work).await,
            SnapshotStep::Object(_) => worker.make_object(work).await,
            SnapshotStep::Chunk(_) => worker.begin_rows(work).await.map(|()| Outcome::Done),
            SnapshotStep::ChunkEnd { .. } => Ok(Outcome::Done),
            SnapshotStep::TableEnd { .. } => worker.end_table(work).await,
            SnapshotStep::TableAgain { .. } => worker.table_again(work).await,
            SnapshotStep::End { .. } => worker.end_run(work).await,
        };
        let outcome = outcome.map_err(|error| error.at(&work.place))?;
        self.board.snapshot_step(&work.step);
        Ok(outcome)
    }

    /// Waits for all chunks that are under way. True if the log must be read again.
    async fn land_all(&mut self, worker: &mut Worker, loaders: &mut Loaders) -> Result<bool> {
        let mut again = false;
        while loaders.any() {
            let landed = loaders.landed(worker).await?;
            again |= self.landed(worker, &landed);
        }
        Ok(again)
    }

    /// A chunk is committed. True if the log must be read again, because its table was skipped.
    fn landed(&mut self, worker: &Worker, landed: &Landed) -> bool {
        tracing::debug!(seq = landed.seq.0, table = %landed.table, rows = landed.rows, low = worker.at().0, "chunk loaded");
        if !landed.skipped {
            Counters::add(&self.counters.snapshot_rows, landed.rows);
            Counters::add(&self.counters.snapshot_bytes, landed.bytes);
            self.board.chunk_loaded(&landed.table, landed.rows, landed.bytes);
        }
        self.board.moved(&worker.ledger().present());
        landed.skipped
    }

    /// Rolls an open transaction back, so that the log can be read again.
    async fn begin_again(&mut self, worker: &mut Worker, inside: bool) -> Result<Option<Ended>> {
        if inside {
            worker.rollback().await?;
        }
        Ok(None)
    }

    fn again(&mut self, close: &Close) -> Result<Option<Ended>> {
        if let Close::WasPrepare(seq, xid) = close {
            self.prepares.push((*seq, xid.clone()));
        }
        Ok(None)
    }

    async fn nothing_to_write(&mut self, worker: &mut Worker, progress: Progress, transactions: u64) -> Result<()> {
        Counters::add(&self.counters.transactions, transactions);
        worker.ledger_mut().reach(progress);
        self.board.moved(&worker.ledger().present());
        if self.idle_since.elapsed() > IDLE_POSITION_EVERY { self.write_idle(worker).await } else { Ok(()) }
    }

    /// Writes down what is applied although our row does not say so.
    pub(super) async fn write_idle(&mut self, worker: &mut Worker) -> Result<()> {
        self.idle_since = Instant::now();
        if !worker.ledger().is_ahead() {
            return Ok(());
        }
        let top = worker.ledger().top().clone();
        worker.move_position(&top).await?;
        self.done(worker, &top, 0)
    }

    fn done(&mut self, worker: &Worker, progress: &Progress, transactions: u64) -> Result<()> {
        self.idle_since = Instant::now();
        Counters::add(&self.counters.transactions, transactions);
        self.board.moved(&worker.ledger().target(progress).0);
        if let Some(consumer) = &mut self.consumer {
            consumer.0.advance(worker.at())?;
        }
        Ok(())
    }
}

/// Whether chunks are under way of a table that this piece changes.
fn concerns(piece: &Piece, loaders: &Loaders) -> bool {
    if !loaders.any() {
        return false;
    }
    piece.actions.iter().any(|action| match action {
        Action::Rows(change) => loaders.busy_with(&change.table.schema.database, &change.table.schema.table),
        Action::Outcome { copying, .. } => copying.iter().any(|t| loaders.busy_with(&t.database, &t.table)),
        Action::Prepare { .. } => false,
    })
}

//! What the service tells about itself.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use common::Seq;
use common::control::{ApplierStatus, ErrorSeen, Lag, Place, ServerSeen, State, Totals, WriteSeen, now_us};
use common::snapshot::{SnapshotStep, TableName};

use super::progress::CopyProgress;
use crate::counters::{Counters, Rate};
use crate::error::ApplyError;
use crate::feed::FeedStats;
use crate::plan::CopyMove;
use crate::snapshot::{Remembered, Stand};
use crate::target::{Position, Progress, ServerFacts};
use crate::write::Way;

/// The current state, for whoever asks.
#[derive(Debug)]
pub struct Board {
    counters: Arc<Counters>,
    feed: Arc<FeedStats>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    status: ApplierStatus,
    rate: Rate,
    copies: CopyProgress,
}

impl Board {
    pub(super) fn new(pipeline: &str, destination: &str, counters: Arc<Counters>, feed: Arc<FeedStats>) -> Self {
        let status = ApplierStatus {
            pipeline: pipeline.to_owned(),
            destination: destination.to_owned(),
            pid: std::process::id(),
            started_us: now_us(),
            state_since_us: now_us(),
            ..ApplierStatus::default()
        };
        Self {
            counters,
            feed,
            inner: Mutex::new(Inner { status, rate: Rate::default(), copies: CopyProgress::default() }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self, state: State) {
        let mut inner = self.inner();
        if inner.status.state != state {
            inner.status.state = state;
            inner.status.state_since_us = now_us();
        }
    }

    pub(super) fn error(&self, error: &ApplyError) {
        self.inner().status.last_error = Some(ErrorSeen { message: error.to_string(), at_us: now_us() });
    }

    pub(super) fn connected(&self, url: &str, facts: &ServerFacts) {
        self.inner().status.server = Some(ServerSeen {
            url: url.to_owned(),
            flavor: facts.flavor,
            version: facts.version.clone(),
            server_uuid: facts.server_uuid.clone(),
            server_id: facts.server_id,
        });
    }

    pub(super) fn ways(&self, (way, reason): (Way, String)) {
        let mode = match way {
            Way::Events if reason.is_empty() => "row-events",
            Way::Events => "mixed",
            Way::Sql => "sql",
        };
        let reasons = if reason.is_empty() { Vec::new() } else { vec![reason] };
        self.inner().status.write = WriteSeen { mode: mode.to_owned(), reasons };
    }

    pub(super) fn applied_at(&self, position: &Position) {
        let binlog = (!position.end.file.is_empty()).then(|| position.end.clone());
        self.inner().status.position =
            Place { seq: position.seq.0, binlog, gtids: position.gtid.clone(), committed_us: position.committed_us };
    }

    pub(super) fn moved(&self, progress: &Progress) {
        let mut inner = self.inner();
        let place = &mut inner.status.position;
        place.seq = progress.seq.0;
        place.binlog = Some(progress.end.clone());
        place.gtids = progress.gtid.as_ref().map(ToString::to_string).unwrap_or_default();
        place.committed_us = progress.committed_us;
    }

    pub(super) fn remembered(&self, remembered: &Remembered) {
        let mut inner = self.inner();
        inner.copies.remembered(remembered);
        let skipped = remembered.tables.iter().filter(|table| table.stand == Stand::Skipped);
        inner.status.left_out = skipped.map(|table| table.table.to_string()).collect();
    }

    pub(super) fn snapshot_step(&self, step: &SnapshotStep) {
        self.inner().copies.step(step);
    }

    pub(super) fn chunk_loaded(&self, table: &TableName, rows: u64, bytes: u64) {
        self.inner().copies.chunk(table, rows, bytes);
    }

    pub(super) fn copies_moved(&self, moves: &[CopyMove]) {
        self.inner().copies.moved(moves);
    }

    /// The last applied seq.
    #[must_use]
    pub fn applied(&self) -> Seq {
        Seq(self.inner().status.position.seq)
    }

    /// The whole status, and the same as metrics.
    #[must_use]
    pub fn status(&self) -> ApplierStatus {
        let mut inner = self.inner();
        let c = &self.counters;
        let totals = Totals {
            transactions: Counters::get(&c.transactions),
            rows: Counters::get(&c.rows),
            ddl: Counters::get(&c.ddl),
            bytes: Counters::get(&c.bytes),
            reconnects: Counters::get(&c.reconnects),
            retries: Counters::get(&c.retries),
            diverged: Counters::get(&c.diverged),
            ..Totals::default()
        };
        let (rows, transactions) = inner.rate.sample(Instant::now(), totals.rows, totals.transactions);
        let last = self.feed.last_seq.load(Ordering::Relaxed);
        let place = &inner.status.position;
        let seqs = last.saturating_sub(place.seq);
        let seconds = match (seqs, place.committed_us) {
            (0, _) => Some(0.0),
            (_, 0) => None,
            (_, us) => Some(now_us().saturating_sub(us) as f64 / 1e6),
        };
        let bytes = if seqs == 0 { 0 } else { self.feed.behind_bytes.load(Ordering::Relaxed) };
        inner.status.lag = Lag { seconds, bytes: Some(bytes), seqs: Some(seqs) };
        inner.status.rows_per_second = rows;
        inner.status.transactions_per_second = transactions;
        inner.status.totals = totals;
        inner.status.snapshot = inner.copies.seen();
        inner.status.clone()
    }
}

impl Board {
    /// What `/healthz` says: fine while it applies, waits or was told to pause.
    ///
    /// # Errors
    /// The state, and the last error, while it cannot go on.
    pub fn health(&self) -> Result<String, String> {
        let status = self.status();
        let error = status.last_error.map(|e| e.message).unwrap_or_default();
        match status.state {
            State::Running | State::Paused | State::Stopping => Ok(status.state.name().to_owned()),
            State::Starting | State::Retrying | State::Blocked => Err(format!("{}: {error}", status.state.name())),
        }
    }

    /// Puts the current sums into the metrics recorder.
    pub fn publish_metrics(&self) {
        let status = self.status();
        let totals = &status.totals;
        metrics::counter!("logweir_applied_transactions_total").absolute(totals.transactions);
        metrics::counter!("logweir_applied_rows_total").absolute(totals.rows);
        metrics::counter!("logweir_applied_bytes_total").absolute(totals.bytes);
        metrics::counter!("logweir_applied_ddl_total").absolute(totals.ddl);
        metrics::counter!("logweir_applier_commits_total").absolute(Counters::get(&self.counters.commits));
        metrics::counter!("logweir_applier_reconnects_total").absolute(totals.reconnects);
        metrics::counter!("logweir_applier_retries_total").absolute(totals.retries);
        metrics::counter!("logweir_applier_diverged_rows_total").absolute(totals.diverged);
        let copy = status.snapshot.clone().unwrap_or_default();
        metrics::counter!("logweir_snapshot_loaded_rows_total").absolute(Counters::get(&self.counters.snapshot_rows));
        metrics::counter!("logweir_snapshot_loaded_bytes_total").absolute(Counters::get(&self.counters.snapshot_bytes));
        metrics::counter!("logweir_snapshot_passed_over_rows_total")
            .absolute(Counters::get(&self.counters.passed_over));
        metrics::gauge!("logweir_snapshot_running").set(if status.snapshot.is_some() { 1.0 } else { 0.0 });
        metrics::gauge!("logweir_snapshot_tables").set(copy.tables as f64);
        metrics::gauge!("logweir_snapshot_tables_done").set(copy.tables_done as f64);
        metrics::gauge!("logweir_snapshot_rows").set(copy.rows as f64);
        metrics::gauge!("logweir_snapshot_rows_estimate").set(copy.rows_estimate as f64);
        metrics::gauge!("logweir_snapshot_rows_per_second").set(copy.rows_per_second);
        metrics::gauge!("logweir_snapshot_seconds_left").set(copy.seconds_left.unwrap_or(f64::NAN));
        metrics::gauge!("logweir_applied_seq").set(status.position.seq as f64);
        metrics::gauge!("logweir_applier_lag_seconds").set(status.lag.seconds.unwrap_or(f64::NAN));
        metrics::gauge!("logweir_applier_lag_bytes").set(status.lag.bytes.unwrap_or(0) as f64);
        metrics::gauge!("logweir_applier_lag_seqs").set(status.lag.seqs.unwrap_or(0) as f64);
        metrics::gauge!("logweir_applier_up").set(if self.health().is_ok() { 1.0 } else { 0.0 });
    }
}

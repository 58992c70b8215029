//! What an applier counts, for `status` and metrics.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Sums since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Source transactions committed.
    pub transactions: AtomicU64,
    /// Rows committed.
    pub rows: AtomicU64,
    /// DDL statements executed.
    pub ddl: AtomicU64,
    /// Bytes of images committed.
    pub bytes: AtomicU64,
    /// Destination transactions.
    pub commits: AtomicU64,
    /// Connections made anew.
    pub reconnects: AtomicU64,
    /// Transactions tried again.
    pub retries: AtomicU64,
    /// Rows overwritten or skipped by `on_divergence`.
    pub diverged: AtomicU64,
    /// Rows of chunks committed.
    pub snapshot_rows: AtomicU64,
    /// Bytes of their images.
    pub snapshot_bytes: AtomicU64,
    /// Row changes of tables that were to be copied yet, which the copy made superfluous.
    pub passed_over: Arc<AtomicU64>,
}

impl Counters {
    /// Adds to one of them.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// The value of one of them.
    #[must_use]
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// A rate over the last few seconds.
#[derive(Debug)]
pub struct Rate {
    samples: VecDeque<(Instant, u64, u64)>,
}

/// Over how long a rate is taken.
const WINDOW: Duration = Duration::from_secs(5);

impl Default for Rate {
    fn default() -> Self {
        Self { samples: VecDeque::from([(Instant::now(), 0, 0)]) }
    }
}

impl Rate {
    /// Takes a sample of two sums; gives both rates per second.
    pub fn sample(&mut self, at: Instant, rows: u64, transactions: u64) -> (f64, f64) {
        while self.samples.len() > 1 && self.samples.get(1).is_some_and(|s| at.duration_since(s.0) > WINDOW) {
            self.samples.pop_front();
        }
        let new = self.samples.back().is_none_or(|s| at.duration_since(s.0) > WINDOW / 20);
        let rates = self.samples.front().map_or((0.0, 0.0), |&(since, r, t)| {
            let seconds = at.duration_since(since).as_secs_f64().max(0.001);
            (rows.saturating_sub(r) as f64 / seconds, transactions.saturating_sub(t) as f64 / seconds)
        });
        if new {
            self.samples.push_back((at, rows, transactions));
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_forgets_what_is_long_ago() {
        let start = Instant::now();
        let mut rate = Rate { samples: VecDeque::from([(start, 0, 0)]) };
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(rate.sample(at(2), 2000, 20), (1000.0, 10.0));
        for second in 3..20 {
            rate.sample(at(second), 2000, 20);
        }
        assert_eq!(rate.sample(at(20), 2000, 20), (0.0, 0.0));
    }
}

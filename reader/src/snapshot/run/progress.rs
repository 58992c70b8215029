//! How far the copy is, for `status`, `run` and the metrics.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::control::{SnapshotSeen, TableSeen, now_us};
use common::snapshot::{RunState, TableState};

/// The window over which the rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Tables that are told of those that were finished.
const FINISHED_SHOWN: usize = 10;

/// What all threads of a run tell.
#[derive(Debug, Default)]
pub struct Progress {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    run: u64,
    way: String,
    tables: Vec<Table>,
    tables_done: u64,
    rows: u64,
    bytes: u64,
    samples: VecDeque<(Instant, u64, u64)>,
    /// Threads that wait, by the limit's key, with what they say and since when.
    held: BTreeMap<String, Held>,
    held_seconds: BTreeMap<String, f64>,
    skipped: Vec<String>,
    /// Tables in the order in which they were finished.
    finished: Vec<usize>,
    active: bool,
}

#[derive(Debug, Default)]
struct Table {
    name: String,
    rows: u64,
    bytes: u64,
    estimate: (u64, u64),
    /// Threads at it.
    threads: u32,
    done: bool,
}

#[derive(Debug)]
struct Held {
    words: String,
    since: Instant,
    since_us: u64,
    threads: u32,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run goes on from this state; `estimates` are rows and bytes of its tables by the source's statistics.
    pub fn begin(&self, state: &RunState, estimates: &[(u64, u64)]) {
        let mut inner = self.lock();
        let held_seconds = std::mem::take(&mut inner.held_seconds);
        *inner = Inner {
            run: state.begin.run,
            way: state.begin.way.clone(),
            held_seconds,
            active: true,
            ..Inner::default()
        };
        for (index, name) in state.begin.tables.iter().enumerate() {
            let logged = state.estimates.get(index).copied().unwrap_or_default();
            let listed = estimates.get(index).copied().unwrap_or_default();
            let table = Table {
                name: name.to_string(),
                rows: state.rows.get(index).copied().unwrap_or(0),
                bytes: state.bytes.get(index).copied().unwrap_or(0),
                estimate: (logged.0.max(listed.0), logged.1.max(listed.1)),
                threads: 0,
                done: matches!(state.tables.get(index), Some(TableState::Done | TableState::Gone)),
            };
            inner.rows += table.rows;
            inner.bytes += table.bytes;
            inner.tables_done += u64::from(table.done);
            inner.tables.push(table);
        }
        let sample = (Instant::now(), inner.rows, inner.bytes);
        inner.samples.push_back(sample);
    }

    /// The run is over.
    pub fn end(&self) {
        self.lock().active = false;
    }

    /// A thread begins (`true`) or leaves a table.
    pub fn at(&self, table: usize, begins: bool) {
        if let Some(table) = self.lock().tables.get_mut(table) {
            table.threads = if begins { table.threads + 1 } else { table.threads.saturating_sub(1) };
        }
    }

    /// A chunk is in the log.
    pub fn chunk(&self, table: usize, rows: u64, bytes: u64) {
        let mut inner = self.lock();
        inner.rows += rows;
        inner.bytes += bytes;
        if let Some(table) = inner.tables.get_mut(table) {
            table.rows += rows;
            table.bytes += bytes;
        }
        let sample = (Instant::now(), inner.rows, inner.bytes);
        if inner.samples.back().is_none_or(|(at, ..)| sample.0 - *at >= RATE_WINDOW / 40) {
            inner.samples.push_back(sample);
        }
        metrics::counter!("logweir_snapshot_rows_total").increment(rows);
        metrics::counter!("logweir_snapshot_bytes_total").increment(bytes);
    }

    /// A table is done, or has left the run.
    pub fn done(&self, table: usize) {
        let mut inner = self.lock();
        let Some(seen) = inner.tables.get_mut(table) else { return };
        if !std::mem::replace(&mut seen.done, true) {
            inner.tables_done += 1;
            inner.finished.push(table);
        }
    }

    /// A table is copied anew: what was copied of it does not count.
    pub fn again(&self, table: usize) {
        let mut inner = self.lock();
        inner.finished.retain(|done| *done != table);
        let Some(table) = inner.tables.get_mut(table) else { return };
        let (rows, bytes) = (std::mem::take(&mut table.rows), std::mem::take(&mut table.bytes));
        table.done = false;
        inner.rows = inner.rows.saturating_sub(rows);
        inner.bytes = inner.bytes.saturating_sub(bytes);
        inner.samples.clear();
    }

    /// A table or an object is left out.
    pub fn skipped(&self, what: String) {
        self.lock().skipped.push(what);
    }

    /// A thread waits because of the limit `key`.
    pub fn hold(&self, key: &str, words: &str) {
        let mut inner = self.lock();
        match inner.held.get_mut(key) {
            Some(held) => {
                held.threads += 1;
                words.clone_into(&mut held.words);
            }
            None => {
                let held = Held { words: words.to_owned(), since: Instant::now(), since_us: now_us(), threads: 1 };
                inner.held.insert(key.to_owned(), held);
            }
        }
    }

    /// It goes on.
    pub fn release(&self, key: &str) {
        let mut inner = self.lock();
        let Some(held) = inner.held.get_mut(key) else { return };
        held.threads = held.threads.saturating_sub(1);
        if held.threads == 0 {
            let seconds = held.since.elapsed().as_secs_f64();
            inner.held.remove(key);
            *inner.held_seconds.entry(key.to_owned()).or_default() += seconds;
        }
    }

    /// For `status`; None while no run is under way.
    #[must_use]
    pub fn seen(&self) -> Option<SnapshotSeen> {
        let mut inner = self.lock();
        if !inner.active {
            return None;
        }
        let now = Instant::now();
        while inner.samples.len() > 1 && inner.samples.front().is_some_and(|(at, ..)| now - *at > RATE_WINDOW) {
            inner.samples.pop_front();
        }
        let (rows_per_second, bytes_per_second) = match inner.samples.front() {
            Some(&(at, rows, bytes)) if now > at => {
                let seconds = (now - at).as_secs_f64().max(0.1);
                (inner.rows.saturating_sub(rows) as f64 / seconds, inner.bytes.saturating_sub(bytes) as f64 / seconds)
            }
            _ => (0.0, 0.0),
        };
        let mut seen = SnapshotSeen {
            run: inner.run,
            way: inner.way.clone(),
            tables: inner.tables.len() as u64,
            tables_done: inner.tables_done,
            rows: inner.rows,
            bytes: inner.bytes,
            rows_per_second,
            skipped: inner.skipped.clone(),
            held_seconds: inner.held_seconds.clone(),
            ..SnapshotSeen::default()
        };
        let last = inner.finished.iter().rev().take(FINISHED_SHOWN).filter_map(|index| inner.tables.get(*index));
        seen.finished.extend(last.map(|table| TableSeen {
            name: table.name.clone(),
            rows: table.rows,
            rows_estimate: table.rows,
            bytes: table.bytes,
        }));
        let mut left = (0_u64, 0_u64);
        for table in &inner.tables {
            let estimate = if table.done { table.rows } else { table.estimate.0.max(table.rows) };
            seen.rows_estimate += estimate;
            if !table.done {
                left.0 += estimate - table.rows;
                left.1 += table.estimate.1.saturating_sub(table.bytes);
            }
            if table.threads > 0 {
                seen.now.push(TableSeen {
                    name: table.name.clone(),
                    rows: table.rows,
                    rows_estimate: estimate,
                    bytes: table.bytes,
                });
            }
        }
        // The greater of the two: estimates of rows are off for tables with few long rows, those of bytes where pages are half empty.
        let by_rows = (rows_per_second > 0.0).then(|| left.0 as f64 / rows_per_second);
        seen.seconds_left = by_rows.or_else(|| (bytes_per_second > 0.0).then(|| left.1 as f64 / bytes_per_second));
        if left == (0, 0) {
            seen.seconds_left = Some(0.0);
        }
        for (key, held) in &inner.held {
            *seen.held_seconds.entry(key.clone()).or_default() += held.since.elapsed().as_secs_f64();
        }
        if let Some((_, held)) = inner.held.iter().min_by_key(|(_, held)| held.since) {
            seen.held_by = Some(held.words.clone());
            seen.held_since_us = held.since_us;
        }
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::snapshot::{SnapshotBegin, TableName};

    #[test]
    fn sums_estimates_and_what_holds_it_back_are_shown() {
        let name = |table: &str| TableName { database: "shop".into(), table: table.into() };
        let begin = SnapshotBegin {
            run: 7,
            tables: vec![name("a"), name("b"), name("c")],
            way: "gtid".into(),
            ..SnapshotBegin::default()
        };
        let state = RunState {
            begin,
            tables: vec![TableState::Done, TableState::Made, TableState::Pending],
            rows: vec![10, 5, 0],
            bytes: vec![100, 50, 0],
            estimates: vec![(8, 80), (4, 40), (0, 0)],
            others_done: 0,
        };
        let progress = Progress::default();
        assert_eq!(progress.seen(), None);
        progress.begin(&state, &[(8, 80), (20, 200), (30, 300)]);
        progress.at(1, true);
        progress.chunk(1, 3, 30);
        progress.hold("store", "the store is full");
        let seen = progress.seen().unwrap();
        assert_eq!((seen.tables, seen.tables_done, seen.rows, seen.bytes, seen.rows_estimate), (3, 1, 18, 180, 60));
        assert_eq!((seen.now.len(), seen.now[0].rows, seen.now[0].rows_estimate), (1, 8, 20));
        assert_eq!(seen.held_by.as_deref(), Some("the store is full"));
        assert!(seen.held_seconds.contains_key("store") && seen.seconds_left.is_some());
        progress.release("store");
        progress.at(1, false);
        progress.again(1);
        progress.done(2);
        progress.done(2);
        let seen = progress.seen().unwrap();
        assert_eq!((seen.rows, seen.tables_done, seen.held_by, seen.now.len()), (10, 2, None, 0));
        assert_eq!(seen.finished.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["shop.c"]);
        progress.end();
        assert_eq!(progress.seen(), None);
    }
}

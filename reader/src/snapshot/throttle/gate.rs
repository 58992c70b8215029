//! Who may read when. Time is given, so that tests have their own.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::limits::{BYTES, Limits, ROWS};
use common::config::about_size;

/// What a watcher said counts for so long.
const FRESH: Duration = Duration::from_secs(10);
/// A hold that begins again within this time is the same one.
const SAME_HOLD: Duration = Duration::from_secs(2);
/// Nobody asked for so long: no need to watch.
const IDLE: Duration = Duration::from_secs(30);
/// Before the first chunk is known it counts as this many seconds' worth, so that not all threads begin at once.
const UNKNOWN_SECONDS: f64 = 10.0;
/// Chunks under way that are remembered.
const UNDER_WAY_MAX: usize = 1024;

/// What somebody who wants to read is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Go,
    /// Ask again after this.
    Wait(Duration),
}

/// A limit per second. It is paid back before the next may go and nothing is saved up for later: over any time no more passes than the rate allows and one chunk.
#[derive(Clone, Debug)]
struct Bucket {
    key: &'static str,
    rate: Option<u64>,
    /// What was read and is not paid back yet.
    debt: f64,
    /// Until when it is paid back.
    paid: Duration,
    /// What a chunk is expected to be.
    chunk: Option<f64>,
}

impl Bucket {
    fn new(key: &'static str, rate: Option<u64>) -> Self {
        Self { key, rate, debt: 0.0, paid: Duration::ZERO, chunk: None }
    }

    /// For how long none may go.
    fn wait(&mut self, now: Duration) -> Option<Duration> {
        let rate = self.rate? as f64;
        self.debt = (self.debt - rate * now.saturating_sub(self.paid).as_secs_f64()).max(0.0);
        self.paid = now.max(self.paid);
        // A debt below a millionth of a second is rounding.
        let wait = self.debt / rate;
        (wait > 1e-6).then(|| Duration::from_secs_f64(wait.clamp(1e-5, 3600.0)))
    }

    fn expect(&mut self) -> f64 {
        let expected = self.chunk.unwrap_or_else(|| self.rate.unwrap_or(0) as f64 * UNKNOWN_SECONDS);
        self.debt += expected;
        expected
    }

    fn spend(&mut self, now: Duration, expected: f64, found: u64) {
        self.wait(now);
        let found = found as f64;
        // Never below zero: what was charged for a chunk that turned out small may be paid back in part already.
        self.debt = (self.debt + found - expected).max(0.0);
        // Rather too much than too little: the largest of late.
        self.chunk = Some(found.max(self.chunk.unwrap_or(0.0) * 0.95));
    }

    fn text(&self) -> String {
        match (self.rate, self.key) {
            (Some(rate), BYTES) => format!("{BYTES}: {}/s are allowed", about_size(rate)),
            (rate, key) => format!("{key}: {} rows/s are allowed", rate.unwrap_or(0)),
        }
    }
}

/// What the watcher found.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) at: Duration,
    /// Which limit says no, and why; None = all is well.
    pub(super) hold: Option<(&'static str, String)>,
}

/// Being held back.
#[derive(Clone, Debug)]
struct Hold {
    key: &'static str,
    text: String,
    since: Duration,
    until: Duration,
}

#[derive(Debug)]
pub(super) struct Gate {
    limits: Limits,
    rows: Bucket,
    bytes: Bucket,
    /// What was charged for chunks that are being read.
    under_way: VecDeque<(f64, f64)>,
    seen: Option<Seen>,
    watching: bool,
    /// When somebody last asked.
    asked: Duration,
    hold: Option<Hold>,
    held: BTreeMap<&'static str, Duration>,
    /// Time up to here is in `held`.
    counted: Duration,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            rows: Bucket::new(ROWS, limits.rows),
            bytes: Bucket::new(BYTES, limits.bytes),
            limits,
            under_way: VecDeque::new(),
            seen: None,
            watching: false,
            asked: Duration::ZERO,
            hold: None,
            held: BTreeMap::new(),
            counted: Duration::ZERO,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn set(&mut self, limits: Limits, now: Duration) {
        // Debts of another rate would hold for hours under a low one.
        for (bucket, rate) in [(&mut self.rows, limits.rows), (&mut self.bytes, limits.bytes)] {
            if bucket.rate != rate {
                *bucket = Bucket { chunk: bucket.chunk, paid: now, ..Bucket::new(bucket.key, rate) };
                self.under_way.clear();
            }
        }
        if (&self.limits.threads_running, &self.limits.replica_lag, &self.limits.pause_query)
            != (&limits.threads_running, &limits.replica_lag, &limits.pause_query)
        {
            self.seen = None;
        }
        self.limits = limits;
    }

    /// Somebody who has waited since `from` wants to read a chunk.
    pub(super) fn enter(&mut self, now: Duration, from: Duration) -> Answer {
        self.asked = now;
        let (key, text, wait) = match self.why_not(now) {
            None => {
                if self.limits.rows.is_some() || self.limits.bytes.is_some() {
                    // Chunks that nobody told of any more (their tables are gone) stay charged.
                    if self.under_way.len() >= UNDER_WAY_MAX {
                        self.under_way.pop_front();
                    }
                    self.under_way.push_back((self.rows.expect(), self.bytes.expect()));
                }
                self.count(now, from, None);
                return Answer::Go;
            }
            Some(why) => why,
        };
        self.count(now, from, Some(key));
        match &mut self.hold {
            Some(hold) if hold.key == key && now.saturating_sub(hold.until) < SAME_HOLD => {
                hold.text = text;
                hold.until = now;
            }
            _ => self.hold = Some(Hold { key, text, since: now, until: now }),
        }
        Answer::Wait(wait)
    }

    fn why_not(&mut self, now: Duration) -> Option<(&'static str, String, Duration)> {
        if let Some(key) = self.limits.asks() {
            let look = Duration::from_secs(1);
            match &self.seen {
                Some(Seen { hold: Some((key, text)), at }) if now.saturating_sub(*at) < FRESH => {
                    return Some((key, text.clone(), look));
                }
                Some(Seen { hold: None, at }) if now.saturating_sub(*at) < FRESH => {}
                _ => return Some((key, format!("{key}: waiting for an answer"), look)),
            }
        }
        [&mut self.rows, &mut self.bytes].into_iter().find_map(|bucket| {
            let wait = bucket.wait(now)?;
            Some((bucket.key, bucket.text(), wait))
        })
    }

    /// Counts the time up to `now` of somebody who has waited since `from`: for what held until now, which `next` may be.
    fn count(&mut self, now: Duration, from: Duration, next: Option<&'static str>) {
        let from = from.max(self.counted);
        if now > from {
            let key =
                self.hold.as_ref().filter(|hold| hold.until >= from || next == Some(hold.key)).map(|hold| hold.key);
            if let Some(key) = key.or(next) {
                *self.held.entry(key).or_default() += now - from;
            }
        }
        self.counted = self.counted.max(now);
    }

    pub(super) fn spent(&mut self, now: Duration, rows: u64, bytes: u64) {
        let (expected_rows, expected_bytes) = self.under_way.pop_front().unwrap_or((0.0, 0.0));
        self.rows.spend(now, expected_rows, rows);
        self.bytes.spend(now, expected_bytes, bytes);
    }

    /// Whether a watcher must be started.
    pub(super) fn wants_watching(&self, now: Duration) -> bool {
        self.limits.asks().is_some() && !self.watching && now.saturating_sub(self.asked) < IDLE
    }

    /// A watcher was started, or could not be.
    pub(super) fn watched(&mut self, started: Result<(), String>, now: Duration) {
        match started {
            Ok(()) => self.watching = true,
            Err(reason) => {
                self.seen =
                    self.limits.asks().map(|key| Seen { at: now, hold: Some((key, format!("{key}: {reason}"))) });
            }
        }
    }

    /// What the watcher is to look at; None if it may end: it then counts as ended.
    pub(super) fn watch(&mut self, now: Duration) -> Option<Limits> {
        if self.limits.asks().is_none() || now.saturating_sub(self.asked) >= IDLE {
            self.watching = false;
            return None;
        }
        Some(self.limits.clone())
    }

    /// What the watcher found under `limits`; nothing if they are others by now.
    pub(super) fn saw(&mut self, limits: &Limits, seen: Seen) {
        if *limits == self.limits {
            self.seen = Some(seen);
        }
    }

    pub(super) fn held_by(&self, now: Duration) -> Option<(String, Duration)> {
        let hold = self.hold.as_ref().filter(|hold| now.saturating_sub(hold.until) < SAME_HOLD)?;
        Some((hold.text.clone(), hold.since))
    }

    pub(super) fn held_seconds(&self) -> BTreeMap<String, f64> {
        self.held.iter().map(|(key, time)| ((*key).to_owned(), time.as_secs_f64())).collect()
    }
}

//! What spares the source: how fast it is read, and when not at all.
//!
//! The threads that read ask before each chunk ([`Throttle::wait_before`]) and tell what it was ([`Throttle::spent`]). Whether the source and its replicas are at ease is looked at
//! about once a second by one thread on connections of its own; it runs while somebody asks.

mod gate;
mod limits;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::config::{Server, Snapshot};

use gate::{Answer, Gate};
use limits::Limits;

/// `stopping` is asked at least this often.
const LOOK: Duration = Duration::from_millis(100);

/// The limits, shared by all threads that read the source.
#[derive(Debug)]
pub struct Throttle {
    shared: Arc<Shared>,
    source: Server,
    replicas: Vec<Server>,
}

/// What the threads share with the one that watches.
#[derive(Debug)]
struct Shared {
    gate: Mutex<Gate>,
    changed: Condvar,
    begun: Instant,
}

impl Shared {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Throttle {
    /// With the limits of the configuration. `source` is asked for `Threads_running` and `pause_query`, on a connection of its own, once somebody waits.
    #[must_use]
    pub fn new(snapshot: &Snapshot, source: &Server) -> Self {
        let gate = Gate::new(Limits::new(snapshot));
        Self {
            shared: Arc::new(Shared { gate: Mutex::new(gate), changed: Condvar::new(), begun: Instant::now() }),
            source: source.clone(),
            replicas: snapshot.replicas.clone(),
        }
    }

    /// Changes a limit, by its key in `[snapshot]` and a value as in the file, without quotes; an empty value takes it away. `threads` is not ours.
    ///
    /// # Errors
    /// What is wrong with key or value, for people.
    pub fn tune(&self, key: &str, value: &str) -> Result<(), String> {
        let mut gate = self.shared.gate();
        let limits = gate.limits().tuned(key, value, !self.replicas.is_empty())?;
        gate.set(limits, self.shared.now());
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Waits until something may be read, or `stopping` says so.
    pub fn wait_before(&self, stopping: &dyn Fn() -> bool) {
        let from = self.shared.now();
        loop {
            if stopping() {
                return;
            }
            let mut gate = self.shared.gate();
            let now = self.shared.now();
            let wait = match gate.enter(now, from) {
                Answer::Go => return,
                Answer::Wait(wait) => wait.min(LOOK),
            };
            if gate.wants_watching(now) {
                let started = watch::start(Arc::downgrade(&self.shared), &self.source, &self.replicas);
                gate.watched(started, now);
            }
            // Woken early, or late: the gate is asked again.
            drop(self.shared.changed.wait_timeout(gate, wait).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Counts what was read.
    pub fn spent(&self, rows: u64, bytes: u64) {
        self.shared.gate().spent(self.shared.now(), rows, bytes);
        self.shared.changed.notify_all();
    }

    /// What holds reading back now, in words, and since when, in microseconds since 1970 UTC.
    #[must_use]
    pub fn held_by(&self) -> Option<(String, u64)> {
        let now = self.shared.now();
        let (text, since) = self.shared.gate().held_by(now)?;
        let ago = u64::try_from(now.saturating_sub(since).as_micros()).unwrap_or(u64::MAX);
        let today = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Some((text, u64::try_from(today.as_micros()).unwrap_or(0).saturating_sub(ago)))
    }

    /// Seconds that each limit has held reading back so far, by its key. However many threads waited at a time, it counts once.
    #[must_use]
    pub fn held_seconds(&self) -> BTreeMap<String, f64> {
        self.shared.gate().held_seconds()
    }
}

#[cfg(test)]
mod tests;

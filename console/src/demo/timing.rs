//! Where the time went.

use std::future::Future;
use std::time::{Duration, Instant};

/// The parts of the demonstration and how long each took.
#[derive(Default)]
pub(super) struct Timing {
    parts: Vec<(&'static str, Duration)>,
}

impl Timing {
    /// Measures one part.
    pub(super) async fn of<T>(&mut self, part: &'static str, what: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let result = what.await;
        self.parts.push((part, started.elapsed()));
        result
    }

    /// A line for each part and one for all.
    pub(super) fn text(&self) -> String {
        let total: Duration = self.parts.iter().map(|(_, took)| *took).sum();
        let line = |name: &str, took: Duration| {
            let share = 100.0 * took.as_secs_f64() / total.as_secs_f64().max(1e-9);
            format!("  {name:22} {:7.2} s {share:4.0} %", took.as_secs_f64())
        };
        let mut lines: Vec<String> = self.parts.iter().map(|(name, took)| line(name, *took)).collect();
        lines.push(line("all", total));
        lines.join("\n")
    }
}

//! Live progress: a line for each service that is redrawn in place, with log lines passing above; or plain lines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::control::{Lag, Place, SnapshotSeen, State, now_us};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::observe::Observation;
use crate::{progress, status};

/// How often plain progress is printed.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Tables that are shown of those under copy, and of those that were finished last.
const TABLES_MAX: usize = 4;

/// Where progress goes: stderr.
pub(crate) struct Live {
    bars: Option<MultiProgress>,
    drawn: Mutex<Drawn>,
}

#[derive(Default)]
struct Drawn {
    bars: Vec<ProgressBar>,
    plain: Option<Instant>,
}

impl Live {
    /// Live lines, or plain ones.
    pub(crate) fn new(plain: bool) -> Live {
        Live { bars: (!plain).then(MultiProgress::new), drawn: Mutex::default() }
    }

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        match &self.bars {
            // A terminal that cannot be written to is no reason to stop.
            Some(bars) => drop(bars.println(text)),
            None => eprintln!("{text}"),
        }
    }

    /// Shows how far everything is.
    pub(crate) fn draw(&self, seen: &Observation) {
        let lines = lines(seen);
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bars) = &self.bars else {
            if drawn.plain.is_none_or(|at| at.elapsed() >= PLAIN_EVERY) {
                drawn.plain = Some(Instant::now());
                lines.iter().for_each(|line| eprintln!("{line}"));
            }
            return;
        };
        while drawn.bars.len() < lines.len() {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            drawn.bars.push(bar);
        }
        for (bar, line) in drawn.bars.iter().zip(&lines) {
            bar.set_message(line.clone());
            bar.tick();
        }
        // A copy that has ended takes its lines with it.
        for bar in drawn.bars.drain(lines.len()..) {
            bar.finish_and_clear();
            bars.remove(&bar);
        }
    }

    /// Leaves the last state standing.
    pub(crate) fn finish(&self) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        for bar in drawn.bars.drain(..) {
            bar.abandon();
        }
    }
}

fn lines(seen: &Observation) -> Vec<String> {
    let width = seen.destinations.iter().map(|d| d.status.destination.len()).max().unwrap_or(0).max(6);
    let reader = &seen.reader;
    let place = |place: &Place| place.binlog.as_ref().map_or(String::new(), |at| format!("at {at}"));
    // What matters most comes first: narrow terminals cut the rest off.
    let line = |name: &str, state: &str, lag: &Lag, seq: u64, per_second: f64, rows: u64, rest: &str| {
        let lag = status::lag(lag);
        format!("{name:width$} {state:8} {lag:28} seq {seq:<8} {per_second:>7.0} rows/s {rows:>9} rows {rest}")
    };
    let state = |running: bool, state: State| if running { state.name() } else { "DOWN" };
    let status = &reader.status;
    let mut out = vec![line(
        "reader",
        state(reader.running, status.state),
        &status.lag,
        status.position.seq,
        status.rows_per_second,
        status.totals.rows,
        &place(&status.position),
    )];
    out.extend(seen.destinations.iter().map(|d| {
        let (status, mode) = (&d.status, &d.status.write.mode);
        let (seq, rate, rows) = (status.position.seq, status.rows_per_second, status.totals.rows);
        line(&status.destination, state(d.running, status.state), &status.lag, seq, rate, rows, mode)
    }));
    let copies = std::iter::once(("reader", &status.snapshot))
        .chain(seen.destinations.iter().map(|d| (d.status.destination.as_str(), &d.status.snapshot)));
    let copies: Vec<(&str, &SnapshotSeen)> = copies.filter_map(|(who, s)| s.as_ref().map(|s| (who, s))).collect();
    let now = now_us();
    for (index, (who, copy)) in copies.iter().enumerate() {
        // The first one tells the tables; for the others the sums say enough.
        out.extend(progress::lines(who, copy, now, if index == 0 { TABLES_MAX } else { 0 }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::ApplierSeen;

    #[test]
    fn a_copy_is_shown_below_the_services_by_table_for_the_reader_and_in_total_for_each_destination() {
        let mut seen = Observation::default();
        let copy = SnapshotSeen {
            tables: 2,
            rows: 5,
            rows_estimate: 10,
            now: vec![common::control::TableSeen { name: "shop.t".into(), rows: 5, rows_estimate: 10, bytes: 50 }],
            ..SnapshotSeen::default()
        };
        seen.reader.running = true;
        seen.destinations.push(ApplierSeen::default());
        seen.destinations[0].status.destination = "replica".into();
        assert_eq!(lines(&seen).len(), 2, "no copy, no lines of one");
        seen.reader.status.snapshot = Some(copy.clone());
        seen.destinations[0].status.snapshot = Some(copy);
        let lines = lines(&seen);
        assert_eq!(lines.len(), 5, "{lines:#?}");
        assert!(lines[2].starts_with("reader copies: 0 of 2 tables, 5 of about 10 rows"), "{lines:#?}");
        assert!(lines[3].starts_with("  shop.t  5 of about 10 rows"), "{lines:#?}");
        assert!(lines[4].starts_with("replica copies: 0 of 2"), "{lines:#?}");
    }
}

//! Live progress: a line for each service that is redrawn in place, with log lines passing above; or plain lines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::control::{Lag, Place, State};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::observe::Observation;
use crate::status;

/// How often plain progress is printed.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

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
        for (bar, line) in drawn.bars.iter().zip(lines) {
            bar.set_message(line);
            bar.tick();
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
    out
}

//! `logweir status`.

use std::io::IsTerminal;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use common::config::about_size;
use common::control::{Lag, Place, State, StopNote, now_us};

use crate::cli::StatusArgs;
use crate::exit::{Exit, Failure};
use crate::observe::{ApplierSeen, Observation, ReaderSeen, observe};
use crate::{out, part, progress};

/// Tables that are shown of those under copy, and of those that were finished last.
const TABLES_MAX: usize = 10;

/// Prints what the pipeline is doing, once or every second.
pub(crate) async fn status(args: StatusArgs) -> Result<Exit, Failure> {
    let pipeline = part::load_without_passwords(&args.config.config)?;
    loop {
        let seen = observe(&pipeline, !args.watch).await;
        if args.json && args.watch {
            out::line(&serde_json::to_string(&seen).map_err(std::io::Error::other)?)?;
        } else if args.json {
            out::json(&seen)?;
        } else {
            if args.watch && std::io::stdout().is_terminal() {
                // Home, and clear what is below.
                out::bytes(b"\x1b[H\x1b[J")?;
            }
            out::line(&text(&seen))?;
        }
        if !args.watch {
            return Ok(Exit::Done);
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

/// The table for people, with what went wrong below it.
pub(crate) fn text(seen: &Observation) -> String {
    let store = &seen.store;
    let mut lines = vec![format!("pipeline {}", seen.pipeline)];
    let limit = store.max_bytes.map_or(String::new(), |max| format!(" of {}", about_size(max)));
    let seqs =
        if store.last_seq > 0 { format!(", seq {} to {}", store.first_seq, store.last_seq) } else { String::new() };
    lines.push(format!("store {}: {} segments, {}{limit}{seqs}", store.dir, store.segments, about_size(store.bytes)));
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["", "state", "seq", "position", "behind", "rows/s", "rows", "how"]);
    table.add_row(reader_row(&seen.reader));
    for applier in &seen.destinations {
        table.add_row(applier_row(applier));
    }
    for column in [2, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    lines.push(table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n"));
    let now = now_us();
    for (who, copy) in std::iter::once(("reader", &seen.reader.status.snapshot))
        .chain(seen.destinations.iter().map(|d| (d.status.destination.as_str(), &d.status.snapshot)))
    {
        lines.extend(copy.iter().flat_map(|copy| progress::lines(who, copy, now, TABLES_MAX)));
    }
    lines.extend(store.problem.as_ref().map(|p| format!("store: {p}")));
    lines.extend(notes("reader", seen.reader.stopped.as_ref(), seen.reader.problem.as_ref()));
    lines.extend(seen.reader.status.last_error.as_ref().map(|e| format!("reader, {}: {}", ago(e.at_us), e.message)));
    for applier in &seen.destinations {
        let name = &applier.status.destination;
        lines.extend(notes(name, applier.stopped.as_ref(), applier.problem.as_ref()));
        lines.extend(applier.status.last_error.as_ref().map(|e| format!("{name}, {}: {}", ago(e.at_us), e.message)));
        lines.extend(applier.status.left_out.iter().map(|table| {
            format!("{name}: {table} is left out; the table incident there says why, `logweir snapshot --tables` copies it again")
        }));
        lines.extend(
            applier.status.write.reasons.iter().map(|reason| format!("{name}: SQL because {}", first_of(reason))),
        );
    }
    lines.join("\n")
}

fn reader_row(seen: &ReaderSeen) -> Vec<String> {
    let status = &seen.status;
    let how = status.source.as_ref().map_or(String::new(), |s| format!("{} {}", s.url, s.version));
    vec![
        "reader".to_owned(),
        state(seen.running, status.state, status.state_since_us),
        seq(&status.position),
        position(&status.position),
        if seen.running { lag(&status.lag) } else { String::new() },
        rate(seen.running, status.rows_per_second),
        if seen.running { status.totals.rows.to_string() } else { String::new() },
        how,
    ]
}

fn applier_row(seen: &ApplierSeen) -> Vec<String> {
    let status = &seen.status;
    let server = status.server.as_ref().map_or(String::new(), |s| format!(" to {} {}", s.url, s.version));
    vec![
        status.destination.clone(),
        state(seen.running, status.state, status.state_since_us),
        seq(&status.position),
        position(&status.position),
        lag(&status.lag),
        rate(seen.running, status.rows_per_second),
        if seen.running { status.totals.rows.to_string() } else { String::new() },
        format!("{}{server}", status.write.mode),
    ]
}

fn notes<'a>(
    name: &'a str,
    stopped: Option<&'a StopNote>,
    problem: Option<&'a String>,
) -> impl Iterator<Item = String> + 'a {
    let stopped = stopped.filter(|note| note.exit_code != 0).map(move |note| {
        format!("{name} stopped {} with exit code {}: {}", ago(note.at_us), note.exit_code, note.reason)
    });
    stopped.into_iter().chain(problem.map(move |p| format!("{name}: {p}")))
}

/// The first of several reasons that stand in one text; `--json` has them all.
fn first_of(reasons: &str) -> String {
    let mut all = reasons.split("; ");
    let first = all.next().unwrap_or_default();
    match all.count() {
        0 => first.to_owned(),
        more => format!("{first} (and {more} more)"),
    }
}

fn state(running: bool, state: State, since_us: u64) -> String {
    match (running, state) {
        (false, _) => "not running".to_owned(),
        (true, State::Running) => state.name().to_owned(),
        (true, other) if since_us > 0 => format!("{} ({})", other.name(), ago(since_us)),
        (true, other) => other.name().to_owned(),
    }
}

fn seq(place: &Place) -> String {
    if place.seq == 0 { "-".to_owned() } else { place.seq.to_string() }
}

fn position(place: &Place) -> String {
    place.binlog.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn rate(running: bool, rows: f64) -> String {
    if running { format!("{rows:.0}") } else { String::new() }
}

/// `0.4 s, 12 seqs, 3.1 KiB`, or `level`.
pub(crate) fn lag(lag: &Lag) -> String {
    let mut parts = Vec::new();
    parts.extend(lag.seconds.filter(|s| *s >= 0.05).map(|s| {
        if s < 120.0 {
            return format!("{s:.1} s");
        }
        humantime::format_duration(Duration::from_secs(s as u64)).to_string()
    }));
    parts.extend(lag.seqs.filter(|n| *n > 0).map(|n| format!("{n} seqs")));
    parts.extend(lag.bytes.filter(|n| *n > 0).map(about_size));
    if parts.is_empty() {
        let known = lag.seconds.is_some() || lag.seqs.is_some() || lag.bytes.is_some();
        return if known { "level" } else { "-" }.to_owned();
    }
    parts.join(", ")
}

fn ago(at_us: u64) -> String {
    let seconds = now_us().saturating_sub(at_us) / 1_000_000;
    format!("{} ago", humantime::format_duration(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_told_below_the_table_of_services() {
        let mut seen = Observation::default();
        assert!(!text(&seen).contains("copies"));
        let mut copy = common::control::SnapshotSeen { tables: 3, way: "gtid".into(), ..Default::default() };
        copy.held_by = Some("max_replica_lag: db3 is 9 s behind".into());
        seen.reader.status.snapshot = Some(copy);
        let text = text(&seen);
        assert!(text.contains("\nreader copies (gtid): 0 of 3 tables"), "{text}");
        assert!(text.contains("\n  held back by max_replica_lag: db3 is 9 s behind"), "{text}");
    }

    #[test]
    fn lag_is_told_in_the_units_that_are_known() {
        let full = Lag { seconds: Some(1.26), seqs: Some(3), bytes: Some(2048) };
        assert_eq!(lag(&full), "1.3 s, 3 seqs, 2.0 KiB");
        assert_eq!(lag(&Lag { seconds: Some(0.0), ..Lag::default() }), "level");
        assert_eq!(lag(&Lag { seconds: Some(3700.0), ..Lag::default() }), "1h 1m 40s");
        assert_eq!(lag(&Lag::default()), "-");
    }
}

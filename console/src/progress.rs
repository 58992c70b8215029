//! How far a snapshot is, in lines for people: what `run`, `status` and `snapshot --wait` show.

use std::time::Duration;

use common::config::about_size;
use common::control::{SnapshotSeen, TableSeen};

/// A snapshot in as many lines as it needs: the total, what holds it back, at most `tables_max` of the tables that are being copied and as many of the
/// last that were finished, and what was left out. `who` is `reader` or the destination's name; `now_us` is microseconds since 1970 UTC.
pub(crate) fn lines(who: &str, seen: &SnapshotSeen, now_us: u64, tables_max: usize) -> Vec<String> {
    let mut out = vec![total(who, seen)];
    out.extend(held(seen, now_us).map(|line| format!("  {line}")));
    out.extend(held_before(seen).map(|line| format!("  {line}")));
    out.extend(tables(seen, tables_max).into_iter().map(|line| format!("  {line}")));
    out.extend(seen.skipped.iter().map(|what| format!("  left out: {what}")));
    out
}

/// `reader copies (gtid): 1 of 3 tables, 40,000 of about 100,000 rows (40.0 %), 4.0 MiB, 20,000 rows/s, about 3 s left`
pub(crate) fn total(who: &str, seen: &SnapshotSeen) -> String {
    let way = if seen.way.is_empty() { String::new() } else { format!(" ({})", seen.way) };
    let all_done = seen.tables_done >= seen.tables;
    let left = match seen.seconds_left {
        _ if all_done => "finishing".to_owned(),
        _ if seen.held_by.is_some() => "held back".to_owned(),
        Some(seconds) => format!("about {} left", duration(seconds)),
        None => "time left unknown".to_owned(),
    };
    format!(
        "{who} copies{way}: {} of {} tables, {}, {}, {} rows/s, {left}",
        grouped(seen.tables_done),
        grouped(seen.tables),
        rows(seen.rows, seen.rows_estimate, all_done),
        about_size(seen.bytes),
        grouped(seen.rows_per_second.max(0.0).round() as u64),
    )
}

/// What holds it back at the moment, and for how long; None if nothing does.
pub(crate) fn held(seen: &SnapshotSeen, now_us: u64) -> Option<String> {
    let why = seen.held_by.as_ref()?;
    if seen.held_since_us == 0 {
        return Some(format!("held back by {why}"));
    }
    let seconds = now_us.saturating_sub(seen.held_since_us) as f64 / 1e6;
    Some(format!("held back for {} by {why}", duration(seconds)))
}

/// How long each limit has held it back so far, those that did so for a second at least; the longest first.
fn held_before(seen: &SnapshotSeen) -> Option<String> {
    let mut all: Vec<(&str, f64)> = seen.held_seconds.iter().map(|(key, s)| (key.as_str(), *s)).collect();
    all.retain(|(_, seconds)| *seconds >= 1.0);
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let words: Vec<String> = all.iter().map(|(key, seconds)| format!("{key} {}", duration(*seconds))).collect();
    (!words.is_empty()).then(|| format!("held back so far: {}", words.join(", ")))
}

/// The tables that are being copied, then the last that were finished, names and numbers under each other.
fn tables(seen: &SnapshotSeen, tables_max: usize) -> Vec<String> {
    if tables_max == 0 {
        return Vec::new();
    }
    let now: Vec<&TableSeen> = seen.now.iter().take(tables_max).collect();
    let finished: Vec<&TableSeen> = seen.finished.iter().take(tables_max).collect();
    let width = now.iter().chain(&finished).map(|t| t.name.chars().count()).max().unwrap_or(0);
    let mut out: Vec<String> = now
        .iter()
        .map(|t| format!("{:width$}  {}, {}", t.name, rows(t.rows, t.rows_estimate, false), about_size(t.bytes)))
        .collect();
    if seen.now.len() > now.len() {
        out.push(format!("and {} more tables at the same time", seen.now.len() - now.len()));
    }
    out.extend(
        finished.iter().map(|t| format!("{:width$}  done, {} rows, {}", t.name, grouped(t.rows), about_size(t.bytes))),
    );
    out
}

/// `40,000 of about 100,000 rows (40.0 %)`. Never 100 % before it is done: the estimate is the server's statistics.
fn rows(rows: u64, estimate: u64, done: bool) -> String {
    if done {
        return format!("{} rows (100 %)", grouped(rows));
    }
    let estimate = estimate.max(rows);
    if estimate == 0 {
        return "0 rows".to_owned();
    }
    let percent = (rows as f64 / estimate as f64 * 100.0).min(99.9);
    // Cut off, not rounded: 99.96 is not 100.
    let percent = (percent * 10.0).floor() / 10.0;
    format!("{} of about {} rows ({percent:.1} %)", grouped(rows), grouped(estimate))
}

/// `1,234,567`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Seconds in the two largest units that matter: `3s`, `2m 5s`, `1h 12m`, `2days 3h`.
pub(crate) fn duration(seconds: f64) -> String {
    // Beyond a year nobody wants to know it more exactly.
    let seconds = if seconds.is_finite() { seconds.clamp(0.0, 366.0 * 86_400.0) } else { 0.0 };
    let whole = seconds.ceil() as u64;
    let rounded = match whole {
        0..3600 => whole,
        3600..86_400 => whole / 60 * 60,
        _ => whole / 3600 * 3600,
    };
    humantime::format_duration(Duration::from_secs(rounded)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, rows: u64, rows_estimate: u64) -> TableSeen {
        TableSeen { name: name.into(), rows, rows_estimate, bytes: rows * 100 }
    }

    fn seen() -> SnapshotSeen {
        SnapshotSeen {
            run: 7,
            way: "gtid".into(),
            tables: 12,
            tables_done: 3,
            rows: 1_234_567,
            rows_estimate: 5_000_000,
            bytes: 312 << 20,
            rows_per_second: 45_120.4,
            seconds_left: Some(83.4),
            now: vec![table("shop.orders", 1000, 3000), table("shop.lines", 0, 0), table("a.b", 5, 5)],
            finished: vec![table("crm.users", 9_999, 9_999)],
            ..SnapshotSeen::default()
        }
    }

    #[test]
    fn a_copy_is_told_in_total_and_by_table() {
        let lines = lines("reader", &seen(), 0, 2);
        assert_eq!(
            lines,
            [
                "reader copies (gtid): 3 of 12 tables, 1,234,567 of about 5,000,000 rows (24.6 %), 312 MiB, 45,120 rows/s, about 1m 24s left",
                "  shop.orders  1,000 of about 3,000 rows (33.3 %), 97.7 KiB",
                "  shop.lines   0 rows, 0 B",
                "  and 1 more tables at the same time",
                "  crm.users    done, 9,999 rows, 976 KiB",
            ]
        );
    }

    #[test]
    fn what_holds_it_back_is_told_with_since_when_and_how_long_so_far() {
        let mut seen = seen();
        seen.held_by = Some("max_threads_running: 41 are running, 30 are allowed".into());
        seen.held_since_us = 1_000_000;
        seen.held_seconds =
            [("max_threads_running".to_owned(), 75.0), ("pause_query".into(), 0.4), ("store".into(), 80.0)].into();
        let lines = lines("reader", &seen, 13_000_000, 0);
        assert!(lines[0].ends_with("held back"), "{}", lines[0]);
        assert_eq!(lines[1], "  held back for 12s by max_threads_running: 41 are running, 30 are allowed");
        assert_eq!(lines[2], "  held back so far: store 1m 20s, max_threads_running 1m 15s");
        seen.held_since_us = 0;
        assert_eq!(held(&seen, 5), Some("held back by max_threads_running: 41 are running, 30 are allowed".into()));
        seen.held_by = None;
        assert_eq!(held(&seen, 5), None);
    }

    #[test]
    fn it_is_complete_only_when_every_table_is() {
        let mut seen = SnapshotSeen { rows: 5_000_000, tables_done: 11, ..seen() };
        assert!(total("replica", &seen).contains("of about 5,000,000 rows (99.9 %)"), "{}", total("replica", &seen));
        seen.tables_done = 12;
        assert!(total("replica", &seen).contains("5,000,000 rows (100 %)"));
        assert!(total("replica", &seen).ends_with("finishing"));
        // An empty run, and one whose tables are all empty.
        let empty = total("reader", &SnapshotSeen { tables: 1, ..SnapshotSeen::default() });
        assert_eq!(empty, "reader copies: 0 of 1 tables, 0 rows, 0 B, 0 rows/s, time left unknown");
    }

    #[test]
    fn what_was_left_out_is_named() {
        let seen = SnapshotSeen { skipped: vec!["view shop.v: no such column".into()], ..seen() };
        assert_eq!(lines("replica", &seen, 0, 0).last().unwrap(), "  left out: view shop.v: no such column");
    }

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!([0, 999, 1000, 123_456, 1_234_567].map(grouped), ["0", "999", "1,000", "123,456", "1,234,567"]);
        assert_eq!(
            [0.0, 0.2, 59.0, 125.0, 4325.0, 90_000.0].map(duration),
            ["0s", "1s", "59s", "2m 5s", "1h 12m", "1day 1h"]
        );
        assert_eq!(duration(f64::NAN), "0s");
        assert_eq!(duration(f64::INFINITY), "0s");
    }
}

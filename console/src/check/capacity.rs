//! Times and sizes: how long the copy takes against what the source keeps, packets, room at the destination.

use std::time::Duration;

use common::config::{Pipeline, SnapshotMode, about_size};

use super::{Inventory, Items, Session, Verdict};
use crate::progress::{duration, grouped};

const DAY_SECONDS: u64 = 86_400;
/// What a copy does at least on small machines; measured ones do several times as much (docs/PERFORMANCE.md).
const ROWS_PER_SECOND: u64 = 50_000;
const BYTES_PER_SECOND: u64 = 20 << 20;
/// A packet that takes most rows.
const PACKET_BYTES: u64 = 16 << 20;

/// Seconds that the copy takes at the most, by the source's statistics and the configured limits.
fn copy_seconds(pipeline: &Pipeline, rows: u64, bytes: u64) -> u64 {
    if pipeline.snapshot.mode != SnapshotMode::Full {
        return 0;
    }
    let per_second = |usual: u64, limit: Option<u64>| limit.unwrap_or(usual).min(usual).max(1);
    let by_rows = rows / per_second(ROWS_PER_SECOND, pipeline.snapshot.max_rows_per_second);
    by_rows.max(bytes / per_second(BYTES_PER_SECOND, pipeline.snapshot.max_bytes_per_second))
}

/// Retention of the binlog against the time of the copy.
pub(super) fn of_source(pipeline: &Pipeline, session: &Session, inventory: &Inventory, items: &mut Items) {
    let days = session.number("expire_logs_days").unwrap_or(0) * DAY_SECONDS;
    let kept = session.number("binlog_expire_logs_seconds").filter(|s| *s > 0).unwrap_or(days);
    let (rows, bytes) = inventory.size();
    let seconds = copy_seconds(pipeline, rows, bytes);
    let mut found = match kept {
        0 => "binlogs are kept until they are purged by hand".to_owned(),
        s => format!("binlogs are kept for {}", humantime::format_duration(Duration::from_secs(s))),
    };
    if seconds > 0 {
        let (rows, bytes, time) = (grouped(rows), about_size(bytes), duration(seconds as f64));
        found.push_str(&format!(", the copy of about {rows} rows, {bytes} takes up to {time}"));
    }
    // Twice the time: the store may be full and pause the reader, and what was written meanwhile is to be applied too.
    let wanted = DAY_SECONDS.max(seconds.saturating_mul(2));
    let mend = format!(
        "SET GLOBAL binlog_expire_logs_seconds = {wanted} (MariaDB before 10.6, MySQL before 8: expire_logs_days = {}) or more: the reader needs those of the time in which it was away or waited",
        wanted.div_ceil(DAY_SECONDS)
    );
    items.is("binlog-expiry", kept == 0 || kept >= wanted, Verdict::Warn, found, mend);
}

/// `max_allowed_packet` of a server.
pub(super) fn packets(whose: &str, session: &Session, items: &mut Items) {
    let packet = session.number("max_allowed_packet").unwrap_or(0);
    let found = format!("max_allowed_packet={}", about_size(packet));
    let mend = format!(
        "SET GLOBAL max_allowed_packet = 1073741824 at {whose}, and in my.cnf: a row that is larger than this cannot be read or written"
    );
    items.is("packet-size", packet >= PACKET_BYTES, Verdict::Warn, found, mend);
}

/// `max_allowed_packet` of a destination, against the source's.
pub(super) fn packets_against(source: &Session, session: &Session, items: &mut Items) {
    let (ours, theirs) = (session.number("max_allowed_packet"), source.number("max_allowed_packet"));
    let (ours, theirs) = (ours.unwrap_or(0), theirs.unwrap_or(0));
    let found = format!("max_allowed_packet={}, {} at the source", about_size(ours), about_size(theirs));
    let mend = format!(
        "SET GLOBAL max_allowed_packet = {} at the destination, and in my.cnf: a row that the source takes may be too large here",
        theirs.max(PACKET_BYTES)
    );
    items.is("packet-size", ours >= theirs.max(PACKET_BYTES), Verdict::Warn, found, mend);
}

/// What the copy needs at a destination, where no SQL tells what is free.
pub(super) fn destination_space(pipeline: &Pipeline, inventory: &Inventory, items: &mut Items) {
    if pipeline.snapshot.mode != SnapshotMode::Full {
        return;
    }
    let bytes = inventory.size().1;
    let found = format!(
        "the copy needs about {} for tables, and as much again for the destination's own binlog if it writes one; SQL does not tell what is free",
        about_size(bytes)
    );
    items.add("destination-space", Verdict::Pass, found, "");
}

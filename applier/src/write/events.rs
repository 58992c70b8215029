//! Rows as the source's row events: one `BINLOG` statement for many source transactions.
//!
//! The server executes the events as its own replica would: exact for every type, without triggers, with foreign keys as the flags
//! of the source's events say (9.6 and later: cascades are in the log and marked so; before: the engine cascades).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::Flavor;
use common::record::{Op, SourceInfo};
use common::row_event::{self, EventHeader, STMT_END, format_description};

use super::route::Route;
use crate::error::{ApplyError, Result};
use crate::plan::Change;
use crate::target::Session;

/// Largest raw size of the events of one statement, in bytes; less where the server takes less.
const STATEMENT_BYTES: usize = 8 << 20;

/// Announces the source's event format on this session. Outside a transaction: the server would roll it back.
///
/// # Errors
/// When the source is too old, or the destination refuses (a missing privilege, most of all).
pub async fn announce(session: &mut Session, source: &SourceInfo) -> Result<()> {
    let event = format_description(&source.format_description).map_err(|error| {
        ApplyError::refused(
            format!("the source's format description: {error}"),
            "set write = \"sql\" for this destination",
        )
    })?;
    session.run(statement(&event), || "announcing the format of row events (BINLOG)".into()).await?;
    if session.facts.flavor == Flavor::MySql {
        // BINLOG leaves gtid_next at NOT_YET_DETERMINED, with which nothing can be committed.
        session.run("SET gtid_next='AUTOMATIC'", || "setting gtid_next after BINLOG".into()).await?;
    }
    Ok(())
}

/// A `BINLOG` statement of these events.
#[must_use]
pub fn statement(events: &[u8]) -> Vec<u8> {
    let mut sql = Vec::with_capacity(events.len() * 4 / 3 + 16);
    sql.extend_from_slice(b"BINLOG '");
    let start = sql.len();
    let len = base64::encoded_len(events.len(), true).unwrap_or(0);
    sql.resize(start + len, 0);
    // The buffer has exactly the length that is needed.
    let written = STANDARD.encode_slice(events, sql.get_mut(start..).unwrap_or_default()).unwrap_or(0);
    sql.truncate(start + written);
    sql.push(b'\'');
    sql
}

/// How many bytes of events one statement may hold at this server.
#[must_use]
pub fn room(max_allowed_packet: usize) -> usize {
    (max_allowed_packet.saturating_sub(64) / 4 * 3).min(STATEMENT_BYTES)
}

/// Whether `next` may join the event of `first`: same layout, operation, columns and foreign key flags, and each row found by itself.
#[must_use]
pub fn joins(first: &Change, next: &Change, route: &Route) -> bool {
    if first.table.id != next.table.id
        || !next.more.is_empty()
        || !first.more.is_empty()
        || first.server_id != next.server_id
    {
        return false;
    }
    let (Ok(a), Ok(b)) = (first.rows(), next.rows()) else { return false };
    // Without a primary key the server may search all rows of an event at once, and a row changed twice would not be found.
    (a.op == Op::Insert || route.target.has_primary_key())
        && a.op == b.op
        && (a.flags | STMT_END) == (b.flags | STMT_END)
        && a.columns_before == b.columns_before
        && a.columns_after == b.columns_after
}

/// Appends the events of a run of changes that may join. Each event ends its statement, so no table stays open.
///
/// # Errors
/// When a record cannot be an event.
pub fn append(run: &[&Change], route: &Route, room: usize, out: &mut Vec<u8>) -> Result<()> {
    let Some(first) = run.first() else { return Ok(()) };
    let schema = &first.table.schema;
    let header = EventHeader { timestamp: first.timestamp, server_id: first.server_id };
    let unfit = |error: row_event::EventError| {
        ApplyError::refused(error.to_string(), "set write = \"sql\" for this destination")
    };
    let mut rows = first.rows()?;
    let flags = rows.flags | STMT_END;
    let map = |out: &mut Vec<u8>| {
        row_event::table_map(header, schema, route.table_id, &route.target.database, &route.target.name, out)
            .map_err(unfit)
    };
    let mut more: Vec<&[u8]> = vec![&first.more];
    for change in run.get(1..).unwrap_or_default() {
        more.push(change.rows()?.images);
    }
    let bytes = rows.images.len() + more.iter().map(|part| part.len()).sum::<usize>();
    if bytes <= room || run.len() > 1 {
        map(out)?;
        return row_event::rows(header, schema, &rows, &more, flags, route.table_id, out).map_err(unfit);
    }
    // One record that is larger than the server's packets: cut between its rows.
    let images = first.images()?;
    let wrong = |source| ApplyError::Row { table: schema.full_name(), source };
    let mut start = 0;
    let mut end = 0;
    let mut cuts = Vec::new();
    for row in first.table.layout.rows(rows.op, rows.columns_before, rows.columns_after, &images).map_err(wrong)? {
        let range = row.map_err(wrong)?.range;
        if range.end - start > room && end > start {
            cuts.push(start..end);
            start = end;
        }
        end = range.end;
    }
    cuts.push(start..end);
    for cut in cuts {
        rows.images = images.get(cut).unwrap_or_default();
        map(out)?;
        row_event::rows(header, schema, &rows, &[], flags, route.table_id, out).map_err(unfit)?;
    }
    Ok(())
}

/// Cuts events into statements of at most `room` bytes, between two groups of TABLE_MAP and rows.
pub fn cut(events: &[u8], room: usize) -> Vec<&[u8]> {
    const TABLE_MAP_EVENT: u8 = 19;
    let (mut out, mut start, mut group, mut at) = (Vec::new(), 0, 0, 0);
    while let Some(head) = events.get(at..at + row_event::HEADER_BYTES) {
        if head.get(4) == Some(&TABLE_MAP_EVENT) {
            if at - start > room && group > start {
                out.push(events.get(start..group).unwrap_or_default());
                start = group;
            }
            group = at;
        }
        let size = head.get(9..13).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b)) as usize;
        at += size.max(row_event::HEADER_BYTES);
    }
    if events.len() - start > room && group > start {
        out.push(events.get(start..group).unwrap_or_default());
        start = group;
    }
    out.push(events.get(start..).unwrap_or_default());
    out
}

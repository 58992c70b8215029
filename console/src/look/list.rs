//! `logweir store list`: the segments, and who still needs which.

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use common::config::about_size;
use common::record::SegmentStart;
use common::snapshot::{RunState, TableState};
use common::{Seq, codec};
use serde_json::json;
use store::Consumer;

use super::text::time_us;
use crate::exit::{Exit, Failure};
use crate::out;

/// Lists the segments and consumers.
pub(super) fn list(dir: &Path, as_json: bool) -> Result<Exit, Failure> {
    let segments = store::list_segment_headers(dir)?;
    let consumers = Consumer::list(dir)?;
    let tail = store::Tail::open(dir)?;
    let last = tail.last_seq();
    if as_json {
        let segments: Vec<_> = segments
            .iter()
            .map(|(info, header)| {
                let start = codec::decode::<SegmentStart>(&header.blob).ok();
                json!({
                    "file": info.id.file_name(),
                    "number": info.id.number,
                    "first_seq": info.id.base_seq.0,
                    "last_seq": info.last_seq().map(|s| s.0),
                    "continued": info.continued,
                    "sealed": info.seal.is_some(),
                    "bytes": info.bytes,
                    "created_us": info.created_us,
                    "sealed_us": info.seal.as_ref().map(|s| s.closed_us),
                    "epoch": start.as_ref().map(|s| s.epoch),
                    "binlog": start.as_ref().map(|s| s.position.to_string()),
                    "gtids": start.as_ref().map(|s| s.gtids.to_string()),
                    "committed_us": start.as_ref().map(|s| s.committed_us),
                    "snapshots": start.as_ref().map(|s| s.snapshots.runs.iter().map(run_json).collect::<Vec<_>>()),
                })
            })
            .collect();
        let consumers: Vec<_> = consumers
            .iter()
            .map(|c| json!({ "name": c.name, "seq": c.position.map(|p| p.0), "lost": c.lost }))
            .collect();
        out::json(&json!({
            "store": dir,
            "first_seq": tail.first_seq().0,
            "last_seq": last.0,
            "segments": segments,
            "consumers": consumers,
        }))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "segment",
        "first seq",
        "last seq",
        "size",
        "created",
        "source position at its start",
        "needed by",
    ]);
    for (info, header) in &segments {
        let start = codec::decode::<SegmentStart>(&header.blob).ok();
        let segment_last = info.last_seq().unwrap_or(last);
        let needed: Vec<&str> = consumers
            .iter()
            .filter(|c| !c.lost && c.position.unwrap_or(Seq::NONE) < segment_last)
            .map(|c| c.name.as_str())
            .collect();
        table.add_row([
            info.id.number.to_string(),
            info.id.base_seq.to_string(),
            info.last_seq().map_or_else(|| "(open)".to_owned(), |s| s.to_string()),
            about_size(info.bytes),
            time_us(info.created_us),
            start.map_or_else(|| "?".to_owned(), |s| s.position.to_string()),
            if needed.is_empty() { "-".to_owned() } else { needed.join(", ") },
        ]);
    }
    for column in 0..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let bytes: u64 = segments.iter().map(|(info, _)| info.bytes).sum();
    let text: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    out::line(&text.join("\n"))?;
    out::line(&format!("{} segments, {}, up to seq {last}", segments.len(), about_size(bytes)))?;
    // The newest header says best what is under way.
    let newest = segments.last().and_then(|(info, header)| {
        codec::decode::<SegmentStart>(&header.blob).ok().map(|start| (info.id.number, start.snapshots.runs))
    });
    for (number, run) in newest.iter().flat_map(|(number, runs)| runs.iter().map(move |run| (number, run))) {
        let (tables, done) = (run.tables.len(), tables_done(run));
        let rows: u64 = run.rows.iter().sum();
        out::line(&format!(
            "snapshot run {}: {done} of {tables} tables and {rows} rows were copied when segment {number} began",
            run.begin.run
        ))?;
    }
    for consumer in &consumers {
        let position = match (consumer.lost, consumer.position) {
            (true, _) => "lost what it needed to a size limit; it needs a new snapshot".to_owned(),
            (false, None) => "has no position yet and holds everything".to_owned(),
            (false, Some(at)) => format!("has applied up to seq {at}, {} behind", last.0.saturating_sub(at.0)),
        };
        out::line(&format!("{}: {position}", consumer.name))?;
    }
    Ok(Exit::Done)
}

fn tables_done(run: &RunState) -> usize {
    run.tables.iter().filter(|state| matches!(state, TableState::Done | TableState::Gone)).count()
}

/// A run as it stood when a segment began.
fn run_json(run: &RunState) -> serde_json::Value {
    json!({
        "run": run.begin.run,
        "destinations": run.begin.destinations,
        "whole": run.begin.whole,
        "tables": run.tables.len(),
        "tables_done": tables_done(run),
        "rows": run.rows.iter().sum::<u64>(),
        "bytes": run.bytes.iter().sum::<u64>(),
        "rows_estimate": run.estimates.iter().map(|(rows, _)| rows).sum::<u64>(),
    })
}

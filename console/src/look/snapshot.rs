//! Steps of snapshots in words and as JSON.

use std::collections::{HashMap, HashSet};

use common::config::about_size;
use common::selection::Pattern;
use common::snapshot::{
    ObjectKind, RunId, SnapshotBegin, SnapshotChunk, SnapshotObject, SnapshotStep, Span, TableName,
};
use serde_json::{Value as Json, json};

use super::text;

/// Tables of a run that are named in words; JSON has them all.
const NAMED_MAX: usize = 10;

/// A step, as it is shown.
pub(super) struct Shown {
    /// In words.
    pub(super) line: String,
    /// As an object with the key `step`.
    pub(super) body: Json,
}

/// What has been seen of snapshots so far: where each span stands, and which runs do not concern the table that is asked for.
#[derive(Default)]
pub(super) struct Steps {
    reached: HashMap<(RunId, TableName, u32), Vec<Vec<u8>>>,
    hidden_runs: HashSet<RunId>,
    /// The chunk whose rows follow concerns the table that is asked for.
    chunk_shown: bool,
}

impl Steps {
    /// How the step is to be shown; None if it does not concern `only`.
    pub(super) fn take(&mut self, step: &SnapshotStep, only: Option<&Pattern>) -> Option<Shown> {
        let wanted = |database: &str, name: &str| only.is_none_or(|pattern| pattern.matches(database, name));
        let wanted_table = |table: &TableName| wanted(&table.database, &table.table);
        let shown = match step {
            SnapshotStep::Begin(run) => {
                if !run.tables.iter().any(wanted_table) && only.is_some() {
                    self.hidden_runs.insert(run.run);
                    return None;
                }
                begin(run)
            }
            SnapshotStep::Object(o) => {
                if !wanted(&o.object.database, &o.object.name) {
                    return None;
                }
                object(o)
            }
            SnapshotStep::Chunk(chunk) => {
                // Kept for tables that are not shown too: that costs little, and spans may be known only from here.
                let after = self.after(chunk);
                self.chunk_shown = wanted_table(&chunk.table);
                if !self.chunk_shown {
                    return None;
                }
                chunk_shown(chunk, after.as_deref())
            }
            SnapshotStep::ChunkEnd { row_count } => {
                if !std::mem::take(&mut self.chunk_shown) && only.is_some() {
                    return None;
                }
                Shown {
                    line: format!("snapshot chunk ends ({row_count} rows)"),
                    body: json!({ "step": "chunk_end", "rows": row_count }),
                }
            }
            SnapshotStep::TableEnd { run, table, rows, at } => {
                if !wanted_table(table) {
                    return None;
                }
                Shown {
                    line: format!("snapshot table {table} is complete ({rows} rows) at {at}"),
                    body: json!({ "step": "table_end", "run": run, "table": table.to_string(), "rows": rows, "binlog": at.to_string() }),
                }
            }
            SnapshotStep::TableAgain { run, table, gone, at } => {
                if !wanted_table(table) {
                    return None;
                }
                let what = if *gone { "is gone at the source and leaves the run" } else { "begins anew" };
                Shown {
                    line: format!("snapshot table {table} {what} at {at}"),
                    body: json!({ "step": "table_again", "run": run, "table": table.to_string(), "gone": gone, "binlog": at.to_string() }),
                }
            }
            SnapshotStep::End { run, cancelled, at } => {
                if self.hidden_runs.remove(run) {
                    return None;
                }
                let how = if *cancelled { "is cancelled" } else { "is complete" };
                Shown {
                    line: format!("snapshot run {run} {how} at {at}"),
                    body: json!({ "step": "end", "run": run, "cancelled": cancelled, "binlog": at.to_string() }),
                }
            }
        };
        Some(shown)
    }

    /// Where the chunk's span stood before it: None if that stands before what was read of the log. Moves on by the chunk.
    fn after(&mut self, chunk: &SnapshotChunk) -> Option<Vec<Vec<u8>>> {
        let key = |span: u32| (chunk.run, chunk.table.clone(), span);
        for (index, span) in (0u32..).zip(&chunk.spans) {
            self.reached.insert(key(index), span.after.clone());
        }
        let before = self.reached.get(&key(chunk.span)).cloned();
        if chunk.ends_span {
            self.reached.remove(&key(chunk.span));
        } else if !chunk.reached.is_empty() {
            self.reached.insert(key(chunk.span), chunk.reached.clone());
        }
        before
    }
}

fn begin(run: &SnapshotBegin) -> Shown {
    let to = if run.destinations.is_empty() { "all destinations".to_owned() } else { run.destinations.join(", ") };
    let mut what = vec![if run.whole { "everything that is selected" } else { "some tables" }];
    what.extend(run.schema_only.then_some("without rows"));
    what.extend(run.again.then_some("made anew"));
    let mut tables: Vec<String> = run.tables.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if run.tables.len() > NAMED_MAX {
        tables.push(format!("{} more", run.tables.len() - NAMED_MAX));
    }
    let line = format!(
        "snapshot run {} begins for {to} ({}; {}): {} tables ({}) and {} other objects, at {}",
        run.run,
        what.join(", "),
        run.way,
        run.tables.len(),
        tables.join(", "),
        run.others.len(),
        run.at
    );
    let body = json!({
        "step": "begin",
        "run": run.run,
        "destinations": run.destinations,
        "whole": run.whole,
        "schema_only": run.schema_only,
        "again": run.again,
        "tables": run.tables.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "others": run.others,
        "way": run.way,
        "binlog": run.at.to_string(),
    });
    Shown { line, body }
}

fn object(o: &SnapshotObject) -> Shown {
    let kind = kind(o.object.kind);
    let name = match o.object.kind {
        ObjectKind::Database => o.object.database.clone(),
        _ => format!("{}.{}", o.object.database, o.object.name),
    };
    let mut line = format!("snapshot {kind} {name}");
    if o.object.kind == ObjectKind::Table {
        let key = if o.keyed { "" } else { ", without a key" };
        line.push_str(&format!(" (about {} rows, {}{key})", o.rows_estimate, about_size(o.bytes_estimate)));
    }
    match &o.problem {
        Some(problem) => line.push_str(&format!(" has no definition: {problem}")),
        None => line.push_str(&format!(": {}", text::shorten(&o.statement, 2000))),
    }
    let body = json!({
        "step": "object",
        "run": o.run,
        "kind": o.object.kind,
        "database": o.object.database,
        "name": o.object.name,
        "statement": o.statement,
        "more": o.more,
        "definer": o.definer,
        "problem": o.problem,
        "rows_estimate": o.rows_estimate,
        "bytes_estimate": o.bytes_estimate,
        "keyed": o.keyed,
        "binlog": o.at.to_string(),
    });
    Shown { line, body }
}

fn chunk_shown(chunk: &SnapshotChunk, after: Option<&[Vec<u8>]>) -> Shown {
    let from = match after {
        None => "(?)".to_owned(),
        Some([]) => "the first key".to_owned(),
        Some(key) => format!("behind {}", key_text(key)),
    };
    let to = match chunk.reached.as_slice() {
        [] if chunk.ends_span => "the end".to_owned(),
        [] => "(no key)".to_owned(),
        key => key_text(key),
    };
    let end = if chunk.ends_span { ", the last of its span" } else { "" };
    let line = format!(
        "snapshot chunk {} span {}: {} rows, {}, from {from} to {to}{end}, at {}",
        chunk.table,
        chunk.span,
        chunk.rows,
        about_size(chunk.bytes),
        chunk.at
    );
    let spans: Vec<Json> = chunk.spans.iter().map(span).collect();
    let body = json!({
        "step": "chunk",
        "run": chunk.run,
        "table": chunk.table.to_string(),
        "span": chunk.span,
        "spans": spans,
        "after": after.map(key_json),
        "reached": key_json(&chunk.reached),
        "ends_span": chunk.ends_span,
        "rows": chunk.rows,
        "bytes": chunk.bytes,
        "binlog": chunk.at.to_string(),
    });
    Shown { line, body }
}

fn span(span: &Span) -> Json {
    json!({ "after": key_json(&span.after), "until": key_json(&span.until), "done": span.done })
}

/// A key's columns as SQL literals.
fn key_json(key: &[Vec<u8>]) -> Vec<String> {
    key.iter().map(|literal| text::bytes(literal)).collect()
}

fn key_text(key: &[Vec<u8>]) -> String {
    let all: Vec<String> = key.iter().map(|literal| text::shorten(&text::bytes(literal), 100)).collect();
    format!("({})", all.join(", "))
}

fn kind(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Database => "database",
        ObjectKind::Sequence => "sequence",
        ObjectKind::Table => "table",
        ObjectKind::Function => "function",
        ObjectKind::Procedure => "procedure",
        ObjectKind::View => "view",
        ObjectKind::Trigger => "trigger",
        ObjectKind::Event => "event",
    }
}

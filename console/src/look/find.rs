//! `logweir store find`: from a position to the transaction that stands there.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use common::record::{Begin, Commit, Ddl, PositionMark, RecordKind, Rows, SegmentStart};
use common::snapshot::SnapshotStep;
use common::{LogPosition, Seq, codec};
use serde_json::json;
use store::{StoreError, Tail};

use super::rows::{At, Tables, walk};
use super::snapshot::Steps;
use super::text::{self, time_us};
use crate::exit::{Exit, Failure};
use crate::out;

/// Finds and shows the transaction at `position`.
pub(super) fn find(dir: &Path, position: &LogPosition, as_json: bool) -> Result<Exit, Failure> {
    let Some(seq) = resolve(dir, position)? else {
        return Err(Failure::new(Exit::Failed, format!("{position} is not in the store")));
    };
    let found = describe(dir, seq)?;
    if as_json {
        out::json(&found)?;
        return Ok(Exit::Done);
    }
    let text = |key: &str| found.get(key).and_then(|v| v.as_str()).unwrap_or("-").to_owned();
    out::line(&format!("seq {seq}"))?;
    for key in ["segment", "gtid", "binlog_end", "committed", "statement"] {
        if found.get(key).is_some_and(|v| !v.is_null()) {
            out::line(&format!("  {key:12} {}", text(key)))?;
        }
    }
    out::line(&format!("  {:12} {}", "offset", found["offset"]))?;
    for line in found["snapshot"].as_array().into_iter().flatten().filter_map(|step| step["text"].as_str()) {
        out::line(&format!("  {line}"))?;
    }
    for (table, rows) in found["tables"].as_object().into_iter().flatten() {
        out::line(&format!("  {:12} {table}: {rows}", "rows"))?;
    }
    Ok(Exit::Done)
}

/// The seq at a position: the transaction with the GTID, the first that ends at or after the binlog place, the first that was
/// committed at or after the time. None if there is none.
pub(super) fn resolve(dir: &Path, position: &LogPosition) -> Result<Option<Seq>, Failure> {
    let tail = Tail::open(dir)?;
    let (first, last) = (tail.first_seq(), tail.last_seq());
    if last == Seq::NONE {
        return Ok(None);
    }
    match position {
        LogPosition::Earliest => Ok(Some(first)),
        LogPosition::Latest => Ok(Some(last)),
        LogPosition::Seq(seq) if *seq < first => Err(StoreError::Gone { asked: *seq, first }.into()),
        LogPosition::Seq(seq) => Ok((*seq <= last).then_some(*seq)),
        LogPosition::Gtid(_) | LogPosition::Binlog(_) | LogPosition::TimeMicros(_) => {
            let from = segment_before(dir, position)?.max(first);
            Ok(scan(dir, from, position)?)
        }
    }
}

/// The base seq of the last segment that starts before the position.
fn segment_before(dir: &Path, position: &LogPosition) -> Result<Seq, StoreError> {
    let mut from = Seq::FIRST;
    for (info, header) in store::list_segment_headers(dir)? {
        let Ok(start) = codec::decode::<SegmentStart>(&header.blob) else { continue };
        let before = match position {
            LogPosition::Gtid(gtid) => !start.gtids.contains(gtid),
            LogPosition::Binlog(at) => start.position < *at,
            LogPosition::TimeMicros(us) => i64::try_from(start.committed_us).is_ok_and(|at| at < *us),
            _ => false,
        };
        if before {
            from = info.id.base_seq;
        }
    }
    Ok(from)
}

fn scan(dir: &Path, from: Seq, position: &LogPosition) -> anyhow::Result<Option<Seq>> {
    let mut found = None;
    walk(dir, from, |_, record| {
        let hit = match (RecordKind::from_byte(record.kind), position) {
            (Some(RecordKind::Begin), LogPosition::Gtid(gtid)) => {
                codec::decode::<Begin>(record.payload)?.gtid.as_ref() == Some(gtid)
            }
            (Some(RecordKind::Begin), LogPosition::TimeMicros(us)) => {
                i64::try_from(codec::decode::<Begin>(record.payload)?.committed_us).is_ok_and(|at| at >= *us)
            }
            (Some(RecordKind::Commit), LogPosition::Binlog(at)) => codec::decode::<Commit>(record.payload)?.end >= *at,
            (Some(RecordKind::PositionMark), LogPosition::Binlog(at)) => {
                codec::decode::<PositionMark>(record.payload)?.position >= *at
            }
            _ => false,
        };
        if hit {
            found = Some(record.seq);
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Everything about one seq as a JSON object.
fn describe(dir: &Path, seq: Seq) -> anyhow::Result<serde_json::Value> {
    let mut tables = Tables::default();
    let mut place: Option<At> = None;
    let (mut begin, mut commit, mut mark, mut statement) = (None, None, None, None);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let (mut steps, mut shown) = (Steps::default(), Vec::new());
    walk(dir, seq, |at, record| {
        if record.seq > seq {
            return Ok(ControlFlow::Break(()));
        }
        let kind = RecordKind::from_byte(record.kind);
        if kind == Some(RecordKind::Schema) {
            tables.learn(record.payload)?;
        }
        if record.seq < seq {
            // Where the chunk's span stood before it.
            if kind == Some(RecordKind::Snapshot) {
                steps.take(&codec::decode::<SnapshotStep>(record.payload)?, None);
            }
            return Ok(ControlFlow::Continue(()));
        }
        place.get_or_insert(at);
        match kind {
            Some(RecordKind::Begin) => begin = Some(codec::decode::<Begin>(record.payload)?),
            Some(RecordKind::Commit) => commit = Some(codec::decode::<Commit>(record.payload)?),
            Some(RecordKind::PositionMark) => mark = Some(codec::decode::<PositionMark>(record.payload)?),
            Some(RecordKind::Snapshot) => {
                if let Some(mut step) = steps.take(&codec::decode::<SnapshotStep>(record.payload)?, None) {
                    step.body["text"] = step.line.into();
                    shown.push(step.body);
                }
            }
            Some(RecordKind::Ddl) => statement = Some(text::bytes(codec::decode::<Ddl<'_>>(record.payload)?.statement)),
            Some(RecordKind::Rows) => {
                let rows: Rows<'_> = codec::decode(record.payload)?;
                *counts.entry(tables.schema(rows.schema)?.full_name()).or_default() += u64::from(rows.row_count);
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let end = commit.as_ref().map(|c| &c.end).or(mark.as_ref().map(|m| &m.position));
    Ok(json!({
        "seq": seq.0,
        "segment": place.map(|p| p.segment.file_name()),
        "offset": place.map(|p| p.offset),
        "gtid": begin.as_ref().and_then(|b| b.gtid.as_ref()).map(ToString::to_string),
        "binlog_end": end.map(ToString::to_string),
        "committed": begin.as_ref().map(|b| time_us(b.committed_us)),
        "committed_us": begin.as_ref().map(|b| b.committed_us),
        "statement": statement.map(|s| text::shorten(&s, 400)),
        "rows": commit.as_ref().map(|c| c.row_count),
        "tables": counts,
        "snapshot": shown,
    }))
}

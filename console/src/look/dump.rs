//! `logweir store dump`: transactions, rows and statements as text or JSON lines.

use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context;
use common::record::{Begin, Commit, Ddl, Op, PositionMark, RecordKind, Rows, RowsMore, SourceInfo, XaOutcome, Xid};
use common::selection::Pattern;
use common::snapshot::SnapshotStep;
use common::{LogPosition, Seq, codec};
use serde_json::{Value as Json, json};
use store::RecordRef;

use super::find::resolve;
use super::rows::{Pieces, Row, Tables, walk};
use super::snapshot::Steps;
use super::text::{self, time_us};
use crate::exit::{Exit, Failure};

/// What to show, and how.
pub(super) struct Wanted {
    pub(super) from: LogPosition,
    pub(super) until: LogPosition,
    pub(super) table: Option<Pattern>,
    pub(super) summary: bool,
    pub(super) json: bool,
}

/// Writes what is wanted to stdout.
pub(super) fn dump(dir: &Path, wanted: &Wanted) -> Result<Exit, Failure> {
    let missing = |position: &LogPosition| Failure::new(Exit::Failed, format!("{position} is not in the store"));
    let from = match (resolve(dir, &wanted.from)?, &wanted.from) {
        (Some(from), _) => from,
        // A store without a seq has nothing to show, and that is no failure.
        (None, LogPosition::Earliest | LogPosition::Latest) => return Ok(Exit::Done),
        (None, position) => return Err(missing(position)),
    };
    let until = resolve(dir, &wanted.until)?.ok_or_else(|| missing(&wanted.until))?;
    let mut dumper = Dumper {
        wanted,
        out: BufWriter::new(std::io::stdout().lock()),
        tables: Tables::default(),
        pieces: Pieces::default(),
        steps: Steps::default(),
    };
    let result = walk(dir, from, |_, record| dumper.record(record, from, until));
    let flushed = dumper.out.flush();
    match result.and_then(|()| Ok(flushed?)) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => match error.downcast::<std::io::Error>() {
            Ok(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Done),
            Ok(error) => Err(error.into()),
            Err(error) => Err(error.into()),
        },
    }
}

struct Dumper<'w, W: Write> {
    wanted: &'w Wanted,
    out: W,
    tables: Tables,
    pieces: Pieces,
    steps: Steps,
}

impl<W: Write> Dumper<'_, W> {
    fn record(&mut self, record: &RecordRef<'_>, from: Seq, until: Seq) -> anyhow::Result<ControlFlow<()>> {
        if record.seq > until {
            return Ok(ControlFlow::Break(()));
        }
        let kind = RecordKind::from_byte(record.kind);
        let kind =
            kind.with_context(|| format!("seq {}: record kind {} is of a newer Logweir", record.seq, record.kind))?;
        // Layouts are needed wherever they stand; the rest only from `from` on.
        if kind == RecordKind::Schema {
            self.tables.learn(record.payload)?;
        }
        if record.seq < from {
            return Ok(ControlFlow::Continue(()));
        }
        let context = || format!("while reading the {kind:?} record of seq {}", record.seq);
        self.show(kind, record.seq, record.payload).with_context(context)?;
        Ok(ControlFlow::Continue(()))
    }

    fn show(&mut self, kind: RecordKind, seq: Seq, payload: &[u8]) -> anyhow::Result<()> {
        match kind {
            RecordKind::Begin => {
                let begin: Begin = codec::decode(payload)?;
                let gtid = begin.gtid.as_ref().map(ToString::to_string);
                let committed = time_us(begin.committed_us);
                let line = format!(
                    "begin {} committed {committed} server {}",
                    gtid.as_deref().unwrap_or("-"),
                    begin.server_id
                );
                self.line(seq, &line, "begin", json!({ "gtid": gtid, "committed": committed, "committed_us": begin.committed_us, "server_id": begin.server_id }))
            }
            RecordKind::Rows => {
                let rows: Rows<'_> = codec::decode(payload)?;
                if rows.more_bytes > 0 {
                    self.pieces.begin(payload, &rows);
                    return Ok(());
                }
                self.rows(seq, &rows, Some(rows.images))
            }
            RecordKind::RowsMore => {
                if self.pieces.add(&codec::decode::<RowsMore<'_>>(payload)?) {
                    let pieces = std::mem::take(&mut self.pieces);
                    let (rows, images) = pieces.finish()?;
                    self.rows(seq, &rows, images)?;
                }
                Ok(())
            }
            RecordKind::Commit => {
                let commit: Commit = codec::decode(payload)?;
                let line = format!("commit at {} ({:?}, {} rows)", commit.end, commit.kind, commit.row_count);
                let kind = format!("{:?}", commit.kind);
                self.line(
                    seq,
                    &line,
                    "commit",
                    json!({ "binlog_end": commit.end.to_string(), "kind": kind, "rows": commit.row_count }),
                )
            }
            RecordKind::Ddl => {
                let ddl: Ddl<'_> = codec::decode(payload)?;
                let (statement, database) = (text::bytes(ddl.statement), text::bytes(ddl.database));
                let line = format!("ddl {:?} in {database}: {}", ddl.kind, text::shorten(&statement, 2000));
                let kind = format!("{:?}", ddl.kind);
                let objects: Vec<String> = ddl.objects.iter().map(|o| format!("{}.{}", o.database, o.name)).collect();
                self.line(
                    seq,
                    &line,
                    "ddl",
                    json!({ "kind": kind, "database": database, "statement": statement, "objects": objects }),
                )
            }
            RecordKind::Schema => {
                let schema: common::TableSchema = codec::decode(payload)?;
                let id = schema.id()?;
                let names: Vec<&str> = schema.columns.iter().map(|c| c.name.as_str()).collect();
                let line = format!("schema {id} {} ({})", schema.full_name(), names.join(", "));
                self.line(
                    seq,
                    &line,
                    "schema",
                    json!({ "id": id.to_string(), "table": schema.full_name(), "schema": schema }),
                )
            }
            RecordKind::SourceInfo => {
                let info: SourceInfo = codec::decode(payload)?;
                let line =
                    format!("source {:?} {} id {} epoch {}", info.flavor, info.version, info.server_id, info.epoch);
                self.line(seq, &line, "source", json!({ "version": info.version, "server_uuid": info.server_uuid, "server_id": info.server_id, "epoch": info.epoch }))
            }
            RecordKind::PositionMark => {
                let mark: PositionMark = codec::decode(payload)?;
                let line = format!("position {} gtids {}", mark.position, mark.gtids);
                self.line(seq, &line, "position", json!({ "binlog": mark.position.to_string(), "gtids": mark.gtids.to_string(), "source_us": mark.source_us }))
            }
            RecordKind::XaOutcome => {
                let outcome: XaOutcome = codec::decode(payload)?;
                let what = if outcome.commit { "xa commit" } else { "xa rollback" };
                let xid = xid(&outcome.xid);
                self.line(seq, &format!("{what} {xid}"), "xa_outcome", json!({ "commit": outcome.commit, "xid": xid }))
            }
            RecordKind::Snapshot => {
                let step: SnapshotStep = codec::decode(payload)?;
                match self.steps.take(&step, self.wanted.table.as_ref()) {
                    Some(shown) => self.line(seq, &shown.line, "snapshot", shown.body),
                    None => Ok(()),
                }
            }
        }
    }

    fn rows(&mut self, seq: Seq, rows: &Rows<'_>, images: Option<&[u8]>) -> anyhow::Result<()> {
        let schema = self.tables.schema(rows.schema)?;
        let table = schema.full_name();
        if self.wanted.table.as_ref().is_some_and(|p| !p.matches(&schema.database, &schema.table)) {
            return Ok(());
        }
        let verb = match rows.op {
            Op::Insert => "insert",
            Op::Update | Op::PartialUpdate => "update",
            Op::Delete => "delete",
        };
        let head = format!("{verb} {table} ({} rows)", rows.row_count);
        let values = match images {
            _ if self.wanted.summary => None,
            None => None,
            Some(images) => Some(self.tables.rows(rows, images)?),
        };
        if self.wanted.json {
            let values = values.map(|rows| rows.iter().map(Row::to_json).collect::<Vec<_>>());
            let body = json!({ "op": verb, "table": table, "schema": rows.schema.to_string(), "rows": rows.row_count, "values": values });
            return self.line(seq, &head, "rows", body);
        }
        self.line(seq, &head, "rows", Json::Null)?;
        if images.is_none() {
            writeln!(self.out, "    (a row too long to be shown)")?;
        }
        for row in values.into_iter().flatten() {
            writeln!(self.out, "    {}", row.to_text())?;
        }
        Ok(())
    }

    fn line(&mut self, seq: Seq, line: &str, record: &str, mut body: Json) -> anyhow::Result<()> {
        if !self.wanted.json {
            writeln!(self.out, "{seq} {line}")?;
            return Ok(());
        }
        if let Some(object) = body.as_object_mut() {
            object.insert("seq".to_owned(), seq.0.into());
            object.insert("record".to_owned(), record.into());
        }
        writeln!(self.out, "{body}")?;
        Ok(())
    }
}

fn xid(xid: &Xid) -> String {
    format!("{},{},{}", text::hex(&xid.gtrid), text::hex(&xid.bqual), xid.format_id)
}

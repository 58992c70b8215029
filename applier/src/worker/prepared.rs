//! Prepared XA branches: their rows are kept at the destination, with the position, until their outcome comes.
//!
//! Table `prepared`, by branch and part: part 0 is a marker that the branch exists; then, in order, each layout before the rows
//! that need it. Kinds are those of the log's records.

use std::collections::HashSet;
use std::sync::Arc;

use common::record::{RecordKind, Xid};
use common::snapshot::TableName;
use common::{Seq, codec};

use super::Worker;
use crate::error::{ApplyError, Place, Result};
use crate::plan::{Change, Piece, SourceTable};
use crate::target::hex;

/// Parts that are read and written at a time.
const PARTS: u32 = 16;
/// Largest part of the images of one long row, in bytes.
const PART_BYTES: usize = 1 << 20;

fn key(xid: &Xid) -> String {
    let mut bytes = xid.format_id.to_be_bytes().to_vec();
    bytes.push(u8::try_from(xid.gtrid.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(&xid.gtrid);
    bytes.extend_from_slice(&xid.bqual);
    hex(&bytes)
}

/// Tables that are not copied yet when a branch ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unfinished<'a> {
    /// What was kept for these is passed over: their copy will hold it.
    pub(super) pending: &'a [TableName],
    /// What was kept for these is put in place by key.
    pub(super) copying: &'a [TableName],
}

impl Worker {
    /// Keeps rows of a branch. Called once or more within one transaction.
    pub(super) async fn keep_prepared(&mut self, xid: &Xid, seq: Seq, changes: &[Change]) -> Result<()> {
        let key = key(xid);
        let last = format!(
            "SELECT MAX(part) FROM {} WHERE {} AND xid={key}",
            self.positions.identity.table("prepared"),
            self.positions.identity.condition()
        );
        let last: Option<Option<u32>> = self.session.first(last, || "looking for a prepared branch".into()).await?;
        self.part = last.flatten().map_or(0, |part| part + 1);
        if self.part == 0 {
            self.keep(&key, seq, RecordKind::Begin, &[]).await?;
        }
        let mut known = HashSet::new();
        for change in changes {
            if known.insert(change.table.id) {
                self.keep(&key, seq, RecordKind::Schema, &codec::encode(&change.table.schema)?).await?;
            }
            self.keep(&key, seq, RecordKind::Rows, &change.payload).await?;
            for part in change.more.chunks(PART_BYTES) {
                self.keep(&key, seq, RecordKind::RowsMore, part).await?;
            }
        }
        Ok(())
    }

    async fn keep(&mut self, key: &str, seq: Seq, kind: RecordKind, payload: &[u8]) -> Result<()> {
        let id = &self.positions.identity;
        let sql = format!(
            "INSERT INTO {} SET pipeline={}, destination={}, xid={key}, part={}, seq={seq}, kind={}, payload={}",
            id.table("prepared"),
            crate::target::quote(&id.pipeline),
            crate::target::quote(&id.destination),
            self.part,
            kind as u8,
            hex(payload)
        );
        self.part += 1;
        self.session.run(sql, || "keeping the rows of a prepared branch".into()).await?;
        Ok(())
    }

    /// Writes or forgets what was kept of a branch.
    pub(super) async fn finish_prepared(
        &mut self,
        piece: &Piece,
        place: &Arc<Place>,
        xid: &Xid,
        commit: bool,
        unfinished: Unfinished<'_>,
    ) -> Result<()> {
        let table = self.positions.identity.table("prepared");
        let branch = format!("{} AND xid={}", self.positions.identity.condition(), key(xid));
        let mut next = 0;
        let mut tables: Vec<Arc<SourceTable>> = Vec::new();
        let mut pending: Vec<Change> = Vec::new();
        let mut found = false;
        loop {
            let sql = format!(
                "SELECT part, kind, payload FROM {table} WHERE {branch} AND part>={next} ORDER BY part LIMIT {PARTS}"
            );
            let rows: Vec<(u32, u8, Vec<u8>)> = self.session.rows(sql, || "reading a prepared branch".into()).await?;
            found |= !rows.is_empty();
            if rows.is_empty() || !commit {
                break;
            }
            for (part, kind, payload) in rows {
                next = part + 1;
                match RecordKind::from_byte(kind) {
                    Some(RecordKind::Schema) => {
                        let layout: common::TableSchema = codec::decode(&payload)?;
                        let id = layout.id()?;
                        let known = tables.iter().find(|t| t.id == id).cloned();
                        let table = match known {
                            Some(table) => table,
                            None => Arc::new(SourceTable::new(id, layout)?),
                        };
                        tables.push(table);
                    }
                    Some(RecordKind::Rows) => {
                        let rows: common::record::Rows<'_> = codec::decode(&payload)?;
                        let table = tables.iter().find(|t| t.id == rows.schema).cloned().ok_or_else(|| {
                            ApplyError::refused(
                                "a prepared branch names a layout that was not kept with it",
                                "report this",
                            )
                        })?;
                        let name =
                            TableName { database: table.schema.database.clone(), table: table.schema.table.clone() };
                        pending.push(Change {
                            place: place.clone(),
                            table,
                            server_id: 0,
                            timestamp: 0,
                            payload,
                            more: Vec::new(),
                            idempotent: unfinished.copying.contains(&name),
                            passed: unfinished.pending.contains(&name),
                            orphans: !unfinished.pending.is_empty() || !unfinished.copying.is_empty(),
                        });
                    }
                    Some(RecordKind::RowsMore) => {
                        if let Some(change) = pending.last_mut() {
                            change.more.extend_from_slice(&payload);
                        }
                    }
                    _ => {}
                }
            }
            // The last one may go on in the next part.
            let last = pending.pop();
            let ready: Vec<&Change> = pending.iter().filter(|change| !change.passed).collect();
            self.write_changes(piece, &ready).await?;
            pending = last.into_iter().collect();
        }
        let ready: Vec<&Change> = pending.iter().filter(|change| !change.passed).collect();
        self.write_changes(piece, &ready).await?;
        if !found && commit {
            return Err(ApplyError::refused(
                "XA COMMIT of a branch that was prepared before this destination's position began",
                "take a new snapshot of the destination, or write the branch's rows there by hand and move the position past this seq",
            ));
        }
        self.session.run(format!("DELETE FROM {table} WHERE {branch}"), || "removing a finished branch".into()).await?;
        Ok(())
    }
}

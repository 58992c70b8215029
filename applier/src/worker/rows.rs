//! Rows as SQL: many statements a packet, and row by row where they do not find what they must.

use std::sync::Arc;

use common::config::OnDivergence;
use common::record::Op;
use common::row::{Cell, Image, RowImages};

use super::Worker;
use crate::counters::Counters;
use crate::error::{ApplyError, Divergence, DivergenceKind, Result};
use crate::plan::Change;
use crate::target::hex;
use crate::write::Route;
use crate::write::sql::{Statement, TableWriter};

/// Flag of a row event: foreign keys were not checked, because the session said so or because it is a cascade that the log holds itself.
const NO_FOREIGN_KEY_CHECKS: u16 = 2;
/// Size of a packet of statements, in bytes, and of one statement.
const PACKET_BYTES: usize = 512 << 10;
/// Statements in a packet.
const PACKET_STATEMENTS: usize = 256;

const DUPLICATE: &[u16] = &[1062, 1022, 1586, 1169, 1761, 1762];
/// Of these: a row refers to one that is not there.
const NO_PARENT: &[u16] = &[1216, 1452];
pub(super) const FOREIGN_KEY: &[u16] = &[1216, 1217, 1451, 1452];

impl Worker {
    /// Writes changes of one table, in their order.
    pub(super) async fn write_sql(&mut self, route: &Arc<Route>, run: &[&Change]) -> Result<()> {
        let Some(first) = run.first() else { return Ok(()) };
        self.refuse_triggers(route, first)?;
        let writer = self.writer(route, first).map_err(|e| e.at(&first.place))?;
        for change in run {
            self.write_change(&writer, route, change).await.map_err(|e| e.at(&change.place))?;
        }
        Ok(())
    }

    /// Triggers that would fire; those that we have made do not.
    pub(super) fn refuse_triggers(&self, route: &Route, first: &Change) -> Result<()> {
        let target = &route.target;
        if target.triggers.is_empty() {
            return Ok(());
        }
        Err(ApplyError::refused(
            format!(
                "{} has triggers at the destination ({}), which would fire on what is written as SQL",
                target.full_name(),
                target.triggers.join(", ")
            ),
            "drop them there until the cut-over, or use a destination that takes row events",
        )
        .at(&first.place))
    }

    pub(super) fn writer(&mut self, route: &Arc<Route>, change: &Change) -> Result<Arc<TableWriter>> {
        if let Some((known, writer)) = self.writers.get(&change.table.id)
            && Arc::ptr_eq(known, route)
        {
            return Ok(writer.clone());
        }
        let writer = Arc::new(TableWriter::new(&change.table, route, self.session.facts.flavor)?);
        self.writers.insert(change.table.id, (route.clone(), writer.clone()));
        Ok(writer)
    }

    async fn write_change(&mut self, writer: &TableWriter, route: &Route, change: &Change) -> Result<()> {
        let record = change.rows()?;
        let images = change.images()?;
        let wrong = |source| ApplyError::Row { table: change.table.schema.full_name(), source };
        let layout = &change.table.layout;
        let rows = layout.rows(record.op, record.columns_before, record.columns_after, &images).map_err(wrong)?;
        let rows: Vec<RowImages<'_>> = rows.collect::<std::result::Result<_, _>>().map_err(wrong)?;
        self.check_foreign_keys(record.flags & NO_FOREIGN_KEY_CHECKS == 0).await?;
        let room = (self.session.facts.max_allowed_packet / 2).min(PACKET_BYTES);
        let statements = writer.statements(record.op, &rows, room, false)?;
        let mut packet: &[Statement] = &statements;
        while !packet.is_empty() {
            let mut bytes = 0;
            let fits = |statement: &&Statement| {
                bytes += statement.sql.len() + 1;
                bytes <= room
            };
            let count = packet.iter().take(PACKET_STATEMENTS).take_while(fits).count().max(1);
            let (now, later) = packet.split_at(count);
            self.send_statements(writer, route, change, record.op, &rows, now).await?;
            packet = later;
        }
        Ok(())
    }

    pub(super) async fn check_foreign_keys(&mut self, on: bool) -> Result<()> {
        if self.sql.foreign_key_checks != Some(on) {
            let sql = format!("SET SESSION foreign_key_checks={}, unique_checks=1", u8::from(on));
            self.session.run(sql, || "setting foreign_key_checks".into()).await?;
            self.sql.foreign_key_checks = Some(on);
        }
        Ok(())
    }

    async fn send_statements(
        &mut self,
        writer: &TableWriter,
        route: &Route,
        change: &Change,
        op: Op,
        rows: &[RowImages<'_>],
        statements: &[Statement],
    ) -> Result<()> {
        let doing = || format!("writing {} of {} as SQL", Change::op_name(op), route.target.full_name());
        let largest = statements.iter().map(|s| s.sql.len()).max().unwrap_or(0);
        if largest + 64 > self.session.facts.max_allowed_packet {
            return Err(ApplyError::refused(
                format!(
                    "a row of {} needs a statement of {largest} bytes, the destination takes {}",
                    route.target.full_name(),
                    self.session.facts.max_allowed_packet
                ),
                "raise max_allowed_packet at the destination (1G is the most), then start the applier again",
            ));
        }
        // One statement that fails changes nothing; of several, those before it do, and one that finds too few rows has changed some.
        let marked = statements.len() > 1 || statements.iter().any(|s| s.rows > 1 && op != Op::Insert);
        let mut sql = if marked { b"SAVEPOINT logweir;".to_vec() } else { Vec::new() };
        for (i, statement) in statements.iter().enumerate() {
            if i > 0 {
                sql.push(b';');
            }
            sql.extend_from_slice(&statement.sql);
        }
        let (mut counts, refused) = self.session.run_many(sql, doing).await?;
        if marked && !counts.is_empty() {
            counts.remove(0);
        }
        let wanted = statements.iter().map(|s| s.rows);
        let fine = refused.is_none() && counts.len() == statements.len() && counts.iter().copied().eq(wanted);
        if fine {
            return Ok(());
        }
        if let Some(error) = refused
            && !error.server_code().is_some_and(|code| DUPLICATE.contains(&code) || FOREIGN_KEY.contains(&code))
        {
            return Err(error);
        }
        if marked {
            self.session.run("ROLLBACK TO SAVEPOINT logweir", || "rolling back to before some rows".into()).await?;
        }
        for statement in statements {
            for row in rows.get(statement.range.clone()).unwrap_or_default() {
                self.write_one(writer, route, change, op, row).await?;
            }
        }
        Ok(())
    }

    /// One row alone, so that it is known which one does not fit.
    async fn write_one(
        &mut self,
        writer: &TableWriter,
        route: &Route,
        change: &Change,
        op: Op,
        row: &RowImages<'_>,
    ) -> Result<()> {
        let doing = || format!("writing {} of {} as SQL", Change::op_name(op), route.target.full_name());
        let statements = writer.statements(op, std::slice::from_ref(row), usize::MAX, true)?;
        for statement in statements {
            let again = change.orphans.then(|| statement.sql.clone());
            let mut found = self.session.run(statement.sql, doing).await;
            if let (Err(error), Some(sql)) = (&found, again)
                && error.server_code().is_some_and(|code| NO_PARENT.contains(&code))
            {
                // The row that it refers to will come with the copy of its table. Only then: else cascades would be lost that the source does not log.
                let checked = self.sql.foreign_key_checks;
                self.check_foreign_keys(false).await?;
                found = self.session.run(sql, doing).await;
                self.check_foreign_keys(checked.unwrap_or(true)).await?;
            }
            let (kind, server) = match found {
                Ok(found) if found == statement.rows => continue,
                Ok(_) => (DivergenceKind::Missing, None),
                Err(error) => match error.server_code() {
                    Some(code) if DUPLICATE.contains(&code) => (DivergenceKind::Conflict, Some(error.to_string())),
                    Some(code) if FOREIGN_KEY.contains(&code) => (DivergenceKind::ForeignKey, Some(error.to_string())),
                    _ => return Err(error),
                },
            };
            let (before, after) = (cells_of(row.before), cells_of(row.after));
            let divergence = self.describe(writer, route, op, &before, &after, kind, server).await?;
            match self.options.on_divergence {
                OnDivergence::Stop => return Err(ApplyError::Divergence(Box::new(divergence))),
                OnDivergence::Skip => self.note(change, "row skipped", &divergence).await?,
                OnDivergence::Overwrite => {
                    self.overwrite(writer, &before, &after, &divergence).await?;
                    self.note(change, "row overwritten", &divergence).await?;
                }
            }
        }
        Ok(())
    }

    async fn note(&mut self, change: &Change, kind: &str, divergence: &Divergence) -> Result<()> {
        Counters::add(&self.counters.diverged, 1);
        tracing::warn!(seq = change.place.seq.0, table = %divergence.table, key = %divergence.key, why = %divergence.kind, "{kind}");
        let detail = format!(
            "{} {}: {}; the log holds {}; the destination held {}",
            divergence.op, divergence.key, divergence.kind, divergence.wanted, divergence.found
        );
        let positions = self.positions.clone();
        positions.record(&mut self.session, change.place.seq, kind, &divergence.table, &detail).await
    }

    /// Makes the destination's row as the log says, whatever stands there.
    async fn overwrite(
        &mut self,
        writer: &TableWriter,
        before: &[Cell<'_>],
        after: &[Cell<'_>],
        divergence: &Divergence,
    ) -> Result<()> {
        let doing = || format!("overwriting a row of {}", divergence.table);
        self.check_foreign_keys(false).await?;
        if !before.is_empty() {
            let mut sql = format!("DELETE FROM {} WHERE ", writer.name()).into_bytes();
            if !writer.condition(before, &mut sql)? {
                sql.extend_from_slice(b" LIMIT 1");
            }
            // A partial image can only change a row that is there.
            if after.is_empty() || writer.put(after)?.is_some() {
                self.session.run(sql, doing).await?;
            }
        }
        if after.is_empty() {
            return Ok(());
        }
        let Some([put, replace]) = writer.put(after)? else {
            return Err(ApplyError::Divergence(Box::new(divergence.clone())));
        };
        match self.session.run(put, doing).await {
            // It conflicts with more than one row.
            Err(error) if error.server_code().is_some_and(|code| DUPLICATE.contains(&code)) => {
                self.session.run(replace, doing).await?;
            }
            other => {
                other?;
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "all of it goes into one message")]
    async fn describe(
        &mut self,
        writer: &TableWriter,
        route: &Route,
        op: Op,
        before: &[Cell<'_>],
        after: &[Cell<'_>],
        kind: DivergenceKind,
        server: Option<String>,
    ) -> Result<Divergence> {
        let mut key = Vec::new();
        let looked = if before.is_empty() {
            let mut conflicts = writer.conflicts(after);
            key = conflicts.first().cloned().unwrap_or_default();
            if conflicts.is_empty() {
                conflicts.push(b"FALSE".to_vec());
            }
            conflicts
        } else {
            writer.condition(before, &mut key)?;
            let mut looked = vec![key.clone()];
            if kind == DivergenceKind::Conflict {
                looked.extend(writer.conflicts(after));
            }
            looked
        };
        let mut found = Vec::new();
        for condition in looked {
            let mut sql = format!("SELECT * FROM {} WHERE ", writer.name()).into_bytes();
            sql.extend_from_slice(&condition);
            sql.extend_from_slice(b" LIMIT 1");
            let row: Option<mysql_async::Row> =
                self.session.first(sql, || "looking at the row that differs".into()).await?;
            if let Some(row) = row {
                let text = describe_row(&row);
                if !found.contains(&text) {
                    found.push(text);
                }
            }
        }
        let image = |cells: &[Cell<'_>]| format!("({})", writer.describe(cells));
        let wanted = match (before.is_empty(), after.is_empty()) {
            (true, _) => image(after),
            (false, true) => image(before),
            (false, false) => format!("{} -> {}", image(before), image(after)),
        };
        Ok(Divergence {
            kind,
            table: route.target.full_name(),
            op: Change::op_name(op),
            key: String::from_utf8_lossy(&key).into_owned(),
            wanted,
            found: if found.is_empty() { "no such row".to_owned() } else { found.join(" and ") },
            server,
        })
    }
}

fn cells_of(image: Option<Image<'_>>) -> Vec<Cell<'_>> {
    image.map(|image| image.cells().collect()).unwrap_or_default()
}

/// A row as the text protocol gives it, for people.
fn describe_row(row: &mysql_async::Row) -> String {
    const VALUE_BYTES: usize = 64;
    let value = |value: &mysql_async::Value| match value {
        mysql_async::Value::NULL => "NULL".to_owned(),
        mysql_async::Value::Bytes(bytes) => {
            let cut = bytes.get(..VALUE_BYTES).unwrap_or(bytes);
            let more = if bytes.len() > VALUE_BYTES { "…" } else { "" };
            match std::str::from_utf8(cut) {
                Ok(text) if !text.chars().any(char::is_control) => format!("'{text}'{more}"),
                _ => format!("{}{more}", hex(cut)),
            }
        }
        other => other.as_sql(true),
    };
    let columns = row.columns();
    let parts: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| format!("`{}`={}", column.name_str(), row.as_ref(i).map(value).unwrap_or_default()))
        .collect();
    format!("({})", parts.join(", "))
}

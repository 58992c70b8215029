//! Changes to tables that are being copied: rows are put in place by their key, whether they are there or not.
//!
//! What is here of such a table at a place of the log is a part of what the source had there, so the changes of a run can be taken together: per key only the
//! last image counts. Keys that changes have touched are deleted and the last images inserted, or, where the table has no other unique key,
//! written over what is there. Foreign keys are not checked: the other side may not be copied yet.

use std::collections::HashMap;
use std::sync::Arc;

use common::record::{Op, Rows};
use common::row::{Cell, Image, RowImages};

use super::Worker;
use crate::error::{ApplyError, Result};
use crate::plan::{Change, Piece};
use crate::write::Route;
use crate::write::sql::TableWriter;

/// Size of a statement, in bytes.
const STATEMENT_BYTES: usize = 512 << 10;
/// Rows of one DELETE at most: the server's range optimizer has a memory limit.
const DELETE_ROWS: usize = 100;

/// What is left of a run's changes to one table: the condition that finds each row that they touched, and its last image.
#[derive(Default)]
struct Net<'a> {
    known: HashMap<Vec<u8>, usize>,
    rows: Vec<(Vec<u8>, Option<RowImages<'a>>)>,
}

impl<'a> Net<'a> {
    fn set(&mut self, key: Vec<u8>, image: Option<RowImages<'a>>) {
        let next = self.rows.len();
        let index = *self.known.entry(key.clone()).or_insert(next);
        match self.rows.get_mut(index) {
            Some(row) => row.1 = image,
            None => self.rows.push((key, image)),
        }
    }
}

impl Worker {
    /// Puts a run of changes in place. All of them are of tables that are being copied.
    pub(super) async fn put_changes(&mut self, piece: &Piece, changes: &[&Change]) -> Result<()> {
        // Tables in the order in which they come; within a table the order of its changes.
        let mut tables: Vec<Vec<&Change>> = Vec::new();
        let mut places: HashMap<(&str, &str), usize> = HashMap::new();
        for change in changes {
            let schema = &change.table.schema;
            let next = tables.len();
            let place = *places.entry((&schema.database, &schema.table)).or_insert(next);
            match tables.get_mut(place) {
                Some(list) => list.push(change),
                None => tables.push(vec![change]),
            }
        }
        for list in tables {
            for run in list.chunk_by(|a, b| a.table.id == b.table.id) {
                let Some(first) = run.first() else { continue };
                let route = self.route(piece, first).await?;
                self.refuse_triggers(&route, first)?;
                let writer = self.writer(&route, first).map_err(|e| e.at(&first.place))?;
                self.put_run(&route, &writer, run).await.map_err(|e| e.at(&first.place))?;
            }
        }
        Ok(())
    }

    async fn put_run(&mut self, route: &Arc<Route>, writer: &TableWriter, run: &[&Change]) -> Result<()> {
        self.check_foreign_keys(false).await?;
        let mut records: Vec<(&Change, Rows<'_>, std::borrow::Cow<'_, [u8]>)> = Vec::with_capacity(run.len());
        for change in run {
            records.push((change, change.rows()?, change.images()?));
        }
        let mut net = Net::default();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (change, record, images) in &records {
            let wrong = |source| ApplyError::Row { table: change.table.schema.full_name(), source };
            let rows = change.table.layout.rows(record.op, record.columns_before, record.columns_after, images);
            for row in rows.map_err(wrong)? {
                let row = row.map_err(wrong)?;
                if let Some(image) = row.before {
                    image.read_into(&mut before);
                    let whole = row.after.is_none_or(|after| whole(writer, after));
                    if whole {
                        net.set(key(route, writer, &before)?, None);
                    }
                }
                let Some(image) = row.after else { continue };
                image.read_into(&mut after);
                if writer.is_whole(&after) {
                    net.set(key(route, writer, &after)?, Some(row));
                } else {
                    // Nothing to make a row of: it changes one that is here, and one that is not the copy will bring as it is by then.
                    self.put_net(route, writer, std::mem::take(&mut net)).await?;
                    for statement in writer.statements(Op::Update, std::slice::from_ref(&row), usize::MAX, true)? {
                        self.session.run(statement.sql, || doing(route)).await?;
                    }
                }
            }
        }
        self.put_net(route, writer, net).await
    }

    async fn put_net(&mut self, route: &Route, writer: &TableWriter, net: Net<'_>) -> Result<()> {
        // Over a row that is here, unless it could meet others at a further unique key.
        let over = route.target.uniques <= 1;
        let room = (self.session.facts.max_allowed_packet / 2).min(STATEMENT_BYTES);
        let mut gone = net.rows.iter().filter(|(_, image)| image.is_none() || !over).map(|(key, _)| key).peekable();
        while gone.peek().is_some() {
            let mut sql = format!("DELETE FROM {} WHERE (", writer.name()).into_bytes();
            let mut count = 0;
            while let Some(key) = gone.next_if(|key| count == 0 || count < DELETE_ROWS && sql.len() + key.len() < room)
            {
                if count > 0 {
                    sql.extend_from_slice(b") OR (");
                }
                sql.extend_from_slice(key);
                count += 1;
            }
            sql.push(b')');
            self.fits(route, &sql)?;
            self.session.run(sql, || doing(route)).await?;
        }
        let rows: Vec<RowImages<'_>> = net.rows.into_iter().filter_map(|(_, image)| image).collect();
        for sql in writer.puts(&rows, over, room)? {
            self.fits(route, &sql)?;
            self.session.run(sql, || doing(route)).await?;
        }
        Ok(())
    }

    fn fits(&self, route: &Route, sql: &[u8]) -> Result<()> {
        let most = self.session.facts.max_allowed_packet;
        if sql.len() + 64 <= most {
            return Ok(());
        }
        Err(ApplyError::refused(
            format!(
                "a row of {} needs a statement of {} bytes, the destination takes {most}",
                route.target.full_name(),
                sql.len()
            ),
            "raise max_allowed_packet at the destination (1G is the most), then start the applier again",
        ))
    }
}

fn whole(writer: &TableWriter, image: Image<'_>) -> bool {
    writer.is_whole(&image.cells().collect::<Vec<_>>())
}

fn doing(route: &Route) -> String {
    format!("putting rows of {}, which is being copied, in place", route.target.full_name())
}

fn key(route: &Route, writer: &TableWriter, cells: &[Cell<'_>]) -> Result<Vec<u8>> {
    let mut key = Vec::new();
    if writer.condition(cells, &mut key)? {
        return Ok(key);
    }
    Err(ApplyError::refused(
        format!(
            "{} is being copied, and at the destination it has no key by which its rows could be put in place",
            route.target.full_name()
        ),
        "give it the source's key there, or drop it and run `logweir snapshot` for it",
    ))
}

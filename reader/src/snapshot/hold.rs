//! Tables that are read whole at one place: those without a key, and those that foreign keys tie together where the source does not log what they change.
//!
//! The follower stands still while they are read, so that all their chunks stand at one place of the log. What is read comes from one snapshot of the source's
//! engines; the place is its own where the source tells it. Else the follower goes on to the end of the binlog behind the snapshot, and if it meets a change of these
//! tables on its way, all begins anew; under a steady load, with the tables locked for the moment in which the snapshot is opened.

use std::sync::Arc;

use common::BinlogPosition;
use common::pack::RowPacker;
use common::snapshot::{SnapshotStep, Span, TableName};

use super::chunk::{Rows, Shape};
use super::desk::{ChunkRows, Hold};
use super::link::Link;
use super::marks::{Ask, Way, lock_tables, quoted};
use super::run::trouble::{Trouble, code, judge};
use super::table::{Copier, pack};
use crate::error::ReaderError;

/// So often a snapshot is tried without locks.
const TRIES: u32 = 20;

/// What a group's attempt came to.
enum Outcome {
    Done,
    /// A change was met, or the connection was lost.
    Again,
}

impl Copier<'_> {
    /// Reads tables whole, together.
    pub(super) fn together(&mut self, tables: &[usize]) -> Result<(), Trouble> {
        let mut tries = 0;
        loop {
            let left: Vec<usize> = tables.iter().copied().filter(|&table| !self.run.plan.mark(table).2).collect();
            if left.is_empty() {
                return Ok(());
            }
            self.wait()?;
            let names: Vec<TableName> =
                left.iter().filter_map(|&table| self.run.plan.entry(table)).map(|entry| entry.name).collect();
            for &table in &left {
                // Found out outside of the hold: what is gone takes a hold of its own.
                if self.read_shape(table, 0)?.is_none() {
                    self.gone(table)?;
                }
            }
            let plain = left.iter().any(|&table| self.run.engines.get(table).copied().unwrap_or(false));
            let way = if plain { Way::TableLocks } else { self.link()?.marks.way() };
            let locks = tries >= TRIES || matches!(way, Way::RowLocks | Way::TableLocks);
            let hold = self.run.shared.desk.hold(&names)?;
            self.run.note_ddl()?;
            let outcome = self.attempt(&left, &names, hold, locks, plain);
            // The snapshot and all locks end with the connection where they have not ended yet.
            if !matches!(outcome, Ok(Outcome::Done)) {
                self.link = None;
            }
            if let Outcome::Done = outcome? {
                return Ok(());
            }
            tries += 1;
            tracing::debug!(tables = names.len(), tries, "tables that are read whole changed meanwhile; read again");
        }
    }

    fn attempt(
        &mut self,
        tables: &[usize],
        names: &[TableName],
        mut hold: Hold,
        locks: bool,
        plain: bool,
    ) -> Result<Outcome, Trouble> {
        let quoted: Vec<Vec<u8>> = names.iter().map(quoted).collect();
        let place = hold.place().clone();
        let first = tables.first().copied();
        let busy = |error: ReaderError| judge(error, first);
        self.see(&place)?;
        let mut locker: Option<Link> = None;
        let known = if plain {
            let link = self.link()?;
            lock(link, &quoted, names, first)?;
            None
        } else {
            if locks {
                let mut other = Link::open(&self.run.shared.desk.server()?).map_err(|error| judge(error, None))?;
                // Without that MySQL up to 5.6 lets transactions that have written already commit below the lock (`innodb_table_locks` works only so).
                other.ask("SET SESSION autocommit=0").map_err(busy)?;
                lock(&mut other, &quoted, names, first)?;
                locker = Some(other);
            }
            let link = self.link()?;
            let marks = link.marks.clone();
            marks.open_lasting(link).map_err(busy)?
        };
        let link = self.link()?;
        let marks = link.marks.clone();
        if !plain {
            // From here on DDL on them waits until the snapshot ends.
            for name in &quoted {
                link.ask(&format!("SELECT 1 FROM {} LIMIT 0", String::from_utf8_lossy(name))).map_err(busy)?;
            }
        }
        let exact = known.is_some();
        let high = match known {
            Some(place) => place,
            None => marks.end(link).map_err(busy)?,
        };
        if let Some(mut other) = locker.take() {
            other.ask("UNLOCK TABLES").map_err(busy)?;
        }
        if high < place.position {
            return Ok(Outcome::Again); // of another server, or a snapshot from before what was decoded
        }
        let Ok(stand) = hold.go_to(&high)? else { return Ok(Outcome::Again) };
        if exact {
            if stand.place.position != high {
                return Ok(Outcome::Again);
            }
        } else if stand.touched && !locks && !plain {
            return Ok(Outcome::Again);
        }
        self.run.note_ddl()?;
        self.put(tables, &hold)
    }

    /// Definitions and rows, where the follower stands.
    fn put(&mut self, tables: &[usize], hold: &Hold) -> Result<Outcome, Trouble> {
        let run = self.run.state.begin.run;
        let mut shapes: Vec<(usize, Arc<Shape>)> = Vec::new();
        for &table in tables {
            let (ddl, ..) = self.run.plan.mark(table);
            let Some(entry) = self.run.plan.entry(table) else { continue };
            let Some((object, shape)) = self.read(table, ddl)? else { return Ok(Outcome::Again) };
            let step = if entry.made {
                self.run.plan.change(table, |entry| (entry.rows, entry.other) = (0, false));
                self.run.shared.progress.again(table);
                SnapshotStep::TableAgain { run, table: entry.name.clone(), gone: false, at: BinlogPosition::default() }
            } else {
                SnapshotStep::Object(Box::new(object))
            };
            if hold.append_step(step)?.is_err() {
                return Ok(Outcome::Again);
            }
            self.run.plan.change(table, |entry| (entry.made, entry.other) = (true, false));
            self.put_shape(table, shape.clone());
            shapes.push((table, shape));
        }
        for (table, shape) in &shapes {
            if let Outcome::Again = self.stream(*table, shape, hold)? {
                return Ok(Outcome::Again);
            }
        }
        for (table, shape) in &shapes {
            let rows = self.run.plan.entry(*table).map_or(0, |entry| entry.rows);
            let step = SnapshotStep::TableEnd { run, table: shape.name.clone(), rows, at: BinlogPosition::default() };
            if hold.append_step(step)?.is_err() {
                return Ok(Outcome::Again);
            }
            self.run.plan.over(*table);
            self.run.shared.progress.done(*table);
        }
        let link = self.link()?;
        let first = tables.first().copied();
        link.ask("COMMIT").map_err(|error| judge(error, first))?;
        link.ask("UNLOCK TABLES").map_err(|error| judge(error, first))?;
        Ok(Outcome::Done)
    }

    /// All rows of one table, a chunk in memory at a time.
    fn stream(&mut self, table: usize, shape: &Arc<Shape>, hold: &Hold) -> Result<Outcome, Trouble> {
        let chunk_bytes = usize::try_from(self.run.shared.pipeline.snapshot.chunk_bytes).unwrap_or(usize::MAX);
        let fails = |error: ReaderError| judge(error, Some(table));
        let sql = shape.whole_sql();
        let columns = self.link()?.wire.select(&sql).map_err(|error| fails(error.into()))?;
        let packer = RowPacker::new(shape.schema(), &columns).map_err(|source| fails(pack(shape, source)))?;
        let mut spans = vec![Span::default()];
        loop {
            self.wait()?;
            let mut rows = Rows::default();
            let link = self.link.as_mut().ok_or(Trouble::Stopped)?;
            let mut ended = false;
            while rows.images.len() < chunk_bytes {
                let Some(row) = link.wire.next_row().map_err(|error| fails(error.into()))? else {
                    ended = true;
                    break;
                };
                packer.pack(row, &mut rows.images).map_err(|source| fails(pack(shape, source)))?;
                rows.ends.push(u32::try_from(rows.images.len()).unwrap_or(u32::MAX));
            }
            self.run.throttle.spent(rows.count(), rows.images.len() as u64);
            let mut step = self.step(shape, 0, std::mem::take(&mut spans));
            step.ends_span = ended;
            let chunk = ChunkRows { step, schema: shape.schema().clone(), images: rows.images, ends: rows.ends };
            let Ok(appended) = hold.append_chunk(chunk)? else { return Ok(Outcome::Again) };
            self.run.plan.change(table, |entry| entry.rows += appended.rows);
            self.run.shared.progress.chunk(table, appended.rows, appended.bytes);
            if ended {
                return Ok(Outcome::Done);
            }
        }
    }
}

/// LOCK TABLES … READ, with the grant that is missing if it may not.
fn lock(link: &mut Link, quoted: &[Vec<u8>], names: &[TableName], table: Option<usize>) -> Result<(), Trouble> {
    match link.ask(&lock_tables(quoted)) {
        Ok(_) => Ok(()),
        Err(error) if matches!(code(&error), Some(1044 | 1045 | 1142 | 1227)) => {
            let mut databases: Vec<&str> = names.iter().map(|name| name.database.as_str()).collect();
            databases.dedup();
            let grants: Vec<String> = databases
                .iter()
                .map(|name| {
                    format!("GRANT SELECT, LOCK TABLES ON `{}`.* TO the reader's user", name.replace('`', "``"))
                })
                .collect();
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let error = ReaderError::Source(format!(
                "{} must be read at one point, for which the source must let us lock for a moment ({error}); run there: {}",
                names.join(", "),
                grants.join("; ")
            ));
            Err(match table {
                Some(table) => Trouble::table(table, error),
                None => Trouble::fatal(error),
            })
        }
        Err(error) => Err(judge(error, table)),
    }
}

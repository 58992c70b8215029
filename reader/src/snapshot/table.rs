//! One table's copy by one thread: its definition, then chunk after chunk of a span, each exact at its place.

mod define;
mod split;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::BinlogPosition;
use common::pack::RowPacker;
use common::snapshot::{SnapshotChunk, SnapshotStep, Span};

use super::chunk::size::Size;
use super::chunk::{Rows, Shape};
use super::desk::{Again, ChunkRows};
use super::link::Link;
use super::marks::{Ask, Marks, Way, quoted};
use super::run::Run;
use super::run::plan::Piece;
use super::run::trouble::{Trouble, is_other_now, judge};
use crate::error::ReaderError;

/// A chunk that cannot be appended because images in the binlog are not whole is read this often.
const PARTIAL_MAX: u32 = 20;
/// A statement that runs into locks is tried this often before it counts as a failure of the table.
const BUSY_MAX: u32 = 100;

/// A copying thread.
#[derive(Debug)]
pub struct Copier<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) link: Option<Link>,
}

/// Rows that were taken of a result.
pub(super) struct Taken {
    pub(super) rows: Rows,
    /// There may be more.
    pub(super) cut: bool,
    /// The connection still holds some of the result.
    pub(super) unread: bool,
}

impl<'a> Copier<'a> {
    /// A thread without a connection.
    #[must_use]
    pub fn new(run: &'a Run<'a>) -> Self {
        Self { run, link: None }
    }

    /// Does piece after piece, as long as there are some and it is `needed`.
    ///
    /// # Errors
    /// What ends the run for all; [`Trouble::Stopped`] where others end it.
    pub fn work(&mut self, needed: &dyn Fn() -> bool) -> Result<(), Trouble> {
        while needed() {
            let Some(piece) = self.run.plan.take() else { return Ok(()) };
            let done = self.persist(&piece);
            self.run.plan.finished(&piece);
            done?;
        }
        Ok(())
    }

    /// A piece, whatever it takes.
    fn persist(&mut self, piece: &Piece) -> Result<(), Trouble> {
        let shared = self.run.shared;
        let tables = match piece {
            Piece::Table(table) | Piece::Span(table, ..) => std::slice::from_ref(table),
            Piece::Together(tables) => tables.as_slice(),
        };
        let mut busy = 0_u32;
        for &table in tables {
            shared.progress.at(table, true);
        }
        let done = loop {
            let mut waits = 0_u32;
            let done = shared.insist(|| {
                if shared.cancelled() {
                    return Err(Trouble::Stopped);
                }
                let done = self.piece(piece);
                if let Err(trouble) = &done {
                    // Whatever was in hand at the source is over with the connection.
                    self.link = None;
                    if let Trouble::Busy(error) = trouble {
                        waits += 1;
                        if busy + waits > BUSY_MAX {
                            let table = tables.first().copied().unwrap_or_default();
                            return Err(Trouble::table(
                                table,
                                ReaderError::Source(format!("it was in the way {BUSY_MAX} times: {error}")),
                            ));
                        }
                    }
                }
                done
            });
            busy += waits;
            match done {
                Err(Trouble::Table(table, error)) => {
                    self.table_fails(table, error)?;
                    if !matches!(piece, Piece::Together(_)) {
                        break Ok(());
                    }
                }
                other => break other,
            }
        };
        for &table in tables {
            shared.progress.at(table, false);
        }
        match done {
            Err(Trouble::Stopped) if shared.cancelled() => Ok(()),
            other => other,
        }
    }

    /// A table cannot be read: it leaves the run, or ends the reader.
    fn table_fails(&self, table: usize, error: Box<ReaderError>) -> Result<(), Trouble> {
        let Some(entry) = self.run.plan.entry(table) else { return Ok(()) };
        let name = &entry.name;
        if !self.run.shared.skips() {
            return Err(Trouble::fatal(ReaderError::Source(format!(
                "{name} cannot be copied: {error}; mend that, or exclude it in [source] exclude, or set [snapshot] on_error = \"skip\" to copy the rest without it"
            ))));
        }
        if entry.over {
            return Ok(());
        }
        tracing::warn!(table = %name, "left out of the snapshot: {error}");
        self.run.shared.progress.skipped(format!("{name}: {error}"));
        self.leaves(table)
    }

    /// A table leaves the run.
    pub(super) fn leaves(&self, table: usize) -> Result<(), Trouble> {
        let Some(entry) = self.run.plan.entry(table).filter(|entry| !entry.over) else { return Ok(()) };
        self.run.plan.over(table);
        let run = self.run.state.begin.run;
        self.run.shared.desk.append(SnapshotStep::TableAgain {
            run,
            table: entry.name,
            gone: true,
            at: BinlogPosition::default(),
        })?;
        self.run.shared.progress.done(table);
        Ok(())
    }

    fn piece(&mut self, piece: &Piece) -> Result<(), Trouble> {
        match piece {
            Piece::Table(table) => self.table(*table),
            Piece::Span(table, span, turn) => self.span(*table, *span, *turn),
            Piece::Together(tables) => self.together(tables),
        }
    }

    /// The connections, to the server that is followed.
    pub(super) fn link(&mut self) -> Result<&mut Link, Trouble> {
        let server = self.run.shared.desk.server()?;
        if self.link.as_ref().is_none_or(|link| !link.is_to(&server)) {
            self.link = None;
            let link = Link::open(&server).map_err(|error| judge(error, None))?;
            return Ok(self.link.insert(link));
        }
        self.link.as_mut().ok_or(Trouble::Stopped)
    }

    /// Waits for what spares the source, and for room in the store.
    pub(super) fn wait(&self) -> Result<(), Trouble> {
        let shared = self.run.shared;
        shared.wait_for_store();
        self.run.throttle.wait_before(&|| shared.halted());
        if shared.halted() { Err(Trouble::Stopped) } else { Ok(()) }
    }

    /// A table from where it stands, by itself.
    fn table(&mut self, table: usize) -> Result<(), Trouble> {
        let Some(entry) = self.run.plan.entry(table).filter(|entry| !entry.over) else { return Ok(()) };
        let mut fresh = false;
        if !entry.made {
            if !self.make(table)? {
                return Ok(()); // it is gone, or is read whole
            }
            fresh = true;
        }
        if self.run.state.begin.schema_only {
            return self.end(table);
        }
        if entry.spans.is_empty() {
            let Some(shape) = self.shape(table)? else { return Ok(()) };
            if shape.order.is_none() {
                self.run.plan.again(table, true);
                return Ok(());
            }
            let spans = self.split(table, &shape)?;
            let turn = self.run.plan.mark(table).1;
            if !fresh || turn > 0 {
                // Destinations pass over changes of a table that is begun anew up to its first chunk; so that chunk holds nothing that could have changed meanwhile.
                return match self.announce(table, &spans)? {
                    true => self.span(table, 0, turn),
                    false => self.table(table),
                };
            }
            return self.copy(table, 0, turn, Some(spans));
        }
        match entry.spans.iter().all(|span| span.done) {
            true => self.end(table),
            false => self.span(table, 0, entry.turn),
        }
    }

    fn span(&mut self, table: usize, span: u32, turn: u32) -> Result<(), Trouble> {
        self.copy(table, span, turn, None)
    }

    /// An empty chunk with a table's spans. False if it could not be appended.
    fn announce(&mut self, table: usize, spans: &[Span]) -> Result<bool, Trouble> {
        let Some(shape) = self.shape(table)? else { return Ok(false) };
        let window = self.run.shared.desk.open(&[(shape.name.clone(), shape.key.clone())])?;
        let high = window.place().position.clone();
        let step = self.step(&shape, 0, spans.to_vec());
        let chunk = ChunkRows { step, schema: shape.schema().clone(), images: Vec::new(), ends: Vec::new() };
        if window.append(chunk, &high)?.is_err() {
            return Ok(false);
        }
        self.run.plan.spans(table, spans.to_vec(), 0);
        Ok(true)
    }

    pub(super) fn step(&self, shape: &Shape, span: u32, spans: Vec<Span>) -> SnapshotChunk {
        SnapshotChunk {
            run: self.run.state.begin.run,
            table: shape.name.clone(),
            span,
            spans,
            reached: Vec::new(),
            ends_span: false,
            rows: 0,
            bytes: 0,
            at: BinlogPosition::default(),
        }
    }

    /// Chunk after chunk of a span, to its end. `spans`: nothing of the table is in the log yet, and the first chunk brings these.
    fn copy(&mut self, table: usize, number: u32, turn: u32, mut spans: Option<Vec<Span>>) -> Result<(), Trouble> {
        let mut size: Option<Size> = None;
        let mut partial = 0_u32;
        loop {
            self.wait()?;
            let span = match &spans {
                Some(spans) => spans.get(number as usize).cloned(),
                None => self.run.plan.span(table, number, turn),
            };
            let Some(span) = span else { return Ok(()) };
            let Some(shape) = self.shape(table)? else { return Ok(()) };
            if self.run.plan.mark(table).1 != turn {
                return Ok(());
            }
            if span.done {
                return Ok(());
            }
            let chunk_bytes = self.run.shared.pipeline.snapshot.chunk_bytes;
            let size = size.get_or_insert_with(|| {
                let definition = &shape.definition;
                Size::first(definition.rows, definition.average_row.saturating_mul(definition.rows), chunk_bytes)
            });
            let window = self.run.shared.desk.open(&[(shape.name.clone(), shape.key.clone())])?;
            self.run.note_ddl()?;
            if self.run.plan.mark(table).0 != shape.ddl {
                continue; // and the definition is read again
            }
            let marks = self.marks(table)?;
            let name = quoted(&shape.name);
            let limit = size.rows();
            let sql = |suffix: &str| shape.chunk_sql(&span.after, &span.until, limit, suffix);
            let link = self.link()?;
            let began = Instant::now();
            let read = (|| {
                let known = marks.open(link, &window.place().position, &window.place().gtids, &[name])?;
                let taken = take(link, &shape, &sql(marks.suffix()), size.bytes_max())?;
                let took = began.elapsed();
                // Locks that are held end with the connection then.
                let high = match (taken.unread, known) {
                    (false, known) => marks.close(link, known)?,
                    (true, Some(high)) => high,
                    (true, None) => marks.end(&mut link.other())?,
                };
                Ok::<_, ReaderError>((taken, took, high))
            })();
            let (taken, took, high) = match read {
                Ok(read) => read,
                Err(error) => {
                    self.link = None;
                    drop(window);
                    size.smaller();
                    self.unreadable(table, &shape, error)?;
                    continue;
                }
            };
            self.run.throttle.spent(taken.rows.count(), taken.rows.images.len() as u64);
            size.learn(taken.rows.count(), taken.rows.images.len() as u64, took);
            let ends_span = !taken.cut && taken.rows.count() < limit;
            if taken.unread {
                self.link = None; // the rest of the result is given up with its connection
            }
            let reached = match taken.rows.last() {
                Some(last) => shape.key_of(last).map_err(|error| Trouble::table(table, error))?,
                None => Vec::new(),
            };
            let mut step = self.step(&shape, number, spans.clone().unwrap_or_default());
            (step.reached, step.ends_span) = (reached.clone(), ends_span);
            let Rows { images, ends } = taken.rows;
            let chunk = ChunkRows { step, schema: shape.schema().clone(), images, ends };
            match window.append(chunk, &high)? {
                Ok(appended) => {
                    partial = 0;
                    if let Some(spans) = spans.take() {
                        self.run.plan.spans(table, spans, number);
                    }
                    self.run.shared.progress.chunk(table, appended.rows, appended.bytes);
                    let complete = self.run.plan.chunk(table, number, &reached, ends_span, appended.rows);
                    if complete {
                        return self.end(table);
                    }
                    if ends_span {
                        return Ok(());
                    }
                }
                Err(again) => {
                    tracing::debug!(table = %shape.name, span = number, "a chunk is read again: {again}");
                    match again {
                        Again::Partial => {
                            partial += 1;
                            size.smaller();
                            if partial >= PARTIAL_MAX {
                                return Err(Trouble::table(
                                    table,
                                    ReaderError::Source(
                                        "its rows change in sessions whose binlog images are not whole; run at the source: SET GLOBAL binlog_row_image=FULL, \
                                         binlog_row_value_options='', and have its clients connect anew"
                                            .to_owned(),
                                    ),
                                ));
                            }
                        }
                        Again::TooMany => size.smaller(),
                        Again::Ddl => self.run.note_ddl()?,
                        Again::Lost => {}
                    }
                }
            }
        }
    }

    /// How places are found for this table.
    pub(super) fn marks(&mut self, table: usize) -> Result<Marks, Trouble> {
        let plain = self.run.engines.get(table).copied().unwrap_or(false);
        let marks = &self.link()?.marks;
        Ok(if plain { marks.with_table_locks() } else { marks.clone() })
    }

    /// A SELECT of a table failed.
    fn unreadable(&mut self, table: usize, shape: &Shape, error: ReaderError) -> Result<(), Trouble> {
        let changed = is_other_now(&error) || matches!(&error, ReaderError::Pack { .. });
        if !changed {
            return Err(judge(error, Some(table)));
        }
        // It was altered, renamed or dropped, which the follower has not seen yet. If the definition is as before, the error is one.
        let now = self.read_shape(table, shape.ddl)?;
        let same = now
            .as_ref()
            .is_some_and(|now| now.definition.schema == shape.definition.schema && now.order == shape.order);
        if same {
            return Err(judge(error, Some(table)));
        }
        std::thread::sleep(Duration::from_millis(20));
        self.run.note_ddl()?;
        if now.is_none() {
            self.run.plan.change(table, |entry| entry.ddl += 1);
        }
        Ok(())
    }

    /// All of the table is in the log.
    pub(super) fn end(&self, table: usize) -> Result<(), Trouble> {
        let Some(entry) = self.run.plan.entry(table).filter(|entry| !entry.over) else { return Ok(()) };
        let run = self.run.state.begin.run;
        let step = SnapshotStep::TableEnd { run, table: entry.name, rows: entry.rows, at: BinlogPosition::default() };
        self.run.shared.desk.append(step)?;
        self.run.plan.over(table);
        self.run.shared.progress.done(table);
        Ok(())
    }

    /// In the way `gtid`: what the follower has is there to be seen.
    pub(super) fn see(&mut self, place: &crate::follow::Place) -> Result<(), Trouble> {
        let link = self.link()?;
        if link.marks.way() == Way::Gtid {
            let marks = link.marks.clone();
            marks.wait_executed(link, &place.gtids).map_err(|error| judge(error, None))?;
        }
        Ok(())
    }

    /// The end of the source's binlog.
    pub(super) fn high(&mut self) -> Result<BinlogPosition, Trouble> {
        let link = self.link()?;
        let marks = link.marks.clone();
        marks.end(link).map_err(|error| judge(error, None))
    }

    /// Asks the source for rows of text.
    pub(super) fn ask(&mut self, sql: &str, table: usize) -> Result<Vec<Vec<Option<Vec<u8>>>>, Trouble> {
        self.link()?.ask(sql).map_err(|error| judge(error, Some(table)))
    }
}

/// The rows of a SELECT, up to about `bytes_max`. As much again is read and dropped to come to the end of a result that goes on.
fn take(link: &mut Link, shape: &Arc<Shape>, sql: &[u8], bytes_max: usize) -> Result<Taken, ReaderError> {
    let columns = link.wire.select(sql)?;
    let packer = RowPacker::new(shape.schema(), &columns).map_err(|source| pack(shape, source))?;
    let mut rows = Rows::default();
    let mut dropped = 0_usize;
    let mut cut = false;
    while let Some(row) = link.wire.next_row()? {
        if cut {
            dropped = dropped.saturating_add(row.len());
            if dropped > bytes_max {
                return Ok(Taken { rows, cut, unread: true });
            }
            continue;
        }
        packer.pack(row, &mut rows.images).map_err(|source| pack(shape, source))?;
        rows.ends.push(u32::try_from(rows.images.len()).unwrap_or(u32::MAX));
        cut = rows.images.len() >= bytes_max;
    }
    // The last row may have been the one that filled it; then one more SELECT finds nothing.
    Ok(Taken { rows, cut, unread: false })
}

pub(super) fn pack(shape: &Shape, source: common::pack::PackError) -> ReaderError {
    ReaderError::Pack { table: shape.name.to_string(), source }
}

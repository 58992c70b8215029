//! Definitions of tables: in the log once, and read again after DDL.

use std::sync::{Arc, PoisonError};

use common::BinlogPosition;
use common::snapshot::{ObjectKind, ObjectName, SnapshotObject, SnapshotStep};

use super::Copier;
use crate::error::ReaderError;
use crate::snapshot::chunk::Shape;
use crate::snapshot::run::trouble::{Trouble, judge};
use crate::snapshot::{definition, objects};

impl Copier<'_> {
    /// Puts the definition into the log. False if the table is not to be gone on with: it is gone, or is to be read whole.
    pub(super) fn make(&mut self, table: usize) -> Result<bool, Trouble> {
        let Some(entry) = self.run.plan.entry(table) else { return Ok(false) };
        loop {
            if self.run.shared.halted() {
                return Err(Trouble::Stopped);
            }
            let window = self.run.shared.desk.open(&[(entry.name.clone(), Vec::new())])?;
            self.run.note_ddl()?;
            let ddl = self.run.plan.mark(table).0;
            self.see(window.place())?;
            let Some((object, shape)) = self.read(table, ddl)? else {
                drop(window);
                if self.gone(table)? {
                    return Ok(false);
                }
                continue;
            };
            if shape.order.is_none() && !self.run.state.begin.schema_only {
                drop(window);
                self.run.plan.again(table, true);
                return Ok(false);
            }
            let high = self.high()?;
            if window.append_object(object, &high)?.is_ok() {
                self.run.plan.change(table, |entry| (entry.made, entry.other) = (true, false));
                self.put_shape(table, shape);
                return Ok(true);
            }
        }
    }

    /// A table's definition as statement and as chunks need it; None if there is no such table.
    pub(in crate::snapshot) fn read(
        &mut self,
        table: usize,
        ddl: u64,
    ) -> Result<Option<(SnapshotObject, Arc<Shape>)>, Trouble> {
        let Some(entry) = self.run.plan.entry(table) else { return Ok(None) };
        let name = entry.name;
        let object = ObjectName { kind: ObjectKind::Table, database: name.database.clone(), name: name.table.clone() };
        let link = self.link()?;
        let Some(read) =
            objects::read(&mut link.session, &link.facts, &object).map_err(|error| judge(error, Some(table)))?
        else {
            return Ok(None);
        };
        if let Some(problem) = read.problem {
            return Err(Trouble::table(table, ReaderError::Source(problem)));
        }
        let Some(shape) = self.read_shape(table, ddl)? else { return Ok(None) };
        let definition = &shape.definition;
        let estimate = (definition.rows.max(entry.estimate.0), entry.estimate.1);
        let read = SnapshotObject {
            run: self.run.state.begin.run,
            rows_estimate: estimate.0,
            bytes_estimate: estimate.1,
            keyed: shape.order.is_some(),
            at: BinlogPosition::default(),
            ..read
        };
        Ok(Some((read, shape)))
    }

    /// What chunks need to know of a table; None if there is no such table.
    pub(in crate::snapshot) fn read_shape(&mut self, table: usize, ddl: u64) -> Result<Option<Arc<Shape>>, Trouble> {
        let Some(entry) = self.run.plan.entry(table) else { return Ok(None) };
        let link = self.link()?;
        let read =
            definition::read(&mut link.session, &link.facts, &entry.name).map_err(|error| judge(error, Some(table)))?;
        match read {
            Some(definition) => {
                Ok(Some(Arc::new(Shape::new(entry.name, definition, ddl).map_err(|error| judge(error, Some(table)))?)))
            }
            None => Ok(None),
        }
    }

    pub(in crate::snapshot) fn put_shape(&self, table: usize, shape: Arc<Shape>) {
        if let Some(place) = self.run.shapes.get(table) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(shape);
        }
    }

    /// The definition, read again if the follower has met DDL since; None if the table is not to be gone on with as it was: it is gone or begun anew.
    pub(super) fn shape(&mut self, table: usize) -> Result<Option<Arc<Shape>>, Trouble> {
        let run = self.run;
        let Some(place) = run.shapes.get(table) else { return Ok(None) };
        // One thread reads it, others that copy the table wait.
        let mut known = place.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = run.plan.entry(table).filter(|entry| !entry.over) else { return Ok(None) };
        if let Some(shape) = &*known
            && shape.ddl == entry.ddl
            && !entry.other
        {
            return Ok(Some(shape.clone()));
        }
        let Some(now) = self.read_shape(table, entry.ddl)? else {
            *known = None;
            self.gone(table)?;
            return Ok(None);
        };
        let again = match &*known {
            _ if entry.other || now.order.is_none() => true,
            Some(before) => !now.goes_on(before),
            // After a restart nobody knows what the key was before DDL of the last moments, which is told again.
            None => !entry.spans.is_empty() && entry.ddl > 0,
        };
        *known = Some(now.clone());
        if !again {
            return Ok(Some(now));
        }
        tracing::info!(table = %entry.name, "its copy begins anew: it was altered while it was copied");
        let step = SnapshotStep::TableAgain {
            run: run.state.begin.run,
            table: entry.name,
            gone: false,
            at: BinlogPosition::default(),
        };
        run.shared.desk.append(step)?;
        run.shared.progress.again(table);
        run.plan.again(table, now.order.is_none());
        Ok(None)
    }

    /// The table seems to be gone: makes sure of it at one place of the log, and lets it leave the run. False if it is there after all.
    pub(in crate::snapshot) fn gone(&mut self, table: usize) -> Result<bool, Trouble> {
        let Some(entry) = self.run.plan.entry(table).filter(|entry| !entry.over) else { return Ok(true) };
        let run = self.run.state.begin.run;
        loop {
            let mut hold = self.run.shared.desk.hold(std::slice::from_ref(&entry.name))?;
            self.see(&hold.place().clone())?;
            if self.read_shape(table, 0)?.is_some() {
                return Ok(false);
            }
            let high = self.high()?;
            let Ok(stand) = hold.go_to(&high)? else { continue };
            if stand.touched {
                continue;
            }
            self.run.note_ddl()?;
            if let Some(step) = self.run.renamed_step() {
                if hold.append_step(step)?.is_err() {
                    continue;
                }
                self.run.renamed_begun();
            }
            let step =
                SnapshotStep::TableAgain { run, table: entry.name.clone(), gone: true, at: BinlogPosition::default() };
            if hold.append_step(step)?.is_ok() {
                tracing::info!(table = %entry.name, "it was dropped or renamed at the source and leaves the snapshot");
                self.run.plan.over(table);
                self.run.shared.progress.done(table);
                return Ok(true);
            }
        }
    }
}

//! Definitions that are not tables: databases and sequences before them; views, routines, triggers and events behind.

use common::BinlogPosition;
use common::snapshot::{ObjectKind, ObjectName, SnapshotObject, TableName, TableState};

use super::trouble::{Trouble, judge};
use super::{Run, Shared, begin};
use crate::snapshot::link::Link;
use crate::snapshot::marks::Way;
use crate::snapshot::objects;

impl Shared {
    /// Databases and sequences, unless tables are in the log already.
    pub(super) fn foundations(&self, run: &Run<'_>) -> Result<(), Trouble> {
        if run.state.tables.iter().any(|table| !matches!(table, TableState::Pending)) || run.state.others_done > 0 {
            return Ok(());
        }
        let mut link = self.link()?;
        let catalog = begin::catalog(&mut link, &self.selection()?)?;
        let mut wanted: Vec<ObjectName> = catalog
            .databases
            .iter()
            .map(|database| ObjectName {
                kind: ObjectKind::Database,
                database: database.name.clone(),
                name: String::new(),
            })
            .filter(|database| {
                run.state.begin.whole || run.state.begin.tables.iter().any(|table| table.database == database.database)
            })
            .collect();
        if run.state.begin.whole {
            wanted.extend(catalog.sequences);
        }
        for object in &wanted {
            self.object(run, &mut link, object)?;
        }
        Ok(())
    }

    /// Everything behind the tables.
    pub(super) fn others(&self, run: &Run<'_>) -> Result<(), Trouble> {
        // What is in the log by now, and not what was when the run was taken up: this may be the second attempt.
        let done = self.desk.state().run(run.state.begin.run).map_or(0, |state| state.others_done) as usize;
        let left = run.state.begin.others.get(done..).unwrap_or_default();
        if left.is_empty() {
            return Ok(());
        }
        let mut link = self.link()?;
        for object in left {
            self.object(run, &mut link, object)?;
        }
        Ok(())
    }

    /// One definition, exact at its place.
    fn object(&self, run: &Run<'_>, link: &mut Link, object: &ObjectName) -> Result<(), Trouble> {
        let name = TableName { database: object.database.clone(), table: object.name.clone() };
        loop {
            if self.halted() {
                return Err(Trouble::Stopped);
            }
            let window = self.desk.open(&[(name.clone(), Vec::new())])?;
            if !link.is_to(&self.desk.server()?) {
                *link = self.link()?;
            }
            let marks = link.marks.clone();
            if marks.way() == Way::Gtid {
                marks.wait_executed(link, &window.place().gtids).map_err(|error| judge(error, None))?;
            }
            let Some(read) =
                objects::read(&mut link.session, &link.facts, object).map_err(|error| judge(error, None))?
            else {
                return Ok(()); // dropped: the log says so
            };
            let read = SnapshotObject { run: run.state.begin.run, at: BinlogPosition::default(), ..read };
            if let Some(problem) = &read.problem {
                tracing::warn!(kind = ?object.kind, "{name}: {problem}");
            }
            let high = marks.end(link).map_err(|error| judge(error, None))?;
            match window.append_object(read, &high)? {
                Ok(_) => return Ok(()),
                Err(again) => tracing::debug!(database = object.database, name = object.name, "read again: {again}"),
            }
        }
    }
}

//! The begin of a run: what it is to bring, at one place of the log.

use std::collections::BTreeSet;
use std::sync::Mutex;

use common::BinlogPosition;
use common::control::now_us;
use common::selection::Selection;
use common::snapshot::{RunState, SnapshotBegin, SnapshotStep, TableName};

use super::due::{self, Wanted, Which};
use super::plan::Plan;
use super::trouble::{Trouble, judge};
use super::{Run, Shared};
use crate::error::ReaderError;
use crate::snapshot::catalog::{Catalog, logs_cascades};
use crate::snapshot::desk::{DdlEvent, Scope};
use crate::snapshot::link::Link;
use crate::snapshot::marks::{Ask, Way};
use common::record::{DdlKind, DdlRole};

impl Shared {
    pub(super) fn selection(&self) -> Result<Selection, Trouble> {
        due::selection(&self.pipeline).map_err(|error| Trouble::fatal(ReaderError::Source(error.to_string())))
    }

    pub(super) fn link(&self) -> Result<Link, Trouble> {
        Link::open(&self.desk.server()?).map_err(|error| judge(error, None))
    }

    /// Appends a run's Begin, and notes what is selected. Answers with its tables, or None if there is nothing to copy.
    pub(super) fn begin(&self, wanted: &Wanted) -> Result<Option<Vec<TableName>>, Trouble> {
        let selection = self.selection()?;
        let configured = (self.pipeline.source.include.clone(), self.pipeline.source.exclude.clone());
        let scope = || Scope { selection: Some(configured.clone()), destinations: Vec::new() };
        let mut link = self.link()?;
        let before = catalog(&mut link, &selection)?;
        if !wanted.whole && !before.tables.iter().any(|table| wanted.tables.has(&table.name)) {
            if matches!(wanted.tables, Which::Beyond(_)) {
                self.desk.note(scope())?;
            }
            return Ok(None);
        }
        if !wanted.schema_only && !before.tables.is_empty() {
            whole_images(&mut link)?;
        }
        let first = self.desk.state().selection.is_none();
        if first {
            no_branches(&mut link)?;
        }
        if first {
            self.desk.note(scope())?;
        }
        // What exists at the place of the Begin must be in it: what was dropped directly before leaves the run when its turn comes, and what was made directly after
        // is brought by it. So both lists count.
        let hold = self.desk.hold(&[])?;
        if !link.is_to(&self.desk.server()?) {
            return Err(Trouble::busy(ReaderError::Source("the source changed".to_owned())));
        }
        if link.marks.way() == Way::Gtid {
            let marks = link.marks.clone();
            marks.wait_executed(&mut link, &hold.place().gtids).map_err(|error| judge(error, None))?;
        }
        let now = catalog(&mut link, &selection)?;
        let mut tables: BTreeSet<TableName> = before.tables.iter().map(|table| table.name.clone()).collect();
        tables.extend(now.tables.iter().map(|table| table.name.clone()));
        let busy: BTreeSet<TableName> = self.unfinished();
        let mut tables: Vec<TableName> =
            tables.into_iter().filter(|table| wanted.tables.has(table) && !busy.contains(table)).collect();
        let size =
            |name: &TableName| now.tables.iter().find(|table| table.name == *name).map_or(0, |table| table.bytes);
        tables.sort_by_cached_key(|name| (std::cmp::Reverse(size(name)), name.clone()));
        let others = if wanted.whole { now.others.clone() } else { Vec::new() };
        let state = self.desk.state();
        let begin = SnapshotBegin {
            run: due::name(&state, now_us()),
            destinations: wanted.destinations.clone(),
            whole: wanted.whole,
            schema_only: wanted.schema_only,
            again: wanted.again,
            tables: tables.clone(),
            others,
            way: link.marks.way().name().to_owned(),
            at: BinlogPosition::default(),
        };
        tracing::info!(
            run = begin.run, tables = tables.len(), objects = begin.others.len(), destinations = ?begin.destinations, way = begin.way, because = link.marks.reason(),
            "a snapshot begins: {}", wanted.reason
        );
        if hold.append_step(SnapshotStep::Begin(Box::new(begin)))?.is_err() {
            return Err(Trouble::busy(ReaderError::Source(
                "the binlog connection was lost while a snapshot was begun".to_owned(),
            )));
        }
        hold.release();
        if !first && matches!(wanted.tables, Which::Beyond(_)) {
            self.desk.note(scope())?;
        }
        Ok(Some(tables))
    }

    /// Tables of runs that have not ended and that are not done there.
    pub(super) fn unfinished(&self) -> BTreeSet<TableName> {
        let state = self.desk.state();
        let mut names = BTreeSet::new();
        for run in &state.runs {
            let left = run.begin.tables.iter().zip(&run.tables).filter(|(_, state)| {
                !matches!(state, common::snapshot::TableState::Done | common::snapshot::TableState::Gone)
            });
            names.extend(left.map(|(name, _)| name.clone()));
        }
        names
    }

    /// What is left of a run, with what its tables are now.
    pub(super) fn prepare(&self, state: &RunState) -> Result<Run<'_>, Trouble> {
        let throttle = self.throttle()?;
        let mut link = self.link()?;
        let catalog = catalog(&mut link, &self.selection()?)?;
        let by_name: std::collections::HashMap<_, _> =
            catalog.tables.iter().map(|table| (&table.name, table)).collect();
        let estimates: Vec<(u64, u64)> = state
            .begin
            .tables
            .iter()
            .map(|name| by_name.get(name).map_or((0, 0), |table| (table.rows, table.bytes)))
            .collect();
        let plain = |name: &TableName| by_name.get(name).is_some_and(|table| !transactional(&table.engine));
        let engines = state.begin.tables.iter().map(plain).collect();
        let index: std::collections::HashMap<_, _> = state.begin.tables.iter().zip(0_usize..).collect();
        let groups: Vec<Vec<usize>> = if state.begin.schema_only {
            Vec::new()
        } else {
            let all = catalog.groups(logs_cascades(&link.facts));
            all.iter()
                .map(|group| group.iter().filter_map(|name| index.get(name).copied()).collect())
                .filter(|group: &Vec<usize>| !group.is_empty())
                .collect()
        };
        let plan = Plan::new(state, &estimates, &groups);
        self.progress.begin(state, &estimates);
        let shapes = state.begin.tables.iter().map(|_| Mutex::default()).collect();
        let run = Run {
            shared: self,
            state: state.clone(),
            plan,
            shapes,
            engines,
            ddl: Mutex::new(()),
            renamed: Mutex::default(),
            throttle,
        };
        run.note_ddl()?;
        Ok(run)
    }
}

/// Whether a consistent snapshot is one for this engine.
fn transactional(engine: &str) -> bool {
    ["innodb", "rocksdb", "tokudb", "ndbcluster", "xtradb"].iter().any(|known| engine.eq_ignore_ascii_case(known))
}

pub(super) fn catalog(link: &mut Link, selection: &Selection) -> Result<Catalog, Trouble> {
    Catalog::read(&mut link.session, &link.facts, selection).map_err(|error| judge(error, None))
}

impl Run<'_> {
    /// The Begin of a run for the new names of tables that were renamed before they were done. It is to stand in the log before their old names leave this run, so that no
    /// restart forgets them.
    pub(in crate::snapshot) fn renamed_step(&self) -> Option<SnapshotStep> {
        let tables = self.renamed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if tables.is_empty() {
            return None;
        }
        let now = &self.state.begin;
        let begin = SnapshotBegin {
            run: due::name(&self.shared.desk.state(), now_us()),
            destinations: now.destinations.clone(),
            whole: false,
            schema_only: now.schema_only,
            again: true,
            tables,
            others: Vec::new(),
            way: now.way.clone(),
            at: BinlogPosition::default(),
        };
        tracing::info!(
            run = begin.run,
            tables = begin.tables.len(),
            "a snapshot begins: tables were renamed while they were copied"
        );
        Some(SnapshotStep::Begin(Box::new(begin)))
    }

    /// That step stands in the log.
    pub(in crate::snapshot) fn renamed_begun(&self) {
        self.renamed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// Takes over one DDL statement.
    pub(super) fn take_ddl(&self, event: &DdlEvent) {
        let name = |object: &common::record::DdlObject| TableName {
            database: object.database.clone(),
            table: object.name.clone(),
        };
        let mut renamed = self.renamed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut last: Option<TableName> = None;
        for object in event.objects.iter().filter(|object| object.role != DdlRole::Reference) {
            let table = name(object);
            if event.kind == DdlKind::DropDatabase {
                self.plan.ddl_in(&object.database);
                renamed.retain(|name| name.database != object.database);
                continue;
            }
            let is_new = object.role == DdlRole::NewName;
            // Another table stands under this name from now on, or none.
            let other = is_new || matches!(event.kind, DdlKind::RenameTable | DdlKind::DropTable);
            let known = self.plan.ddl(&table, other);
            if is_new && let Some(old) = last.take() {
                let unfinished = self.plan.index(&old).is_some_and(|index| !self.plan.mark(index).2);
                let moved = renamed.iter().position(|name| *name == old);
                if let Some(moved) = moved {
                    renamed.remove(moved);
                }
                if (unfinished || moved.is_some()) && known.is_none() && !renamed.contains(&table) {
                    renamed.push(table);
                }
                continue;
            }
            if event.kind == DdlKind::DropTable {
                renamed.retain(|name| *name != table);
            }
            last = Some(table);
        }
    }
}

/// While a table is copied, its changes are put in place from whole images: a part of a row cannot be put where the row is not there yet.
fn whole_images(link: &mut Link) -> Result<(), Trouble> {
    let wanted = [("binlog_row_image", "FULL"), ("binlog_row_value_options", "")];
    let settings =
        link.ask("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('binlog_row_image', 'binlog_row_value_options')");
    for row in settings.map_err(|error| judge(error, None))? {
        let cell = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
        let (name, value) = (cell(0), cell(1));
        let Some((name, fine)) = wanted.iter().find(|(wanted, _)| wanted.as_bytes() == name.as_slice()) else {
            continue;
        };
        if !value.eq_ignore_ascii_case(fine.as_bytes()) {
            let value = String::from_utf8_lossy(&value);
            return Err(Trouble::fatal(ReaderError::Source(format!(
                "the source's binlog does not hold whole rows ({name}={value}), without which tables cannot be copied while they are written to; run there: \
                 SET GLOBAL {name}='{fine}', and have its clients connect anew (or set [snapshot] mode = \"none\")"
            ))));
        }
    }
    Ok(())
}

/// What a branch that was prepared before the log begins has changed stands nowhere: neither in a row that is read now nor in the log.
fn no_branches(link: &mut Link) -> Result<(), Trouble> {
    match link.ask("XA RECOVER") {
        Ok(branches) if branches.is_empty() => Ok(()),
        Ok(branches) => Err(Trouble::busy(ReaderError::Source(format!(
            "the source holds {} prepared XA branch(es) from before the snapshot (XA RECOVER names them); the snapshot begins once they are committed or rolled back",
            branches.len()
        )))),
        Err(error) if matches!(super::trouble::code(&error), Some(1227 | 1142 | 1045 | 1401)) => {
            tracing::info!(%error, "this user may not see prepared XA branches (XA_RECOVER_ADMIN): one from before the snapshot would stop the appliers when it is committed");
            Ok(())
        }
        Err(error) => Err(judge(error, None)),
    }
}

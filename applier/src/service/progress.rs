//! How far copies are at this destination, for status and metrics.

use std::collections::BTreeMap;
use std::time::Instant;

use common::control::{SnapshotSeen, TableSeen};
use common::snapshot::{ObjectKind, RunId, SnapshotStep, TableName};

use crate::counters::Rate;
use crate::plan::CopyMove;
use crate::snapshot::{Remembered, Stand};

/// How many tables that are being copied are named at most.
const NAMED: usize = 32;
/// And how many that are done.
const FINISHED_NAMED: usize = 5;

#[derive(Debug)]
struct Copy {
    run: RunId,
    stand: Stand,
    rows: u64,
    estimate: u64,
    bytes: u64,
}

/// Sums over the runs that are under way.
#[derive(Debug, Default)]
pub(super) struct CopyProgress {
    runs: Vec<RunId>,
    tables: BTreeMap<TableName, Copy>,
    /// Those that are done, in the order in which they were.
    finished: Vec<TableName>,
    rate: Rate,
    rows: u64,
}

impl CopyProgress {
    pub(super) fn remembered(&mut self, remembered: &Remembered) {
        self.runs.clone_from(&remembered.runs);
        self.tables.clear();
        for table in remembered.tables.iter().filter(|table| remembered.runs.contains(&table.run)) {
            let copy = Copy {
                run: table.run,
                stand: table.stand,
                rows: table.rows,
                estimate: table.rows_estimate,
                bytes: table.bytes,
            };
            self.tables.insert(table.table.clone(), copy);
        }
    }

    pub(super) fn step(&mut self, step: &SnapshotStep) {
        match step {
            SnapshotStep::Begin(begin) => {
                self.runs.push(begin.run);
                for table in &begin.tables {
                    let copy = Copy { run: begin.run, stand: Stand::Pending, rows: 0, estimate: 0, bytes: 0 };
                    self.tables.insert(table.clone(), copy);
                }
            }
            SnapshotStep::Object(object) if object.object.kind == ObjectKind::Table => {
                let name = TableName { database: object.object.database.clone(), table: object.object.name.clone() };
                if let Some(copy) = self.tables.get_mut(&name) {
                    copy.stand = Stand::Copying;
                    copy.estimate = object.rows_estimate;
                }
            }
            SnapshotStep::Object(_) | SnapshotStep::Chunk(_) | SnapshotStep::ChunkEnd { .. } => {}
            SnapshotStep::TableEnd { table, .. } => {
                if let Some(copy) = self.tables.get_mut(table) {
                    copy.stand = Stand::Done;
                    copy.estimate = copy.rows;
                    self.finished.push(table.clone());
                }
            }
            SnapshotStep::TableAgain { table, gone: true, .. } => {
                self.tables.remove(table);
            }
            SnapshotStep::TableAgain { table, .. } => {
                if let Some(copy) = self.tables.get_mut(table) {
                    (copy.rows, copy.bytes) = (0, 0);
                }
                self.finished.retain(|done| done != table);
            }
            SnapshotStep::End { run, .. } => {
                self.runs.retain(|other| other != run);
                self.tables.retain(|_, copy| copy.run != *run);
                self.finished.retain(|table| self.tables.contains_key(table));
            }
        }
    }

    pub(super) fn chunk(&mut self, table: &TableName, rows: u64, bytes: u64) {
        self.rows += rows;
        if let Some(copy) = self.tables.get_mut(table) {
            copy.rows += rows;
            copy.bytes += bytes;
        }
    }

    pub(super) fn moved(&mut self, moves: &[CopyMove]) {
        for CopyMove { from, to } in moves {
            let copy = self.tables.remove(from);
            if let (Some(to), Some(copy)) = (to, copy) {
                self.tables.insert(to.clone(), copy);
            }
        }
    }

    /// None if no run is under way.
    pub(super) fn seen(&mut self) -> Option<SnapshotSeen> {
        let (rows_per_second, _) = self.rate.sample(Instant::now(), self.rows, 0);
        let run = *self.runs.first()?;
        let mut seen = SnapshotSeen { run, rows_per_second, ..SnapshotSeen::default() };
        for (name, copy) in &self.tables {
            let estimate = copy.estimate.max(copy.rows);
            seen.tables += 1;
            seen.rows += copy.rows;
            seen.bytes += copy.bytes;
            seen.rows_estimate += estimate;
            match copy.stand {
                Stand::Done => seen.tables_done += 1,
                Stand::Skipped => seen
                    .skipped
                    .push(format!("{name}: not made or not loaded here (on_error = \"skip\"); see the table incident")),
                Stand::Copying | Stand::Made if seen.now.len() < NAMED => seen.now.push(TableSeen {
                    name: name.to_string(),
                    rows: copy.rows,
                    rows_estimate: estimate,
                    bytes: copy.bytes,
                }),
                Stand::Copying | Stand::Made | Stand::Pending => {}
            }
        }
        let last = self.finished.iter().rev().filter_map(|name| Some((name, self.tables.get(name)?)));
        seen.finished = last
            .take(FINISHED_NAMED)
            .map(|(name, copy)| TableSeen {
                name: name.to_string(),
                rows: copy.rows,
                rows_estimate: copy.rows,
                bytes: copy.bytes,
            })
            .collect();
        // Tables whose definition has not come have no estimate: then it cannot be told.
        let known = self.tables.values().all(|copy| copy.stand != Stand::Pending);
        let left = seen.rows_estimate.saturating_sub(seen.rows) as f64;
        seen.seconds_left = (known && rows_per_second > 0.0).then(|| left / rows_per_second);
        Some(seen)
    }
}

//! Plan: records of the log become steps that a worker can execute, each of whole source transactions.
//!
//! ```text
//! store ──records──▶ Planner ──steps──▶ worker: begin, write, advance the position, commit
//! ```
//!
//! Small transactions gather into one piece up to a [`Budget`]. A transaction larger than the budget becomes several pieces that share
//! one destination transaction, so memory stays bounded. DDL stands alone. The planner knows no destination and no clock.

mod choice;
mod ddl;
mod group;
mod open;
mod planner;
mod snapshot;
mod step;

pub use group::Budget;
pub use planner::Planner;
pub use step::{Action, Change, ChunkStep, Close, CopyMove, DdlStep, Piece, SnapshotWork, SourceTable, Step};

#[cfg(test)]
mod tests;

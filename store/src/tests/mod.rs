//! What the store goes through in its tests: power cuts, flipped bits, damaged blocks, failing operations, a full disk, planted bugs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod damage;
mod disk_errors;
mod format;
mod model;
mod planted_bugs;
mod power_cuts;

//! Two ways to write rows, chosen per table: the source's row events as they are, or SQL.

pub mod events;
mod route;
pub mod sql;

pub use route::{Route, Routes, Way};

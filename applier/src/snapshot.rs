//! Copies of tables at this destination: where each stands, its definition, and the loading of its rows.

mod copies;

pub use copies::{Remembered, Stand, TableStand};

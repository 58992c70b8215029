//! Copies of tables at this destination: where each stands, its definition, and the loading of its rows.
//!
//! The service drives it with steps of the log ([`crate::plan::Step`]):
//!
//! ```text
//! Step::Snapshot ─▶ Worker::{begin_run, make_object, end_table, table_again, end_run}(&SnapshotWork) -> Result<Outcome>   alone, nothing in flight;
//!                   each moves the position to `work.progress` too, and comes to the same if repeated after a crash.
//!                   Outcome::Again: what stands here now is not what the log alone says (a table was skipped): states are read again.
//! Step::Chunk    ─▶ Loader::load(&ChunkStep, &LoaderMove) -> Result<Outcome>   BEGIN, the move, rows, COMMIT; several loaders at a time
//! start          ─▶ states::create(&mut Session, &Identity), states::read(&mut Session, &Identity) -> Result<Remembered>
//! ```

mod copies;
mod existing;
mod first;
mod indexes;
pub mod load;
pub(crate) mod loaders;
mod make;
pub mod states;

pub use copies::{Copies, Remembered, Stand, TableStand};

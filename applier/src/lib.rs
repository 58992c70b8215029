//! The applier: draws the log of one source out of the store and writes it to one destination, each source transaction exactly once.
//!
//! ```text
//! store ─▶ feed (thread) ─▶ plan: whole source transactions ─▶ worker: begin · write · move the position · commit ─▶ destination
//! ```
//!
//! The position lives at the destination, in the same transaction as the rows ([`target`]). So whatever happens (a kill, a lost
//! answer to COMMIT, a failover), the way back is always the same: connect, read the position, go on there. Rows are written as the
//! source's own row events where the destination takes them, else as SQL ([`mod@write`]). DDL runs by the intent protocol
//! ([`ddl`]).

mod advice;
pub mod counters;
pub mod ddl;
pub mod error;
mod feed;
pub mod plan;
pub mod service;
pub mod snapshot;
pub mod target;
pub mod worker;
pub mod write;

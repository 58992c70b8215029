//! The snapshot at the reader: what exists at the source is copied into the log, between the transactions that are followed.
//!
//! Threads that copy read the source by queries; the thread that follows the binlog appends what they read, at a place where it is exact. They meet at the
//! [`desk`]; [`windows`] are what the follower remembers meanwhile.

pub mod catalog;
pub mod chunk;
pub mod definition;
pub mod desk;
mod hold;
pub mod link;
pub mod marks;
pub mod objects;
pub mod run;
pub mod spans;
pub mod table;
pub mod throttle;
pub(crate) mod windows;

//! The reader: follows a source's binlog, decodes it, and appends it to the store.

pub mod error;
pub mod event;
pub mod follow;
pub mod wire;

pub use error::ReaderError;

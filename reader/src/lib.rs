//! The reader: follows a source's binlog, decodes it, and appends it to the store.

pub mod board;
pub mod error;
pub mod event;
pub mod fill;
pub mod follow;
pub mod layouts;
pub mod resume;
pub mod service;
pub mod snapshot;
pub mod source;
pub mod wire;
pub mod writing;

pub use error::ReaderError;

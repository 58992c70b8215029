//! The service: drives one worker, from start to a clean stop.

mod run;
mod start;
mod status;

pub use run::{Ended, Service};
pub use start::{ServiceOptions, Start};

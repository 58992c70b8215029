//! The service: drives one worker, from start to a clean stop.

mod begin;
mod progress;
mod run;
mod start;
mod status;
mod steps;

pub use run::{Ended, Service};
pub use start::{ServiceOptions, Start};

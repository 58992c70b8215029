//! DDL.

use crate::error::{ApplyError, Result};
use crate::plan::DdlStep;
use crate::worker::Worker;

impl Worker {
    /// Runs.
    pub async fn run_ddl(&mut self, step: &DdlStep) -> Result<()> {
        Err(ApplyError::refused(format!("{}: DDL", step.place), "wait"))
    }
}

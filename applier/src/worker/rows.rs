//! Rows as SQL.

use super::Worker;
use crate::error::{ApplyError, Result};
use crate::plan::Change;
use crate::write::Route;

impl Worker {
    pub(super) async fn write_sql(&mut self, route: &Route, run: &[&Change]) -> Result<()> {
        let _ = run;
        Err(ApplyError::refused(format!("{}: SQL", route.target.full_name()), "wait"))
    }
}

//! The first chunk of a table whose changes were passed over until then.

use common::snapshot::{ObjectKind, ObjectName, SnapshotStep};

use super::{Stand, states};
use crate::error::{ApplyError, Result};
use crate::plan::SnapshotWork;
use crate::worker::Worker;

impl Worker {
    /// From here on the table's changes count: remembered together with the position before its first chunk, so that after a restart nothing before it
    /// is written and nothing behind it left out.
    ///
    /// # Errors
    /// When the destination refuses.
    pub(crate) async fn begin_rows(&mut self, work: &SnapshotWork) -> Result<()> {
        let SnapshotStep::Chunk(chunk) = &work.step else {
            return Err(ApplyError::refused("a first chunk that is none", "report this"));
        };
        let object = ObjectName {
            kind: ObjectKind::Table,
            database: chunk.table.database.clone(),
            name: chunk.table.table.clone(),
        };
        let id = self.positions().identity;
        let sql = states::update_sql(&id, &object, &format!("state='{}'", Stand::Copying.name()));
        let doing = || format!("beginning to copy rows of {}", chunk.table);
        self.session().run(format!("BEGIN; {sql}"), doing).await?;
        self.move_position(&work.progress).await?;
        self.session().run("COMMIT", doing).await?;
        Ok(())
    }
}

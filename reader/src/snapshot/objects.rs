//! Definitions as the source itself writes them: SHOW CREATE, and the session in which it was written.

use common::snapshot::{ObjectName, SnapshotObject};

use crate::error::ReaderError;
use crate::source::{Facts, Session};

/// Sets a session up for [`read`]. Once for each session.
///
/// # Errors
/// Failed queries.
pub fn prepare(session: &mut Session, facts: &Facts) -> Result<(), ReaderError> {
    let _ = (session, facts);
    Ok(())
}

/// Asks for an object's definition; None if there is no such object (any more). `run`, `at`, the estimates and `keyed` are left for the caller.
///
/// # Errors
/// Failed queries. What the user may not see is no error but the object's `problem`.
pub fn read(session: &mut Session, facts: &Facts, object: &ObjectName) -> Result<Option<SnapshotObject>, ReaderError> {
    let _ = (session, facts);
    Err(ReaderError::Source(format!("the definition of {}.{} cannot be read yet", object.database, object.name)))
}

//! Which of the objects that a statement changes are this destination's.

use common::record::{Ddl, DdlKind, DdlObject, DdlRole};
use common::selection::Selection;

use crate::error::{ApplyError, Result};

/// Which of the objects that a statement changes are selected.
#[derive(Debug)]
pub(super) enum Selected {
    All,
    None,
    /// These of a DROP.
    Some(Vec<(String, String)>),
}

/// What of a statement is to run here.
///
/// # Errors
/// When a part of it is and it cannot be cut.
pub(super) fn selected(selection: &Selection, ddl: &Ddl<'_>) -> Result<Selected> {
    if ddl.kind == DdlKind::Administrative {
        return Ok(Selected::None);
    }
    let wanted = |o: &&DdlObject| {
        if o.name.is_empty() {
            selection.selects_database(&o.database)
        } else {
            selection.selects(&o.database, &o.name)
        }
    };
    let changed: Vec<&DdlObject> = ddl.objects.iter().filter(|o| o.role != DdlRole::Reference).collect();
    let chosen: Vec<&DdlObject> = changed.iter().copied().filter(|o| wanted(o)).collect();
    if chosen.len() == changed.len() {
        return Ok(Selected::All);
    }
    if chosen.is_empty() {
        return Ok(Selected::None);
    }
    if matches!(ddl.kind, DdlKind::DropTable | DdlKind::DropView | DdlKind::DropSequence) {
        return Ok(Selected::Some(chosen.iter().map(|o| (o.database.clone(), o.name.clone())).collect()));
    }
    let names = |objects: &[&DdlObject]| {
        let names: Vec<String> = objects.iter().map(|o| format!("{}.{}", o.database, o.name)).collect();
        names.join(", ")
    };
    Err(ApplyError::refused(
        format!(
            "a statement changes {} although only {} is selected for this destination: {}",
            names(&changed),
            names(&chosen),
            common::sql::excerpt(ddl.statement)
        ),
        "select both or neither, or run by hand what the destination needs and skip the statement",
    ))
}

//! Which of the objects that a statement changes are this destination's, and there.

use common::record::{Ddl, DdlKind, DdlObject, DdlRole};
use common::selection::Selection;
use common::snapshot::TableName;

use super::step::CopyMove;
use crate::error::{ApplyError, Result};
use crate::snapshot::{Copies, Stand};

/// Which of the objects that a statement changes are to be changed here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selected {
    All,
    None,
    /// These of a DROP, or these pairs of old and new names of a RENAME.
    Some(Vec<(String, String)>),
}

/// What a statement is to this destination.
#[derive(Debug)]
pub(super) struct Choice {
    /// What of it runs here.
    pub(super) selected: Selected,
    /// Tables under copy that it renames or drops.
    pub(super) moves: Vec<CopyMove>,
    /// Why it does not run although its object is selected and new: an operator must know.
    pub(super) left_out: Option<String>,
}

/// What of a statement is to run here. Moves `copies` along.
///
/// # Errors
/// When a part of it is and it cannot be cut.
pub(super) fn choose(selection: &Selection, copies: &mut Copies, ddl: &Ddl<'_>) -> Result<Choice> {
    let mut choice = Choice { selected: Selected::None, moves: Vec::new(), left_out: None };
    if ddl.kind == DdlKind::Administrative {
        return Ok(choice);
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
    if chosen.is_empty() && !changed.is_empty() {
        return Ok(choice);
    }
    let cuts = matches!(ddl.kind, DdlKind::DropTable | DdlKind::DropView | DdlKind::DropSequence);
    if chosen.len() != changed.len() && !cuts {
        return Err(ApplyError::refused(
            format!(
                "a statement changes {} although only {} is selected for this destination: {}",
                names(&changed),
                names(&chosen),
                common::sql::excerpt(ddl.statement)
            ),
            "select both or neither, or run by hand what the destination needs and skip the statement",
        ));
    }
    let here = present(copies, ddl, &chosen, &mut choice.moves);
    if here.len() == changed.len() {
        choice.selected = Selected::All;
        missing_reference(copies, ddl, &mut choice)?;
    } else if !here.is_empty() {
        if !cuts && ddl.kind != DdlKind::RenameTable {
            return Err(ApplyError::refused(
                format!(
                    "a statement changes {} although only {} is copied here so far: {}",
                    names(&changed),
                    names(&here),
                    common::sql::excerpt(ddl.statement)
                ),
                "report this; run by hand what the destination needs and skip the statement",
            ));
        }
        choice.selected = Selected::Some(here.iter().map(|o| (o.database.clone(), o.name.clone())).collect());
    }
    Ok(choice)
}

/// Those that stand here already. What the statement drops or renames leaves or changes its place among the copies.
fn present<'d>(
    copies: &mut Copies,
    ddl: &Ddl<'_>,
    chosen: &[&'d DdlObject],
    moves: &mut Vec<CopyMove>,
) -> Vec<&'d DdlObject> {
    let mut here: Vec<&DdlObject> = Vec::with_capacity(chosen.len());
    let mut before: Option<(&DdlObject, bool)> = None;
    for object in chosen.iter().copied() {
        let table = TableName { database: object.database.clone(), table: object.name.clone() };
        let passed = match before.filter(|_| object.role == DdlRole::NewName) {
            Some((old, passed)) => {
                let from = TableName { database: old.database.clone(), table: old.name.clone() };
                if copies.rename(&from, &table) {
                    moves.push(CopyMove { from, to: Some(table) });
                }
                passed
            }
            None => {
                let stand = copies.stand(&object.database, &object.name);
                let passed = matches!(stand, Stand::Pending | Stand::Skipped)
                    || copies.will_come(&object.database, &object.name);
                if ddl.kind == DdlKind::DropTable && copies.drop_table(&table) {
                    moves.push(CopyMove { from: table, to: None });
                }
                passed
            }
        };
        if !passed {
            here.push(object);
        }
        before = Some((object, passed));
    }
    if ddl.kind == DdlKind::DropDatabase
        && let Some(database) = chosen.first()
    {
        for from in copies.tables(|_| true).filter(|table| table.database == database.database).collect::<Vec<_>>() {
            copies.drop_table(&from);
            moves.push(CopyMove { from, to: None });
        }
    }
    here
}

/// A statement that needs a table that is not copied yet cannot run here.
fn missing_reference(copies: &Copies, ddl: &Ddl<'_>, choice: &mut Choice) -> Result<()> {
    let missing = ddl.objects.iter().find(|o| {
        o.role == DdlRole::Reference && matches!(copies.stand(&o.database, &o.name), Stand::Pending | Stand::Skipped)
    });
    let Some(missing) = missing else { return Ok(()) };
    let text = common::sql::excerpt(ddl.statement);
    match ddl.kind {
        DdlKind::CreateView | DdlKind::AlterView | DdlKind::CreateTrigger => {
            choice.selected = Selected::None;
            choice.left_out = Some(format!("{}.{} is not copied yet", missing.database, missing.name));
            Ok(())
        }
        DdlKind::CreateTable | DdlKind::AlterTable => Err(ApplyError::refused(
            format!(
                "a statement needs {}.{}, which is not copied to this destination yet: {text}",
                missing.database, missing.name
            ),
            "ask for a copy of the table that it makes or changes too (`logweir snapshot --tables DATABASE.TABLE`), then start the applier again",
        )),
        _ => Ok(()),
    }
}

fn names(objects: &[&DdlObject]) -> String {
    let names: Vec<String> = objects.iter().map(|o| format!("{}.{}", o.database, o.name)).collect();
    names.join(", ")
}

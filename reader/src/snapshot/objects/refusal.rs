//! Why there is no definition, and what helps.

use common::Flavor;
use common::snapshot::{ObjectKind, ObjectName};

use super::show::{full_name, name};
use crate::error::ReaderError;
use crate::source::table::literal;
use crate::source::{Facts, Session, number, text};

/// The account of this session, quoted for GRANT.
fn account(session: &mut Session) -> Result<String, ReaderError> {
    let account = session.text("asking for our account", "SELECT CURRENT_USER()")?.unwrap_or_default();
    let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    Ok(format!("{}@{}", quoted(user), quoted(host)))
}

/// What must be granted to see the object.
fn grant(facts: &Facts, object: &ObjectName) -> String {
    let in_database = format!("ON {}.*", name(&object.database));
    match object.kind {
        ObjectKind::Function | ObjectKind::Procedure => match facts.flavor {
            // 8.0.20 brought SHOW_ROUTINE; between them and 8.0.0 the global SELECT is what counts (manual, SHOW CREATE PROCEDURE).
            Flavor::MySql if patch(&facts.version) >= (8, 0, 20) => "SHOW_ROUTINE ON *.*".to_owned(),
            Flavor::MySql if number(&facts.version) >= (8, 0) => "SELECT ON *.*".to_owned(),
            Flavor::MariaDb if number(&facts.version) >= (11, 3) => format!("SHOW CREATE ROUTINE {in_database}"),
            _ => "SELECT ON mysql.proc".to_owned(),
        },
        ObjectKind::View => format!("SELECT, SHOW VIEW {in_database}"),
        ObjectKind::Trigger => format!("TRIGGER {in_database}"),
        ObjectKind::Event => format!("EVENT {in_database}"),
        ObjectKind::Database | ObjectKind::Table | ObjectKind::Sequence => format!("SELECT {in_database}"),
    }
}

fn patch(version: &str) -> (u32, u32, u32) {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// The server shows the object, but not its text.
pub(super) fn not_shown(session: &mut Session, facts: &Facts, object: &ObjectName) -> Result<String, ReaderError> {
    let account = account(session)?;
    Ok(format!(
        "the source's user may not see the definition of {}; run at the source: GRANT {} TO {account}",
        full_name(object),
        grant(facts, object)
    ))
}

/// What a failed SHOW CREATE says of the object, and None if it says nothing of it.
pub(super) fn of_error(
    session: &mut Session,
    facts: &Facts,
    object: &ObjectName,
    error: &ReaderError,
) -> Result<Option<String>, ReaderError> {
    match error.code() {
        // No right to: database, server, table, column, a special one, this routine.
        Some(1044 | 1045 | 1142 | 1143 | 1227 | 1370) => not_shown(session, facts, object).map(Some),
        // The table is damaged, or its engine is not there any more; a view, trigger or routine that no longer means anything.
        Some(_) if !error.is_transient() => {
            Ok(Some(format!("the source cannot show the definition of {}: {}", full_name(object), error.detail())))
        }
        _ => Ok(None),
    }
}

/// Whether the procedure is one of MariaDB's packages.
pub(super) fn is_package(session: &mut Session, object: &ObjectName) -> Result<bool, ReaderError> {
    let query = format!(
        "SELECT routine_type FROM information_schema.routines WHERE routine_schema = {} AND routine_name = {}",
        literal(&object.database),
        literal(&object.name)
    );
    let rows = session.rows("looking for a package", &query)?;
    Ok(rows.iter().any(|row| text(row, 0).is_some_and(|kind| kind.starts_with("PACKAGE"))))
}

/// A package of MariaDB.
pub(super) fn package(object: &ObjectName) -> String {
    format!(
        "{} is a package, which is not copied; make it at the destination by hand (SHOW CREATE PACKAGE and SHOW CREATE PACKAGE BODY tell its text), or exclude it",
        full_name(object)
    )
}

/// A table WITH SYSTEM VERSIONING.
pub(super) fn versioned(object: &ObjectName) -> String {
    format!(
        "{} keeps older versions of its rows (WITH SYSTEM VERSIONING), which a SELECT does not give back whole; copy it by mariadb-dump --dump-history, or exclude it",
        full_name(object)
    )
}

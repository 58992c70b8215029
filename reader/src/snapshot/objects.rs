//! Definitions as the source itself writes them: SHOW CREATE, and the session in which it was written.

mod refusal;
mod show;
mod text;

use common::record::SessionContext;
use common::snapshot::{ObjectKind, ObjectName, SnapshotObject};
use common::{BinlogPosition, Flavor, charset, sql_mode};

use crate::error::ReaderError;
use crate::source::{Facts, Session, number};
use show::Shown;

/// utf8mb4_general_ci.
const UTF8MB4: u16 = 45;

/// Tables are made strictly: without that a server cuts keys short and turns long VARCHARs into TEXTs in silence. What the source's tables may hold in their
/// defaults must pass. Folders of the source (DATA DIRECTORY) are none of the destination's.
const TABLE_MODE: &str = "STRICT_TRANS_TABLES,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION,NO_DIR_IN_CREATE";

/// Sets a session up for [`read`] and for [`super::definition::read`]. Once for each session.
///
/// # Errors
/// Failed queries.
pub fn prepare(session: &mut Session, facts: &Facts) -> Result<(), ReaderError> {
    const WHAT: &str = "setting up a session";
    session.rows(WHAT, "SET NAMES utf8mb4")?;
    // Defaults of TIMESTAMP columns are shown in the session's time zone.
    session.rows(WHAT, "SET SESSION sql_mode='', time_zone='+00:00', sql_quote_show_create=1")?;
    if facts.flavor == Flavor::MySql {
        for (since, setting) in [
            ((8, 0), "information_schema_stats_expiry=0"),
            ((8, 0), "show_create_table_skip_secondary_engine=1"),
            ((8, 0), "show_gipk_in_create_table_and_information_schema=1"),
        ] {
            if number(&facts.version) >= since {
                match session.rows(WHAT, &format!("SET SESSION {setting}")) {
                    // ER_UNKNOWN_SYSTEM_VARIABLE: an earlier 8.0 has not got it, nor what it is about.
                    Err(error) if error.code() == Some(1193) => {}
                    other => {
                        other?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Asks for an object's definition, on a session that was [prepared](prepare); None if there is no such object (any more). `run`, `at`, the estimates and `keyed` are left for the
/// caller.
///
/// The statement may be run in a session with any `character_set_client` that `context` says: strings of another character set than the text's are written in
/// hexadecimal where they must be.
///
/// # Errors
/// Failed queries. What the user may not see, and what cannot be copied, is no error but the object's `problem`.
pub fn read(session: &mut Session, facts: &Facts, object: &ObjectName) -> Result<Option<SnapshotObject>, ReaderError> {
    let mut found = SnapshotObject {
        run: 0,
        object: object.clone(),
        statement: String::new(),
        more: Vec::new(),
        definer: None,
        context: SessionContext::default(),
        problem: None,
        rows_estimate: 0,
        bytes_estimate: 0,
        keyed: false,
        at: BinlogPosition::default(),
    };
    let shown = match show::show(session, object) {
        Ok(Some(shown)) => shown,
        Ok(None) if object.kind == ObjectKind::Procedure && refusal::is_package(session, object)? => {
            found.problem = Some(refusal::package(object));
            return Ok(Some(found));
        }
        Ok(None) => return Ok(None),
        Err(error) => match refusal::of_error(session, facts, object, &error)? {
            Some(problem) => {
                found.problem = Some(problem);
                return Ok(Some(found));
            }
            None => return Err(error),
        },
    };
    let Some(statement) = &shown.statement else {
        found.problem = Some(refusal::not_shown(session, facts, object)?);
        return Ok(Some(found));
    };
    match complete(session, facts, object, &shown, statement, &mut found)? {
        Ok(()) => {}
        Err(problem) => {
            found.statement = String::new();
            found.more = Vec::new();
            found.problem = Some(problem);
        }
    }
    Ok(Some(found))
}

/// Fills in all that there is; or says what cannot be.
fn complete(
    session: &mut Session,
    facts: &Facts,
    object: &ObjectName,
    shown: &Shown,
    statement: &[u8],
    found: &mut SnapshotObject,
) -> Result<Result<(), String>, ReaderError> {
    let stored_mode = match object.kind {
        ObjectKind::Table | ObjectKind::Sequence => TABLE_MODE,
        _ => shown.sql_mode.as_deref().unwrap_or("NO_ENGINE_SUBSTITUTION"),
    };
    let bits = match sql_mode::bits(stored_mode, facts.flavor) {
        Ok(bits) => bits,
        Err(word) => return Ok(Err(format!("it was made under the sql_mode {word}, which is not known here"))),
    };
    let of_client = |collation: &str| shown.client.as_deref().is_some_and(|client| collation.starts_with(client));
    let is_plain_view = object.kind == ObjectKind::View && shown.connection.as_deref().is_some_and(of_client);
    let mut client = shown.client.as_deref().map_or(Some(UTF8MB4), client_id);
    let statement = match &shown.client {
        // MySQL 5 makes a broken view where client and connection have different character sets.
        Some(name) if !statement.is_ascii() => match text::readable(session, name, statement, bits, is_plain_view)? {
            Ok((statement, same)) => {
                client = if same { client } else { Some(UTF8MB4) };
                statement
            }
            Err(problem) => return Ok(Err(problem)),
        },
        _ => match String::from_utf8(statement.to_vec()) {
            Ok(statement) => statement,
            Err(_) => return Ok(Err("its definition holds bytes that are no text".to_owned())),
        },
    };
    if object.kind == ObjectKind::Table && text::keeps_history(&statement) {
        return Ok(Err(refusal::versioned(object)));
    }
    let collations = session.collations()?;
    let id = |name: &Option<String>| name.as_deref().and_then(|name| collations.id(name));
    let connection = id(&shown.connection).unwrap_or(UTF8MB4);
    found.context = SessionContext {
        sql_mode: Some(bits),
        collation_database: id(&shown.database),
        // What a database or table lacks here stands in its statement.
        charsets: Some((client.unwrap_or(UTF8MB4), connection, id(&shown.database).unwrap_or(connection))),
        time_zone: match object.kind {
            ObjectKind::Table => Some("+00:00".to_owned()),
            _ => shown.time_zone.clone(),
        },
        explicit_defaults_for_timestamp: (object.kind == ObjectKind::Table).then_some(true),
        timestamp: shown.altered,
        ..SessionContext::default()
    };
    if object.kind == ObjectKind::Sequence {
        found.more = show::present_value(session, object)?;
    }
    found.definer = text::definer(&statement, bits);
    found.statement = statement;
    Ok(Ok(()))
}

/// Why a table WITH SYSTEM VERSIONING is not copied.
pub(super) fn versioned(database: &str, table: &str) -> String {
    let object = ObjectName { kind: ObjectKind::Table, database: database.to_owned(), name: table.to_owned() };
    refusal::versioned(&object)
}

/// An id for `character_set_client`.
fn client_id(name: &str) -> Option<u16> {
    match name.to_ascii_lowercase().as_str() {
        "utf8mb4" => Some(UTF8MB4),
        "latin1" => Some(8),
        name => (1..=255).find(|id| charset::of_collation(*id).is_some_and(|found| charset::same(found, name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn character_sets_have_an_id_that_both_families_know() {
        for (name, id) in [("utf8mb4", 45), ("utf8", 33), ("utf8mb3", 33), ("latin1", 8), ("binary", 63), ("sjis", 13)]
        {
            assert_eq!(client_id(name), Some(id), "{name}");
        }
        assert_eq!(client_id("nonsense"), None);
    }
}

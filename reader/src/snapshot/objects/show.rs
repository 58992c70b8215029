//! What SHOW CREATE answers.

use common::literal::quote;
use common::snapshot::{ObjectKind, ObjectName};
use mysql_async::{Row, Value};

use crate::error::ReaderError;
use crate::source::table::literal;
use crate::source::{Session, text};

/// One answer.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// None where it may not be seen.
    pub(super) statement: Option<Vec<u8>>,
    pub(super) sql_mode: Option<String>,
    /// `character_set_client`
    pub(super) client: Option<String>,
    /// `collation_connection`
    pub(super) connection: Option<String>,
    /// `Database Collation`
    pub(super) database: Option<String>,
    pub(super) time_zone: Option<String>,
    /// Seconds since 1970 at which an event was last altered: its times lay ahead of then, and a server makes none of which all times have passed.
    pub(super) altered: u32,
}

/// A name in backquotes.
pub(super) fn name(name: &str) -> String {
    let mut out = Vec::new();
    quote::name(name, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The object's name with its database's.
pub(super) fn full_name(object: &ObjectName) -> String {
    match object.kind {
        ObjectKind::Database => name(&object.database),
        _ => format!("{}.{}", name(&object.database), name(&object.name)),
    }
}

/// Asks; None if there is no such object.
pub(super) fn show(session: &mut Session, object: &ObjectName) -> Result<Option<Shown>, ReaderError> {
    let word = match object.kind {
        ObjectKind::Database => "DATABASE",
        ObjectKind::Sequence => "SEQUENCE",
        ObjectKind::Table => "TABLE",
        ObjectKind::Function => "FUNCTION",
        ObjectKind::Procedure => "PROCEDURE",
        ObjectKind::View => "VIEW",
        ObjectKind::Trigger => "TRIGGER",
        ObjectKind::Event => "EVENT",
    };
    if object.kind == ObjectKind::View {
        // Then the names of its tables stand without their database, where it is the view's own.
        let using = session.rows("reading a definition", &format!("USE {}", name(&object.database)));
        match using {
            Err(error) if error.code() == Some(UNKNOWN_DATABASE) => return Ok(None),
            Err(error) if error.is_transient() => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    let rows = match session.rows("reading a definition", &format!("SHOW CREATE {word} {}", full_name(object))) {
        Err(error) if error.code().is_some_and(|code| missing(object.kind, code)) => return Ok(None),
        other => other?,
    };
    let Some(row) = rows.first() else { return Ok(None) };
    let mut shown = Shown { statement: statement(row), ..Shown::default() };
    for (index, column) in row.columns_ref().iter().enumerate() {
        let value = || text(row, index);
        match column.name_str().to_ascii_lowercase().as_str() {
            "sql_mode" => shown.sql_mode = value(),
            "character_set_client" => shown.client = value(),
            "collation_connection" => shown.connection = value(),
            "database collation" => shown.database = value(),
            "time_zone" => shown.time_zone = value(),
            _ => {}
        }
    }
    if object.kind == ObjectKind::Event {
        let query = format!(
            "SELECT UNIX_TIMESTAMP(last_altered) FROM information_schema.events WHERE event_schema = {} AND event_name = {}",
            literal(&object.database),
            literal(&object.name)
        );
        let altered = session.text("reading an event's times", &query)?.unwrap_or_default();
        shown.altered = altered.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    }
    Ok(Some(shown))
}

/// The text of a column `Create …`, or of `SQL Original Statement`.
fn statement(row: &Row) -> Option<Vec<u8>> {
    let index = row.columns_ref().iter().position(|column| {
        let name = column.name_str().to_ascii_lowercase();
        name.starts_with("create ") || name == "sql original statement"
    })?;
    match row.as_ref(index) {
        Some(Value::Bytes(bytes)) if !bytes.is_empty() => Some(bytes.clone()),
        _ => None,
    }
}

const UNKNOWN_DATABASE: u16 = 1049;

/// Whether the error says that there is no such object (MySQL's share/messages_to_clients.txt, MariaDB's sql/share/errmsg-utf8.txt).
fn missing(kind: ObjectKind, code: u16) -> bool {
    code == UNKNOWN_DATABASE
        || match kind {
            ObjectKind::Database => false,
            // No such table; it is no sequence; unknown sequence.
            ObjectKind::Sequence => matches!(code, 1146 | 4089 | 4091),
            // No such table; it is no view (any more).
            ObjectKind::Table | ObjectKind::View => matches!(code, 1146 | 1347),
            ObjectKind::Function | ObjectKind::Procedure => code == 1305,
            ObjectKind::Trigger => code == 1360,
            ObjectKind::Event => code == 1539,
        }
}

/// The statement that brings a new sequence to where this one is.
pub(super) fn present_value(session: &mut Session, object: &ObjectName) -> Result<Vec<String>, ReaderError> {
    let query = format!("SELECT next_not_cached_value, cycle_count FROM {}", full_name(object));
    let rows = session.rows("reading a sequence's present value", &query)?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let (Some(next), Some(round)) = (text(row, 0), text(row, 1)) else { return Ok(Vec::new()) };
    Ok(vec![format!("DO SETVAL({}, {next}, 0, {round})", name(&object.name))])
}

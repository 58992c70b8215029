//! A table's definition, as information_schema tells it.

use common::pack::ColumnDefinition;

use super::{Session, text};
use crate::error::ReaderError;

/// What information_schema tells of a base table.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableInfo {
    /// Seconds since 1970 of its creation or last rebuild; 0 where the engine does not tell.
    pub(crate) created: u64,
    /// `TABLE_ROWS`
    pub(crate) rows: u64,
    /// `AVG_ROW_LENGTH`
    pub(crate) average_row: u64,
    /// `TABLE_TYPE` is SYSTEM VERSIONED (MariaDB).
    pub(crate) versioned: bool,
    /// In the order of the row image.
    pub(crate) columns: Vec<ColumnDefinition>,
    /// Its indexes, the primary key first.
    pub(crate) keys: Vec<Key>,
}

/// An index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) unique: bool,
    /// `INDEX_TYPE`, in upper case.
    pub(crate) kind: String,
    /// The optimizer may use it: not `INVISIBLE` (MySQL) or `IGNORED` (MariaDB).
    pub(crate) visible: bool,
    pub(crate) parts: Vec<Part>,
}

/// A part of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// None for an expression.
    pub(crate) column: Option<String>,
    /// Length of the prefix in characters; 0 = whole.
    pub(crate) prefix: u32,
    pub(crate) nullable: bool,
    pub(crate) descending: bool,
}

/// The name of a primary key.
pub(crate) const PRIMARY: &str = "PRIMARY";

const WHAT: &str = "reading a table's definition";
/// ER_NO_SUCH_TABLE, ER_BAD_DB_ERROR
const MISSING: [u16; 2] = [1146, 1049];

/// A name as an SQL literal, for a session with any sql_mode: in hexadecimal.
pub(crate) fn literal(name: &str) -> String {
    let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("CONVERT(x'{hex}' USING utf8)")
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Opens a table and selects `list`, but no rows; false if there is no such table.
///
/// The binlog is ahead of what other sessions see: a statement that made or altered the table may not be committed yet. Opening the table waits for its
/// metadata lock.
pub(crate) fn open(session: &mut Session, database: &str, table: &str, list: &str) -> Result<bool, ReaderError> {
    let query = format!("SELECT {list} FROM {}.{} LIMIT 0", quoted(database), quoted(table));
    match session.rows("waiting for a table's definition", &query) {
        Err(error) if error.code().is_some_and(|code| MISSING.contains(&code)) => Ok(false),
        other => other.map(|_| true),
    }
}

impl TableInfo {
    /// Asks for it; None if there is no such base table.
    pub(crate) fn read(session: &mut Session, database: &str, table: &str) -> Result<Option<Self>, ReaderError> {
        let of = format!("WHERE table_schema = {} AND table_name = {}", literal(database), literal(table));
        let query = format!(
            "SELECT UNIX_TIMESTAMP(create_time), table_rows, avg_row_length, table_type FROM information_schema.tables {of}"
        );
        let rows = session.rows(WHAT, &query)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let kind = text(row, 3).unwrap_or_default();
        if !matches!(kind.as_str(), "BASE TABLE" | "SYSTEM VERSIONED" | "SEQUENCE") {
            return Ok(None);
        }
        let number = |index| text(row, index).and_then(|text| text.split('.').next()?.parse().ok()).unwrap_or(0);
        Ok(Some(Self {
            created: number(0),
            rows: number(1),
            average_row: number(2),
            versioned: kind == "SYSTEM VERSIONED",
            columns: columns(session, &of)?,
            keys: keys(session, &of)?,
        }))
    }
}

fn columns(session: &mut Session, of: &str) -> Result<Vec<ColumnDefinition>, ReaderError> {
    let query = format!(
        "SELECT column_name, data_type, column_type, character_set_name, collation_name, character_octet_length, is_nullable, extra \
         FROM information_schema.columns {of} ORDER BY ordinal_position"
    );
    let rows = session.rows(WHAT, &query)?;
    let collations = session.collations()?;
    let column = |row| {
        let word = |index| text(row, index).unwrap_or_default();
        ColumnDefinition {
            name: word(0),
            data_type: word(1).to_ascii_lowercase(),
            column_type: word(2),
            charset: text(row, 3),
            collation_id: text(row, 4).and_then(|name| collations.id(&name)).unwrap_or(0),
            octet_length: text(row, 5).and_then(|text| text.parse().ok()),
            nullable: word(6).eq_ignore_ascii_case("YES"),
            extra: word(7),
        }
    };
    Ok(rows.iter().map(column).collect())
}

fn keys(session: &mut Session, of: &str) -> Result<Vec<Key>, ReaderError> {
    // Not all versions have IS_VISIBLE or IGNORED, which are the other way round.
    let query = format!(
        "SELECT * FROM information_schema.statistics {of} ORDER BY index_name <> '{PRIMARY}', index_name, seq_in_index"
    );
    let mut keys: Vec<Key> = Vec::new();
    for row in session.rows("reading a table's keys", &query)? {
        let word = |name: &str| {
            let index = row.columns_ref().iter().position(|column| column.name_str().eq_ignore_ascii_case(name))?;
            text(&row, index)
        };
        let is = |name: &str, value: &str| word(name).is_some_and(|word| word.eq_ignore_ascii_case(value));
        let part = Part {
            column: word("COLUMN_NAME"),
            prefix: word("SUB_PART").and_then(|text| text.parse().ok()).unwrap_or(0),
            nullable: is("NULLABLE", "YES"),
            descending: is("COLLATION", "D"),
        };
        let name = word("INDEX_NAME").unwrap_or_default();
        match keys.last_mut() {
            Some(key) if key.name == name => key.parts.push(part),
            _ => keys.push(Key {
                name,
                unique: is("NON_UNIQUE", "0"),
                kind: word("INDEX_TYPE").unwrap_or_default().to_ascii_uppercase(),
                visible: !is("IS_VISIBLE", "NO") && !is("IGNORED", "YES"),
                parts: vec![part],
            }),
        }
    }
    Ok(keys)
}

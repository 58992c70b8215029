//! One table's definition as information_schema tells it, and whether it fits a TABLE_MAP.

use std::collections::HashMap;

use common::schema::{KeyPart, LayoutOrigin};
use common::{Flavor, TableSchema};

use crate::error::ReaderError;
use crate::event::table_map::TableMap;
use crate::source::{Session, text};

/// A table's definition.
#[derive(Debug)]
pub(super) struct Definition {
    /// Seconds since 1970 of its creation or last rebuild.
    pub(super) created: u64,
    columns: Vec<ColumnDefinition>,
    primary_key: Vec<(String, u32)>,
}

#[derive(Debug)]
struct ColumnDefinition {
    name: String,
    /// `DATA_TYPE`, like `varchar`.
    data_type: String,
    unsigned: bool,
    collation: u16,
    /// Members of an ENUM or SET, where they are the same bytes in every character set.
    members: Vec<Vec<u8>>,
    visible: bool,
}

/// A text as an SQL literal, for a session with any sql_mode: in hexadecimal.
fn literal(text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("CONVERT(x'{hex}' USING utf8)")
}

/// ER_NO_SUCH_TABLE.
const NO_SUCH_TABLE: u16 = 1146;

impl Definition {
    /// Asks for it; None if there is no such table.
    pub(super) fn read(
        session: &mut Session,
        collations: &mut HashMap<String, u16>,
        database: &str,
        table: &str,
    ) -> Result<Option<Self>, ReaderError> {
        if collations.is_empty() {
            let rows = session.rows(
                "reading its collations",
                "SELECT collation_name, id FROM information_schema.collations WHERE id IS NOT NULL",
            )?;
            collations.extend(rows.iter().filter_map(|row| Some((text(row, 0)?, text(row, 1)?.parse().ok()?))));
        }
        // The binlog is ahead of what other sessions see: a statement that made or altered the table may not be committed yet. Opening the table
        // waits for its metadata lock.
        let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
        let open = format!("SELECT 1 FROM {}.{} LIMIT 0", quoted(database), quoted(table));
        match session.rows("waiting for a table's definition", &open) {
            Err(ReaderError::Query { source: mysql_async::Error::Server(error), .. })
                if error.code == NO_SUCH_TABLE =>
            {
                return Ok(None);
            }
            // What only may not be read (1142) still tells its definition.
            Err(error) if error.is_transient() => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let (database, table) = (literal(database), literal(table));
        let of = format!("WHERE table_schema = {database} AND table_name = {table}");
        let query = format!("SELECT COALESCE(UNIX_TIMESTAMP(create_time), 0) FROM information_schema.tables {of}");
        let Some(created) = session.text("reading a table's definition", &query)? else { return Ok(None) };
        let query = format!(
            "SELECT column_name, data_type, column_type, collation_name, extra FROM information_schema.columns {of} ORDER BY ordinal_position"
        );
        let columns = session.rows("reading a table's definition", &query)?;
        let columns = columns
            .iter()
            .map(|row| {
                let column_type = text(row, 2).unwrap_or_default();
                let collation = text(row, 3).and_then(|name| collations.get(&name).copied());
                let data_type = text(row, 1).unwrap_or_default().to_ascii_lowercase();
                let binary = matches!(
                    data_type.as_str(),
                    "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob"
                        // MariaDB logs these as BINARY or VARBINARY.
                        | "uuid" | "inet6" | "inet4" | "vector"
                );
                let lower = column_type.to_ascii_lowercase();
                ColumnDefinition {
                    name: text(row, 0).unwrap_or_default(),
                    unsigned: lower.contains(" unsigned") || lower.contains(" zerofill"),
                    collation: collation.unwrap_or(if binary { 63 } else { 0 }),
                    members: members(&column_type),
                    visible: !text(row, 4).unwrap_or_default().to_ascii_uppercase().contains("INVISIBLE"),
                    data_type,
                }
            })
            .collect();
        let query = format!(
            "SELECT column_name, COALESCE(sub_part, 0) FROM information_schema.statistics {of} AND index_name = 'PRIMARY' ORDER BY seq_in_index"
        );
        let key = session.rows("reading a table's primary key", &query)?;
        let primary_key = key.iter().filter_map(|row| Some((text(row, 0)?, text(row, 1)?.parse().ok()?))).collect();
        let created = created.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
        Ok(Some(Self { created, columns, primary_key }))
    }

    /// The layout of `map` with these names; or what does not fit.
    pub(super) fn schema(&self, map: &TableMap<'_>, flavor: Flavor) -> Result<TableSchema, String> {
        let mut columns = map.columns(flavor).map_err(|error| error.to_string())?;
        if columns.len() != self.columns.len() {
            return Err(format!("{} columns instead of {}", self.columns.len(), columns.len()));
        }
        for (column, definition) in columns.iter_mut().zip(&self.columns) {
            if !fits(&definition.data_type, column.type_code, column.meta) {
                return Err(format!(
                    "column {} is {} there and of type {} here",
                    definition.name, definition.data_type, column.type_code
                ));
            }
            column.name.clone_from(&definition.name);
            if !map.metadata.has_signs() {
                column.unsigned = definition.unsigned;
            }
            if column.collation == 0 {
                column.collation = definition.collation;
            }
            column.members.clone_from(&definition.members);
            column.visible = definition.visible;
        }
        let part = |(name, prefix): &(String, u32)| {
            let column = columns.iter().position(|column| column.name == *name)?;
            Some(KeyPart { column: u16::try_from(column).ok()?, prefix: *prefix })
        };
        let primary_key = self.primary_key.iter().map(part).collect::<Option<Vec<_>>>();
        let primary_key = primary_key.ok_or("the primary key names a column that does not exist")?;
        Ok(TableSchema {
            database: map.database.to_owned(),
            table: map.table.to_owned(),
            flavor,
            columns,
            primary_key,
            origin: LayoutOrigin::InformationSchema,
        })
    }
}

/// A layout that is known already, if the types and NULL flags of `map` are the same.
pub(super) fn merge_known(known: &TableSchema, map: &TableMap<'_>, flavor: Flavor) -> Result<TableSchema, String> {
    let columns = map.columns(flavor).map_err(|error| error.to_string())?;
    let same = known.flavor == flavor
        && known.columns.len() == columns.len()
        && known.columns.iter().zip(&columns).all(|(a, b)| {
            a.type_code == b.type_code
                && a.meta == b.meta
                && a.nullable == b.nullable
                && (!map.metadata.has_signs() || a.unsigned == b.unsigned)
                && (b.collation == 0 || a.collation == b.collation)
        });
    if same { Ok(known.clone()) } else { Err("the types differ".to_owned()) }
}

/// Whether a column that is declared as `data_type` is packed as type `code`. A type that is not listed fits anything: what counts is in the log.
fn fits(data_type: &str, code: u8, meta: u16) -> bool {
    let real = if code == 254 && matches!(meta as u8, 247 | 248) { meta as u8 } else { code };
    match data_type {
        "tinyint" => real == 1,
        "smallint" => real == 2,
        "mediumint" => real == 9,
        "int" => real == 3,
        "bigint" => real == 8,
        "float" => real == 4,
        "double" => real == 5,
        "decimal" => matches!(real, 0 | 246),
        "bit" => real == 16,
        "date" => matches!(real, 10 | 14),
        "time" => matches!(real, 11 | 19),
        "datetime" => matches!(real, 12 | 18),
        "timestamp" => matches!(real, 7 | 17),
        "year" => real == 13,
        "char" | "binary" => matches!(real, 253 | 254),
        "varchar" | "varbinary" => matches!(real, 15 | 141 | 253),
        "tinyblob" | "tinytext" => blob(real, meta, 1),
        "blob" | "text" => blob(real, meta, 2),
        "mediumblob" | "mediumtext" => blob(real, meta, 3),
        "longblob" | "longtext" => blob(real, meta, 4),
        "enum" => real == 247,
        "set" => real == 248,
        "json" => matches!(real, 245 | 252),
        _ => true,
    }
}

fn blob(code: u8, meta: u16, length_bytes: u16) -> bool {
    matches!(code, 140 | 252) && (meta == length_bytes || code == 140)
}

/// The members in `enum('a','b''c')`. Empty if any is not ASCII: its bytes in the column's character set are not known here.
fn members(column_type: &str) -> Vec<Vec<u8>> {
    let lower = column_type.to_ascii_lowercase();
    if !(lower.starts_with("enum(") || lower.starts_with("set(")) || !column_type.is_ascii() {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut bytes = column_type.bytes().skip_while(|byte| *byte != b'\'').peekable();
    while bytes.next() == Some(b'\'') {
        let mut member = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte == b'\'' && bytes.next_if_eq(&b'\'').is_none() {
                break;
            }
            member.push(byte);
        }
        out.push(member);
        if bytes.next() != Some(b',') {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_with_doubled_quotes_and_commas() {
        assert_eq!(members("enum('a','b''c','d,e','')"), [&b"a"[..], b"b'c", b"d,e", b""]);
        assert_eq!(members("set('x')"), [b"x"]);
        assert!(members("varchar(20)").is_empty());
        assert!(members("enum('ä')").is_empty());
    }

    #[test]
    fn a_type_fits_only_its_own_packing() {
        assert!(fits("int", 3, 0) && !fits("int", 8, 0));
        assert!(fits("enum", 254, 0x01f7) && !fits("char", 254, 0x01f7));
        assert!(fits("text", 252, 2) && !fits("text", 252, 4));
    }
}

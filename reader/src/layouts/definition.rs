//! One table's definition as information_schema tells it, and whether it fits a TABLE_MAP.

use common::pack::ColumnDefinition;
use common::schema::{KeyPart, LayoutOrigin};
use common::{Flavor, TableSchema};

use crate::error::ReaderError;
use crate::event::table_map::TableMap;
use crate::source::Session;
use crate::source::table::{self, PRIMARY, TableInfo};

/// A table's definition.
#[derive(Debug)]
pub(super) struct Definition {
    /// Seconds since 1970 of its creation or last rebuild.
    pub(super) created: u64,
    columns: Vec<Named>,
    primary_key: Vec<(String, u32)>,
}

/// What a definition adds to a column of a TABLE_MAP.
#[derive(Debug)]
struct Named {
    name: String,
    /// `DATA_TYPE`, like `varchar`.
    data_type: String,
    unsigned: bool,
    collation: u16,
    /// Members of an ENUM or SET, where they are the same bytes in every character set.
    members: Vec<Vec<u8>>,
    visible: bool,
}

impl Named {
    fn new(definition: ColumnDefinition) -> Self {
        let ColumnDefinition { name, data_type, column_type, collation_id, extra, .. } = definition;
        let binary = matches!(
            data_type.as_str(),
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob"
                // MariaDB logs these as BINARY or VARBINARY.
                | "uuid" | "inet6" | "inet4" | "vector"
        );
        let lower = column_type.to_ascii_lowercase();
        Self {
            name,
            unsigned: lower.contains(" unsigned") || lower.contains(" zerofill"),
            collation: if binary && collation_id == 0 { 63 } else { collation_id },
            members: members(&column_type),
            visible: !extra.to_ascii_uppercase().contains("INVISIBLE"),
            data_type,
        }
    }
}

impl Definition {
    /// Asks for it; None if there is no such table.
    pub(super) fn read(session: &mut Session, database: &str, table: &str) -> Result<Option<Self>, ReaderError> {
        match table::open(session, database, table, "1") {
            Ok(false) => return Ok(None),
            // What only may not be read (1142) still tells its definition.
            Err(error) if error.is_transient() => return Err(error),
            Ok(true) | Err(_) => {}
        }
        let Some(info) = TableInfo::read(session, database, table)? else { return Ok(None) };
        let primary = info.keys.into_iter().find(|key| key.name == PRIMARY);
        let parts = primary.into_iter().flat_map(|key| key.parts);
        Ok(Some(Self {
            created: info.created,
            columns: info.columns.into_iter().map(Named::new).collect(),
            primary_key: parts.filter_map(|part| Some((part.column?, part.prefix))).collect(),
        }))
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

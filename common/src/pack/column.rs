//! A column's definition in information_schema as TABLE_MAP would describe it, and the expression that selects it.

use super::PackError;
use super::members::members;
use crate::charset::BINARY;
use crate::schema::{Column, Flavor};

/// What information_schema.columns tells of a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// `COLUMN_NAME`
    pub name: String,
    /// `DATA_TYPE`, like `varchar`.
    pub data_type: String,
    /// `COLUMN_TYPE`, like `varchar(20)`, in UTF-8.
    pub column_type: String,
    /// `CHARACTER_SET_NAME`
    pub charset: Option<String>,
    /// Id of `COLLATION_NAME`; 0 if there is none.
    pub collation_id: u16,
    /// `CHARACTER_OCTET_LENGTH`; None for what is no string. CHAR, VARCHAR, BINARY and VARBINARY need it.
    pub octet_length: Option<u64>,
    /// `IS_NULLABLE` is YES.
    pub nullable: bool,
    /// `EXTRA`
    pub extra: String,
}

impl ColumnDefinition {
    /// `DATA_TYPE` in lower case.
    fn data_type(&self) -> String {
        self.data_type.to_ascii_lowercase()
    }

    /// The numbers behind the type's name: of `decimal(10,2) unsigned` 10 and 2.
    fn numbers(&self) -> (Option<u16>, Option<u16>) {
        let behind = self.column_type.get(self.data_type.len()..).unwrap_or_default();
        let inner = behind.strip_prefix('(').and_then(|rest| rest.split(')').next()).unwrap_or_default();
        let mut numbers = inner.split(',').map(|number| number.trim().parse().ok());
        (numbers.next().flatten(), numbers.next().flatten())
    }

    fn refused(&self) -> PackError {
        PackError::Type { column: self.name.clone(), column_type: self.column_type.clone() }
    }
}

/// Bytes of a value of MariaDB's types that are stored as binary strings of one length.
fn fixed_binary(data_type: &str, flavor: Flavor) -> Option<u16> {
    match (flavor, data_type) {
        (Flavor::MariaDb, "uuid" | "inet6") => Some(16),
        (Flavor::MariaDb, "inet4") => Some(4),
        _ => None,
    }
}

/// The column as TABLE_MAP describes it, but for two that a SELECT cannot give as they are logged: temporal columns in the format from before
/// MySQL 5.6 are described in today's, and MariaDB's compressed columns as what is in them.
///
/// # Errors
/// [`PackError::Type`] for types that are not known, and for definitions that are none.
pub fn column(definition: &ColumnDefinition, flavor: Flavor) -> Result<Column, PackError> {
    let refused = || definition.refused();
    let data_type = definition.data_type();
    let (first, second) = definition.numbers();
    let digits = || first.filter(|&digits| digits <= 6).or(first.is_none().then_some(0)).ok_or_else(refused);
    let octets = || definition.octet_length.and_then(|octets| u16::try_from(octets).ok()).ok_or_else(refused);
    let two = |low: u16, high: u16| low & 0xff | high << 8;
    // `Field_string::do_save_field_metadata`: two bits of the length stand inverted in the type's byte.
    let string = |octets: u16| (octets <= 1023).then(|| two(254 ^ (octets & 0x300) >> 4, octets)).ok_or_else(refused);
    let mut collation = 0;
    let mut list = Vec::new();
    let (type_code, meta) = match data_type.as_str() {
        "tinyint" => (1, 0),
        "smallint" => (2, 0),
        "mediumint" => (9, 0),
        "int" => (3, 0),
        "bigint" => (8, 0),
        "float" => (4, 4),
        "double" => (5, 8),
        "decimal" => match (first, second) {
            (Some(precision @ 1..=65), Some(scale)) if scale <= precision => (246, two(precision, scale)),
            _ => return Err(refused()),
        },
        "bit" => match first {
            Some(bits @ 1..=64) => (16, two(bits % 8, bits / 8)),
            _ => return Err(refused()),
        },
        "year" => (13, 0),
        "date" => (10, 0),
        "time" => (19, digits()?),
        "datetime" => (18, digits()?),
        "timestamp" => (17, digits()?),
        "char" => {
            collation = definition.collation_id;
            (254, string(octets()?)?)
        }
        "binary" => {
            collation = BINARY;
            (254, string(octets()?)?)
        }
        "varchar" => {
            collation = definition.collation_id;
            (15, octets()?)
        }
        "varbinary" => {
            collation = BINARY;
            (15, octets()?)
        }
        "tinytext" | "text" | "mediumtext" | "longtext" => {
            collation = definition.collation_id;
            (252, blob_length(&data_type))
        }
        "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            collation = BINARY;
            (252, blob_length(&data_type))
        }
        "enum" | "set" => {
            collation = definition.collation_id;
            let (count, known) = members(&definition.column_type, definition.charset.as_deref());
            list = known;
            let meta = match (data_type.as_str(), count) {
                ("enum", 1..=255) => two(247, 1),
                ("enum", 256..=65_535) => two(247, 2),
                // Five to seven bytes are stored as eight.
                ("set", 1..=32) => two(248, (count as u16).div_ceil(8)),
                ("set", 33..=64) => two(248, 8),
                _ => return Err(refused()),
            };
            (254, meta)
        }
        "json" if flavor == Flavor::MySql => (245, 4),
        "vector" if flavor == Flavor::MySql => {
            collation = first.ok_or_else(refused)?;
            (242, 4)
        }
        "vector" => {
            collation = BINARY;
            (15, first.and_then(|dimensions| dimensions.checked_mul(4)).ok_or_else(refused)?)
        }
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => (255, 4),
        other => {
            let bytes = fixed_binary(other, flavor).ok_or_else(refused)?;
            collation = BINARY;
            (254, string(bytes)?)
        }
    };
    let numeric = matches!(type_code, 1 | 2 | 3 | 4 | 5 | 8 | 9 | 246);
    let lower = definition.column_type.to_ascii_lowercase();
    Ok(Column {
        name: definition.name.clone(),
        type_code,
        meta,
        nullable: definition.nullable,
        unsigned: type_code == 13 || (numeric && (lower.contains(" unsigned") || lower.contains(" zerofill"))),
        collation,
        members: list,
        visible: !definition.extra.to_ascii_uppercase().contains("INVISIBLE"),
    })
}

fn blob_length(data_type: &str) -> u16 {
    match data_type.as_bytes().first() {
        Some(b't') if data_type.starts_with("tiny") => 1,
        Some(b'm') => 3,
        Some(b'l') => 4,
        _ => 2,
    }
}

/// The expression of the select list. It has no alias, so that ORDER BY and WHERE go on meaning the column.
///
/// ENUM and SET are asked for as numbers (`+0` would go through a DOUBLE, which has no 64 bits). MariaDB's UUID and INET types are asked for as bytes.
#[must_use]
pub fn select_expression(definition: &ColumnDefinition, flavor: Flavor) -> String {
    let name = format!("`{}`", definition.name.replace('`', "``"));
    let data_type = definition.data_type();
    match data_type.as_str() {
        "enum" | "set" => format!("CAST({name} AS UNSIGNED)"),
        other => match fixed_binary(other, flavor) {
            Some(bytes) => format!("CAST({name} AS BINARY({bytes}))"),
            None => name,
        },
    }
}

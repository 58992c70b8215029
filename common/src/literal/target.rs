//! The destination's column, as far as literals depend on it.

use crate::charset;
use crate::row::string_bytes;
use crate::schema::Column;

/// What a destination's column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the SQL type that it is named after")]
pub enum TargetKind {
    /// TINYINT to BIGINT.
    Integer,
    Decimal {
        /// Digits behind the point.
        scale: u8,
    },
    Float,
    Double,
    Bit,
    Enum,
    Set,
    /// CHAR to LONGTEXT.
    Text {
        /// Name of the character set; None where it is not known and bytes are to be written as they are.
        charset: Option<String>,
    },
    /// BINARY.
    Binary {
        /// Length in bytes, to which conditions fill up with zero bytes.
        bytes: u16,
    },
    /// VARBINARY, BLOBs.
    Bytes,
    Date,
    Time {
        /// Digits behind the point.
        digits: u8,
    },
    DateTime {
        /// Digits behind the point.
        digits: u8,
    },
    Timestamp {
        /// Digits behind the point.
        digits: u8,
    },
    Year,
    /// MySQL's JSON. MariaDB's is LONGTEXT.
    Json,
    Geometry,
    Vector,
    /// MariaDB's UUID (16 bytes), INET6 (16) and INET4 (4).
    Address {
        /// Length in bytes.
        bytes: u16,
    },
}

/// A destination's column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: TargetKind,
    /// Its type as text, for messages.
    pub type_name: String,
}

impl Target {
    /// From information_schema.columns: `column_name`, `data_type`, `column_type`, `character_set_name`. None for a type that is not known.
    #[must_use]
    pub fn parse(name: &str, data_type: &str, column_type: &str, charset: Option<&str>) -> Option<Self> {
        let numbers = column_type.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(n, _)| n);
        let mut numbers = numbers.split(',').map(|n| n.trim().parse::<u16>().ok());
        let (first, second) = (numbers.next().flatten(), numbers.next().flatten());
        let digits = u8::try_from(first.unwrap_or(0)).unwrap_or(0);
        let kind = match data_type.to_ascii_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => TargetKind::Integer,
            "decimal" | "numeric" => {
                TargetKind::Decimal { scale: second.and_then(|s| u8::try_from(s).ok()).unwrap_or(0) }
            }
            "float" => TargetKind::Float,
            "double" | "real" => TargetKind::Double,
            "bit" => TargetKind::Bit,
            "enum" => TargetKind::Enum,
            "set" => TargetKind::Set,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                TargetKind::Text { charset: charset.map(str::to_owned) }
            }
            "binary" => TargetKind::Binary { bytes: first.unwrap_or(1) },
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => TargetKind::Bytes,
            "date" => TargetKind::Date,
            "time" => TargetKind::Time { digits },
            "datetime" => TargetKind::DateTime { digits },
            "timestamp" => TargetKind::Timestamp { digits },
            "year" => TargetKind::Year,
            "json" => TargetKind::Json,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => TargetKind::Geometry,
            "vector" => TargetKind::Vector,
            "uuid" | "inet6" => TargetKind::Address { bytes: 16 },
            "inet4" => TargetKind::Address { bytes: 4 },
            _ => return None,
        };
        Some(Self { name: name.to_owned(), kind, type_name: column_type.to_owned() })
    }

    /// A column of the same type as the source's. None for a type that cannot be in a row event. MariaDB's UUID and INET types look like BINARY in
    /// the log and become that; both take the same literals.
    #[must_use]
    pub fn like(column: &Column) -> Option<Self> {
        let [first, second] = column.meta.to_le_bytes();
        let charset = charset::of_collation(column.collation);
        let text = || match charset {
            Some("binary") => TargetKind::Bytes,
            name => TargetKind::Text { charset: name.map(str::to_owned) },
        };
        let kind = match column.type_code {
            1 | 2 | 3 | 8 | 9 => TargetKind::Integer,
            4 => TargetKind::Float,
            5 => TargetKind::Double,
            246 => TargetKind::Decimal { scale: second },
            16 => TargetKind::Bit,
            13 => TargetKind::Year,
            10 | 14 => TargetKind::Date,
            11 => TargetKind::Time { digits: 0 },
            19 => TargetKind::Time { digits: first },
            12 => TargetKind::DateTime { digits: 0 },
            18 => TargetKind::DateTime { digits: first },
            7 => TargetKind::Timestamp { digits: 0 },
            17 => TargetKind::Timestamp { digits: first },
            245 => TargetKind::Json,
            255 => TargetKind::Geometry,
            242 => TargetKind::Vector,
            247 => TargetKind::Enum,
            248 => TargetKind::Set,
            254 if first == 247 => TargetKind::Enum,
            254 if first == 248 => TargetKind::Set,
            254 if charset == Some("binary") => TargetKind::Binary { bytes: string_bytes(column.meta) },
            15 | 140 | 141 | 249..=252 | 253 | 254 => text(),
            _ => return None,
        };
        Some(Self { name: column.name.clone(), kind, type_name: "the same type".to_owned() })
    }
}

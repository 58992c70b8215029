//! Which source types a destination's column can take without loss.

use super::target::TargetKind;
use crate::charset;
use crate::row::string_bytes;
use crate::schema::{Column, Flavor};

/// What the source's column holds, as far as conversions depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Integer {
        big: bool,
    },
    Float,
    Double,
    Decimal {
        scale: u8,
    },
    Bit,
    Enum,
    Set,
    Text {
        charset: Option<&'static str>,
    },
    /// BINARY, and MariaDB's UUID and INET types: the log strips trailing zero bytes.
    Binary {
        bytes: u16,
    },
    Bytes,
    Date,
    Time {
        digits: u8,
    },
    DateTime {
        digits: u8,
    },
    Timestamp {
        digits: u8,
    },
    Year,
    Json,
    Geometry,
    Vector,
}

impl Family {
    pub(super) fn of(column: &Column) -> Option<Self> {
        let [first, second] = column.meta.to_le_bytes();
        let charset = charset::of_collation(column.collation);
        let binary = charset == Some("binary");
        Some(match column.type_code {
            8 => Self::Integer { big: true },
            1 | 2 | 3 | 9 => Self::Integer { big: false },
            4 => Self::Float,
            5 => Self::Double,
            246 => Self::Decimal { scale: second },
            16 => Self::Bit,
            13 => Self::Year,
            10 | 14 => Self::Date,
            11 => Self::Time { digits: 0 },
            19 => Self::Time { digits: first },
            12 => Self::DateTime { digits: 0 },
            18 => Self::DateTime { digits: first },
            7 => Self::Timestamp { digits: 0 },
            17 => Self::Timestamp { digits: first },
            245 => Self::Json,
            255 => Self::Geometry,
            242 => Self::Vector,
            247 => Self::Enum,
            248 => Self::Set,
            254 if first == 247 => Self::Enum,
            254 if first == 248 => Self::Set,
            254 if binary => Self::Binary { bytes: string_bytes(column.meta) },
            15 | 140 | 141 | 249..=252 | 253 if binary => Self::Bytes,
            15 | 140 | 141 | 249..=254 => Self::Text { charset },
            _ => return None,
        })
    }

    /// None if the target takes every value of this, else why not.
    pub(super) fn refusal(self, to: &TargetKind, column: &Column, dialect: Flavor) -> Option<&'static str> {
        use TargetKind as To;
        const COARSER: &str = "the destination keeps fewer digits behind the point";
        let fine = match (self, to) {
            (Self::Integer { .. } | Self::Bit | Self::Year, To::Integer | To::Bit | To::Decimal { .. }) => true,
            (Self::Integer { big }, To::Double) => !big,
            (Self::Integer { .. } | Self::Bit, To::Text { .. }) => true,
            (Self::Year, To::Year | To::Text { .. }) => true,
            (Self::Decimal { scale }, To::Decimal { scale: to }) if scale > *to => return Some(COARSER),
            (Self::Decimal { .. }, To::Decimal { .. } | To::Text { .. }) => true,
            (Self::Float, To::Float | To::Double) => true,
            (Self::Double, To::Double) => true,
            (Self::Enum, To::Enum) | (Self::Set, To::Set) => true,
            (Self::Enum | Self::Set, To::Text { .. }) if column.members.is_empty() => {
                return Some("the log does not name its members; set binlog_row_metadata=FULL at the source");
            }
            (Self::Enum | Self::Set, To::Text { .. }) => true,
            (Self::Text { .. }, To::Text { .. } | To::Bytes | To::Binary { .. }) => true,
            (Self::Text { .. }, To::Json) => true,
            (Self::Text { .. }, To::Address { .. }) => true,
            (Self::Text { charset: None }, To::Vector) => true,
            (Self::Binary { .. } | Self::Bytes, To::Bytes | To::Binary { .. } | To::Vector) => true,
            (Self::Binary { bytes }, To::Address { bytes: to }) => bytes == *to,
            (Self::Binary { .. } | Self::Bytes, To::Text { charset: None }) => true,
            (Self::Binary { .. } | Self::Bytes, To::Text { .. }) => {
                return Some(
                    "binary strings have no characters; make it BINARY, VARBINARY, a BLOB, or UUID or INET6 as at the source",
                );
            }
            (Self::Date, To::Date | To::DateTime { .. } | To::Text { .. }) => true,
            (Self::Time { digits }, To::Time { digits: to })
            | (Self::DateTime { digits }, To::DateTime { digits: to })
            | (Self::Timestamp { digits }, To::Timestamp { digits: to } | To::DateTime { digits: to }) => {
                if digits > *to {
                    return Some(COARSER);
                }
                true
            }
            (Self::Time { .. } | Self::DateTime { .. } | Self::Timestamp { .. }, To::Text { .. }) => true,
            (Self::DateTime { .. }, To::Timestamp { .. }) => {
                return Some("a DATETIME has no time zone, a TIMESTAMP needs one");
            }
            (Self::Json, To::Json) => dialect == Flavor::MySql,
            (Self::Json, To::Text { .. }) => true,
            (Self::Geometry, To::Geometry | To::Bytes) => true,
            (Self::Vector, To::Vector | To::Bytes) => true,
            _ => false,
        };
        (!fine).then_some("there is no conversion without loss; change the type at the destination")
    }

    /// Its name for messages.
    pub(super) fn name(self, column: &Column) -> String {
        let unsigned = if column.unsigned { " unsigned" } else { "" };
        match self {
            Self::Integer { .. } => {
                let name = match column.type_code {
                    1 => "tinyint",
                    2 => "smallint",
                    9 => "mediumint",
                    3 => "int",
                    _ => "bigint",
                };
                format!("{name}{unsigned}")
            }
            Self::Decimal { scale } => format!("decimal({},{scale})", column.meta & 0xff),
            Self::Text { charset } => format!("a string of {}", charset.unwrap_or("an unknown character set")),
            Self::Binary { bytes } => format!("binary({bytes}) or a type that is logged like it"),
            Self::Bytes => "a binary string".to_owned(),
            Self::Time { digits } => format!("time({digits})"),
            Self::DateTime { digits } => format!("datetime({digits})"),
            Self::Timestamp { digits } => format!("timestamp({digits})"),
            other => format!("{other:?}").to_lowercase(),
        }
    }
}

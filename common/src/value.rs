//! Packed values as typed values: what SQL, JSON, keys and filters are made from.
//!
//! Everything is exact: DECIMAL stays decimal, zero and partial dates stay what they are, a negative TIME keeps its fraction. Strings
//! are bytes in the column's character set. Nothing is allocated; strings and documents borrow from the row.

mod compressed;
mod decimal;
mod json;
pub(crate) mod number;
mod temporal;

pub use compressed::decompress;
pub use decimal::Decimal;
pub use temporal::{Date, DateTime, Time, Timestamp};

use crate::schema::Column;

/// Why bytes are no value of their column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Too few or too many bytes for the type.
    #[error("{len} bytes are no value of type {type_code}")]
    Length {
        /// The type byte.
        type_code: u8,
        /// Bytes given.
        len: usize,
    },
    /// The bits say nothing that the type can mean.
    #[error("the bytes are no {0}")]
    Malformed(&'static str),
    /// No such type.
    #[error("type {0} is not known")]
    UnknownType(u8),
}

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// TINYINT to BIGINT.
    Int(i64),
    /// The same, UNSIGNED.
    Unsigned(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL.
    Decimal(Decimal<'a>),
    /// BIT, as a number.
    Bit(u64),
    /// ENUM: 1 is the first member, 0 the empty string that stands for an error.
    Enum(u16),
    /// SET: bit 0 is the first member.
    Set(u64),
    /// CHAR to LONGTEXT, BINARY to LONGBLOB. CHAR comes without trailing spaces, BINARY without trailing zero bytes; and what MariaDB
    /// stores as such: UUID and INET6 (16 bytes), INET4 (4), VECTOR (floats, little endian).
    Bytes(&'a [u8]),
    /// A compressed column of MariaDB; [`decompress`] makes it bytes.
    Compressed(&'a [u8]),
    /// DATE.
    Date(Date),
    /// DATETIME.
    DateTime(DateTime),
    /// TIME.
    Time(Time),
    /// TIMESTAMP.
    Timestamp(Timestamp),
    /// YEAR: 0 or 1901 to 2155.
    Year(u16),
    /// MySQL's JSON in its binary form ([`crate::jsonb`]); empty means JSON null.
    Json(&'a [u8]),
    /// SRID (4 bytes, little endian) and WKB.
    Geometry(&'a [u8]),
    /// MySQL's VECTOR: floats, little endian.
    Vector(&'a [u8]),
}

/// Reads the packed bytes of a value, without length prefix, as [`crate::row::Cell::Bytes`] holds them.
///
/// # Errors
/// [`ValueError`] if they are no value of the column's type.
pub fn decode<'a>(column: &Column, bytes: &'a [u8]) -> Result<Value<'a>, ValueError> {
    let length = || ValueError::Length { type_code: column.type_code, len: bytes.len() };
    let [first, second] = column.meta.to_le_bytes();
    Ok(match column.type_code {
        1 => integer(column, bytes, 1).ok_or_else(length)?,
        2 => integer(column, bytes, 2).ok_or_else(length)?,
        9 => integer(column, bytes, 3).ok_or_else(length)?,
        3 => integer(column, bytes, 4).ok_or_else(length)?,
        8 => integer(column, bytes, 8).ok_or_else(length)?,
        4 => Value::Float(f32::from_le_bytes(bytes.try_into().map_err(|_| length())?)),
        5 => Value::Double(f64::from_le_bytes(bytes.try_into().map_err(|_| length())?)),
        246 => Value::Decimal(Decimal::new(bytes, first, second).ok_or_else(length)?),
        16 => Value::Bit(big_endian(bytes).ok_or_else(length)?),
        13 => match bytes {
            [0] => Value::Year(0),
            [year] => Value::Year(1900 + u16::from(*year)),
            _ => return Err(length()),
        },
        15 | 249..=252 | 253 => Value::Bytes(bytes),
        140 | 141 => Value::Compressed(bytes),
        254 if first == 247 => enum_index(bytes).ok_or_else(length)?,
        254 if first == 248 => Value::Set(little_endian(bytes).ok_or_else(length)?),
        254 => Value::Bytes(bytes),
        247 => enum_index(bytes).ok_or_else(length)?,
        248 => Value::Set(little_endian(bytes).ok_or_else(length)?),
        10 | 14 => Value::Date(Date::unpack(bytes).ok_or_else(length)?),
        11 => Value::Time(Time::unpack_old(bytes).ok_or_else(length)?),
        12 => Value::DateTime(DateTime::unpack_old(bytes).ok_or_else(length)?),
        7 => Value::Timestamp(Timestamp::unpack_old(bytes).ok_or_else(length)?),
        17 => Value::Timestamp(Timestamp::unpack(bytes, first).ok_or_else(length)?),
        18 => Value::DateTime(DateTime::unpack(bytes, first).ok_or_else(length)?),
        19 => Value::Time(Time::unpack(bytes, first).ok_or_else(length)?),
        245 => Value::Json(bytes),
        255 => Value::Geometry(bytes),
        242 => Value::Vector(bytes),
        other => return Err(ValueError::UnknownType(other)),
    })
}

/// An integer of `len` bytes; MEDIUMINT's three have a sign of their own.
fn integer<'a>(column: &Column, bytes: &[u8], len: usize) -> Option<Value<'a>> {
    if bytes.len() != len {
        return None;
    }
    let value = little_endian(bytes)?;
    if column.unsigned {
        return Some(Value::Unsigned(value));
    }
    let shift = 64 - 8 * len as u32;
    Some(Value::Int((value << shift) as i64 >> shift))
}

fn enum_index<'a>(bytes: &[u8]) -> Option<Value<'a>> {
    match bytes {
        [low] => Some(Value::Enum(u16::from(*low))),
        [low, high] => Some(Value::Enum(u16::from_le_bytes([*low, *high]))),
        _ => None,
    }
}

/// A number of one to eight bytes, low byte first.
fn little_endian(bytes: &[u8]) -> Option<u64> {
    let mut eight = [0; 8];
    eight.get_mut(..bytes.len()).filter(|b| !b.is_empty())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(eight))
}

/// A number of one to eight bytes, high byte first.
fn big_endian(bytes: &[u8]) -> Option<u64> {
    (1..=8).contains(&bytes.len()).then(|| bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests;

//! One value of a document.

use super::JsonError;
use crate::value::{Date, DateTime, Decimal, Time};

/// How deep documents go: servers allow 100 levels.
pub(super) const DEPTH_MAX: usize = 101;

/// A value in a document; containers are read entry by entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Node<'a> {
    /// null
    Null,
    /// true, false
    Bool(bool),
    /// INTEGER
    Int(i64),
    /// UNSIGNED INTEGER, which a small number may be too.
    Unsigned(u64),
    /// DOUBLE
    Double(f64),
    /// A string in utf8mb4.
    Text(&'a [u8]),
    /// A SQL value.
    Opaque(Opaque<'a>),
    /// An array.
    Array(Container<'a>),
    /// An object.
    Object(Container<'a>),
}

/// A SQL value in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opaque<'a> {
    /// DECIMAL
    Decimal(Decimal<'a>),
    /// DATE
    Date(Date),
    /// TIME, six digits behind the point.
    Time(Time),
    /// DATETIME, six digits behind the point.
    DateTime(DateTime),
    /// TIMESTAMP: the same, in the session's time zone when it was put in.
    Timestamp(DateTime),
    /// A binary string or BIT, with the type byte of the column that it came from.
    Bytes(u8, &'a [u8]),
}

/// An object or an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    /// From its count on.
    bytes: &'a [u8],
    len: usize,
    large: bool,
    object: bool,
}

const MALFORMED: JsonError = JsonError::Malformed("a value ends early");

impl<'a> Node<'a> {
    /// The root of a document. No bytes at all mean null, which old servers wrote for such a column under IGNORE.
    ///
    /// # Errors
    /// [`JsonError::Malformed`].
    pub fn root(document: &'a [u8]) -> Result<Self, JsonError> {
        match document.split_first() {
            None => Ok(Node::Null),
            Some((&kind, bytes)) => Self::read(kind, bytes),
        }
    }

    fn read(kind: u8, bytes: &'a [u8]) -> Result<Self, JsonError> {
        Ok(match kind {
            0..=3 => {
                let container = Container::new(bytes, kind & 1 == 1, kind < 2)?;
                if kind < 2 { Node::Object(container) } else { Node::Array(container) }
            }
            4 => match bytes.first() {
                Some(0) => Node::Null,
                Some(1) => Node::Bool(true),
                Some(2) => Node::Bool(false),
                _ => return Err(JsonError::Malformed("an unknown literal")),
            },
            5 => Node::Int(i16::from_le_bytes(*bytes.first_chunk().ok_or(MALFORMED)?).into()),
            6 => Node::Unsigned(u16::from_le_bytes(*bytes.first_chunk().ok_or(MALFORMED)?).into()),
            7 => Node::Int(i32::from_le_bytes(*bytes.first_chunk().ok_or(MALFORMED)?).into()),
            8 => Node::Unsigned(u32::from_le_bytes(*bytes.first_chunk().ok_or(MALFORMED)?).into()),
            9 => Node::Int(i64::from_le_bytes(*bytes.first_chunk().ok_or(MALFORMED)?)),
            10 => Node::Unsigned(u64::from_le_bytes(*bytes.first_chunk().ok_or(MALFORMED)?)),
            11 => Node::Double(f64::from_le_bytes(*bytes.first_chunk().ok_or(MALFORMED)?)),
            12 => Node::Text(counted(bytes)?),
            15 => {
                let (&type_code, rest) = bytes.split_first().ok_or(MALFORMED)?;
                Node::Opaque(Opaque::read(type_code, counted(rest)?)?)
            }
            _ => return Err(JsonError::Malformed("an unknown type")),
        })
    }
}

/// The bytes after a length of seven bits a byte, lowest first, the top bit set on all but the last byte.
fn counted(bytes: &[u8]) -> Result<&[u8], JsonError> {
    let mut len = 0usize;
    for (i, &byte) in bytes.iter().take(5).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return bytes.get(i + 1..).and_then(|rest| rest.get(..len)).ok_or(MALFORMED);
        }
    }
    Err(JsonError::Malformed("a length has no end"))
}

impl<'a> Opaque<'a> {
    fn read(type_code: u8, bytes: &'a [u8]) -> Result<Self, JsonError> {
        let packed = || -> Result<(bool, u64, u32), JsonError> {
            let value = i64::from_le_bytes(bytes.try_into().map_err(|_| JsonError::Malformed("a temporal value"))?);
            let magnitude = value.unsigned_abs();
            Ok((value < 0, magnitude >> 24, (magnitude & 0xff_ffff) as u32))
        };
        Ok(match type_code {
            246 => match bytes {
                [precision, scale, packed @ ..] => Opaque::Decimal(
                    Decimal::new(packed, *precision, *scale).ok_or(JsonError::Malformed("a decimal's length"))?,
                ),
                _ => return Err(MALFORMED),
            },
            10 => {
                let (_, value, _) = packed()?;
                Opaque::Date(DateTime::from_packed(value, 0, 0).date)
            }
            11 => {
                let (negative, value, micros) = packed()?;
                Opaque::Time(Time::from_packed(negative, value, micros, 6))
            }
            12 => {
                let (_, value, micros) = packed()?;
                Opaque::DateTime(DateTime::from_packed(value, micros, 6))
            }
            7 => {
                let (_, value, micros) = packed()?;
                Opaque::Timestamp(DateTime::from_packed(value, micros, 6))
            }
            other => Opaque::Bytes(other, bytes),
        })
    }
}

impl<'a> Container<'a> {
    fn new(bytes: &'a [u8], large: bool, object: bool) -> Result<Self, JsonError> {
        let mut container = Self { bytes, len: 0, large, object };
        let (len, size) = (container.number(0)?, container.number(container.width())?);
        // Entries and values are inside the container, so that what is within grows smaller with each level.
        container.bytes = bytes.get(..size).ok_or(JsonError::Malformed("a container ends early"))?;
        container.len = len;
        if container.header() > size {
            return Err(JsonError::Malformed("a container is smaller than its entries"));
        }
        Ok(container)
    }

    fn width(&self) -> usize {
        if self.large { 4 } else { 2 }
    }

    fn header(&self) -> usize {
        let key = if self.object { self.width() + 2 } else { 0 };
        2 * self.width() + self.len.saturating_mul(key + 1 + self.width())
    }

    fn number(&self, at: usize) -> Result<usize, JsonError> {
        let bytes = self.bytes.get(at..).ok_or(MALFORMED)?;
        Ok(if self.large {
            u32::from_le_bytes(*bytes.first_chunk().ok_or(MALFORMED)?) as usize
        } else {
            u16::from_le_bytes(*bytes.first_chunk().ok_or(MALFORMED)?).into()
        })
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key of entry `index` of an object, in utf8mb4.
    ///
    /// # Errors
    /// [`JsonError::Malformed`].
    pub fn key(&self, index: usize) -> Result<&'a [u8], JsonError> {
        let at = 2 * self.width() + index * (self.width() + 2);
        let start = self.number(at)?;
        let len = self.bytes.get(at + self.width()..).and_then(|b| b.first_chunk()).ok_or(MALFORMED)?;
        let len = usize::from(u16::from_le_bytes(*len));
        self.bytes.get(start..).and_then(|b| b.get(..len)).ok_or(JsonError::Malformed("a key ends early"))
    }

    /// The value of entry `index`.
    ///
    /// # Errors
    /// [`JsonError::Malformed`].
    pub fn value(&self, index: usize) -> Result<Node<'a>, JsonError> {
        let keys = if self.object { self.len * (self.width() + 2) } else { 0 };
        let at = 2 * self.width() + keys + index * (1 + self.width());
        let kind = *self.bytes.get(at).ok_or(MALFORMED)?;
        let inline = self.bytes.get(at + 1..at + 1 + self.width()).ok_or(MALFORMED)?;
        if matches!(kind, 4..=6) || (self.large && matches!(kind, 7 | 8)) {
            return Node::read(kind, inline);
        }
        let start = self.number(at + 1)?;
        if start < self.header() {
            return Err(JsonError::Malformed("a value stands in the table of entries"));
        }
        Node::read(kind, self.bytes.get(start..).ok_or(MALFORMED)?)
    }
}

//! The optional metadata at the end of TABLE_MAP: type, length, value (`Optional_metadata_fields` in rows_event.h).
//!
//! `binlog_row_metadata=MINIMAL` logs signs, character sets and the types of geometries; FULL adds names, members, key and visibility.

use common::schema::KeyPart;
use common::{Column, Flavor};

use super::super::EventError;
use super::super::input::Input;

/// The fields as they stand; None for what is not logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metadata<'a> {
    signedness: Option<&'a [u8]>,
    default_charset: Option<&'a [u8]>,
    column_charset: Option<&'a [u8]>,
    column_name: Option<&'a [u8]>,
    set_members: Option<&'a [u8]>,
    enum_members: Option<&'a [u8]>,
    simple_primary_key: Option<&'a [u8]>,
    primary_key_with_prefix: Option<&'a [u8]>,
    enum_set_default_charset: Option<&'a [u8]>,
    enum_set_column_charset: Option<&'a [u8]>,
    visibility: Option<&'a [u8]>,
    vector_dimensions: Option<&'a [u8]>,
}

const WHAT: &str = "the table map's optional metadata";

fn invalid(detail: &str) -> EventError {
    EventError::invalid(WHAT, detail)
}

impl<'a> Metadata<'a> {
    /// Splits the fields.
    ///
    /// # Errors
    /// Missing bytes. A field that is not known is passed over: each only adds to what the types already say.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, EventError> {
        let mut out = Self::default();
        let mut input = Input::new(bytes, WHAT);
        while !input.is_empty() {
            let field = input.u8()?;
            let value = Some(input.lenenc_bytes()?);
            match field {
                1 => out.signedness = value,
                2 => out.default_charset = value,
                3 => out.column_charset = value,
                4 => out.column_name = value,
                5 => out.set_members = value,
                6 => out.enum_members = value,
                8 => out.simple_primary_key = value,
                9 => out.primary_key_with_prefix = value,
                10 => out.enum_set_default_charset = value,
                11 => out.enum_set_column_charset = value,
                12 => out.visibility = value,
                13 => out.vector_dimensions = value,
                _ => {} // 7 geometry types: no part of how a row is packed
            }
        }
        Ok(out)
    }

    /// Whether signs are logged.
    #[must_use]
    pub fn has_signs(&self) -> bool {
        self.signedness.is_some()
    }

    /// The names of all columns, if logged.
    pub(super) fn names(&self) -> Result<Option<Vec<&'a str>>, EventError> {
        let Some(bytes) = self.column_name else { return Ok(None) };
        let mut input = Input::new(bytes, WHAT);
        let mut names = Vec::new();
        while !input.is_empty() {
            let name = std::str::from_utf8(input.lenenc_bytes()?).map_err(|_| invalid("a column name is not UTF-8"))?;
            names.push(name);
        }
        Ok(Some(names))
    }

    /// The parts of the primary key; empty if there is none or it is not logged.
    pub(super) fn primary_key(&self) -> Result<Vec<KeyPart>, EventError> {
        let (bytes, with_prefix) = match (self.simple_primary_key, self.primary_key_with_prefix) {
            (Some(bytes), _) => (bytes, false),
            (None, Some(bytes)) => (bytes, true),
            (None, None) => return Ok(Vec::new()),
        };
        let mut input = Input::new(bytes, WHAT);
        let mut parts = Vec::new();
        while !input.is_empty() {
            let column = u16::try_from(input.lenenc()?).map_err(|_| invalid("a column of the primary key"))?;
            let prefix = if with_prefix { input.lenenc()? } else { 0 };
            parts.push(KeyPart { column, prefix: u32::try_from(prefix).map_err(|_| invalid("a prefix length"))? });
        }
        Ok(parts)
    }

    /// Puts signs, collations, members and visibility into `columns`.
    pub(super) fn fill(&self, columns: &mut [Column], flavor: Flavor) -> Result<(), EventError> {
        if let Some(bits) = self.signedness {
            let numeric = columns.iter_mut().filter(|column| is_numeric(column.type_code));
            for (index, column) in numeric.enumerate() {
                column.unsigned = high_bit(bits, index).ok_or_else(|| invalid("too few signs"))?;
            }
        }
        let is_text = |column: &Column| is_character(column, flavor);
        charsets(columns, is_text, self.default_charset, self.column_charset)?;
        charsets(columns, is_enum_or_set, self.enum_set_default_charset, self.enum_set_column_charset)?;
        members(columns, ENUM, self.enum_members)?;
        members(columns, SET, self.set_members)?;
        if let Some(bytes) = self.vector_dimensions {
            let mut input = Input::new(bytes, WHAT);
            for column in columns.iter_mut().filter(|column| column.type_code == VECTOR) {
                column.collation = u16::try_from(input.lenenc()?).map_err(|_| invalid("a vector's dimensions"))?;
            }
        }
        if let Some(bits) = self.visibility {
            for (index, column) in columns.iter_mut().enumerate() {
                column.visible = high_bit(bits, index).ok_or_else(|| invalid("too few visibility bits"))?;
            }
        }
        Ok(())
    }
}

const ENUM: u8 = 247;
const SET: u8 = 248;
const STRING: u8 = 254;
const VECTOR: u8 = 242;

/// Types that have a bit in the field of signs. YEAR has one too, in both families.
pub(crate) fn is_numeric(code: u8) -> bool {
    matches!(code, 1 | 2 | 3 | 4 | 5 | 8 | 9 | 13 | 246)
}

/// ENUM and SET columns have type STRING; their real type is the first byte of the metadata.
pub(crate) fn real_type(column: &Column) -> u8 {
    match (column.type_code, column.meta as u8) {
        (STRING, real @ (ENUM | SET)) => real,
        (code, _) => code,
    }
}

fn is_enum_or_set(column: &Column) -> bool {
    matches!(real_type(column), ENUM | SET)
}

/// CHAR, VARCHAR and the BLOB family, binary ones included; MySQL counts VECTOR among them (measured on 9.7).
pub(crate) fn is_character(column: &Column, flavor: Flavor) -> bool {
    match real_type(column) {
        15 | 252..=254 | VECTOR => true,
        140 | 141 => flavor == Flavor::MariaDb,
        _ => false,
    }
}

/// Bit `index`, counted from the highest bit of the first byte.
fn high_bit(bits: &[u8], index: usize) -> Option<bool> {
    bits.get(index / 8).map(|byte| byte << (index % 8) & 0x80 != 0)
}

/// Collations of the columns that `of` picks: either one for most and the exceptions, or one for each.
fn charsets(
    columns: &mut [Column],
    of: impl Fn(&Column) -> bool,
    default: Option<&[u8]>,
    each: Option<&[u8]>,
) -> Result<(), EventError> {
    let id = |value: u64| u16::try_from(value).map_err(|_| invalid("a collation id"));
    let mut picked: Vec<&mut Column> = columns.iter_mut().filter(|column| of(column)).collect();
    if let Some(bytes) = default {
        let mut input = Input::new(bytes, WHAT);
        let default = id(input.lenenc()?)?;
        picked.iter_mut().for_each(|column| column.collation = default);
        while !input.is_empty() {
            let (index, collation) = (input.length()?, id(input.lenenc()?)?);
            let column =
                picked.get_mut(index).ok_or_else(|| invalid("a collation for a column that does not exist"))?;
            column.collation = collation;
        }
    } else if let Some(bytes) = each {
        let mut input = Input::new(bytes, WHAT);
        for column in &mut picked {
            column.collation = id(input.lenenc()?)?;
        }
    }
    Ok(())
}

/// Members of the ENUM or the SET columns: for each its count and texts.
fn members(columns: &mut [Column], real: u8, bytes: Option<&[u8]>) -> Result<(), EventError> {
    let Some(bytes) = bytes else { return Ok(()) };
    let mut input = Input::new(bytes, WHAT);
    for column in columns.iter_mut().filter(|column| real_type(column) == real) {
        let count = input.length()?;
        column.members.clear();
        for _ in 0..count {
            column.members.push(input.lenenc_bytes()?.to_vec());
        }
    }
    Ok(())
}

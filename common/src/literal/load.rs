//! Values as the text of LOAD DATA: one field each, in the format that [`FORMAT`] names.
//!
//! The text is read as `CHARACTER SET binary`: bytes arrive as they are, so that no multi-byte character can swallow a tab or a backslash. Most
//! values are stored from such text exactly as from a literal; a column of which they are not goes through a variable and an expression
//! ([`ColumnWriter::field_expression`]). A value that has no text at all ([`Field::No`]) makes its row one for INSERT.
//!
//! LOAD DATA LOCAL gives warnings where INSERT gives errors (MySQL manual, LOAD DATA, "IGNORE and LOCAL"): whoever sends this text must look at the
//! count of warnings.

use super::convert::Family;
use super::target::TargetKind;
use super::writer::ColumnWriter;
use super::{LiteralError, write_double};
use crate::charset;
use crate::jsonb;
use crate::jsonb::Sink;
use crate::row::Cell;
use crate::schema::Flavor;
use crate::value::number::{digits, write_int, write_unsigned};
use crate::value::{Value, ValueError, decompress};

/// How the text is cut, as the statement says it after the table's name. For a session without NO_BACKSLASH_ESCAPES.
pub const FORMAT: &str = "CHARACTER SET binary FIELDS TERMINATED BY '\\t' ENCLOSED BY '' ESCAPED BY '\\\\' LINES STARTING BY '' TERMINATED BY '\\n'";
/// Stands between two fields.
pub const FIELD_END: u8 = b'\t';
/// Stands behind a row.
pub const ROW_END: u8 = b'\n';

/// What came of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// It is written.
    Written,
    /// It has no text: the row must go by INSERT. What was appended of it is cut off again.
    No,
}

/// A byte that cannot stand in a field as it is.
fn special(byte: u8) -> bool {
    // The zero byte would be taken as it is; but text with zero bytes has been cut by so many programs that all dumps escape it.
    matches!(byte, b'\t' | b'\n' | b'\\' | 0)
}

/// Appends bytes as (a part of) a field.
pub fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len());
    for chunk in bytes.chunks(32) {
        // As in `quote`: most chunks have nothing to escape, and whole ones are looked at with vector instructions.
        if !chunk.iter().fold(false, |any, &byte| any | special(byte)) {
            out.extend_from_slice(chunk);
            continue;
        }
        for &byte in chunk {
            match byte {
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\\' => out.extend_from_slice(b"\\\\"),
                0 => out.extend_from_slice(b"\\0"),
                _ => out.push(byte),
            }
        }
    }
}

/// JSON text that goes into a field.
struct Escaped<'a>(&'a mut Vec<u8>);

impl Sink for Escaped<'_> {
    fn push(&mut self, bytes: &[u8]) {
        escape(bytes, self.0);
    }
}

impl ColumnWriter {
    /// The expression that makes the column's value of `variable`, into which the field is read; None where the column takes the field itself.
    #[must_use]
    pub fn field_expression(&self, variable: &str) -> Option<String> {
        match (&self.target.kind, self.family) {
            // A text would be looked up among the members first, and a member may be named like a number.
            (TargetKind::Enum, Family::Enum) | (TargetKind::Set, Family::Set) => {
                Some(format!("CAST({variable} AS UNSIGNED)"))
            }
            // MySQL makes no JSON of binary strings; MariaDB has none.
            (TargetKind::Json, Family::Json) => Some(format!("CONVERT({variable} USING utf8mb4)")),
            (TargetKind::Text { charset }, Family::Json) => {
                let plain = charset.as_deref().is_none_or(|to| charset::same("utf8mb4", to));
                (!plain).then(|| format!("CONVERT({variable} USING utf8mb4)"))
            }
            _ => {
                let charset = self.introducer.as_ref()?.trim_start_matches('_');
                Some(format!("CONVERT({variable} USING {charset})"))
            }
        }
    }

    /// Appends the value as a field, without its end. An absent cell has no text.
    ///
    /// # Errors
    /// [`LiteralError`]; then `out` is as it was.
    pub fn field(&self, cell: Cell<'_>, out: &mut Vec<u8>) -> Result<Field, LiteralError> {
        let start = out.len();
        let written = match cell {
            Cell::Null => {
                out.extend_from_slice(b"\\N");
                Ok(Field::Written)
            }
            Cell::Bytes(bytes) => self.decoded(bytes).and_then(|value| self.text(value, out)),
            Cell::Absent | Cell::JsonDiff(_) => Ok(Field::No),
        };
        if written != Ok(Field::Written) {
            out.truncate(start);
        }
        written
    }

    fn text(&self, value: Value<'_>, out: &mut Vec<u8>) -> Result<Field, LiteralError> {
        match value {
            Value::Int(n) if self.target.kind == TargetKind::Bit => bits(n as u64, out),
            Value::Unsigned(n) | Value::Bit(n) if self.target.kind == TargetKind::Bit => bits(n, out),
            Value::Year(n) if self.target.kind == TargetKind::Bit => bits(n.into(), out),
            Value::Int(n) => write_int(n, out),
            Value::Unsigned(n) | Value::Bit(n) => write_unsigned(n, out),
            // Fewer than four digits are a short year, and 0 is 2000 then.
            Value::Year(n) if self.target.kind == TargetKind::Year => {
                let mut buffer = [0; 20];
                let text = digits(n.into(), &mut buffer);
                out.extend_from_slice(b"0000".get(text.len().min(4)..).unwrap_or_default());
                out.extend_from_slice(text);
            }
            Value::Year(n) => write_unsigned(n.into(), out),
            Value::Float(n) if n.is_finite() => write_double(n.into(), out),
            Value::Double(n) if n.is_finite() => write_double(n, out),
            Value::Float(_) | Value::Double(_) => return Err(self.malformed(ValueError::Malformed("finite number"))),
            Value::Decimal(n) => n.write(out),
            // The error value is refused by strict sessions; `lenient` writes it.
            Value::Enum(0) if self.target.kind == TargetKind::Enum => return Ok(Field::No),
            Value::Enum(n) if self.target.kind == TargetKind::Enum => write_unsigned(n.into(), out),
            Value::Set(n) if self.target.kind == TargetKind::Set => write_unsigned(n, out),
            Value::Enum(0) => {}
            Value::Enum(n) => return self.member_names(std::iter::once(usize::from(n) - 1), out),
            Value::Set(n) => return self.member_names((0..64).filter(|i| n >> i & 1 == 1), out),
            Value::Bytes(bytes) => self.bytes(bytes, out),
            Value::Compressed(bytes) => {
                let bytes = decompress(bytes).map_err(|source| self.malformed(source))?;
                self.bytes(&bytes, out);
            }
            Value::Date(date) => date.write(out),
            Value::DateTime(value) => value.write(out),
            Value::Time(value) => value.write(out),
            Value::Timestamp(value) => value.utc().write(out),
            Value::Json(document) => {
                let dialect = if self.target.kind == TargetKind::Json { self.dialect } else { Flavor::MariaDb };
                if !jsonb::is_text_exact(document, dialect).map_err(|source| self.json(source))? {
                    return Ok(Field::No);
                }
                jsonb::write_text_into(document, &mut Escaped(out)).map_err(|source| self.json(source))?;
            }
            Value::Geometry(bytes) | Value::Vector(bytes) => escape(bytes, out),
        }
        Ok(Field::Written)
    }

    /// A string, filled up as [`ColumnWriter::value`] fills it up.
    fn bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        escape(bytes, out);
        for _ in 0..self.missing(bytes.len(), false) {
            out.extend_from_slice(b"\\0");
        }
    }

    /// The names of members, for a string column.
    fn member_names(&self, numbers: impl Iterator<Item = usize>, out: &mut Vec<u8>) -> Result<Field, LiteralError> {
        for (i, number) in numbers.enumerate() {
            if i > 0 {
                out.push(b',');
            }
            escape(self.member(number)?, out);
        }
        Ok(Field::Written)
    }
}

/// A BIT column takes the bytes of a string as its bits.
fn bits(n: u64, out: &mut Vec<u8>) {
    let bytes = n.to_be_bytes();
    let first = bytes.iter().position(|&b| b != 0).unwrap_or(7);
    escape(bytes.get(first..).unwrap_or_default(), out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the server reads: fields of one row (sql/sql_load.cc, `READ_INFO::read_field` and `unescape`).
    fn read(text: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut fields = vec![];
        for field in text.split(|&b| b == b'\t') {
            if field == b"\\N" {
                fields.push(None);
                continue;
            }
            let (mut value, mut at) = (vec![], 0);
            while at < field.len() {
                if field[at] == b'\\' {
                    at += 1;
                    value.push(match field[at] {
                        b'0' => 0,
                        b't' => b'\t',
                        b'n' => b'\n',
                        other => other,
                    });
                } else {
                    value.push(field[at]);
                }
                at += 1;
            }
            fields.push(Some(value));
        }
        fields
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read_back(values in prop::collection::vec(prop::option::of(prop::collection::vec(
            prop_oneof![Just(b'\t'), Just(b'\n'), Just(b'\\'), Just(0u8), Just(b'N'), Just(b'\r'), Just(26u8), any::<u8>()], 0..100)), 1..5)) {
            let mut text = vec![];
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    text.push(FIELD_END);
                }
                match value {
                    None => text.extend_from_slice(b"\\N"),
                    Some(bytes) => escape(bytes, &mut text),
                }
            }
            prop_assert!(!text.contains(&ROW_END) && !text.contains(&0));
            prop_assert_eq!(read(&text), values);
        }

        #[test]
        fn bits_are_the_numbers_bytes(n in any::<u64>()) {
            let mut text = vec![];
            bits(n, &mut text);
            let bytes = read(&text).remove(0).unwrap();
            prop_assert!(bytes.len() == 1 || bytes[0] != 0);
            prop_assert_eq!(bytes.iter().fold(0, |n: u64, &b| n << 8 | u64::from(b)), n);
        }
    }
}

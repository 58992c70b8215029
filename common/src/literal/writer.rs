//! Writes the values of one column.

use super::convert::Family;
use super::quote::{name, string};
use super::target::{Target, TargetKind};
use super::{LiteralError, TypeMismatch, write_double};
use crate::charset;
use crate::jsonb;
use crate::row::Cell;
use crate::schema::{Column, Flavor, TableSchema};
use crate::value::number::{write_int, write_unsigned};
use crate::value::{Value, ValueError, decode, decompress};

/// What a condition is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// What the column's own comparison calls equal. Right for the columns of a key, and can use its index.
    Key,
    /// The same bytes. Right for rows without a key; no index helps with strings.
    Exact,
}

/// Writes the values of one column of the source for one column of a destination.
#[derive(Clone, Debug)]
pub struct ColumnWriter {
    pub(super) table: String,
    pub(super) column: Column,
    pub(super) family: Family,
    pub(super) target: Target,
    /// The destination's name in backticks.
    pub(super) quoted: Vec<u8>,
    pub(super) dialect: Flavor,
    /// `_latin1` and the like, where the destination's character set is another one.
    pub(super) introducer: Option<String>,
}

impl ColumnWriter {
    /// For column `index` of the source's table. `dialect` is the destination's family.
    ///
    /// # Errors
    /// [`LiteralError::Types`] if values could not be written without loss.
    pub fn new(schema: &TableSchema, index: usize, target: Target, dialect: Flavor) -> Result<Self, LiteralError> {
        let refuse = |column: &str, from: String, target: Target, reason| {
            LiteralError::Types(Box::new(TypeMismatch {
                table: schema.full_name(),
                column: column.to_owned(),
                from,
                to: target.type_name,
                target: target.name,
                reason,
            }))
        };
        let Some(column) = schema.columns.get(index) else {
            let column = format!("number {index}");
            return Err(refuse(&column, "missing".to_owned(), target, "the source's table has no such column"));
        };
        let Some(family) = Family::of(column) else {
            let from = format!("type {}", column.type_code);
            return Err(refuse(&column.name, from, target, "this type is not known"));
        };
        if let Some(reason) = family.refusal(&target.kind, column, dialect) {
            return Err(refuse(&column.name, family.name(column), target, reason));
        }
        let source_charset = match family {
            Family::Text { charset } => charset,
            Family::Enum | Family::Set => charset::of_collation(column.collation),
            _ => Some("ascii"),
        };
        let introducer = match (source_charset, &target.kind) {
            // JSON and addresses are parsed from characters, never from bytes; but an address whose source is not known to be text
            // is one itself.
            (from, TargetKind::Json) if matches!(family, Family::Text { .. }) => Some(from.unwrap_or("utf8mb4")),
            (Some(from), TargetKind::Address { .. }) if matches!(family, Family::Text { .. }) => Some(from),
            (Some(from), TargetKind::Text { charset: Some(to) }) if !charset::same(from, to) => Some(from),
            _ => None,
        };
        let mut quoted = Vec::new();
        name(&target.name, &mut quoted);
        Ok(Self {
            table: schema.full_name(),
            column: column.clone(),
            family,
            quoted,
            target,
            dialect,
            introducer: introducer.map(|name| format!("_{name}")),
        })
    }

    /// For a destination whose column has the same name and type.
    ///
    /// # Errors
    /// As [`ColumnWriter::new`].
    pub fn same(schema: &TableSchema, index: usize, dialect: Flavor) -> Result<Self, LiteralError> {
        let like = schema.columns.get(index).and_then(Target::like);
        let mut target = like.unwrap_or_else(|| Target {
            name: String::new(),
            kind: TargetKind::Bytes,
            type_name: "unknown".to_owned(),
        });
        if dialect == Flavor::MariaDb && target.kind == TargetKind::Json {
            target.kind = TargetKind::Text { charset: Some("utf8mb4".to_owned()) };
        }
        Self::new(schema, index, target, dialect)
    }

    /// The destination's name in backticks.
    #[must_use]
    pub fn quoted_name(&self) -> &[u8] {
        &self.quoted
    }

    /// Whether this cell is an ENUM's error value, which a strict session refuses ([`super::lenient`]).
    #[must_use]
    pub fn needs_lenient(&self, cell: Cell<'_>) -> bool {
        self.family == Family::Enum
            && self.target.kind == TargetKind::Enum
            && matches!(cell, Cell::Bytes(bytes) if bytes.iter().all(|&b| b == 0))
    }

    /// Appends the value: a literal, or an expression for JSON (for a [`Cell::JsonDiff`] one that changes the column's own value). An absent cell
    /// becomes DEFAULT.
    ///
    /// # Errors
    /// [`LiteralError`]; then `out` is as it was.
    pub fn value(&self, cell: Cell<'_>, out: &mut Vec<u8>) -> Result<(), LiteralError> {
        let start = out.len();
        let written = match cell {
            Cell::Absent => {
                out.extend_from_slice(b"DEFAULT");
                Ok(())
            }
            Cell::Null => {
                out.extend_from_slice(b"NULL");
                Ok(())
            }
            Cell::Bytes(bytes) => self.decoded(bytes).and_then(|value| self.literal(value, false, out)),
            Cell::JsonDiff(diffs) => {
                jsonb::write_diff_sql(&self.quoted, diffs, self.dialect, out).map_err(|source| self.json(source))
            }
        };
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    /// Appends a condition that is true for this value: `` `c`<=>7 ``. An absent cell is true for all.
    ///
    /// # Errors
    /// [`LiteralError`], also for changes to JSON, which are no value; then `out` is as it was.
    pub fn condition(&self, cell: Cell<'_>, matching: Matching, out: &mut Vec<u8>) -> Result<(), LiteralError> {
        let start = out.len();
        let written = match cell {
            Cell::Absent => {
                out.extend_from_slice(b"TRUE");
                Ok(())
            }
            Cell::Null => {
                out.extend_from_slice(&self.quoted);
                out.extend_from_slice(b" IS NULL");
                Ok(())
            }
            Cell::Bytes(bytes) => self.decoded(bytes).and_then(|value| self.compare(value, matching, out)),
            Cell::JsonDiff(_) => Err(LiteralError::Unwritable {
                table: self.table.clone(),
                column: self.column.name.clone(),
                value: "of a partial update".to_owned(),
                reason: "is a change and no value to compare with",
            }),
        };
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn compare(&self, value: Value<'_>, matching: Matching, out: &mut Vec<u8>) -> Result<(), LiteralError> {
        // MySQL compares no VECTOR with anything.
        let vector = self.target.kind == TargetKind::Vector;
        if vector || matching == Matching::Exact && matches!(self.target.kind, TargetKind::Text { .. }) {
            out.extend_from_slice(b"CAST(");
            out.extend_from_slice(&self.quoted);
            out.extend_from_slice(b" AS BINARY)<=>");
            let to = match (&self.introducer, &self.target.kind) {
                (Some(_), TargetKind::Text { charset: Some(to) }) => Some(to),
                _ => None,
            };
            if let Some(to) = to {
                out.extend_from_slice(b"CAST(CONVERT(");
                self.literal(value, true, out)?;
                out.extend_from_slice(b" USING ");
                out.extend_from_slice(to.as_bytes());
                out.extend_from_slice(b") AS BINARY)");
                return Ok(());
            }
        } else {
            out.extend_from_slice(&self.quoted);
            out.extend_from_slice(b"<=>");
        }
        self.literal(value, true, out)
    }

    pub(super) fn decoded<'a>(&self, bytes: &'a [u8]) -> Result<Value<'a>, LiteralError> {
        decode(&self.column, bytes).map_err(|source| self.malformed(source))
    }

    fn literal(&self, value: Value<'_>, condition: bool, out: &mut Vec<u8>) -> Result<(), LiteralError> {
        match value {
            Value::Int(n) => self.plain(out, |out| write_int(n, out)),
            Value::Unsigned(n) | Value::Bit(n) => self.plain(out, |out| write_unsigned(n, out)),
            Value::Year(n) => self.plain(out, |out| write_unsigned(n.into(), out)),
            Value::Float(n) if n.is_finite() => write_double(n.into(), out),
            Value::Double(n) if n.is_finite() => write_double(n, out),
            Value::Float(_) | Value::Double(_) => return Err(self.malformed(ValueError::Malformed("finite number"))),
            Value::Decimal(n) => self.plain(out, |out| n.write(out)),
            Value::Enum(n) if self.target.kind == TargetKind::Enum => write_unsigned(n.into(), out),
            Value::Set(n) if self.target.kind == TargetKind::Set => write_unsigned(n, out),
            Value::Enum(0) => self.members(std::iter::empty(), out)?,
            Value::Enum(n) => self.members(std::iter::once(usize::from(n) - 1), out)?,
            Value::Set(n) => self.members((0..64).filter(|i| n >> i & 1 == 1), out)?,
            Value::Bytes(bytes) => self.string(bytes, condition, out),
            Value::Compressed(bytes) => {
                let bytes = decompress(bytes).map_err(|source| self.malformed(source))?;
                self.string(&bytes, condition, out);
            }
            Value::Date(date) => self.quoted(out, |out| date.write(out)),
            Value::DateTime(value) => self.quoted(out, |out| value.write(out)),
            Value::Time(value) => self.quoted(out, |out| value.write(out)),
            Value::Timestamp(value) => self.quoted(out, |out| value.utc().write(out)),
            Value::Json(document) => {
                let json_column = self.target.kind == TargetKind::Json;
                let written = match (json_column, condition) {
                    (true, true) => jsonb::write_sql_value(document, self.dialect, out),
                    (true, false) => jsonb::write_sql(document, self.dialect, out),
                    (false, _) => jsonb::write_sql(document, Flavor::MariaDb, out),
                };
                written.map_err(|source| self.json(source))?;
            }
            Value::Geometry(bytes) | Value::Vector(bytes) => string(bytes, out),
        }
        Ok(())
    }

    /// A number; in quotes for a string column.
    fn plain(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if matches!(self.target.kind, TargetKind::Text { .. }) {
            self.quoted(out, write);
        } else {
            write(out);
        }
    }

    fn quoted(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(introducer) = &self.introducer {
            out.extend_from_slice(introducer.as_bytes());
        }
        out.push(b'\'');
        write(out);
        out.push(b'\'');
    }

    fn string(&self, bytes: &[u8], condition: bool, out: &mut Vec<u8>) {
        let json = condition && self.target.kind == TargetKind::Json;
        if json {
            out.extend_from_slice(b"CAST(");
        }
        if let Some(introducer) = &self.introducer {
            out.extend_from_slice(introducer.as_bytes());
        }
        string(bytes, out);
        let missing = self.missing(bytes.len(), condition);
        if missing > 0 {
            out.pop();
            for _ in 0..missing {
                out.extend_from_slice(b"\\0");
            }
            out.push(b'\'');
        }
        if json {
            out.extend_from_slice(b" AS JSON)");
        }
    }

    /// How many zero bytes a string of this length lacks. The log leaves trailing zero bytes of fixed lengths away. Servers fill up a BINARY by
    /// themselves when they write it, but neither compare so nor fill up other types.
    pub(super) fn missing(&self, len: usize, condition: bool) -> usize {
        let fill = match (&self.target.kind, self.family) {
            (TargetKind::Address { bytes }, Family::Binary { .. } | Family::Text { charset: None }) => *bytes,
            (TargetKind::Binary { bytes }, _) if condition => *bytes,
            (TargetKind::Bytes | TargetKind::Vector, Family::Binary { bytes }) => bytes,
            (TargetKind::Text { charset: None }, Family::Binary { bytes }) => bytes,
            _ => 0,
        };
        usize::from(fill).saturating_sub(len)
    }

    /// The name of an ENUM's or SET's member, from 0.
    pub(super) fn member(&self, number: usize) -> Result<&[u8], LiteralError> {
        let member = self.column.members.get(number).ok_or_else(|| LiteralError::Unwritable {
            table: self.table.clone(),
            column: self.column.name.clone(),
            value: format!("with member {}", number + 1),
            reason: "has no name among the column's members",
        })?;
        Ok(member)
    }

    /// The names of ENUM's or SET's members, for a string column.
    fn members(&self, numbers: impl Iterator<Item = usize>, out: &mut Vec<u8>) -> Result<(), LiteralError> {
        let mut text = Vec::new();
        for number in numbers {
            let member = self.member(number)?;
            if !text.is_empty() {
                text.push(b',');
            }
            text.extend_from_slice(member);
        }
        if let Some(introducer) = &self.introducer {
            out.extend_from_slice(introducer.as_bytes());
        }
        string(&text, out);
        Ok(())
    }

    pub(super) fn malformed(&self, source: ValueError) -> LiteralError {
        LiteralError::Value { table: self.table.clone(), column: self.column.name.clone(), source }
    }

    pub(super) fn json(&self, source: jsonb::JsonError) -> LiteralError {
        LiteralError::Json { table: self.table.clone(), column: self.column.name.clone(), source }
    }
}

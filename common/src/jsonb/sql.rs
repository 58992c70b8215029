//! Documents as SQL expressions that make the same document: with every number's type, and with the SQL values in it.
//!
//! MySQL parses a document from text exactly as long as it holds no SQL values and no small UNSIGNED INTEGER (measured on 9.7: doubles too come
//! back bit by bit). Only the parts that do are built with functions.

use super::node::{DEPTH_MAX, Node, Opaque};
use super::text::{Budget, write};
use super::{DiffOp, Diffs, JsonError};
use crate::literal::quote::{Escaped, string};
use crate::schema::Flavor;
use crate::value::number::{write_int, write_unsigned};

/// Appends what makes this document in a JSON column: a string where that is exact, else an expression. For MariaDB, whose
/// JSON is text, always the text.
///
/// # Errors
/// [`JsonError`]; then `out` holds a part.
pub fn write_sql(document: &[u8], dialect: Flavor, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let writer = Writer { document };
    let root = Node::root(document)?;
    if dialect == Flavor::MariaDb || writer.is_text_exact(root)? {
        writer.text(root, out)
    } else {
        writer.json(root, out)
    }
}

/// Whether this dialect's JSON columns make the same document from its text.
///
/// # Errors
/// [`JsonError::Malformed`]
pub fn is_text_exact(document: &[u8], dialect: Flavor) -> Result<bool, JsonError> {
    Ok(dialect == Flavor::MariaDb || Writer { document }.is_text_exact(Node::root(document)?)?)
}

/// As [`write_sql`], but what it appends is of type JSON: for comparisons and as a function's argument.
///
/// # Errors
/// [`JsonError`]; then `out` holds a part.
pub fn write_sql_value(document: &[u8], dialect: Flavor, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let writer = Writer { document };
    let root = Node::root(document)?;
    if dialect == Flavor::MariaDb {
        out.extend_from_slice(b"JSON_EXTRACT(");
        writer.text(root, out)?;
        out.extend_from_slice(b",_utf8mb4'$')");
        return Ok(());
    }
    writer.json(root, out)
}

/// Appends the expression that applies the changes of a partial update to `column` (a quoted name).
///
/// # Errors
/// [`JsonError`]; then `out` holds a part.
pub fn write_diff_sql(column: &[u8], diffs: &[u8], dialect: Flavor, out: &mut Vec<u8>) -> Result<(), JsonError> {
    // The last change is the outermost call, so the calls are opened from last to first. They are few: read them twice.
    let calls = Diffs::new(diffs).collect::<Result<Vec<_>, _>>()?;
    for diff in calls.iter().rev() {
        out.extend_from_slice(match diff.op {
            DiffOp::Replace => b"JSON_REPLACE(",
            DiffOp::Remove => b"JSON_REMOVE(",
            DiffOp::Insert if diff.path.ends_with(b"]") => b"JSON_ARRAY_INSERT(",
            DiffOp::Insert => b"JSON_INSERT(",
        });
    }
    out.extend_from_slice(column);
    for diff in calls {
        out.extend_from_slice(b",_utf8mb4");
        string(diff.path, out);
        if let Some(value) = diff.value {
            out.push(b',');
            write_sql_value(value, dialect, out)?;
        }
        out.push(b')');
    }
    Ok(())
}

struct Writer<'a> {
    document: &'a [u8],
}

impl Writer<'_> {
    /// Whether the server's parser makes the same value from its text.
    fn is_text_exact(&self, node: Node<'_>) -> Result<bool, JsonError> {
        fn exact(node: Node<'_>, depth: usize, budget: &mut Budget) -> Result<bool, JsonError> {
            budget.spend()?;
            if depth > DEPTH_MAX {
                return Err(JsonError::Malformed("more than 100 levels"));
            }
            match node {
                Node::Opaque(_) => Ok(false),
                Node::Unsigned(n) => Ok(i64::try_from(n).is_err()),
                Node::Array(container) | Node::Object(container) => {
                    for i in 0..container.len() {
                        if !exact(container.value(i)?, depth + 1, budget)? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                }
                _ => Ok(true),
            }
        }
        exact(node, 0, &mut Budget::of(self.document))
    }

    fn text(&self, node: Node<'_>, out: &mut Vec<u8>) -> Result<(), JsonError> {
        out.extend_from_slice(b"_utf8mb4'");
        write(node, 0, &mut Budget::of(self.document), &mut Escaped(out))?;
        out.push(b'\'');
        Ok(())
    }

    /// An expression of type JSON.
    fn json(&self, node: Node<'_>, out: &mut Vec<u8>) -> Result<(), JsonError> {
        if self.is_text_exact(node)? {
            out.extend_from_slice(b"CAST(");
            self.text(node, out)?;
            out.extend_from_slice(b" AS JSON)");
            return Ok(());
        }
        if matches!(node, Node::Array(_) | Node::Object(_)) {
            return self.member(node, 0, &mut Budget::of(self.document), out);
        }
        // CAST refuses binary strings; an array takes every value.
        out.extend_from_slice(b"JSON_EXTRACT(JSON_ARRAY(");
        self.member(node, 0, &mut Budget::of(self.document), out)?;
        out.extend_from_slice(b"),_utf8mb4'$[0]')");
        Ok(())
    }

    /// An argument of JSON_ARRAY or JSON_OBJECT.
    fn member(&self, node: Node<'_>, depth: usize, budget: &mut Budget, out: &mut Vec<u8>) -> Result<(), JsonError> {
        budget.spend()?;
        if depth > DEPTH_MAX {
            return Err(JsonError::Malformed("more than 100 levels"));
        }
        match node {
            Node::Null => out.extend_from_slice(b"NULL"),
            Node::Bool(true) => out.extend_from_slice(b"TRUE"),
            Node::Bool(false) => out.extend_from_slice(b"FALSE"),
            Node::Int(n) => write_int(n, out),
            Node::Unsigned(n) => {
                out.extend_from_slice(b"CAST(");
                write_unsigned(n, out);
                out.extend_from_slice(b" AS UNSIGNED)");
            }
            Node::Double(n) => crate::literal::write_double(n, out),
            Node::Text(text) => {
                out.extend_from_slice(b"_utf8mb4");
                string(text, out);
            }
            Node::Opaque(value) => opaque(value, out)?,
            Node::Array(_) | Node::Object(_) if self.is_text_exact(node)? => self.json(node, out)?,
            Node::Array(container) => {
                out.extend_from_slice(b"JSON_ARRAY(");
                for i in 0..container.len() {
                    if i > 0 {
                        out.push(b',');
                    }
                    self.member(container.value(i)?, depth + 1, budget, out)?;
                }
                out.push(b')');
            }
            Node::Object(container) => {
                out.extend_from_slice(b"JSON_OBJECT(");
                for i in 0..container.len() {
                    if i > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(b"_utf8mb4");
                    string(container.key(i)?, out);
                    out.push(b',');
                    self.member(container.value(i)?, depth + 1, budget, out)?;
                }
                out.push(b')');
            }
        }
        Ok(())
    }
}

fn opaque(value: Opaque<'_>, out: &mut Vec<u8>) -> Result<(), JsonError> {
    match value {
        Opaque::Decimal(value) => {
            // A literal would take fewer digits before the point than the document has room for.
            out.extend_from_slice(b"CAST(");
            value.write(out);
            out.extend_from_slice(b" AS DECIMAL(");
            write_unsigned(value.precision().into(), out);
            out.push(b',');
            write_unsigned(value.scale().into(), out);
            out.extend_from_slice(b"))");
        }
        Opaque::Date(value) => {
            out.extend_from_slice(b"CAST('");
            value.write(out);
            out.extend_from_slice(b"' AS DATE)");
        }
        Opaque::Time(value) => {
            out.extend_from_slice(b"CAST('");
            value.write(out);
            out.extend_from_slice(b"' AS TIME(6))");
        }
        Opaque::DateTime(value) => {
            out.extend_from_slice(b"CAST('");
            value.write(out);
            out.extend_from_slice(b"' AS DATETIME(6))");
        }
        Opaque::Timestamp(value) => {
            let write = |out: &mut Vec<u8>| {
                out.extend_from_slice(b"_utf8mb4'");
                value.write(out);
                out.push(b'\'');
            };
            typed(write, "TIMESTAMP(6)", out);
        }
        Opaque::Bytes(15, bytes) => hex(bytes, out),
        Opaque::Bytes(16, bytes) => {
            let number = bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
            let kind = format!("BIT({})", 8 * bytes.len().clamp(1, 8));
            typed(|out| write_unsigned(number, out), &kind, out);
        }
        Opaque::Bytes(type_code, bytes) => {
            let kind = match type_code {
                249 => "TINYBLOB".to_owned(),
                250 => "MEDIUMBLOB".to_owned(),
                251 => "LONGBLOB".to_owned(),
                252 => "BLOB".to_owned(),
                254 => format!("BINARY({})", bytes.len()),
                other => return Err(JsonError::Opaque(other)),
            };
            typed(|out| hex(bytes, out), &kind, out);
        }
    }
    Ok(())
}

/// A value of a column type that no CAST makes: JSON_TABLE makes columns of every type.
fn typed(value: impl Fn(&mut Vec<u8>), kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"(SELECT JSON_EXTRACT(JSON_ARRAY(v),_utf8mb4'$[0]') FROM JSON_TABLE(JSON_ARRAY(");
    value(out);
    out.extend_from_slice(b"),_utf8mb4'$[*]' COLUMNS (v ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b" PATH _utf8mb4'$')) t)");
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
    out.reserve(2 * bytes.len() + 3);
    out.extend_from_slice(b"x'");
    for byte in bytes {
        out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    out.push(b'\'');
}

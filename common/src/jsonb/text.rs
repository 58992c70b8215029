//! Documents as JSON text, as MySQL prints them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::node::{DEPTH_MAX, Node, Opaque};
use super::{Container, JsonError};
use crate::value::number::digits;

/// Where text goes: as it is, or into a SQL string.
pub(crate) trait Sink {
    fn push(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn push(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts the values of a document. Entries may overlap in damaged bytes, so that the text of a small document has no end; a document cannot hold
/// more values than bytes.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn of(document: &[u8]) -> Self {
        Self(document.len() + 1)
    }

    pub(super) fn spend(&mut self) -> Result<(), JsonError> {
        self.0 = self.0.checked_sub(1).ok_or(JsonError::Malformed("values overlap"))?;
        Ok(())
    }
}

/// Appends a document as the text that MySQL prints for it: DECIMAL as a number, temporal values as strings, binary ones as
/// `"base64:type15:…"`. What it loses is the difference between these and plain numbers and strings.
///
/// # Errors
/// [`JsonError::Malformed`]; then `out` holds a part.
pub fn write_text(document: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    write(Node::root(document)?, 0, &mut Budget::of(document), out)
}

/// As [`write_text`], into a text of another kind.
pub(crate) fn write_text_into(document: &[u8], out: &mut impl Sink) -> Result<(), JsonError> {
    write(Node::root(document)?, 0, &mut Budget::of(document), out)
}

pub(super) fn write(node: Node<'_>, depth: usize, budget: &mut Budget, out: &mut impl Sink) -> Result<(), JsonError> {
    if depth > DEPTH_MAX {
        return Err(JsonError::Malformed("more than 100 levels"));
    }
    budget.spend()?;
    match node {
        Node::Null => out.push(b"null"),
        Node::Bool(true) => out.push(b"true"),
        Node::Bool(false) => out.push(b"false"),
        Node::Int(n) => number(n < 0, n.unsigned_abs(), out),
        Node::Unsigned(n) => number(false, n, out),
        Node::Double(n) => out.push(ryu::Buffer::new().format(n).as_bytes()),
        Node::Text(text) => string(text, out),
        Node::Opaque(value) => opaque(value, out),
        Node::Array(container) => {
            out.push(b"[");
            entries(container, |i, out: &mut _| write(container.value(i)?, depth + 1, budget, out), out)?;
            out.push(b"]");
        }
        Node::Object(container) => {
            out.push(b"{");
            let mut entry = |i, out: &mut _| {
                string(container.key(i)?, out);
                Sink::push(out, b": ");
                write(container.value(i)?, depth + 1, budget, out)
            };
            entries(container, &mut entry, out)?;
            out.push(b"}");
        }
    }
    Ok(())
}

fn entries<S: Sink>(
    container: Container<'_>,
    mut entry: impl FnMut(usize, &mut S) -> Result<(), JsonError>,
    out: &mut S,
) -> Result<(), JsonError> {
    for i in 0..container.len() {
        if i > 0 {
            out.push(b", ");
        }
        entry(i, out)?;
    }
    Ok(())
}

fn number(negative: bool, magnitude: u64, out: &mut impl Sink) {
    if negative {
        out.push(b"-");
    }
    out.push(digits(magnitude, &mut [0; 20]));
}

fn string(text: &[u8], out: &mut impl Sink) {
    out.push(b"\"");
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\') {
        let (plain, tail) = rest.split_at(at);
        out.push(plain);
        match tail.first().copied().unwrap_or_default() {
            b'"' => out.push(b"\\\""),
            b'\\' => out.push(b"\\\\"),
            b'\n' => out.push(b"\\n"),
            b'\r' => out.push(b"\\r"),
            b'\t' => out.push(b"\\t"),
            8 => out.push(b"\\b"),
            12 => out.push(b"\\f"),
            other => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
                out.push(&[b'\\', b'u', b'0', b'0', digit(other >> 4), digit(other & 15)]);
            }
        }
        rest = tail.get(1..).unwrap_or_default();
    }
    out.push(rest);
    out.push(b"\"");
}

fn opaque(value: Opaque<'_>, out: &mut impl Sink) {
    // These are short but for binary strings, which are rare: a buffer of their own does no harm.
    let mut text = Vec::new();
    match value {
        Opaque::Decimal(value) => {
            value.write(&mut text);
            return out.push(&text);
        }
        Opaque::Date(value) => value.write(&mut text),
        Opaque::Time(value) => value.write(&mut text),
        Opaque::DateTime(value) | Opaque::Timestamp(value) => value.write(&mut text),
        Opaque::Bytes(type_code, bytes) => {
            text.extend_from_slice(format!("base64:type{type_code}:").as_bytes());
            // Base64 as the server's: a line break after each 76 characters.
            for (i, line) in STANDARD.encode(bytes).as_bytes().chunks(76).enumerate() {
                if i > 0 {
                    text.push(b'\n');
                }
                text.extend_from_slice(line);
            }
        }
    }
    string(&text, out);
}

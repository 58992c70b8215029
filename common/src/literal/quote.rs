//! Strings in SQL text.

use crate::jsonb::Sink;

/// Appends `bytes` as a string literal. Right for a session whose `character_set_client` is binary (`SET NAMES binary`, so that no
/// multi-byte character can swallow a backslash) and whose `sql_mode` lacks NO_BACKSLASH_ESCAPES.
pub fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'\'');
    escape(bytes, out);
    out.push(b'\'');
}

/// Appends a name in backticks.
pub fn name(name: &str, out: &mut Vec<u8>) {
    out.push(b'`');
    for part in name.split_inclusive('`') {
        out.extend_from_slice(part.as_bytes());
        if part.ends_with('`') {
            out.push(b'`');
        }
    }
    out.push(b'`');
}

fn special(byte: u8) -> bool {
    // The zero byte stands as it is nowhere, since older clients and servers cut text there.
    byte == b'\'' || byte == b'\\' || byte == 0
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.chunks(32) {
        // Looking at whole chunks first lets the compiler use vector instructions; most have nothing to escape.
        if !chunk.iter().fold(false, |any, &byte| any | special(byte)) {
            out.extend_from_slice(chunk);
            continue;
        }
        for &byte in chunk {
            match byte {
                0 => out.extend_from_slice(b"\\0"),
                _ if special(byte) => out.extend_from_slice(&[b'\\', byte]),
                _ => out.push(byte),
            }
        }
    }
}

/// Text that goes into a string literal.
pub(crate) struct Escaped<'a>(pub(crate) &'a mut Vec<u8>);

impl Sink for Escaped<'_> {
    fn push(&mut self, bytes: &[u8]) {
        escape(bytes, self.0);
    }
}

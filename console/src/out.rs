//! Standard output, of which the reader may have gone away.

use std::io::{self, Write};

/// Writes bytes to stdout. A closed pipe is no error: whoever read it has seen enough.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    ignore_closed(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Writes a line to stdout.
pub(crate) fn line(text: &str) -> io::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes a JSON document to stdout.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
    text.push(b'\n');
    bytes(&text)
}

fn ignore_closed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

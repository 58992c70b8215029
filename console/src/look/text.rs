//! Words for what stands in records.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Microseconds since 1970 as `2026-01-31T12:00:00.5Z`; `-` for none.
pub(super) fn time_us(us: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1000).ok();
    match at.and_then(|at| at.format(&Rfc3339).ok()) {
        Some(text) if us > 0 => text,
        _ => "-".to_owned(),
    }
}

/// Bytes as text if they are UTF-8, else as `0x…`.
pub(super) fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => hex(bytes),
    }
}

/// `0x…`
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 + bytes.len() * 2);
    out.push_str("0x");
    for byte in bytes {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// At most `chars` characters on one line.
pub(super) fn shorten(text: &str, chars: usize) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= chars {
        return line;
    }
    let mut out: String = line.chars().take(chars).collect();
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_bytes_are_readable() {
        assert_eq!(time_us(0), "-");
        assert_eq!(time_us(1_769_860_800_500_000), "2026-01-31T12:00:00.5Z");
        assert_eq!(bytes(b"\xff\x00"), "0xff00");
        assert_eq!(shorten("a\n b   c", 3), "a b…");
    }
}

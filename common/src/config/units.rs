//! Sizes and durations as people write them.

use std::time::Duration;

const KIB: u64 = 1 << 10;
/// By the unit's lower-case name.
const UNITS: [(&str, u64); 12] = [
    ("", 1),
    ("b", 1),
    ("k", KIB),
    ("kib", KIB),
    ("kb", 1000),
    ("m", KIB << 10),
    ("mib", KIB << 10),
    ("mb", 1_000_000),
    ("g", KIB << 20),
    ("gib", KIB << 20),
    ("gb", 1_000_000_000),
    ("tib", KIB << 30),
];

/// Bytes from `64MiB`, `1.5GiB`, `200GB`, `4096`. None for anything else, or more than 2^63.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number = number.replace('_', "");
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(*factor).filter(|bytes| *bytes <= 1 << 63);
    }
    let bytes = number.parse::<f64>().ok()? * *factor as f64;
    (bytes.is_finite() && (0.0..=(1u64 << 63) as f64).contains(&bytes)).then_some(bytes as u64)
}

/// `bytes` in the largest binary unit that keeps it exact; what [`parse_size`] reads back.
#[must_use]
pub fn exact_size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// `bytes` for people: three significant digits.
#[must_use]
pub fn about_size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        let size = bytes as f64 / (1u64 << shift) as f64;
        if size >= 1.0 {
            let digits = if size >= 100.0 { 0 } else { 1 };
            return format!("{size:.digits$} {unit}");
        }
    }
    format!("{bytes} B")
}

/// A duration from `7d`, `12h`, `1h 30m`, `500ms`. None for anything else, and for more than 1000 years.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim()).ok().filter(|d| d.as_secs() < 1000 * 366 * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("200GiB", 200 << 30),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("1.5KiB", 1536),
            ("10GB", 10_000_000_000),
            ("4096", 4096),
            ("1_000", 1000),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "GiB", "x", "-1", "1.2.3MiB", "5 parsecs", "99999999999TiB", "1e9"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn an_exact_size_is_read_back() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, (1 << 20) + 1, 200 << 30] {
            assert_eq!(parse_size(&exact_size(bytes)), Some(bytes));
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("1h 30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("7"), None);
        assert_eq!(parse_duration("99999999y"), None);
    }
}

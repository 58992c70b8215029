//! The format description event that goes before rebuilt row events.

use super::HEADER_BYTES;

/// A format description event that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not such an event, or not whole.
    #[error("not a whole format description event: {0}")]
    Malformed(&'static str),
    /// A source of the time before checksums (MySQL 5.6.1, MariaDB 5.3).
    #[error("the source's version {0} is too old: its format description has no checksum algorithm")]
    NoChecksumAlgorithm(String),
}

const TYPE: usize = 4;
const SIZE: usize = 9;
const LOG_POS: usize = 13;
const FLAGS: usize = 17;
const VERSION: usize = HEADER_BYTES + 2;
/// Fixed part: binlog version, server version, creation time, header length.
const FIXED_BYTES: usize = 2 + 50 + 4 + 1;

/// The source's format description event with its checksum algorithm set to OFF, the in-use flag cleared, and its own CRC
/// right. `raw` is the event with its header; its last 4 bytes (the CRC) or 5 (the algorithm and the CRC) may be missing, as in what
/// mysql_common's `Event::data` gives.
///
/// # Errors
/// [`FormatError`].
pub fn format_description(raw: &[u8]) -> Result<Vec<u8>, FormatError> {
    const FORMAT_DESCRIPTION_EVENT: u8 = 15;
    if raw.len() < HEADER_BYTES + FIXED_BYTES {
        return Err(FormatError::Malformed("too short"));
    }
    if raw.get(TYPE) != Some(&FORMAT_DESCRIPTION_EVENT) {
        return Err(FormatError::Malformed("another type"));
    }
    if raw.get(HEADER_BYTES..HEADER_BYTES + 2) != Some(&4u16.to_le_bytes()) {
        return Err(FormatError::Malformed("a binlog version other than 4"));
    }
    if raw.get(HEADER_BYTES + FIXED_BYTES - 1).copied() != Some(HEADER_BYTES as u8) {
        return Err(FormatError::Malformed("headers of another length than 19"));
    }
    let version = raw.get(VERSION..VERSION + 50).unwrap_or_default();
    let version = version.split(|&b| b == 0).next().unwrap_or_default();
    let version = String::from_utf8_lossy(version).into_owned();
    if !has_checksum_algorithm(&version) {
        return Err(FormatError::NoChecksumAlgorithm(version));
    }
    let size = raw.get(SIZE..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b)) as usize;
    let body = match size.checked_sub(raw.len()) {
        Some(0 | 4 | 5) if size >= HEADER_BYTES + FIXED_BYTES + 5 => size - 5,
        _ => return Err(FormatError::Malformed("its size is not the header's")),
    };
    let mut event = raw.get(..body).unwrap_or_default().to_vec();
    event.push(0); // BINLOG_CHECKSUM_ALG_OFF
    // The in-use flag changes while a file is written, which is why a server leaves it out of the CRC; and no position.
    if let Some(flags) = event.get_mut(FLAGS) {
        *flags &= !1;
    }
    if let Some(position) = event.get_mut(LOG_POS..LOG_POS + 4) {
        position.fill(0);
    }
    let crc = crc32fast::hash(&event);
    event.extend_from_slice(&crc.to_le_bytes());
    Ok(event)
}

/// MySQL since 5.6.1, MariaDB since 5.3.0; newer MariaDB hide behind `5.5.5-`.
fn has_checksum_algorithm(version: &str) -> bool {
    let mariadb = version.contains("MariaDB");
    let version = version.strip_prefix("5.5.5-").filter(|v| mariadb && v.contains('.')).unwrap_or(version);
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next(), numbers.next(), numbers.next());
    version >= if mariadb { (Some(5), Some(3), Some(0)) } else { (Some(5), Some(6), Some(1)) }
}

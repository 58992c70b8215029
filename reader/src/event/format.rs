//! FORMAT_DESCRIPTION: who writes the file, how long the fixed parts of its events are, and whether they carry checksums.

use common::Flavor;

use super::input::Input;
use super::{CHECKSUM_BYTES, Checksum, EventError, HEADER_BYTES, kind};

/// What a format description event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatDescription {
    /// The server's version.
    pub version: String,
    /// Family, by the version's text.
    pub flavor: Flavor,
    /// How the events of the file are checked.
    pub checksum: Checksum,
    /// Length of the fixed part of each type, from type 1 on.
    post_header: Vec<u8>,
    /// The event with the checksum algorithm set to OFF, and its own checksum right.
    pub without_checksums: Vec<u8>,
}

/// Offset of `server_version` in the event.
const VERSION_AT: usize = HEADER_BYTES + 2;

/// Whether the server that wrote this format description knows checksums: MySQL since 5.6.1, MariaDB since 5.3. The event then ends with one
/// byte for the algorithm and four for the checksum, whether the algorithm is OFF or not.
///
/// # Errors
/// [`EventError::Short`]
pub fn has_checksum_field(event: &[u8]) -> Result<bool, EventError> {
    let version = event.get(VERSION_AT..VERSION_AT + 50).ok_or(EventError::Short { what: "the format description" })?;
    let text = String::from_utf8_lossy(version);
    let text = text.trim_end_matches('\0');
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    Ok(if is_mariadb(text) { number >= (5, 3, 0) } else { number >= (5, 6, 1) })
}

fn is_mariadb(version: &str) -> bool {
    version.to_ascii_lowercase().contains("mariadb")
}

impl FormatDescription {
    /// Reads the body of the event, its checksum algorithm byte included and its checksum not.
    ///
    /// # Errors
    /// Another binlog version than 4, an unknown checksum algorithm, missing bytes.
    pub fn parse(header: &super::Header, body: &[u8]) -> Result<Self, EventError> {
        let mut event = header.to_bytes().to_vec();
        event.extend_from_slice(body);
        let has_field = has_checksum_field(&event)?;

        let mut input = Input::new(body, "the format description");
        let binlog_version = input.u16()?;
        if binlog_version != 4 {
            return Err(EventError::invalid("the binlog version", format!("{binlog_version}, only 4 is known")));
        }
        let version = String::from_utf8_lossy(input.take(50)?).trim_end_matches('\0').to_owned();
        input.take(4)?; // When the file was created; 0 unless the server was just started.
        let header_length = input.u8()?;
        if usize::from(header_length) != HEADER_BYTES {
            return Err(EventError::invalid("the length of event headers", format!("{header_length}")));
        }
        let mut post_header = input.rest();
        let mut checksum = Checksum::Off;
        if has_field {
            let (&algorithm, lengths) =
                post_header.split_last().ok_or(EventError::Short { what: "the checksum algorithm" })?;
            post_header = lengths;
            checksum = match algorithm {
                0 => Checksum::Off,
                1 => Checksum::Crc32,
                other => return Err(EventError::invalid("the checksum algorithm", format!("{other}"))),
            };
            if let Some(last) = event.last_mut() {
                *last = 0;
            }
            let crc = crc32fast::hash(&event);
            event.extend_from_slice(&crc.to_le_bytes());
            debug_assert_eq!(event.len(), HEADER_BYTES + body.len() + CHECKSUM_BYTES);
        }
        let flavor = if is_mariadb(&version) { Flavor::MariaDb } else { Flavor::MySql };
        Ok(Self { version, flavor, checksum, post_header: post_header.to_vec(), without_checksums: event })
    }

    /// Bytes of a table id: 6, and 4 in files of servers before 5.1.4 (`TABLE_MAP_HEADER_LEN` 6 instead of 8).
    #[must_use]
    pub fn table_id_bytes(&self) -> usize {
        if self.post_header_bytes(kind::TABLE_MAP) == 6 { 4 } else { 6 }
    }

    /// Length of the fixed part of events of this type; 0 for types that the server does not know.
    #[must_use]
    pub fn post_header_bytes(&self, kind: u8) -> usize {
        usize::from(kind).checked_sub(1).and_then(|at| self.post_header.get(at)).map_or(0, |&len| usize::from(len))
    }
}

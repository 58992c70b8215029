//! Binlog events, decoded by ourselves straight from their bytes.
//!
//! The layouts follow MySQL's `libs/mysql/binlog/event/*.h` and `sql/log_event.cc`, and MariaDB's `sql/log_event.h`. Nothing in here does
//! I/O or keeps state; bytes that do not fit are an error, never a panic.

pub mod format;
pub mod gtid;
pub mod input;
pub mod kind;
pub mod payload;
pub mod query;
pub mod rows;
pub mod table_map;
pub mod xa;

#[cfg(test)]
pub(crate) mod tests;

use input::Input;

/// Length of the header of every event since binlog version 4.
pub const HEADER_BYTES: usize = 19;
/// Length of the checksum after an event.
pub const CHECKSUM_BYTES: usize = 4;
/// Header flag: made by the server for this connection; does not stand in the binlog file (`LOG_EVENT_ARTIFICIAL_F`).
pub const FLAG_ARTIFICIAL: u16 = 0x20;
/// Header flag: whoever does not know the type may skip the event (`LOG_EVENT_IGNORABLE_F`).
pub const FLAG_IGNORABLE: u16 = 0x80;

/// Why the bytes of an event cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The event ends before a field of it.
    #[error("the event ends inside {what}")]
    Short {
        /// The field.
        what: &'static str,
    },
    /// A field holds what it cannot hold.
    #[error("{what} is invalid: {detail}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The checksum does not match the bytes.
    #[error("the checksum of the event is {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// As the event says.
        found: u32,
        /// As its bytes say.
        computed: u32,
    },
}

impl EventError {
    pub(crate) fn invalid(what: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid { what, detail: detail.into() }
    }
}

/// The header of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Seconds since 1970 UTC by the clock of the server that wrote it first.
    pub timestamp: u32,
    /// Type; see [`kind`].
    pub kind: u8,
    /// Server that wrote it first.
    pub server_id: u32,
    /// Bytes of the event with header and checksum.
    pub size: u32,
    /// Where the next event starts, modulo 2^32; 0 in artificial events and inside transactions of MariaDB 11.4 and later.
    pub log_pos: u32,
    /// `FLAG_*`
    pub flags: u16,
}

impl Header {
    /// Reads the first 19 bytes.
    ///
    /// # Errors
    /// [`EventError::Short`]
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, EventError> {
        let mut input = Input::new(bytes, "the event header");
        Ok(Self {
            timestamp: input.u32()?,
            kind: input.u8()?,
            server_id: input.u32()?,
            size: input.u32()?,
            log_pos: input.u32()?,
            flags: input.u16()?,
        })
    }

    /// The bytes of this header.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            if let Some(to) = out.get_mut(at..at + bytes.len()) {
                to.copy_from_slice(bytes);
            }
            at += bytes.len();
        };
        put(&self.timestamp.to_le_bytes());
        put(&[self.kind]);
        put(&self.server_id.to_le_bytes());
        put(&self.size.to_le_bytes());
        put(&self.log_pos.to_le_bytes());
        put(&self.flags.to_le_bytes());
        out
    }

    /// Made for this connection only.
    #[must_use]
    pub fn is_artificial(&self) -> bool {
        self.flags & FLAG_ARTIFICIAL != 0 || self.timestamp == 0 && self.log_pos == 0
    }
}

/// The checksum algorithm of a binlog file (`binlog_checksum`); each file's format description says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// Events carry none.
    #[default]
    Off,
    /// CRC-32 (IEEE) over header and body.
    Crc32,
}

/// An event of which the checksum was verified and taken off.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its header.
    pub header: Header,
    /// What follows the header, without checksum.
    pub body: &'a [u8],
}

impl<'a> Event<'a> {
    /// Splits an event as it came over the wire. A format description event always carries a checksum field where its server knows
    /// checksums at all (WL#2540), so that its own body decides and not `checksum`.
    ///
    /// # Errors
    /// A size that is not the header's, a wrong checksum.
    #[inline]
    pub fn parse(bytes: &'a [u8], checksum: Checksum) -> Result<Self, EventError> {
        let header = Header::parse(bytes)?;
        if header.size as usize != bytes.len() || bytes.len() < HEADER_BYTES {
            return Err(EventError::invalid(
                "the event size",
                format!("the header says {} bytes, {} came", header.size, bytes.len()),
            ));
        }
        let checksum = match header.kind {
            kind::FORMAT_DESCRIPTION => format::has_checksum_field(bytes)?,
            _ => checksum == Checksum::Crc32,
        };
        let end = if checksum { verify(bytes)? } else { bytes.len() };
        let body = bytes.get(HEADER_BYTES..end).ok_or(EventError::Short { what: "the event" })?;
        Ok(Self { header, body })
    }
}

/// Checks the last four bytes against those before; returns where the checksum starts.
fn verify(bytes: &[u8]) -> Result<usize, EventError> {
    let (data, crc) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(EventError::Short { what: "the checksum" })?;
    let (found, computed) = (u32::from_le_bytes(*crc), crc32fast::hash(data));
    if found != computed {
        return Err(EventError::Checksum { found, computed });
    }
    Ok(data.len())
}

//! Where the events stand in the source's binlog.

use common::BinlogPosition;

use super::{Failure, Follower, Step};
use crate::event::input::Input;
use crate::event::{EventError, Header, kind};

impl Follower {
    /// Counts the offset on in 64 bits; `log_pos` has 32. Where they disagree the source left events out (transactions that we hold), and the
    /// next offset with these low bits is meant; or it begins with the head of the file (its format description), which lies a little
    /// behind.
    pub(super) fn advance(&mut self, header: &Header) {
        if header.log_pos != 0 {
            self.at_is_exact = true;
        } else if header.kind == kind::FORMAT_DESCRIPTION {
            self.at_is_exact = false; // the head of a file of which the middle follows
        }
        let next = self.at.offset + u64::from(header.size);
        self.at.offset = if header.log_pos == 0 || next as u32 == header.log_pos {
            next
        } else {
            let candidate = next & !u64::from(u32::MAX) | u64::from(header.log_pos);
            if candidate < next && next - candidate > 1 << 31 { candidate + (1 << 32) } else { candidate }
        };
    }

    pub(super) fn rotate(&mut self, header: &Header, body: &[u8]) -> Result<Step, Failure> {
        let mut input = Input::new(body, "the rotate event");
        let offset = input.u64()?;
        let mut name = input.rest();
        // Before the format description nothing says whether events carry checksums; this one does where binlog_checksum is on.
        if header.is_artificial() && self.format.is_none() {
            name = trim_checksum(header, body, name);
        }
        let name = std::str::from_utf8(name).map_err(|_| EventError::Invalid {
            what: "the file name in the rotate event",
            detail: "not UTF-8".into(),
        })?;
        // A fake one too says where the events that follow stand.
        self.at = BinlogPosition { file: name.to_owned(), offset };
        if self.group.is_none() && !header.is_artificial() && !self.catching_up {
            self.place.position = self.at.clone();
            self.place_moved = true;
            return Ok(Step::Moved);
        }
        Ok(Step::Inside)
    }

    /// An idle source says where it stands; between transactions that is where we stand too.
    pub(super) fn heartbeat(&mut self, offset: u64, file: &[u8], whole: bool) -> Result<Step, Failure> {
        let file = std::str::from_utf8(file)
            .map_err(|_| EventError::Invalid { what: "the file name in the heartbeat", detail: "not UTF-8".into() })?;
        if self.group.is_some() || file != self.at.file || self.skip_below > 0 && self.at.offset < self.skip_below {
            return Ok(Step::Inside);
        }
        // The old heartbeat has 32 bits only.
        let offset = if whole { offset } else { self.at.offset & !u64::from(u32::MAX) | offset & u64::from(u32::MAX) };
        if offset > self.at.offset || !self.at_is_exact {
            self.at.offset = offset;
            self.at_is_exact = true;
            if self.at.file == self.place.position.file && offset >= self.place.position.offset {
                self.catching_up = false;
            }
            if !self.catching_up && (self.at.file != self.place.position.file || offset > self.place.position.offset) {
                self.place.position = self.at.clone();
                self.place_moved = true;
            }
        }
        Ok(Step::Moved)
    }
}

/// Takes a checksum off the end of a fake ROTATE's file name, if the last four bytes are the event's.
fn trim_checksum<'a>(header: &Header, body: &'a [u8], name: &'a [u8]) -> &'a [u8] {
    let Some((data, crc)) = body.split_last_chunk::<4>() else { return name };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header.to_bytes());
    hasher.update(data);
    match hasher.finalize().to_le_bytes() == *crc {
        true => name.get(..name.len().saturating_sub(4)).unwrap_or_default(),
        false => name,
    }
}

/// HEARTBEAT_V2: fields of type, length, value; 1 is the file, 2 the offset, 0 the end.
pub(super) fn parse_heartbeat_v2(body: &[u8]) -> Result<(&[u8], u64), EventError> {
    let mut input = Input::new(body, "the heartbeat");
    let (mut file, mut offset) = (&[][..], 0);
    while !input.is_empty() {
        let field = input.lenenc()?;
        if field == 0 {
            break;
        }
        let value = input.lenenc_bytes()?;
        match field {
            1 => file = value,
            2 => offset = Input::new(value, "the heartbeat").lenenc()?,
            _ => {}
        }
    }
    Ok((file, offset))
}

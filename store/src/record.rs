//! Records inside a frame's body: `length u32, kind u8, flags u8, reserved u16, payload`, one after the other, unaligned.

use common::Seq;

use crate::bytes::{u16_at, u32_at};
use crate::error::Damage;
use crate::frame::{ENDS_INSIDE, FrameHeader, STARTS_INSIDE};

/// Length of a record header, in bytes.
pub const RECORD_HEADER: usize = 8;
/// Flag of the last record of its seq.
pub(crate) const ENDS_SEQ: u8 = 1;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The seq it belongs to.
    pub seq: Seq,
    /// The caller's kind.
    pub kind: u8,
    /// The caller's bytes.
    pub payload: &'a [u8],
    /// The last record of its seq.
    pub ends_seq: bool,
    /// The first record of its seq.
    pub first_in_seq: bool,
}

/// Walks the body once: every length fits, the count is right, the seq flags agree with the frame's. Returns the seqs that end here.
pub(crate) fn check(body: &[u8], header: &FrameHeader) -> Result<u32, Damage> {
    let (mut at, mut count, mut ends, mut last_ends) = (0usize, 0u32, 0u32, false);
    while at < body.len() {
        let Some(head) = body.get(at..at + RECORD_HEADER) else {
            return Err(Damage::Records("a record header passes the end of the body"));
        };
        let len = u32_at(head, 0) as usize;
        let flags = head[5];
        if flags & !ENDS_SEQ != 0 || u16_at(head, 6) != 0 {
            return Err(Damage::Records("a record has unknown flags"));
        }
        if len > body.len() - at - RECORD_HEADER {
            return Err(Damage::Records("a record passes the end of the body"));
        }
        at += RECORD_HEADER + len;
        count += 1;
        last_ends = flags & ENDS_SEQ != 0;
        ends += u32::from(last_ends);
    }
    if count != header.record_count {
        return Err(Damage::Records("the number of records is not the one in the frame header"));
    }
    if count == 0 {
        return Err(Damage::Records("the frame is empty"));
    }
    let ends_inside = header.flags & ENDS_INSIDE != 0;
    if ends_inside == last_ends {
        return Err(Damage::Records("the last record and the frame header disagree about the end of the seq"));
    }
    if ends_inside && ends > 0 {
        return Err(Damage::Records("a frame that ends inside a seq holds another seq"));
    }
    Ok(ends)
}

/// The records of a checked body.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    body: &'a [u8],
    seq: u64,
    first: bool,
}

impl<'a> Records<'a> {
    pub(crate) fn new(body: &'a [u8], header: &FrameHeader) -> Records<'a> {
        Records { body, seq: header.base_seq, first: header.flags & STARTS_INSIDE == 0 }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        let (head, rest) = self.body.split_at_checked(RECORD_HEADER)?;
        let (payload, rest) = rest.split_at_checked(u32_at(head, 0) as usize)?;
        let ends_seq = head[5] & ENDS_SEQ != 0;
        let record = RecordRef { seq: Seq(self.seq), kind: head[4], payload, ends_seq, first_in_seq: self.first };
        self.body = rest;
        self.first = ends_seq;
        self.seq += u64::from(ends_seq);
        Some(record)
    }
}

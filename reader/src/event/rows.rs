//! Row events: WRITE, UPDATE and DELETE in versions 1 and 2, partial updates, and MariaDB's compressed ones (`Rows_event` in rows_event.h).

use std::borrow::Cow;

use common::record::Op;

use super::input::Input;
use super::{EventError, kind};

/// The rows of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsEvent<'a> {
    /// Id of the TABLE_MAP before it.
    pub table_id: u64,
    /// As [`common::record::Rows::flags`].
    pub flags: u16,
    /// What was done.
    pub op: Op,
    /// Columns of the table.
    pub width: usize,
    /// Present columns of before images; empty for inserts.
    pub columns_before: &'a [u8],
    /// Present columns of after images; empty for deletes.
    pub columns_after: &'a [u8],
    /// The images; borrowed unless they were compressed.
    pub images: Cow<'a, [u8]>,
}

/// Flag of the last row event of a statement (`STMT_END_F`).
pub const STATEMENT_END: u16 = 1;

/// Decompressed images of one MariaDB row event larger than this are refused: no row event is larger than the largest packet.
const IMAGES_BYTES_MAX: u64 = 1 << 30;

impl<'a> RowsEvent<'a> {
    /// Whether events of this type are row events that [`RowsEvent::parse`] reads.
    #[must_use]
    #[inline]
    pub fn is(kind: u8) -> bool {
        shape(kind).is_some()
    }

    /// Reads the body of an event for which [`RowsEvent::is`] says yes.
    ///
    /// # Errors
    /// Missing bytes; compressed images that cannot be decompressed.
    #[inline]
    pub fn parse(kind: u8, body: &'a [u8], id_bytes: usize) -> Result<Self, EventError> {
        let (op, version, compressed) =
            shape(kind).ok_or_else(|| EventError::invalid("the type of a row event", kind.to_string()))?;
        let mut input = Input::new(body, "the row event");
        let table_id = input.uint(id_bytes)?;
        let flags = input.u16()?;
        if version == 2 {
            let extra = usize::from(input.u16()?);
            let extra =
                extra.checked_sub(2).ok_or_else(|| EventError::invalid("the row event", "extra data length"))?;
            input.take(extra)?; // partition ids and NDB's data
        }
        let width = input.length()?;
        let bitmap = width.div_ceil(8);
        let first = input.take(bitmap)?;
        let (columns_before, columns_after) = match op {
            Op::Insert => (&[][..], first),
            Op::Delete => (first, &[][..]),
            Op::Update | Op::PartialUpdate => (first, input.take(bitmap)?),
        };
        let images = if compressed { decompress(input.rest())?.into() } else { input.rest().into() };
        Ok(Self { table_id, flags, op, width, columns_before, columns_after, images })
    }
}

/// Operation, version and whether the images are compressed.
#[inline]
fn shape(kind: u8) -> Option<(Op, u8, bool)> {
    Some(match kind {
        kind::WRITE_ROWS => (Op::Insert, 2, false),
        kind::UPDATE_ROWS => (Op::Update, 2, false),
        kind::DELETE_ROWS => (Op::Delete, 2, false),
        kind::PARTIAL_UPDATE_ROWS => (Op::PartialUpdate, 2, false),
        kind::WRITE_ROWS_V1 => (Op::Insert, 1, false),
        kind::UPDATE_ROWS_V1 => (Op::Update, 1, false),
        kind::DELETE_ROWS_V1 => (Op::Delete, 1, false),
        kind::MARIADB_WRITE_ROWS_COMPRESSED_V1 => (Op::Insert, 1, true),
        kind::MARIADB_UPDATE_ROWS_COMPRESSED_V1 => (Op::Update, 1, true),
        kind::MARIADB_DELETE_ROWS_COMPRESSED_V1 => (Op::Delete, 1, true),
        kind::MARIADB_WRITE_ROWS_COMPRESSED => (Op::Insert, 2, true),
        kind::MARIADB_UPDATE_ROWS_COMPRESSED => (Op::Update, 2, true),
        kind::MARIADB_DELETE_ROWS_COMPRESSED => (Op::Delete, 2, true),
        _ => return None,
    })
}

/// MariaDB's `binlog_buf_uncompress`: a byte with the number of length bytes in its low three bits and the algorithm (0 = zlib) in
/// bits 4 to 6, the length (most significant byte first), the compressed bytes.
///
/// # Errors
/// Another algorithm, damaged data, another length than announced.
pub fn decompress(bytes: &[u8]) -> Result<Vec<u8>, EventError> {
    const WHAT: &str = "the compressed part of the event";
    let mut input = Input::new(bytes, WHAT);
    let head = input.u8()?;
    if head & 0x70 != 0 || head & 0x80 == 0 {
        return Err(EventError::invalid(WHAT, format!("algorithm byte {head:#04x}")));
    }
    let len = input.take(usize::from(head & 7))?.iter().fold(0u64, |len, &byte| len << 8 | u64::from(byte));
    if len > IMAGES_BYTES_MAX {
        return Err(EventError::invalid(WHAT, format!("{len} bytes")));
    }
    let mut out = Vec::new();
    let reader = std::io::Read::take(flate2::read::ZlibDecoder::new(input.rest()), len + 1);
    std::io::copy(&mut { reader }, &mut out).map_err(|error| EventError::invalid(WHAT, error.to_string()))?;
    if out.len() as u64 != len {
        return Err(EventError::invalid(WHAT, format!("{} bytes instead of {len}", out.len())));
    }
    Ok(out)
}

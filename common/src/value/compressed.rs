//! MariaDB's compressed columns (`VARCHAR(…) COMPRESSED`, `TEXT COMPRESSED`).

use std::io::Read;

use super::ValueError;

/// The bytes of a compressed value. The first byte holds the method in its high half (0 stored, 8 zlib) and, for zlib, 8 for a
/// stream without zlib's own header plus the number of bytes of the length that follows, high byte first (sql/field_comp.cc). An empty value is
/// empty.
///
/// # Errors
/// [`ValueError::Malformed`] if it is no such value, or not as long as it says.
pub fn decompress(bytes: &[u8]) -> Result<Vec<u8>, ValueError> {
    const MALFORMED: ValueError = ValueError::Malformed("compressed value");
    let Some((&head, rest)) = bytes.split_first() else { return Ok(Vec::new()) };
    match head >> 4 {
        0 => Ok(rest.to_vec()),
        8 => {
            let (len, stream) = rest.split_at_checked(usize::from(head & 7)).ok_or(MALFORMED)?;
            let len = super::big_endian(len).filter(|&len| len <= 1 << 32).ok_or(MALFORMED)?;
            // Deflate makes at most 1032 bytes of one: a length beyond that is not believed, and nothing is allocated for it.
            if len > stream.len() as u64 * 1032 + 1032 {
                return Err(MALFORMED);
            }
            let mut out = Vec::with_capacity(usize::try_from(len).map_err(|_| MALFORMED)?);
            let read = if head & 8 != 0 {
                flate2::read::DeflateDecoder::new(stream).take(len + 1).read_to_end(&mut out)
            } else {
                flate2::read::ZlibDecoder::new(stream).take(len + 1).read_to_end(&mut out)
            };
            match read {
                Ok(n) if n as u64 == len => Ok(out),
                _ => Err(MALFORMED),
            }
        }
        _ => Err(MALFORMED),
    }
}

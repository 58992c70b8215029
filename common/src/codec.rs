//! The one place that knows bincode: how the payload of a record becomes bytes and back.
//!
//! Framing (lengths, checksums, kinds) belongs to the store and is never bincode's business. Decoding is limited, so that
//! a damaged length prefix is an error and not an allocation (bincode without a limit aborts the process), and a decoder
//! must use up its input exactly: a payload with bytes left over was written by something else.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::de::BorrowDecode;
use bincode::enc::Encode;
use bincode::error::{DecodeError, EncodeError};

/// The largest payload that is decoded, in bytes. A record's payload is never larger than a frame's body (64 MiB).
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<PAYLOAD_BYTES_MAX>> =
    bincode::config::standard().with_limit::<PAYLOAD_BYTES_MAX>();

/// A payload that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not such a payload.
    #[error("cannot decode {what}: {source}")]
    Decode {
        /// The type that was expected.
        what: &'static str,
        /// What bincode says.
        #[source]
        source: Box<DecodeError>,
    },
    /// The payload was followed by bytes that do not belong to it.
    #[error("cannot decode {what}: {used} bytes were used of {len}")]
    Trailing {
        /// The type that was expected.
        what: &'static str,
        /// Bytes used.
        used: usize,
        /// Bytes given.
        len: usize,
    },
    /// The value cannot be written.
    #[error("cannot encode {what}: {source}")]
    Encode {
        /// The type that was to be written.
        what: &'static str,
        /// What bincode says.
        #[source]
        source: Box<EncodeError>,
    },
}

/// Appends `value` to `out`.
///
/// # Errors
/// [`CodecError::Encode`] if the value holds something that bincode cannot write.
pub fn encode_into<T: Encode>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    bincode::encode_into_writer(value, VecWriter(out), CONFIG)
        .map_err(|source| CodecError::Encode { what: std::any::type_name::<T>(), source: Box::new(source) })
}

/// `value` as bytes.
///
/// # Errors
/// As [`encode_into`].
pub fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Reads a `T` that fills `bytes` exactly; byte slices in it borrow from `bytes`.
///
/// # Errors
/// [`CodecError::Decode`] for bytes that are no `T`, [`CodecError::Trailing`] for bytes left over.
pub fn decode<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let what = std::any::type_name::<T>();
    let (value, used) = bincode::borrow_decode_from_slice(bytes, CONFIG)
        .map_err(|source| CodecError::Decode { what, source: Box::new(source) })?;
    if used != bytes.len() {
        return Err(CodecError::Trailing { what, used, len: bytes.len() });
    }
    Ok(value)
}

struct VecWriter<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for VecWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_length_is_an_error_and_not_an_allocation() {
        let mut bytes = encode(&vec![1u8, 2, 3]).unwrap();
        bytes.splice(0..1, [253, 255, 255, 255, 255, 255, 255, 255, 127]);
        assert!(matches!(decode::<Vec<u8>>(&bytes), Err(CodecError::Decode { .. })));
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        let mut bytes = encode(&7u64).unwrap();
        bytes.push(0);
        assert!(matches!(decode::<u64>(&bytes), Err(CodecError::Trailing { used: 1, len: 2, .. })));
    }
}

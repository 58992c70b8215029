//! TRANSACTION_PAYLOAD: a compressed transaction (`Transaction_payload_event` in control_events.h), decompressed as a stream.

use std::io::{BufReader, Read};

use super::input::Input;
use super::{Event, EventError, HEADER_BYTES, Header};

/// Events inside a payload beyond this size are refused: the server cannot send larger ones either.
const EVENT_BYTES_MAX: u32 = 1 << 30;

/// The events inside a payload, one by one; memory is one event and the decompressor's window.
pub struct PayloadEvents<'a> {
    reader: Reader<'a>,
    buffer: Vec<u8>,
    left: u64,
}

enum Reader<'a> {
    Plain(&'a [u8]),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<&'a [u8]>>>),
}

impl std::fmt::Debug for PayloadEvents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadEvents").field("left", &self.left).finish_non_exhaustive()
    }
}

const WHAT: &str = "the transaction payload";

impl<'a> PayloadEvents<'a> {
    /// Reads the head of the payload event's body: fields of type, length, value, all length-encoded.
    ///
    /// # Errors
    /// Missing bytes, an algorithm that is not known.
    pub fn open(body: &'a [u8]) -> Result<Self, EventError> {
        const END: u64 = 0;
        const SIZE: u64 = 1;
        const ALGORITHM: u64 = 2;
        const UNCOMPRESSED_SIZE: u64 = 3;
        const ZSTD: u64 = 0;
        const NONE: u64 = 255;
        let mut input = Input::new(body, WHAT);
        let (mut size, mut algorithm, mut left) = (None, NONE, None);
        loop {
            let field = input.lenenc()?;
            if field == END {
                break;
            }
            let mut value = Input::new(input.lenenc_bytes()?, WHAT);
            match field {
                SIZE => size = Some(value.length()?),
                ALGORITHM => algorithm = value.lenenc()?,
                UNCOMPRESSED_SIZE => left = Some(value.lenenc()?),
                _ => {} // a field of a later server; it only adds
            }
        }
        let data = input.take(size.unwrap_or(input.len()))?;
        let reader = match algorithm {
            ZSTD => {
                let decoder = zstd::stream::read::Decoder::new(data)
                    .map_err(|error| EventError::invalid(WHAT, error.to_string()))?;
                Reader::Zstd(Box::new(decoder))
            }
            NONE => Reader::Plain(data),
            other => return Err(EventError::invalid(WHAT, format!("compression algorithm {other}"))),
        };
        let left = left.unwrap_or(data.len() as u64);
        Ok(Self { reader, buffer: Vec::new(), left })
    }

    fn fill(&mut self, from: usize) -> Result<(), EventError> {
        let target = self.buffer.get_mut(from..).unwrap_or_default();
        let done = match &mut self.reader {
            Reader::Plain(bytes) => bytes.read_exact(target),
            Reader::Zstd(decoder) => decoder.read_exact(target),
        };
        done.map_err(|error| EventError::invalid(WHAT, error.to_string()))
    }

    /// The next event, or None after the last. Inner events carry no checksum.
    ///
    /// # Errors
    /// Damaged data, or another length than the payload announced.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, EventError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.buffer.resize(HEADER_BYTES, 0);
        self.fill(0)?;
        let header = Header::parse(&self.buffer)?;
        let size = header.size as usize;
        if size < HEADER_BYTES || header.size > EVENT_BYTES_MAX || u64::from(header.size) > self.left {
            return Err(EventError::invalid(WHAT, format!("an event of {size} bytes where {} are left", self.left)));
        }
        self.buffer.resize(size, 0);
        self.fill(HEADER_BYTES)?;
        self.left -= u64::from(header.size);
        let body = self.buffer.get(HEADER_BYTES..).unwrap_or_default();
        Ok(Some(Event { header, body }))
    }
}

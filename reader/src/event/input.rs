//! Reading little-endian fields with every bound checked.

use super::EventError;

/// The bytes of an event that are not read yet, and what they are, for the message if they end too early.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Input<'a> {
    /// All of `bytes`, called `what` in errors.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    /// Bytes left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes all that is left.
    #[must_use]
    #[inline]
    pub fn rest(self) -> &'a [u8] {
        self.bytes
    }

    /// Takes `count` bytes.
    ///
    /// # Errors
    /// [`EventError::Short`]
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], EventError> {
        let (head, tail) = self.bytes.split_at_checked(count).ok_or(EventError::Short { what: self.what })?;
        self.bytes = tail;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], EventError> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(EventError::Short { what: self.what })?;
        self.bytes = tail;
        Ok(*head)
    }

    /// Takes 16 bytes.
    ///
    /// # Errors
    /// [`EventError::Short`]
    #[inline]
    pub fn uuid(&mut self) -> Result<[u8; 16], EventError> {
        self.array()
    }

    /// One byte.
    ///
    /// # Errors
    /// [`EventError::Short`]
    #[inline]
    pub fn u8(&mut self) -> Result<u8, EventError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`EventError::Short`]
    #[inline]
    pub fn u16(&mut self) -> Result<u16, EventError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`EventError::Short`]
    #[inline]
    pub fn u32(&mut self) -> Result<u32, EventError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`EventError::Short`]
    #[inline]
    pub fn u64(&mut self) -> Result<u64, EventError> {
        self.array().map(u64::from_le_bytes)
    }

    /// An integer of `count` (at most eight) bytes.
    ///
    /// # Errors
    /// [`EventError::Short`]
    #[inline]
    pub fn uint(&mut self, count: usize) -> Result<u64, EventError> {
        Ok(self.take(count)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// A length-encoded integer (`net_field_length`).
    ///
    /// # Errors
    /// [`EventError::Short`], or the markers 251 and 255, which are no length.
    #[inline]
    pub fn lenenc(&mut self) -> Result<u64, EventError> {
        match self.u8()? {
            byte @ 0..=250 => Ok(u64::from(byte)),
            252 => self.uint(2),
            253 => self.uint(3),
            254 => self.u64(),
            byte => Err(EventError::invalid(self.what, format!("{byte} does not start a length"))),
        }
    }

    /// A length-encoded integer that counts bytes or items.
    ///
    /// # Errors
    /// As [`Input::lenenc`]; also a number beyond the address space.
    #[inline]
    pub fn length(&mut self) -> Result<usize, EventError> {
        let value = self.lenenc()?;
        usize::try_from(value).map_err(|_| EventError::invalid(self.what, format!("the length {value}")))
    }

    /// Bytes after a length-encoded length.
    ///
    /// # Errors
    /// As [`Input::length`].
    #[inline]
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], EventError> {
        let count = self.length()?;
        self.take(count)
    }

    /// Bytes up to a NUL, which is taken too.
    ///
    /// # Errors
    /// [`EventError::Short`] if there is none.
    pub fn until_nul(&mut self) -> Result<&'a [u8], EventError> {
        let end = self.bytes.iter().position(|&byte| byte == 0).ok_or(EventError::Short { what: self.what })?;
        let head = self.take(end)?;
        self.take(1)?;
        Ok(head)
    }

    /// An unsigned integer of the `mysql::serialization` library: as many low one-bits in the first byte as bytes follow it.
    ///
    /// # Errors
    /// [`EventError::Short`]
    pub fn varlen(&mut self) -> Result<u64, EventError> {
        let first = *self.bytes.first().ok_or(EventError::Short { what: self.what })?;
        match first.trailing_ones() as usize {
            8 => {
                self.take(1)?;
                self.u64()
            }
            7 => Ok(self.u64()? >> 8),
            more => Ok(self.uint(more + 1)? >> (more + 1)),
        }
    }

    /// A signed integer of that library: the sign is the lowest bit.
    ///
    /// # Errors
    /// [`EventError::Short`]
    pub fn varlen_signed(&mut self) -> Result<i64, EventError> {
        let value = self.varlen()?;
        let magnitude = (value >> 1).cast_signed();
        Ok(if value & 1 == 1 { -magnitude - 1 } else { magnitude })
    }
}

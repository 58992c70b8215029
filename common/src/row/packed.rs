//! How long a packed value is: by type and metadata, and perhaps a length in front of it.
//!
//! The rules are `Table_map_event`'s and `calc_field_size` in libs/mysql/binlog/event/binary_log_funcs.cpp (MySQL) and
//! `table_def::calc_field_size` in sql/rpl_utility_server.cc (MariaDB).

pub(super) const JSON: u8 = 245;

/// A packed value is `prefix` bytes of length (little endian), that many bytes, and `fixed` more. Fixed sizes have no
/// prefix, prefixed values have no fixed part; one rule for both spares a branch per column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// 0 to 4.
    pub(super) prefix: u8,
    pub(super) json: bool,
    pub(super) fixed: u16,
    /// Masks the length out of the four bytes at the value.
    pub(super) mask: u32,
}

impl Packed {
    const fn fixed(fixed: u16) -> Self {
        Self { prefix: 0, json: false, fixed, mask: 0 }
    }

    const fn prefixed(prefix: u8) -> Self {
        Self {
            prefix,
            json: false,
            fixed: 0,
            mask: if prefix == 4 { u32::MAX } else { (1 << (8 * prefix as u32)) - 1 },
        }
    }

    fn blob(meta: u16) -> Option<Self> {
        (1..=4).contains(&meta).then(|| Self::prefixed(meta as u8))
    }

    /// None for a type that cannot stand in a row event (TYPED_ARRAY belongs to hidden columns, which are not logged), or
    /// metadata that no server writes for it.
    pub(super) fn new(type_code: u8, meta: u16) -> Option<Self> {
        let [first, second] = meta.to_le_bytes();
        let fraction = |bytes: u16| (meta <= 6).then(|| Self::fixed(bytes + meta.div_ceil(2)));
        Some(match type_code {
            1 | 13 => Self::fixed(1),                          // TINY, YEAR
            2 => Self::fixed(2),                               // SHORT
            9 | 10 | 14 | 11 => Self::fixed(3),                // INT24, DATE, NEWDATE, TIME before 5.6
            3 | 7 => Self::fixed(4),                           // LONG, TIMESTAMP before 5.6
            8 | 12 => Self::fixed(8),                          // LONGLONG, DATETIME before 5.6
            4 if meta == 4 => Self::fixed(4),                  // FLOAT
            5 if meta == 8 => Self::fixed(8),                  // DOUBLE
            6 => Self::fixed(0),                               // NULL
            17 => return fraction(4),                          // TIMESTAMP2
            18 => return fraction(5),                          // DATETIME2
            19 => return fraction(3),                          // TIME2
            246 => Self::fixed(decimal_bytes(first, second)?), // NEWDECIMAL
            16 if first < 8 && second <= 8 => Self::fixed(u16::from(second) + u16::from(first > 0)), // BIT
            15 | 141 => Self::prefixed(if meta > 255 { 2 } else { 1 }), // VARCHAR, VARCHAR_COMPRESSED
            249..=252 | 255 | 140 | 242 => return Self::blob(meta), // blobs, GEOMETRY, BLOB_COMPRESSED, VECTOR
            JSON => Self { json: true, ..Self::blob(meta)? },
            247 | 248 if (1..=8).contains(&second) => Self::fixed(second.into()), // ENUM, SET
            254 | 253 => match first {
                247 | 248 if (1..=8).contains(&second) => Self::fixed(second.into()),
                247 | 248 => return None,
                _ => Self::prefixed(if string_bytes(meta) > 255 { 2 } else { 1 }),
            },
            _ => return None,
        })
    }

    /// The length of the value at the start of `rest`, its prefix included, or None if `rest` is too short for it.
    #[inline(always)]
    pub(super) fn len(self, rest: &[u8]) -> Option<usize> {
        let len = match rest.first_chunk::<4>() {
            Some(four) => u32::from_le_bytes(*four) & self.mask,
            None => {
                let mut four = [0; 4];
                four.get_mut(..rest.len())?.copy_from_slice(rest);
                if rest.len() < usize::from(self.prefix) {
                    return None;
                }
                u32::from_le_bytes(four) & self.mask
            }
        };
        let len = usize::from(self.prefix) + usize::from(self.fixed) + len as usize;
        (len <= rest.len()).then_some(len)
    }
}

/// The length in bytes of a CHAR or BINARY column from its metadata. Lengths above 255 lend two bits from the real type's
/// byte, where they are stored inverted (`Field_string::do_save_field_metadata` in sql/field.cc).
pub(crate) fn string_bytes(meta: u16) -> u16 {
    let [first, second] = meta.to_le_bytes();
    u16::from(second) | (u16::from(first & 0x30) ^ 0x30) << 4
}

/// The packed size of a DECIMAL: four bytes for nine digits, fewer for the rest, whole and fraction apart
/// (`decimal_bin_size` in strings/decimal.cc). None if there is no such DECIMAL.
#[must_use]
pub fn decimal_bytes(precision: u8, scale: u8) -> Option<u16> {
    const REST: [u16; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    if !(1..=65).contains(&precision) || scale > precision {
        return None;
    }
    let digits = |n: u8| u16::from(n / 9) * 4 + REST.get(usize::from(n % 9)).copied().unwrap_or(0);
    Some(digits(precision - scale) + digits(scale))
}

/// How many bytes of metadata a type has in TABLE_MAP: 0, 1 or 2.
#[must_use]
pub fn metadata_bytes(type_code: u8) -> usize {
    match type_code {
        4 | 5 | 17 | 18 | 19 | 140 | 242 | JSON | 249..=252 | 255 => 1,
        15 | 16 | 141 | 246 | 247 | 248 | 253 | 254 => 2,
        _ => 0,
    }
}

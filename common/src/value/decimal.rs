//! DECIMAL: packed decimal digits, nine in four bytes.

use crate::row::decimal_bytes;

const GROUP_DIGITS: usize = 9;
/// Bytes for 0 to 9 digits.
const REST_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// A DECIMAL as it is packed (`bin2decimal` in strings/decimal.cc): whole digits, then fraction digits, each in groups of nine in four
/// bytes, high byte first, with the incomplete group at the outer end; the first bit is set for positive numbers, and negative ones have
/// all bits inverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal<'a> {
    packed: &'a [u8],
    precision: u8,
    scale: u8,
}

impl<'a> Decimal<'a> {
    /// None if `packed` has not the length of a DECIMAL(`precision`, `scale`).
    #[must_use]
    pub fn new(packed: &'a [u8], precision: u8, scale: u8) -> Option<Self> {
        (usize::from(decimal_bytes(precision, scale)?) == packed.len()).then_some(Self { packed, precision, scale })
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.packed.first().is_some_and(|byte| byte & 0x80 == 0)
    }

    /// Digits in all.
    #[must_use]
    pub fn precision(&self) -> u8 {
        self.precision
    }

    /// Digits behind the point.
    #[must_use]
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// Appends its text: no leading zeros, `scale` digits behind the point, no sign on zero.
    pub fn write(&self, out: &mut Vec<u8>) {
        let negative = self.is_negative();
        let whole = usize::from(self.precision - self.scale);
        let fraction = usize::from(self.scale);
        let mut digits = [b'0'; 96];
        let (mut at, mut end) = (0, 0);
        let mut group = |n: usize, at: &mut usize, end: &mut usize| {
            let bytes = REST_BYTES.get(n).copied().unwrap_or(0);
            let mut value = 0u32;
            for offset in *at..*at + bytes {
                let mut byte = self.packed.get(offset).copied().unwrap_or(0);
                if offset == 0 {
                    byte ^= 0x80;
                }
                value = value << 8 | u32::from(if negative { !byte } else { byte });
            }
            *at += bytes;
            for place in digits.get_mut(*end..*end + n).unwrap_or_default().iter_mut().rev() {
                *place = b'0' + (value % 10) as u8;
                value /= 10;
            }
            *end += n;
        };
        group(whole % GROUP_DIGITS, &mut at, &mut end);
        for _ in 0..whole / GROUP_DIGITS {
            group(GROUP_DIGITS, &mut at, &mut end);
        }
        for _ in 0..fraction / GROUP_DIGITS {
            group(GROUP_DIGITS, &mut at, &mut end);
        }
        group(fraction % GROUP_DIGITS, &mut at, &mut end);
        let digits = digits.get(..end).unwrap_or_default();
        let (whole, fraction) = digits.split_at_checked(whole).unwrap_or_default();
        if negative && digits.iter().any(|&d| d != b'0') {
            out.push(b'-');
        }
        let first = whole.iter().position(|&d| d != b'0').unwrap_or(whole.len());
        match whole.get(first..) {
            Some(rest) if !rest.is_empty() => out.extend_from_slice(rest),
            _ => out.push(b'0'),
        }
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    }
}

impl std::fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = Vec::with_capacity(70);
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

//! What turns one value of the binary protocol into its packed form.

use super::{Malformed, ResultColumn, decimal, temporal};
use crate::charset::BINARY;
use crate::jsonb;
use crate::row::string_bytes;
use crate::schema::Column;

/// How a column is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The same bytes: integers, FLOAT, DOUBLE.
    One,
    Two,
    Four,
    Eight,
    /// An integer of `from` bytes that goes into `to` bytes if it fits.
    Integer {
        from: u8,
        to: u8,
        signed: bool,
    },
    Year,
    /// A string with a length of one byte.
    Short {
        max: u8,
    },
    /// With a length of `prefix` bytes.
    Long {
        prefix: u8,
        max: u32,
    },
    /// BINARY: the log has no trailing zero bytes.
    Binary {
        prefix: u8,
        max: u32,
    },
    Bit {
        bytes: u8,
    },
    Decimal {
        precision: u8,
        scale: u8,
    },
    Date,
    DateTime {
        digits: u8,
    },
    Timestamp {
        digits: u8,
    },
    Time {
        digits: u8,
    },
    Json,
}

/// How an integer is sent.
fn integer_bytes(type_code: u8) -> Option<u8> {
    Some(match type_code {
        1 => 1,
        2 | 13 => 2,
        3 | 9 => 4,
        8 => 8,
        _ => return None,
    })
}

fn is_string(type_code: u8) -> bool {
    matches!(type_code, 15 | 249..=255 | 242)
}

impl Step {
    /// None if the result is not one of this column.
    pub(super) fn new(column: &Column, result: &ResultColumn) -> Option<Self> {
        let [first, second] = column.meta.to_le_bytes();
        let sent = result.type_code;
        let integer = |to: u8, signed: bool| {
            let from = integer_bytes(sent).filter(|_| signed != result.is_unsigned())?;
            Some(match (from, to) {
                (1, 1) => Self::One,
                (2, 2) => Self::Two,
                (4, 4) => Self::Four,
                (8, 8) => Self::Eight,
                _ => Self::Integer { from, to, signed },
            })
        };
        let same = |types: &[u8], step: Self| types.contains(&sent).then_some(step);
        let string = |prefix: u8, max: u32| {
            let step = match u8::try_from(max) {
                Ok(max) if prefix == 1 => Self::Short { max },
                _ => Self::Long { prefix, max },
            };
            is_string(sent).then_some(step)
        };
        let blob = |prefix: u16| {
            let prefix = u8::try_from(prefix).ok().filter(|prefix| (1..=4).contains(prefix))?;
            string(prefix, if prefix == 4 { u32::MAX } else { (1 << (8 * prefix)) - 1 })
        };
        match column.type_code {
            1 => integer(1, !column.unsigned),
            2 => integer(2, !column.unsigned),
            9 => integer(3, !column.unsigned),
            3 => integer(4, !column.unsigned),
            8 => integer(8, !column.unsigned),
            4 => same(&[4], Self::Four),
            5 => same(&[5], Self::Eight),
            246 => same(&[246], Self::Decimal { precision: first, scale: second }),
            16 => same(&[16], Self::Bit { bytes: second + u8::from(first > 0) }),
            13 => same(&[13], Self::Year),
            10 | 14 => same(&[10, 14], Self::Date),
            17 => same(&[7, 17], Self::Timestamp { digits: first }),
            18 => same(&[12, 18], Self::DateTime { digits: first }),
            19 => same(&[11, 19], Self::Time { digits: first }),
            15 => string(if column.meta > 255 { 2 } else { 1 }, column.meta.into()),
            252 | 242 | 255 => blob(column.meta),
            245 => (sent == 245 || is_string(sent)).then_some(Self::Json),
            254 if matches!(first, 247 | 248) => integer(second, false),
            254 => {
                let max = string_bytes(column.meta);
                let prefix = if max > 255 { 2 } else { 1 };
                match column.collation {
                    BINARY => is_string(sent).then_some(Self::Binary { prefix, max: max.into() }),
                    _ => string(prefix, max.into()),
                }
            }
            _ => None,
        }
    }

    /// Packs the value at the start of `rest` and returns what is behind it. No problem with an error means that the packet ends early.
    #[inline(always)]
    pub(super) fn pack<'a>(self, rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Option<Malformed>> {
        match self {
            Self::One => fixed::<1>(rest, out),
            Self::Two => fixed::<2>(rest, out),
            Self::Four => fixed::<4>(rest, out),
            Self::Eight => fixed::<8>(rest, out),
            Self::Short { max } => {
                let (value, behind) = bytes(rest).ok_or(None)?;
                if value.len() > usize::from(max) {
                    return Err(Some(Malformed::Length(value.len())));
                }
                out.push(value.len() as u8);
                out.extend_from_slice(value);
                Ok(behind)
            }
            Self::Long { prefix, max } => {
                let (value, behind) = bytes(rest).ok_or(None)?;
                counted(value, prefix, max, out)?;
                Ok(behind)
            }
            other => other.pack_converted(rest, out),
        }
    }

    /// What is not just copied.
    fn pack_converted<'a>(self, rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Option<Malformed>> {
        let wrong = |problem| move || Some(problem);
        match self {
            Self::Integer { from, to, signed } => {
                let (value, behind) = rest.split_at_checked(from.into()).ok_or(None)?;
                let mut eight = [0; 8];
                eight.iter_mut().zip(value).for_each(|(place, byte)| *place = *byte);
                let number = u64::from_le_bytes(eight);
                let shift = 64 - 8 * u32::from(to);
                let fits = if signed {
                    let sent = 64 - 8 * u32::from(from);
                    let number = (number << sent) as i64 >> sent;
                    number << shift >> shift == number
                } else {
                    number << shift >> shift == number
                };
                if !fits {
                    return Err(Some(Malformed::Number));
                }
                // An integer that was sent in fewer bytes keeps its sign.
                let sent = 64 - 8 * u32::from(from);
                let number = if signed { (number << sent) as i64 >> sent } else { number as i64 };
                out.extend_from_slice(number.to_le_bytes().get(..to.into()).unwrap_or_default());
                Ok(behind)
            }
            Self::Year => {
                let (value, behind) = rest.split_first_chunk().ok_or(None)?;
                out.push(match u16::from_le_bytes(*value) {
                    0 => 0,
                    year @ 1901..=2155 => (year - 1900) as u8,
                    _ => return Err(Some(Malformed::Number)),
                });
                Ok(behind)
            }
            Self::Binary { prefix, max } => {
                let (value, behind) = bytes(rest).ok_or(None)?;
                let len = value.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                counted(value.get(..len).unwrap_or_default(), prefix, max, out)?;
                Ok(behind)
            }
            Self::Bit { bytes: expected } => {
                let (value, behind) = bytes(rest).ok_or(None)?;
                let cut = value.len().checked_sub(expected.into());
                let (zeros, value) = cut.and_then(|cut| value.split_at_checked(cut)).ok_or(Some(Malformed::Number))?;
                if zeros.iter().any(|&byte| byte != 0) {
                    return Err(Some(Malformed::Number));
                }
                out.extend_from_slice(value);
                Ok(behind)
            }
            Self::Decimal { precision, scale } => {
                let (text, behind) = bytes(rest).ok_or(None)?;
                decimal::pack(text, precision, scale, out).ok_or_else(wrong(Malformed::Decimal))?;
                Ok(behind)
            }
            Self::Date | Self::DateTime { .. } | Self::Timestamp { .. } | Self::Time { .. } => {
                let (len, rest) = rest.split_first().ok_or(None)?;
                let (parts, behind) = rest.split_at_checked((*len).into()).ok_or(None)?;
                let packed = match self {
                    Self::Date => temporal::date(parts, out),
                    Self::DateTime { digits } => temporal::datetime(parts, digits, out),
                    Self::Timestamp { digits } => temporal::timestamp(parts, digits, out),
                    Self::Time { digits } => temporal::time(parts, digits, out),
                    _ => None,
                };
                packed.ok_or_else(wrong(Malformed::Temporal))?;
                Ok(behind)
            }
            Self::Json => {
                let (text, behind) = bytes(rest).ok_or(None)?;
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                jsonb::encode(text, out).map_err(|error| Some(Malformed::Json(error)))?;
                let len = out.len() - start - 4;
                let prefix = u32::try_from(len).map_err(|_| Some(Malformed::Length(len)))?.to_le_bytes();
                if let Some(place) = out.get_mut(start..start + 4) {
                    place.copy_from_slice(&prefix);
                }
                Ok(behind)
            }
            Self::One | Self::Two | Self::Four | Self::Eight | Self::Short { .. } | Self::Long { .. } => Err(None),
        }
    }
}

#[inline(always)]
fn fixed<'a, const N: usize>(rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Option<Malformed>> {
    let (value, behind) = rest.split_first_chunk::<N>().ok_or(None)?;
    out.extend_from_slice(value);
    Ok(behind)
}

/// Bytes behind a length-encoded integer, and the rest.
#[inline(always)]
fn bytes(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, behind) = rest.split_first()?;
    if first <= 250 {
        return behind.split_at_checked(first.into());
    }
    long_bytes(first, behind)
}

#[cold]
fn long_bytes(first: u8, behind: &[u8]) -> Option<(&[u8], &[u8])> {
    let width = match first {
        252 => 2,
        253 => 3,
        254 => 8,
        _ => return None,
    };
    let (len, behind) = behind.split_at_checked(width)?;
    let len = len.iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
    behind.split_at_checked(usize::try_from(len).ok()?)
}

#[inline]
fn counted(value: &[u8], prefix: u8, max: u32, out: &mut Vec<u8>) -> Result<(), Option<Malformed>> {
    let len = u32::try_from(value.len()).ok().filter(|&len| len <= max);
    let len = len.ok_or(Some(Malformed::Length(value.len())))?.to_le_bytes();
    out.extend_from_slice(len.get(..prefix.into()).unwrap_or_default());
    out.extend_from_slice(value);
    Ok(())
}

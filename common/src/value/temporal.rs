//! DATE, DATETIME, TIME and TIMESTAMP, the formats since 5.6 and those before (`my_*_packed_from_binary` in sql-common/my_time.cc).
//!
//! None of these checks that a date exists: '0000-00-00', '2024-00-15' and '2024-02-31' are values that servers hold.

use super::number::digits;
use super::{big_endian, little_endian};

/// A date; parts may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is what it is named")]
pub struct Date {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

/// A date and a time of day without a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is what it is named")]
pub struct DateTime {
    pub date: Date,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub micros: u32,
    /// Digits of the column behind the point.
    pub digits: u8,
}

/// A span of up to 838:59:59.999999, or a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is what it is named")]
pub struct Time {
    pub negative: bool,
    pub hours: u16,
    pub minute: u8,
    pub second: u8,
    pub micros: u32,
    /// Digits of the column behind the point.
    pub digits: u8,
}

/// A moment. Seconds 0 is the zero date '0000-00-00 00:00:00'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Since 1970 UTC; beyond 2038 only from MariaDB 11.5 and later.
    pub seconds: u32,
    /// And these.
    pub micros: u32,
    /// Digits of the column behind the point.
    pub digits: u8,
}

/// The fraction in `bytes` (none to three, high byte first) as microseconds; `digits` tells what they count.
fn micros(fraction: u64, digits: u8) -> u32 {
    let unit = match digits {
        0 => 0,
        1 | 2 => 10_000,
        3 | 4 => 100,
        _ => 1,
    };
    (fraction as u32).saturating_mul(unit)
}

/// Appends `n` with at least `width` digits.
fn write_digits(n: u32, width: usize, out: &mut Vec<u8>) {
    let mut buffer = [0; 20];
    let text = digits(n.into(), &mut buffer);
    for _ in text.len()..width {
        out.push(b'0');
    }
    out.extend_from_slice(text);
}

fn write_fraction(micros: u32, digits: u8, out: &mut Vec<u8>) {
    if digits > 0 {
        out.push(b'.');
        let start = out.len();
        write_digits(micros, 6, out);
        out.truncate(start + usize::from(digits.min(6)));
    }
}

impl Date {
    pub(super) fn unpack(bytes: &[u8]) -> Option<Self> {
        let value = u32::try_from(little_endian(bytes).filter(|_| bytes.len() == 3)?).ok()?;
        Some(Self { year: (value >> 9) as u16, month: (value >> 5 & 15) as u8, day: (value & 31) as u8 })
    }

    /// Appends `YYYY-MM-DD`.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_digits(self.year.into(), 4, out);
        out.push(b'-');
        write_digits(self.month.into(), 2, out);
        out.push(b'-');
        write_digits(self.day.into(), 2, out);
    }
}

impl DateTime {
    pub(super) fn unpack(bytes: &[u8], digits: u8) -> Option<Self> {
        let (whole, fraction) = bytes.split_at_checked(5)?;
        if fraction.len() != usize::from(digits.div_ceil(2)) {
            return None;
        }
        let value = big_endian(whole)?.checked_sub(0x80_0000_0000)?;
        Some(Self::from_packed(value, micros(big_endian(fraction).unwrap_or(0), digits), digits))
    }

    /// The 40 bits year·13 + month, day, hour, minute, second. JSON documents hold the same.
    pub(crate) fn from_packed(value: u64, micros: u32, digits: u8) -> Self {
        let (days, seconds) = (value >> 17, value & 0x1_ffff);
        let months = days >> 5;
        Self {
            date: Date { year: (months / 13) as u16, month: (months % 13) as u8, day: (days & 31) as u8 },
            hour: (seconds >> 12) as u8,
            minute: (seconds >> 6 & 63) as u8,
            second: (seconds & 63) as u8,
            micros,
            digits,
        }
    }

    pub(super) fn unpack_old(bytes: &[u8]) -> Option<Self> {
        let value = little_endian(bytes).filter(|_| bytes.len() == 8)?;
        let (date, time) = (value / 1_000_000, value % 1_000_000);
        Some(Self {
            date: Date {
                year: u16::try_from(date / 10_000).ok()?,
                month: (date / 100 % 100) as u8,
                day: (date % 100) as u8,
            },
            hour: (time / 10_000) as u8,
            minute: (time / 100 % 100) as u8,
            second: (time % 100) as u8,
            micros: 0,
            digits: 0,
        })
    }

    /// Appends `YYYY-MM-DD hh:mm:ss[.ffffff]` with the column's digits.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.date.write(out);
        out.push(b' ');
        write_digits(self.hour.into(), 2, out);
        out.push(b':');
        write_digits(self.minute.into(), 2, out);
        out.push(b':');
        write_digits(self.second.into(), 2, out);
        write_fraction(self.micros, self.digits, out);
    }
}

impl Time {
    /// The whole value is one number, high byte first, with an offset that makes all positive: so its magnitude has whole and
    /// fraction apart, whatever the sign. (Reading the two parts apart is what goes wrong with negative fractions.)
    pub(super) fn unpack(bytes: &[u8], digits: u8) -> Option<Self> {
        let fraction_bits = 8 * u32::from(digits.div_ceil(2));
        if digits > 6 || bytes.len() as u32 * 8 != 24 + fraction_bits {
            return None;
        }
        let value = big_endian(bytes)? as i64 - (0x80_0000 << fraction_bits);
        let magnitude = value.unsigned_abs();
        let fraction = magnitude & ((1 << fraction_bits) - 1);
        Some(Self::from_packed(value < 0, magnitude >> fraction_bits, micros(fraction, digits), digits))
    }

    /// The 22 bits hour, minute, second. JSON documents hold the same.
    pub(crate) fn from_packed(negative: bool, value: u64, micros: u32, digits: u8) -> Self {
        Self {
            negative,
            hours: (value >> 12 & 0x3ff) as u16,
            minute: (value >> 6 & 63) as u8,
            second: (value & 63) as u8,
            micros,
            digits,
        }
    }

    pub(super) fn unpack_old(bytes: &[u8]) -> Option<Self> {
        let raw = little_endian(bytes).filter(|_| bytes.len() == 3)?;
        let value = (raw << 40) as i64 >> 40;
        let magnitude = value.unsigned_abs();
        Some(Self {
            negative: value < 0,
            hours: (magnitude / 10_000) as u16,
            minute: (magnitude / 100 % 100) as u8,
            second: (magnitude % 100) as u8,
            micros: 0,
            digits: 0,
        })
    }

    /// Appends `[-]hh:mm:ss[.ffffff]` with the column's digits.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        write_digits(self.hours.into(), 2, out);
        out.push(b':');
        write_digits(self.minute.into(), 2, out);
        out.push(b':');
        write_digits(self.second.into(), 2, out);
        write_fraction(self.micros, self.digits, out);
    }
}

impl Timestamp {
    pub(super) fn unpack(bytes: &[u8], digits: u8) -> Option<Self> {
        let (whole, fraction) = bytes.split_at_checked(4)?;
        if fraction.len() != usize::from(digits.div_ceil(2)) {
            return None;
        }
        let micros = micros(big_endian(fraction).unwrap_or(0), digits);
        Some(Self { seconds: big_endian(whole)? as u32, micros, digits })
    }

    pub(super) fn unpack_old(bytes: &[u8]) -> Option<Self> {
        Some(Self { seconds: u32::from_le_bytes(bytes.try_into().ok()?), micros: 0, digits: 0 })
    }

    /// The date and time in UTC.
    #[must_use]
    pub fn utc(&self) -> DateTime {
        let Self { seconds, micros, digits } = *self;
        if seconds == 0 {
            let date = Date { year: 0, month: 0, day: 0 };
            return DateTime { date, hour: 0, minute: 0, second: 0, micros, digits };
        }
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // Days since 0000-03-01, so that a leap day ends its year (civil_from_days, howardhinnant.github.io/date_algorithms.html).
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u8;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u8;
        let year = (year_of_era + era * 400 + u32::from(month <= 2)) as u16;
        DateTime {
            date: Date { year, month, day },
            hour: (rest / 3_600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
            micros,
            digits,
        }
    }
}

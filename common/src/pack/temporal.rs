//! Dates and times of the binary protocol as their packed forms (`my_datetime_packed_to_binary` and its kin in mysys/my_time.cc).
//!
//! The protocol leaves out what is zero at the end: a date has four bytes, a date and time seven or eleven, and zero none.

/// The parts of a value; zero where they were left out.
#[derive(Clone, Copy, Default)]
struct Moment {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    micros: u32,
}

impl Moment {
    fn read(parts: &[u8]) -> Option<Self> {
        let mut moment = Self::default();
        if !matches!(parts.len(), 0 | 4 | 7 | 11) {
            return None;
        }
        if let Some(&[low, high, month, day]) = parts.first_chunk() {
            moment = Self { year: u16::from_le_bytes([low, high]), month, day, ..moment };
        }
        if let Some(&[hour, minute, second]) = parts.get(4..).and_then(|rest| rest.first_chunk()) {
            moment = Self { hour, minute, second, ..moment };
        }
        if let Some(micros) = parts.get(7..).and_then(|rest| rest.first_chunk()) {
            moment.micros = u32::from_le_bytes(*micros);
        }
        let fits = moment.year <= 9999
            && moment.month <= 12
            && moment.day <= 31
            && moment.hour <= 23
            && moment.minute <= 59
            && moment.second <= 59;
        fits.then_some(moment)
    }

    fn is_zero_date(self) -> bool {
        self.year == 0 && self.month == 0 && self.day == 0
    }
}

/// A fraction as the number that is stored, and its bytes. None if it has more digits than the column.
fn fraction(micros: u32, digits: u8) -> Option<(u32, usize)> {
    let (step, unit) = match digits {
        0 => (1_000_000, 1_000_000),
        1 => (100_000, 10_000),
        2 => (10_000, 10_000),
        3 => (1_000, 100),
        4 => (100, 100),
        5 => (10, 1),
        6 => (1, 1),
        _ => return None,
    };
    (micros < 1_000_000 && micros.is_multiple_of(step)).then(|| (micros / unit, usize::from(digits.div_ceil(2))))
}

fn put(number: u64, bytes: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(number.to_be_bytes().get(8usize.saturating_sub(bytes)..).unwrap_or_default());
}

/// Appends a DATE.
pub(super) fn date(parts: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let moment = Moment::read(parts)?;
    if (moment.hour, moment.minute, moment.second, moment.micros) != (0, 0, 0, 0) {
        return None;
    }
    let [a, b, c, _] =
        (u32::from(moment.year) << 9 | u32::from(moment.month) << 5 | u32::from(moment.day)).to_le_bytes();
    out.extend_from_slice(&[a, b, c]);
    Some(())
}

/// Appends a DATETIME.
pub(super) fn datetime(parts: &[u8], digits: u8, out: &mut Vec<u8>) -> Option<()> {
    let moment = Moment::read(parts)?;
    let (fraction, bytes) = fraction(moment.micros, digits)?;
    let days = (u64::from(moment.year) * 13 + u64::from(moment.month)) << 5 | u64::from(moment.day);
    let seconds = u64::from(moment.hour) << 12 | u64::from(moment.minute) << 6 | u64::from(moment.second);
    put(0x80_0000_0000 + (days << 17 | seconds), 5, out);
    put(fraction.into(), bytes, out);
    Some(())
}

/// Appends a TIMESTAMP that was sent in UTC.
pub(super) fn timestamp(parts: &[u8], digits: u8, out: &mut Vec<u8>) -> Option<()> {
    let moment = Moment::read(parts)?;
    let (fraction, bytes) = fraction(moment.micros, digits)?;
    let seconds = if moment.is_zero_date() {
        if (moment.hour, moment.minute, moment.second, fraction) != (0, 0, 0, 0) {
            return None;
        }
        0
    } else {
        u32::try_from(seconds_since_1970(moment)?).ok().filter(|&seconds| seconds > 0)?
    };
    put(seconds.into(), 4, out);
    put(fraction.into(), bytes, out);
    Some(())
}

/// None before 1970, and for days that no calendar has.
fn seconds_since_1970(moment: Moment) -> Option<u64> {
    let (year, month, day) = (u64::from(moment.year), u64::from(moment.month), u64::from(moment.day));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=days_in_month).contains(&day) {
        return None;
    }
    // Days since 0000-03-01, so that a leap day ends its year (days_from_civil, howardhinnant.github.io/date_algorithms.html).
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year / 400, year % 400);
    let days = era * 146_097 + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + u64::from(moment.hour) * 3_600 + u64::from(moment.minute) * 60 + u64::from(moment.second))
}

/// Appends a TIME: one number, high byte first, that counts from the middle, so that a negative one has its fraction in it.
pub(super) fn time(parts: &[u8], digits: u8, out: &mut Vec<u8>) -> Option<()> {
    const HOURS_MAX: u64 = 838;
    let (mut negative, mut hours, mut minute, mut second, mut micros) = (false, 0, 0, 0, 0);
    if !matches!(parts.len(), 0 | 8 | 12) {
        return None;
    }
    if let Some(&[sign, a, b, c, d, hour, m, s]) = parts.first_chunk() {
        negative = sign != 0;
        hours = u64::from(u32::from_le_bytes([a, b, c, d])) * 24 + u64::from(hour);
        (minute, second) = (u64::from(m), u64::from(s));
    }
    if let Some(bytes) = parts.get(8..).and_then(|rest| rest.first_chunk()) {
        micros = u32::from_le_bytes(*bytes);
    }
    if hours > HOURS_MAX || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, bytes) = fraction(micros, digits)?;
    let bits = 8 * bytes;
    let magnitude = (hours << 12 | minute << 6 | second) << bits | u64::from(fraction);
    let middle = 0x80_0000 << bits;
    put(if negative { middle - magnitude } else { middle + magnitude }, 3 + bytes, out);
    Some(())
}

//! Decimal text as packed digits (`decimal2bin` in strings/decimal.cc).

/// Bytes for 0 to 9 digits.
const REST_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const GROUP_DIGITS: usize = 9;
const DIGITS_MAX: usize = 65;

/// Appends a DECIMAL(`precision`, `scale`); None if the text is none, or has digits that it has no room for.
pub(super) fn pack(text: &[u8], precision: u8, scale: u8, out: &mut Vec<u8>) -> Option<()> {
    let (precision, scale) = (usize::from(precision), usize::from(scale));
    let places = precision.checked_sub(scale).filter(|_| precision <= DIGITS_MAX)?;
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
    let (whole, fraction) = text.split_at_checked(point)?;
    let fraction = fraction.get(1..).unwrap_or_default();
    if whole.is_empty() && fraction.is_empty() || fraction.len() > scale {
        return None;
    }
    // ZEROFILL's zeros, or the one of "0.5".
    let first = whole.iter().position(|&byte| byte != b'0').unwrap_or(whole.len());
    let whole = whole.get(first..)?;
    let mut digits = [0u8; DIGITS_MAX];
    let place = digits.get_mut(places.checked_sub(whole.len())?..)?;
    for (place, &byte) in place.iter_mut().zip(whole.iter().chain(fraction)) {
        *place = byte.wrapping_sub(b'0');
        if *place > 9 {
            return None;
        }
    }
    let digits = digits.get(..precision)?;
    // There is no negative zero.
    let mask = if negative && digits.iter().any(|&digit| digit != 0) { 0xff } else { 0 };
    let start = out.len();
    let (whole, fraction) = digits.split_at_checked(places)?;
    let (rest, groups) = whole.split_at_checked(places % GROUP_DIGITS)?;
    group(rest, mask, out);
    groups.chunks(GROUP_DIGITS).for_each(|digits| group(digits, mask, out));
    fraction.chunks(GROUP_DIGITS).for_each(|digits| group(digits, mask, out));
    *out.get_mut(start)? ^= 0x80;
    Some(())
}

/// Up to nine digits, high byte first.
fn group(digits: &[u8], mask: u8, out: &mut Vec<u8>) {
    let number = digits.iter().fold(0u32, |number, &digit| number * 10 + u32::from(digit));
    let bytes = REST_BYTES.get(digits.len()).copied().unwrap_or(4);
    out.extend(number.to_be_bytes().iter().skip(4 - bytes).map(|byte| byte ^ mask));
}

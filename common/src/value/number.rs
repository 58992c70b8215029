//! Integers as text, without an allocation.

/// The decimal digits of `n`, at the end of `buffer`.
pub(crate) fn digits(n: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut first = buffer.len();
    let mut rest = n;
    for place in buffer.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        first -= 1;
        if rest == 0 {
            break;
        }
    }
    buffer.get(first..).unwrap_or_default()
}

/// Appends `n`.
pub(crate) fn write_unsigned(n: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(digits(n, &mut [0; 20]));
}

/// Appends `n`, with its sign if it is negative.
pub(crate) fn write_int(n: i64, out: &mut Vec<u8>) {
    if n < 0 {
        out.push(b'-');
    }
    write_unsigned(n.unsigned_abs(), out);
}

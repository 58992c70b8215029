//! The members of an ENUM or SET from its `COLUMN_TYPE`.

/// Their number, and their bytes in the column's character set; none if any of them has characters whose bytes there are not known here.
///
/// The text is what SHOW CREATE TABLE prints (`append_unescaped` in sql/unireg.cc): quotes doubled, backslashes and control characters escaped.
pub(super) fn members(column_type: &str, charset: Option<&str>) -> (usize, Vec<Vec<u8>>) {
    let Some(start) = column_type.find('(') else { return (0, Vec::new()) };
    let mut rest = column_type.get(start + 1..).unwrap_or_default().chars().peekable();
    let (mut count, mut list, mut known) = (0, Vec::new(), true);
    while rest.next() == Some('\'') {
        let mut member = String::new();
        while let Some(char) = rest.next() {
            match char {
                '\'' if rest.next_if_eq(&'\'').is_none() => break,
                '\\' => match rest.next() {
                    Some('n') => member.push('\n'),
                    Some('r') => member.push('\r'),
                    Some('0') => member.push('\0'),
                    Some(other) => member.push(other),
                    None => {}
                },
                other => member.push(other),
            }
        }
        count += 1;
        match bytes(&member, charset.unwrap_or("utf8mb4")) {
            Some(bytes) if known => list.push(bytes),
            _ => known = false,
        }
        if rest.next() != Some(',') {
            break;
        }
    }
    (count, if known { list } else { Vec::new() })
}

fn bytes(member: &str, charset: &str) -> Option<Vec<u8>> {
    Some(match charset.to_ascii_lowercase().as_str() {
        "utf8" | "utf8mb3" | "utf8mb4" => member.as_bytes().to_vec(),
        "ucs2" | "utf16" => member.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        "utf16le" => member.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf32" => member.chars().flat_map(|char| u32::from(char).to_be_bytes()).collect(),
        // ASCII is the same in all others that have it whole.
        "swe7" | "binary" => return None,
        _ if member.is_ascii() => member.as_bytes().to_vec(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_counted_and_known_where_their_bytes_are() {
        assert_eq!(members("enum('a','b''c','d,e','')", Some("latin1")).1, [&b"a"[..], b"b'c", b"d,e", b""]);
        assert_eq!(members(r"set('x\\','\n')", None), (2, vec![b"x\\".to_vec(), b"\n".to_vec()]));
        assert_eq!(members("enum('ä','b')", Some("latin1")), (2, vec![]));
        assert_eq!(members("enum('ä')", Some("utf8mb4")).1, ["ä".as_bytes()]);
        assert_eq!(members("enum('a')", Some("ucs2")).1, [b"\0a"]);
        assert_eq!(members("varchar(20)", None).0, 0);
    }
}

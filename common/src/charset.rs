//! Collation ids and the character sets that they belong to, as far as row values need them.
//!
//! From `information_schema.collations` of MySQL 9.7 and `collation_character_set_applicability` of MariaDB 11.8. Both families agree where both
//! know an id. MariaDB's NOPAD collations are the ids of their PAD SPACE kin plus 1024, and its UCA 14.0.0 collations stand above 2048 in
//! blocks of 256 per character set.

/// The collation of binary strings.
pub const BINARY: u16 = 63;

/// The character set of a collation, by its name in SQL; None for 0 and for ids that are not known.
#[must_use]
pub fn of_collation(id: u16) -> Option<&'static str> {
    let id = match id {
        2048..=2303 => return Some("utf8mb3"),
        2304..=2559 => return Some("utf8mb4"),
        2560..=2815 => return Some("ucs2"),
        2816..=3071 => return Some("utf16"),
        3072..=3327 => return Some("utf32"),
        1025..=2047 => id - 1024,
        _ => id,
    };
    Some(match id {
        32 | 64 => "armscii8",
        11 | 65 => "ascii",
        1 | 84 => "big5",
        63 => "binary",
        26 | 34 | 44 | 66 | 99 => "cp1250",
        14 | 23 | 50..=52 => "cp1251",
        57 | 67 => "cp1256",
        29 | 58 | 59 => "cp1257",
        4 | 80 => "cp850",
        40 | 81 => "cp852",
        36 | 68 => "cp866",
        95 | 96 => "cp932",
        3 | 69 => "dec8",
        97 | 98 => "eucjpms",
        19 | 85 => "euckr",
        248..=250 => "gb18030",
        24 | 86 => "gb2312",
        28 | 87 => "gbk",
        92 | 93 => "geostd8",
        25 | 70 => "greek",
        16 | 71 => "hebrew",
        6 | 72 => "hp8",
        37 | 73 => "keybcs2",
        7 | 74 => "koi8r",
        22 | 75 => "koi8u",
        5 | 8 | 15 | 31 | 47..=49 | 94 => "latin1",
        2 | 9 | 21 | 27 | 77 => "latin2",
        30 | 78 => "latin5",
        20 | 41 | 42 | 79 => "latin7",
        38 | 43 => "macce",
        39 | 53 => "macroman",
        13 | 88 => "sjis",
        10 | 82 => "swe7",
        18 | 89 => "tis620",
        35 | 90 | 128..=151 | 159 | 640..=642 => "ucs2",
        12 | 91 => "ujis",
        54 | 55 | 101..=124 | 672..=674 => "utf16",
        56 | 62 => "utf16le",
        60 | 61 | 160..=183 | 736..=738 => "utf32",
        33 | 76 | 83 | 192..=215 | 223 | 576..=579 => "utf8mb3",
        45 | 46 | 224..=247 | 255..=323 | 608..=611 => "utf8mb4",
        _ => return None,
    })
}

/// Whether two names mean the same character set: `utf8` is `utf8mb3`.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    let plain = |name: &str| if name.eq_ignore_ascii_case("utf8") { "utf8mb3".to_owned() } else { name.to_lowercase() };
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collations_of_both_families_have_their_character_set() {
        for (id, name) in [
            (8, "latin1"),
            (33, "utf8mb3"),
            (255, "utf8mb4"),
            (309, "utf8mb4"),
            (1069, "utf8mb4"),
            (1032, "latin1"),
            (1248, "utf8mb4"),
            (1238, "utf8mb3"),
            (2309, "utf8mb4"),
            (2048, "utf8mb3"),
            (3163, "utf32"),
            (63, "binary"),
        ] {
            assert_eq!(of_collation(id), Some(name), "{id}");
        }
        assert_eq!(of_collation(0), None);
        assert_eq!(of_collation(1023), None);
        assert!(same("utf8", "UTF8MB3"));
        assert!(!same("utf8", "utf8mb4"));
    }
}

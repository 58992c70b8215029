use super::*;
use crate::schema::Flavor;
use proptest::prelude::*;

fn text(document: &[u8]) -> String {
    let mut out = vec![];
    write_text(document, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn sql(document: &[u8]) -> String {
    let mut out = vec![];
    write_sql(document, Flavor::MySql, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// A small array of these entries: (type, inline bytes or value).
fn array(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let mut table = vec![];
    let mut values = vec![];
    let header = 4 + 3 * entries.len();
    for (kind, value) in entries {
        table.push(*kind);
        if matches!(kind, 4..=6) {
            table.extend([value[0], value.get(1).copied().unwrap_or(0)]);
        } else {
            table.extend(((header + values.len()) as u16).to_le_bytes());
            values.extend_from_slice(value);
        }
    }
    let mut out = vec![2];
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend(((header + values.len()) as u16).to_le_bytes());
    out.extend(table);
    out.extend(values);
    out
}

const DECIMAL_1_50: &[u8] = &[246, 4, 3, 2, 0x81, 0x32];

#[test]
fn an_object_is_printed_as_mysql_prints_it() {
    // {"a": 1, "bb": [true, null]}
    let inner = &array(&[(4, &[1]), (4, &[0])])[1..];
    let mut document = vec![0, 2, 0, 0, 0, 18, 0, 1, 0, 19, 0, 2, 0, 5, 1, 0, 2, 21, 0, b'a', b'b', b'b'];
    document.extend_from_slice(inner);
    let size = (document.len() - 1) as u16;
    document[3..5].copy_from_slice(&size.to_le_bytes());
    assert_eq!(text(&document), r#"{"a": 1, "bb": [true, null]}"#);
    assert_eq!(sql(&document), r#"_utf8mb4'{"a": 1, "bb": [true, null]}'"#);
}

#[test]
fn scalars_have_their_text() {
    assert_eq!(text(&[]), "null");
    assert_eq!(text(&[4, 0]), "null");
    assert_eq!(text(&[5, 0xff, 0xff]), "-1");
    assert_eq!(text(&[10, 255, 255, 255, 255, 255, 255, 255, 255]), "18446744073709551615");
    assert_eq!(text(&[9, 0, 0, 0, 0, 0, 0, 0, 0x80]), "-9223372036854775808");
    let mut double = vec![11];
    double.extend(1f64.to_le_bytes());
    assert_eq!(text(&double), "1.0");
    assert_eq!(
        text(b"\x0c\x06a\"\\\n\x01\xc3"[..].strip_suffix(b"\xc3").map(|s| [s, b"z"].concat()).unwrap().as_slice()),
        r#""a\"\\\n\u0001z""#
    );
}

#[test]
fn sql_values_stay_sql_values() {
    let time = [11, 8, 0x38, 0xc9, 0xf3, 0x77, 0x3d, 0xff, 0xff, 0xff];
    let document =
        array(&[(15, DECIMAL_1_50), (15, &[15, 2, 0, 0xff]), (6, &[5, 0]), (5, &[7, 0]), (12, b"\x01'"), (15, &time)]);
    let sql = sql(&document);
    assert!(
        sql.starts_with(r"JSON_ARRAY(CAST(1.50 AS DECIMAL(3,2)),x'00ff',CAST(5 AS UNSIGNED),7,_utf8mb4'\'',CAST('-"),
        "{sql}"
    );
    assert!(text(&document).starts_with(r#"[1.50, "base64:type15:AP8=", 5, 7, "'", "-"#), "{}", text(&document));
}

#[test]
fn only_the_parts_that_need_it_become_functions() {
    let plain = array(&[(4, &[1]), (12, b"\x02it")]);
    let document = array(&[(2, &plain[1..]), (15, DECIMAL_1_50)]);
    assert_eq!(sql(&document), r#"JSON_ARRAY(CAST(_utf8mb4'[true, "it"]' AS JSON),CAST(1.50 AS DECIMAL(3,2)))"#);
    let mut scalar = vec![15];
    scalar.extend_from_slice(DECIMAL_1_50);
    assert_eq!(sql(&scalar), "JSON_EXTRACT(JSON_ARRAY(CAST(1.50 AS DECIMAL(3,2))),_utf8mb4'$[0]')");
    let mut out = vec![];
    write_sql(&document, Flavor::MariaDb, &mut out).unwrap();
    assert_eq!(out, br#"_utf8mb4'[[true, "it"], 1.50]'"#);
}

#[test]
fn changes_become_nested_calls() {
    let diffs = b"\x00\x03$.a\x03\x05\x07\x00\x02\x04$[0]\x01\x06$.b[1]\x02\x04\x01\x01\x03$.c\x02\x04\x00";
    let mut out = vec![];
    write_diff_sql(b"`j`", diffs, Flavor::MySql, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "JSON_INSERT(JSON_ARRAY_INSERT(JSON_REMOVE(JSON_REPLACE(`j`,_utf8mb4'$.a',CAST(_utf8mb4'7' AS JSON)),_utf8mb4'$[0]'),\
         _utf8mb4'$.b[1]',CAST(_utf8mb4'true' AS JSON)),_utf8mb4'$.c',CAST(_utf8mb4'null' AS JSON))"
    );
    let mut none = vec![];
    write_diff_sql(b"`j`", b"", Flavor::MySql, &mut none).unwrap();
    assert_eq!(none, b"`j`");
    assert!(write_diff_sql(b"`j`", &diffs[..20], Flavor::MySql, &mut none).is_err());
}

#[test]
fn a_document_that_contains_itself_ends() {
    // Each level points twice at the next: 2^90 values in 630 bytes, were they followed.
    let mut document = vec![2];
    for level in 0..90u16 {
        let rest = 90 * 10 - level * 10;
        document.extend([2, 0]);
        document.extend(rest.to_le_bytes());
        document.extend([2, 10, 0, 2, 10, 0]);
    }
    document.extend([0; 10]);
    assert!(write_text(&document, &mut vec![]).is_err());
    assert!(write_sql(&document, Flavor::MySql, &mut vec![]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_document_or_an_error(bytes in prop::collection::vec(prop_oneof![3 => 0..16u8, 1 => any::<u8>()], 0..200)) {
        let _ = write_text(&bytes, &mut vec![]);
        let _ = write_sql(&bytes, Flavor::MySql, &mut vec![]);
        let _ = write_diff_sql(b"c", &bytes, Flavor::MySql, &mut vec![]);
    }
}

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn encoded(text: &str) -> Vec<u8> {
    let mut out = vec![];
    encode(text.as_bytes(), &mut out).unwrap();
    out
}

fn refused(text: &str) -> bool {
    let mut out = b"kept".to_vec();
    let refused = matches!(encode(text.as_bytes(), &mut out), Err(JsonError::Text(_)));
    assert!(!refused || out == b"kept");
    refused
}

fn back(document: &[u8]) -> String {
    let mut out = vec![];
    write_text(document, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn scalars_are_laid_out_as_in_a_server() {
    assert_eq!(encoded("null"), [4, 0]);
    assert_eq!(encoded(" true "), [4, 1]);
    assert_eq!(encoded("false"), [4, 2]);
    assert_eq!(encoded("-1"), [5, 0xff, 0xff]);
    assert_eq!(encoded("32767"), [5, 0xff, 0x7f]);
    assert_eq!(encoded("32768"), [7, 0, 0x80, 0, 0]);
    assert_eq!(encoded("2147483648"), [9, 0, 0, 0, 0x80, 0, 0, 0, 0]);
    assert_eq!(encoded("9223372036854775808"), [10, 0, 0, 0, 0, 0, 0, 0, 0x80]);
    assert_eq!(encoded("18446744073709551616")[0], 11);
    assert_eq!(encoded("-0.0"), [11, 0, 0, 0, 0, 0, 0, 0, 0x80]);
    assert_eq!(encoded(r#""a\"\u00e9\ud83d\udeb0""#), b"\x0c\x08a\"\xc3\xa9\xf0\x9f\x9a\xb0");
    assert_eq!(encoded(&format!("\"{}\"", "x".repeat(128)))[..3], [12, 0x80, 1]);
}

#[test]
fn containers_are_laid_out_as_in_a_server() {
    // As MySQL 9.7 logs it: {"a": 1, "bb": [true, null]}
    let document =
        [0, 2, 0, 32, 0, 18, 0, 1, 0, 19, 0, 2, 0, 5, 1, 0, 2, 21, 0, b'a', b'b', b'b', 2, 0, 10, 0, 4, 1, 0, 4, 0, 0];
    let mut document = document.to_vec();
    let size = (document.len() - 1) as u8;
    document[3] = size;
    assert_eq!(encoded(r#"{"a": 1, "bb": [true, null]}"#), document);
    // Keys in any order, and twice.
    assert_eq!(encoded(r#"{"bb":[true,null],"a":7,"a":1}"#), document);
    assert_eq!(encoded("[]"), [2, 0, 0, 4, 0]);
    assert_eq!(encoded("{}"), [0, 0, 0, 4, 0]);
}

#[test]
fn what_does_not_fit_into_64_kib_is_large_with_its_parents_alone() {
    let long = "x".repeat(65_525);
    // 4 + 3 + 3 + 65,525 bytes are 65,535.
    assert_eq!(encoded(&format!("[\"{long}\"]"))[0], 2);
    assert_eq!(encoded(&format!("[\"{long}x\"]"))[0], 3);
    let document = encoded(&format!("[{{\"a\": [\"{long}x\"]}}, [1]]"));
    let Node::Array(root) = Node::root(&document).unwrap() else { panic!() };
    assert_eq!((document[0], root.len()), (3, 2));
    assert_eq!([document[9], document[14]], [1, 2], "a large object, a small array");
    assert_eq!(back(&document), format!("[{{\"a\": [\"{long}x\"]}}, [1]]"));
}

#[test]
fn what_is_no_json_is_refused() {
    let texts = [
        "",
        " ",
        "nul",
        "[1",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "01",
        "1.",
        ".5",
        "-",
        "1e",
        "+1",
        "1 2",
        "\"",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\u12\"",
        "\"\n\"",
        "[}",
        "1e999",
        "\"\\",
    ];
    for text in texts {
        assert!(refused(text), "{text:?}");
    }
    assert!(encode(b"\"\xff\"", &mut vec![]).is_err());
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(refused(&nested(101)));
    assert_eq!(back(&encoded(&nested(100))), nested(100));
    assert!(refused(&format!("{{\"{}\": 1}}", "k".repeat(65_536))));
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Not any double: serde_json does not read them to the last bit.
        any::<i32>().prop_map(|n| json!(f64::from(n) / 8.0)),
        any::<String>().prop_map(Value::from),
        (0..70_000usize).prop_map(|n| json!("y".repeat(n))),
    ];
    leaf.prop_recursive(6, 200, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..12).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_text_is_the_same_behind_its_document(value in documents()) {
        let document = encoded(&value.to_string());
        let text = back(&document);
        prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
        prop_assert_eq!(encoded(&text), document);
    }

    #[test]
    fn any_text_is_a_document_or_an_error(text in "[\\[\\]{}:,\"\\\\ue0-9.a \u{e9}-]{0,40}") {
        let mut out = vec![];
        let ours = encode(text.as_bytes(), &mut out);
        match serde_json::from_str::<Value>(&text) {
            Ok(_) => prop_assert!(ours.is_ok(), "{} {:?}", text, ours),
            Err(_) => prop_assert!(ours.is_err(), "{}", text),
        }
    }

    #[test]
    fn a_double_keeps_every_bit(bits in any::<u64>()) {
        let double = f64::from_bits(bits);
        prop_assume!(double.is_finite());
        let document = encoded(ryu::Buffer::new().format(double));
        prop_assert_eq!(document, [&[11], &bits.to_le_bytes()[..]].concat());
    }
}

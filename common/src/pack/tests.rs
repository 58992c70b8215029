use proptest::prelude::*;

use super::*;
use crate::record::Op;
use crate::row::{Cell, Layout};
use crate::schema::{Column, Flavor, LayoutOrigin, TableSchema};
use crate::value::{self, Value};

fn definition(column_type: &str, octet_length: Option<u64>) -> ColumnDefinition {
    let data_type = column_type.split(['(', ' ']).next().unwrap_or_default().to_owned();
    let collation_id = if octet_length.is_some() { 255 } else { 0 };
    ColumnDefinition {
        name: "c".into(),
        data_type,
        column_type: column_type.into(),
        charset: octet_length.map(|_| "utf8mb4".into()),
        collation_id,
        octet_length,
        nullable: true,
        extra: String::new(),
    }
}

fn described(column_type: &str, octet_length: Option<u64>) -> Column {
    column(&definition(column_type, octet_length), Flavor::MySql).unwrap()
}

fn schema(columns: Vec<Column>) -> TableSchema {
    let origin = LayoutOrigin::InformationSchema;
    TableSchema { database: "d".into(), table: "t".into(), flavor: Flavor::MySql, columns, primary_key: vec![], origin }
}

fn result(type_code: u8, unsigned: bool) -> ResultColumn {
    ResultColumn { type_code, flags: u16::from(unsigned) << 5, ..ResultColumn::default() }
}

/// Packs one value of one column.
fn pack_one(column: &Column, result: &ResultColumn, value: &[u8]) -> Result<Vec<u8>, PackError> {
    let packer = RowPacker::new(&schema(vec![column.clone()]), std::slice::from_ref(result))?;
    let mut out = b"before".to_vec();
    match packer.pack(&[&[0, 0], value].concat(), &mut out) {
        Ok(()) => Ok(out.split_off(6 + 1)),
        Err(error) => {
            assert_eq!(out, b"before");
            Err(error)
        }
    }
}

fn counted(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn shown(column: &Column, packed: &[u8]) -> String {
    let layout_of = schema(vec![column.clone()]);
    let layout = Layout::new(&layout_of).unwrap();
    let image = [&[0], packed].concat();
    let row = layout.rows(Op::Insert, &[], &[1], &image).unwrap().next().unwrap().unwrap();
    let Cell::Bytes(bytes) = row.after.unwrap().column(0) else { panic!() };
    let mut out = vec![];
    match value::decode(column, bytes).unwrap() {
        Value::Date(value) => value.write(&mut out),
        Value::Time(value) => value.write(&mut out),
        Value::DateTime(value) => value.write(&mut out),
        Value::Timestamp(value) => value.utc().write(&mut out),
        Value::Decimal(value) => value.write(&mut out),
        other => return format!("{other:?}"),
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn columns_are_described_as_in_a_table_map() {
    let of = |column_type: &str, octets| {
        let column = described(column_type, octets);
        (column.type_code, column.meta)
    };
    assert_eq!(of("int unsigned", None), (3, 0));
    assert_eq!(of("decimal(10,2) unsigned zerofill", None), (246, 0x020a));
    assert_eq!(of("bit(12)", None), (16, 0x0104));
    assert_eq!(of("bit(64)", None), (16, 0x0800));
    assert_eq!(of("char(120)", Some(480)), (254, 0xe0ee));
    assert_eq!(of("char(255)", Some(1020)), (254, 0xfcce));
    assert_eq!(of("varchar(64)", Some(256)), (15, 256));
    assert_eq!(of("longtext", Some(4_294_967_295)), (252, 4));
    assert_eq!(of("enum('a','b')", Some(4)), (254, 0x01f7));
    assert_eq!(of("set('a','b','c','d','e','f','g','h','i')", Some(4)), (254, 0x02f8));
    assert_eq!(of("datetime /* 5.5 binary format */", None), (18, 0));
    assert_eq!(of("timestamp(3)", None), (17, 3));
    assert_eq!(of("geomcollection", None), (255, 4));
    assert!(described("int(5) unsigned zerofill", None).unsigned && !described("int", None).unsigned);
    let refused = column(&definition("wonder(3)", None), Flavor::MySql);
    assert!(matches!(refused, Err(PackError::Type { column_type, .. }) if column_type == "wonder(3)"));
    assert!(column(&definition("uuid", None), Flavor::MySql).is_err());
    assert!(column(&definition("varchar(10)", None), Flavor::MySql).is_err());
}

#[test]
fn expressions_ask_for_numbers_and_bytes_where_text_loses_something() {
    let of = |column_type, flavor| select_expression(&definition(column_type, None), flavor);
    assert_eq!(of("set('a')", Flavor::MySql), "CAST(`c` AS UNSIGNED)");
    assert_eq!(of("uuid", Flavor::MariaDb), "CAST(`c` AS BINARY(16))");
    assert_eq!(of("int", Flavor::MySql), "`c`");
    let odd = ColumnDefinition { name: "a`b".into(), ..definition("int", None) };
    assert_eq!(select_expression(&odd, Flavor::MySql), "`a``b`");
}

#[test]
fn null_bits_move_from_the_packets_places_to_the_images() {
    let columns: Vec<_> = (0..9).map(|_| described("tinyint", None)).collect();
    for (flavor, unused) in [(Flavor::MySql, 0), (Flavor::MariaDb, 0xfe)] {
        let schema = TableSchema { flavor, ..schema(columns.clone()) };
        let packer = RowPacker::new(&schema, &vec![result(1, false); 9]).unwrap();
        let mut out = vec![];
        // NULL: columns 1, 6 and 8.
        packer.pack(&[0, 0b0000_1000, 0b0000_0101, 1, 2, 3, 4, 5, 6], &mut out).unwrap();
        assert_eq!(out, [0b0100_0010, 1 | unused, 1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn further_columns_of_a_result_are_passed_over() {
    let packer =
        RowPacker::new(&schema(vec![described("tinyint", None)]), &[result(1, false), result(253, false)]).unwrap();
    let mut out = vec![];
    packer.pack(b"\0\0\x07\x03abc", &mut out).unwrap();
    assert_eq!(out, [0, 7]);
}

#[test]
fn a_result_of_another_table_is_refused() {
    let new =
        |column: &Column, result: ResultColumn| RowPacker::new(&schema(vec![column.clone()]), &[result]).map(|_| ());
    let int = described("int unsigned", None);
    assert_eq!(new(&int, result(3, true)), Ok(()));
    assert!(matches!(new(&int, result(3, false)), Err(PackError::Result { type_code: 3, .. })), "another sign");
    assert!(matches!(new(&int, result(253, true)), Err(PackError::Result { .. })));
    assert!(matches!(new(&described("time", None), result(12, false)), Err(PackError::Result { .. })));
    let none = RowPacker::new(&schema(vec![int]), &[]).map(|_| ());
    assert_eq!(none, Err(PackError::Columns { expected: 1, found: 0 }));
}

#[test]
fn a_value_that_its_column_cannot_hold_is_named() {
    let problem = |column: &Column, result: ResultColumn, value: &[u8]| match pack_one(column, &result, value) {
        Err(PackError::Value { column, problem }) if column == "c" => problem,
        other => panic!("{other:?}"),
    };
    let bytes = result(254, false);
    assert_eq!(problem(&described("varchar(2)", Some(2)), bytes.clone(), b"\x03abc"), Malformed::Length(3));
    assert_eq!(problem(&described("char(2)", Some(2)), bytes, b"\x03abc"), Malformed::Length(3));
    let medium = described("mediumint", None);
    assert_eq!(problem(&medium, result(9, false), &0x80_0000i32.to_le_bytes()), Malformed::Number);
    assert_eq!(problem(&described("enum('a')", Some(1)), result(8, true), &256u64.to_le_bytes()), Malformed::Number);
    assert_eq!(problem(&described("decimal(3,1)", None), result(246, false), b"\x05100.0"), Malformed::Decimal);
    let moment = described("datetime", None);
    assert_eq!(problem(&moment, result(12, false), &[4, 0xe8, 7, 13, 1]), Malformed::Temporal);
    assert_eq!(
        problem(&moment, result(12, false), &[11, 0xe8, 7, 1, 1, 0, 0, 0, 1, 0, 0, 0]),
        Malformed::Temporal,
        "a fraction"
    );
    let stamp = described("timestamp", None);
    assert_eq!(problem(&stamp, result(7, false), &[4, 0xe7, 7, 2, 29]), Malformed::Temporal);
    assert!(matches!(problem(&described("json", None), result(245, false), b"\x02[1"), Malformed::Json(_)));
    assert!(matches!(pack_one(&medium, &result(9, false), &[1, 2, 3]), Err(PackError::Packet { .. })));
    assert!(matches!(pack_one(&medium, &result(9, false), &[1, 2, 3, 0, 0]), Err(PackError::Packet { .. })), "more");
}

#[test]
fn integers_of_all_sizes_keep_their_sign() {
    let medium = described("mediumint", None);
    for n in [-8_388_608i32, -1, 0, 1, 8_388_607] {
        assert_eq!(pack_one(&medium, &result(9, false), &n.to_le_bytes()).unwrap(), n.to_le_bytes()[..3]);
    }
    let unsigned = described("mediumint unsigned", None);
    assert_eq!(pack_one(&unsigned, &result(9, true), &16_777_215u32.to_le_bytes()).unwrap(), [0xff; 3]);
    let set = described(&format!("set({})", (0..64).map(|n| format!("'{n}'")).collect::<Vec<_>>().join(",")), Some(9));
    assert_eq!(pack_one(&set, &result(8, true), &u64::MAX.to_le_bytes()).unwrap(), [0xff; 8]);
    assert_eq!(pack_one(&described("year", None), &result(13, true), &2155u16.to_le_bytes()).unwrap(), [255]);
    assert_eq!(pack_one(&described("year", None), &result(13, true), &[0, 0]).unwrap(), [0]);
}

#[test]
fn binary_loses_its_trailing_zeros_and_char_is_as_it_comes() {
    let binary = described("binary(4)", Some(4));
    assert_eq!(pack_one(&binary, &result(254, false), b"\x04\0a\0\0").unwrap(), b"\x02\0a");
    assert_eq!(pack_one(&binary, &result(254, false), b"\x04\0\0\0\0").unwrap(), b"\0");
    let char = described("char(100)", Some(400));
    assert_eq!(pack_one(&char, &result(254, false), b"\x02 a").unwrap(), b"\x02\0 a");
    assert_eq!(pack_one(&described("bit(12)", None), &result(16, true), b"\x02\x0a\xbc").unwrap(), b"\x0a\xbc");
}

/// A moment as the protocol sends it.
fn moment(parts: &[u8], micros: u32) -> Vec<u8> {
    let full = [parts, &micros.to_le_bytes()].concat();
    counted(if micros == 0 { parts } else { &full })
}

proptest! {
    #[test]
    fn decimals_are_the_same_behind_their_packing(
        digits in "[0-9]{65}", precision in 1..=65u8, scale in 0..=30u8, negative in any::<bool>(), zeros in 0..3usize,
    ) {
        let scale = scale.min(precision);
        let column = described(&format!("decimal({precision},{scale})"), None);
        let (whole, rest) = digits.split_at(usize::from(precision - scale));
        let fraction = &rest[..usize::from(scale)];
        let point = if scale == 0 { "" } else { "." };
        let plain = format!("{}{point}{fraction}", match whole.trim_start_matches('0') { "" => "0", whole => whole });
        let sign = if negative && plain.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "-" } else { "" };
        let sent = format!("{}{}{plain}", if negative { "-" } else { "" }, "0".repeat(zeros));
        let packed = pack_one(&column, &result(246, false), &counted(sent.as_bytes())).unwrap();
        prop_assert_eq!(shown(&column, &packed), format!("{sign}{plain}"));
    }

    #[test]
    fn moments_are_the_same_behind_their_packing(
        year in 1970..2106u16, month in 1..=12u8, day in 1..=28u8, hour in 0..24u8, minute in 0..60u8, second in 0..60u8,
        fraction in 0..1_000_000u32, digits in 0..=6u8,
    ) {
        let micros = fraction - fraction % 10u32.pow(6 - u32::from(digits));
        prop_assume!((year, month, day, hour, minute, second) != (1970, 1, 1, 0, 0, 0));
        let [low, high] = year.to_le_bytes();
        let sent = moment(&[low, high, month, day, hour, minute, second], micros);
        let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
        if digits > 0 {
            text += &format!(".{micros:06}")[..=usize::from(digits)];
        }
        for (kind, type_code) in [("datetime", 12), ("timestamp", 7)] {
            let column = described(&format!("{kind}({digits})"), None);
            let packed = pack_one(&column, &result(type_code, false), &sent).unwrap();
            prop_assert_eq!(&shown(&column, &packed), &text);
        }
    }

    #[test]
    fn times_are_the_same_behind_their_packing(
        negative in any::<bool>(), hours in 0..=838u32, minute in 0..60u8, second in 0..60u8, fraction in 0..1_000_000u32, digits in 0..=6u8,
    ) {
        let micros = fraction - fraction % 10u32.pow(6 - u32::from(digits));
        let [a, b, c, d] = (hours / 24).to_le_bytes();
        let sent = moment(&[u8::from(negative), a, b, c, d, (hours % 24) as u8, minute, second], micros);
        let column = described(&format!("time({digits})"), None);
        let zero = (hours, minute, second, micros) == (0, 0, 0, 0);
        let mut text = format!("{}{hours:02}:{minute:02}:{second:02}", if negative && !zero { "-" } else { "" });
        if digits > 0 {
            text += &format!(".{micros:06}")[..=usize::from(digits)];
        }
        prop_assert_eq!(shown(&column, &pack_one(&column, &result(11, false), &sent).unwrap()), text);
    }

    #[test]
    fn any_packet_is_a_row_that_can_be_cut_or_an_error(bytes in prop::collection::vec(prop_oneof![3 => 0..16u8, 1 => any::<u8>()], 0..120)) {
        let kinds: [(&str, Option<u64>, u8, bool); 18] = [
            ("tinyint", None, 1, false), ("varchar(20)", Some(20), 253, false), ("mediumint", None, 9, false), ("decimal(20,5)", None, 246, false),
            ("datetime(3)", None, 12, false), ("timestamp(6)", None, 7, false), ("time(1)", None, 11, false), ("date", None, 10, false),
            ("year", None, 13, true), ("bit(12)", None, 16, true), ("json", None, 245, false), ("blob", None, 252, false),
            ("char(200)", Some(800), 254, false), ("binary(20)", None, 254, false), ("enum('a','b')", Some(1), 8, true), ("double", None, 5, false),
            ("bigint unsigned", None, 8, true), ("geometry", None, 255, false),
        ];
        for start in 0..kinds.len() {
            let kinds = kinds.iter().cycle().skip(start).take(5);
            let (columns, results): (Vec<_>, Vec<_>) = kinds
                .map(|(kind, octets, code, unsigned)| (described(kind, octets.or(kind.starts_with("binary").then_some(20))), result(*code, *unsigned)))
                .unzip();
            let schema = schema(columns);
            let packer = RowPacker::new(&schema, &results).unwrap();
            let mut out = vec![];
            if packer.pack(&[&[0, 0], bytes.as_slice()].concat(), &mut out).is_ok() {
                let layout = Layout::new(&schema).unwrap();
                let mut rows = layout.rows(Op::Insert, &[], &[0x1f], &out).unwrap();
                prop_assert!(rows.next().unwrap().is_ok() && rows.next().is_none());
            } else {
                prop_assert!(out.is_empty());
            }
        }
    }
}

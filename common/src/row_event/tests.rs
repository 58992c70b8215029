use super::*;
use crate::schema::{Column, KeyPart, LayoutOrigin, SchemaId};

fn schema(flavor: Flavor) -> TableSchema {
    let column = |name: &str, type_code, meta, nullable| Column {
        name: name.into(),
        type_code,
        meta,
        nullable,
        unsigned: false,
        collation: 0,
        members: vec![],
        visible: true,
    };
    TableSchema {
        database: "shop".into(),
        table: "orders".into(),
        flavor,
        columns: vec![column("id", 3, 0, false), column("name", 15, 80, true), column("d", 246, 0x020a, true)],
        primary_key: vec![KeyPart { column: 0, prefix: 0 }],
        origin: LayoutOrigin::TableMap,
    }
}

const HEADER: EventHeader = EventHeader { timestamp: 0x01020304, server_id: 0x0a0b0c0d };

#[test]
fn a_table_map_has_the_bytes_that_a_server_writes() {
    let mut out = vec![];
    table_map(HEADER, &schema(Flavor::MySql), 0x60, "db", "tt", &mut out).unwrap();
    let mut expected = vec![4, 3, 2, 1, 19, 0x0d, 0x0c, 0x0b, 0x0a, 46, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    expected.extend([0x60, 0, 0, 0, 0, 0, 1, 0, 2, b'd', b'b', 0, 2, b't', b't', 0, 3, 3, 15, 246, 4, 80, 0, 10, 2]);
    expected.extend([0b110]);
    expected[9] = expected.len() as u8;
    assert_eq!(out, expected);
}

#[test]
fn an_update_has_both_bitmaps_and_joined_images() {
    let record = Rows {
        schema: SchemaId(1),
        op: Op::Update,
        flags: 0,
        row_count: 1,
        columns_before: &[7],
        columns_after: &[3],
        images: b"IMAGES",
        more_bytes: 0,
    };
    let mut v2 = vec![];
    rows(HEADER, &schema(Flavor::MySql), &record, &[b"MO", b"RE"], STMT_END, 9, &mut v2).unwrap();
    assert_eq!(v2[4], 31);
    assert_eq!(v2[9], v2.len() as u8);
    assert_eq!(&v2[19..], b"\x09\0\0\0\0\0\x01\0\x02\0\x03\x07\x03IMAGESMORE");
    let mut v1 = vec![];
    rows(HEADER, &schema(Flavor::MariaDb), &record, &[], 0, 9, &mut v1).unwrap();
    assert_eq!(v1[4], 24);
    assert_eq!(&v1[19..], b"\x09\0\0\0\0\0\0\0\x03\x07\x03IMAGES");
}

#[test]
fn a_generated_invisible_primary_key_is_told_to_the_server() {
    let mut schema = schema(Flavor::MySql);
    schema.columns[0].name = "my_row_id".into();
    schema.columns[0].type_code = 8;
    schema.columns[0].visible = false;
    let mut out = vec![];
    table_map(HEADER, &schema, 1, "a", "b", &mut out).unwrap();
    assert_eq!(&out[25..27], &[5, 0]);
}

#[test]
fn a_vectors_dimensions_are_told_to_the_server() {
    let mut schema = schema(Flavor::MySql);
    for dimensions in [3, 1024] {
        schema.columns.push(schema.columns[0].clone());
        schema.columns.last_mut().unwrap().type_code = 242;
        schema.columns.last_mut().unwrap().meta = 4;
        schema.columns.last_mut().unwrap().collation = dimensions;
    }
    let mut out = vec![];
    table_map(HEADER, &schema, 1, "a", "b", &mut out).unwrap();
    assert!(out.ends_with(&[0b110, 13, 4, 3, 252, 0, 4]), "{out:?}");
    assert_eq!(out[9], out.len() as u8);
}

#[test]
fn a_name_that_is_too_long_leaves_nothing_behind() {
    let mut out = vec![1];
    assert!(table_map(HEADER, &schema(Flavor::MySql), 1, &"x".repeat(256), "b", &mut out).is_err());
    assert_eq!(out, [1]);
}

fn raw_format(version: &str, algorithm: u8) -> Vec<u8> {
    let mut event = vec![0; 19 + 57];
    event[4] = 15;
    event[17] = 1; // in use
    event[19] = 4;
    event[21..21 + version.len()].copy_from_slice(version.as_bytes());
    event[75] = 19;
    event.extend([56, 13, 0, 8, 0, 18, 0, 4]);
    event.push(algorithm);
    event.extend([1, 2, 3, 4]);
    let size = event.len() as u32;
    event[9..13].copy_from_slice(&size.to_le_bytes());
    event
}

#[test]
fn the_format_description_is_the_same_from_whole_and_cut_events() {
    let raw = raw_format("9.7.4", 1);
    let whole = format_description(&raw).unwrap();
    assert_eq!(whole.len(), raw.len());
    assert_eq!(whole[whole.len() - 5], 0);
    assert_eq!(whole[17], 0);
    let (body, crc) = whole.split_at(whole.len() - 4);
    assert_eq!(crc, crc32fast::hash(body).to_le_bytes());
    assert_eq!(format_description(&raw[..raw.len() - 4]).unwrap(), whole);
    assert_eq!(format_description(&raw[..raw.len() - 5]).unwrap(), whole);
    for len in 0..raw.len() - 5 {
        assert!(format_description(&raw[..len]).is_err(), "{len}");
    }
}

#[test]
fn a_source_from_before_checksums_is_refused() {
    for (version, good) in [
        ("5.6.0", false),
        ("5.5.60", false),
        ("5.6.1", true),
        ("5.5.5-10.11.8-MariaDB", true),
        ("10.11.19-MariaDB", true),
    ] {
        assert_eq!(format_description(&raw_format(version, 0)).is_ok(), good, "{version}");
    }
}

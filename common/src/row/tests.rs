use super::*;
use crate::record::Op;
use crate::schema::{Column, LayoutOrigin};
use proptest::prelude::*;

fn column(name: &str, type_code: u8, meta: u16) -> Column {
    Column {
        name: name.into(),
        type_code,
        meta,
        nullable: true,
        unsigned: false,
        collation: 0,
        members: vec![],
        visible: true,
    }
}

fn schema(flavor: Flavor, types: &[(u8, u16)]) -> TableSchema {
    TableSchema {
        database: "d".into(),
        table: "t`x".into(),
        flavor,
        columns: types.iter().enumerate().map(|(i, &(t, m))| column(&format!("c{i}"), t, m)).collect(),
        primary_key: vec![],
        origin: LayoutOrigin::TableMap,
    }
}

fn layout(types: &[(u8, u16)]) -> Layout {
    Layout::new(&schema(Flavor::MySql, types)).unwrap()
}

#[test]
fn the_null_bitmap_counts_present_columns_only() {
    // INT, VARCHAR(20), TINY; the image lacks the VARCHAR.
    let layout = layout(&[(3, 0), (15, 20), (1, 0)]);
    let row = layout.rows(Op::Delete, &[0b101], &[], &[0b10, 7, 0, 0, 0]).unwrap().next().unwrap().unwrap();
    let cells: Vec<_> = row.before.unwrap().cells().collect();
    assert_eq!(cells, [Cell::Bytes(&[7, 0, 0, 0]), Cell::Absent, Cell::Null]);
}

#[test]
fn an_update_has_its_own_columns_on_each_side() {
    let layout = layout(&[(1, 0), (15, 300), (2, 0)]);
    let images = [0, 9, /* after: */ 0, 2, 0, b'a', b'b', 1, 1, 0, 10, 0b1, 2, 2];
    let rows: Vec<_> = layout.rows(Op::Update, &[0b001], &[0b110], &images).unwrap().map(|r| r.unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].before.unwrap().column(0), Cell::Bytes(&[9]));
    assert_eq!(rows[0].after.unwrap().column(0), Cell::Absent);
    assert_eq!(rows[0].after.unwrap().column(1), Cell::Bytes(b"ab"));
    assert_eq!(rows[0].range, 0..9);
    assert_eq!(rows[1].after.unwrap().column(1), Cell::Null);
    assert_eq!(rows[1].after.unwrap().column(2), Cell::Bytes(&[2, 2]));
    assert_eq!(layout.count(Op::Update, &[0b001], &[0b110], &images).unwrap(), 2);
}

#[test]
fn a_partial_update_tells_which_json_columns_hold_changes() {
    // JSON, INT, JSON; the after image lacks the INT.
    let layout = layout(&[(245, 4), (3, 0), (245, 4)]);
    let mut images = vec![0, 1, 0, 0, 0, 0xaa, 5, 0, 0, 0, 1, 0, 0, 0, 0xbb];
    images.extend([1, 0b10, 0, 1, 0, 0, 0, 0xcc, 2, 0, 0, 0, 0xdd, 0xee]);
    let row = layout.rows(Op::PartialUpdate, &[0b111], &[0b101], &images).unwrap().next().unwrap().unwrap();
    let cells: Vec<_> = row.after.unwrap().cells().collect();
    assert_eq!(cells, [Cell::Bytes(&[0xcc]), Cell::Absent, Cell::JsonDiff(&[0xdd, 0xee])]);
    assert_eq!(row.before.unwrap().column(2), Cell::Bytes(&[0xbb]));
}

#[test]
fn a_row_without_columns_takes_no_bytes_and_is_one_row() {
    let layout = layout(&[(3, 0)]);
    assert_eq!(layout.count(Op::Insert, &[], &[0], &[]).unwrap(), 1);
    assert_eq!(layout.count(Op::Insert, &[], &[1], &[]).unwrap(), 0);
    assert!(layout.count(Op::Insert, &[], &[0], &[1]).is_err());
}

#[test]
fn an_image_that_ends_early_names_row_and_column() {
    let layout = layout(&[(3, 0), (252, 2)]);
    let images = [0, 1, 0, 0, 0, 1, 0, b'x', 0, 1, 0, 0, 0, 9, 0, b'y'];
    let error = layout.count(Op::Insert, &[], &[3], &images).unwrap_err();
    assert_eq!(error.to_string(), "d.t`x: row 1 ends within column c1 at byte 13 of 16");
}

#[test]
fn a_char_of_more_than_255_bytes_has_two_length_bytes() {
    // CHAR(255) of utf8mb4 is 1020 bytes: 254 ^ ((1020 & 0x300) >> 4) = 0xce, 0xfc.
    let meta = u16::from_le_bytes([0xce, 0xfc]);
    assert_eq!(packed::string_bytes(meta), 1020);
    assert_eq!(Packed::new(254, meta).unwrap().prefix, 2);
    assert_eq!(Packed::new(254, u16::from_le_bytes([254, 40])).unwrap().prefix, 1);
}

#[test]
fn packed_decimals_have_the_servers_sizes() {
    let sizes = [(1, 0, 1), (10, 2, 5), (65, 30, 30), (38, 0, 17), (5, 5, 3), (9, 0, 4), (18, 9, 8)];
    for (precision, scale, bytes) in sizes {
        assert_eq!(decimal_bytes(precision, scale), Some(bytes), "DECIMAL({precision},{scale})");
    }
    assert_eq!(decimal_bytes(66, 0), None);
    assert_eq!(decimal_bytes(5, 6), None);
}

#[test]
fn mariadbs_old_temporal_columns_are_refused_with_the_statement_that_helps() {
    let error = Layout::new(&schema(Flavor::MariaDb, &[(12, 0)])).unwrap_err().to_string();
    assert!(error.contains("column c0 is a DATETIME in MariaDB's old"), "{error}");
    assert!(error.ends_with("ALTER TABLE `d`.`t``x` FORCE"), "{error}");
    assert!(Layout::new(&schema(Flavor::MySql, &[(7, 0), (11, 0), (12, 0)])).is_ok());
}

fn any_type() -> impl Strategy<Value = (u8, u16)> {
    prop_oneof![
        3 => prop::sample::select(vec![1u8, 2, 3, 6, 8, 9, 10, 13, 14]).prop_map(|t| (t, 0)),
        2 => (prop::sample::select(vec![15u8, 141, 254]), any::<u16>()),
        1 => (prop::sample::select(vec![245u8, 252, 255, 242, 140]), 1..5u16),
        1 => (prop::sample::select(vec![17u8, 18, 19]), 0..7u16),
        1 => (1..=65u8, 0..=30u8).prop_map(|(p, s)| (246, u16::from_le_bytes([p, s.min(p)]))),
        1 => (0..8u8, 0..8u8).prop_map(|(bits, bytes)| (16, u16::from_le_bytes([bits, bytes]))),
        1 => any::<(u8, u16)>(),
    ]
}

proptest! {
    /// Arbitrary bytes under arbitrary layouts: no panic, no byte read twice or left out.
    #[test]
    fn any_bytes_are_cut_whole_or_refused(
        types in prop::collection::vec(any_type(), 0..20),
        before in prop::collection::vec(any::<u8>(), 3),
        after in prop::collection::vec(any::<u8>(), 3),
        images in prop::collection::vec(prop_oneof![3 => 0..4u8, 1 => any::<u8>()], 0..300),
    ) {
        let Ok(layout) = Layout::new(&schema(Flavor::MySql, &types)) else { return Ok(()) };
        let bytes = types.len().div_ceil(8);
        let (before, after) = (&before[..bytes], &after[..bytes]);
        for op in [Op::Insert, Op::Update, Op::Delete, Op::PartialUpdate] {
            let mut end = 0;
            let mut rows = 0;
            let mut failed = false;
            match layout.rows(op, before, after, &images) {
                Err(_) => failed = true,
                Ok(iter) => for row in iter {
                    let Ok(row) = row else { failed = true; break };
                    prop_assert_eq!(row.range.start, end);
                    end = row.range.end;
                    rows += 1;
                    for image in [row.before, row.after].into_iter().flatten() {
                        let cells = image.cells();
                        prop_assert_eq!(cells.len(), types.len());
                        prop_assert_eq!(cells.count(), types.len());
                    }
                },
            }
            let count = layout.count(op, before, after, &images);
            prop_assert_eq!(count.is_err(), failed);
            if let Ok(count) = count {
                prop_assert_eq!((count, end), (rows, images.len()));
            }
        }
    }
}

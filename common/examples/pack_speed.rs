//! How fast rows of the binary protocol become row images.
//!
//! `cargo run --release -p logweir-common --example pack_speed`

use std::hint::black_box;
use std::time::Instant;

use common::Flavor;
use common::pack::{self, ColumnDefinition, ResultColumn, RowPacker};
use common::schema::{LayoutOrigin, TableSchema};

const ROWS: usize = 20_000;
const ROUNDS: usize = 50;

/// Type, bytes of a string, type byte in the result, and a value as it is sent.
type Case = (&'static str, Option<u64>, u8, Vec<u8>);

fn counted(len: u8, byte: u8) -> Vec<u8> {
    let mut value = vec![byte; usize::from(len) + 1];
    value[0] = len;
    value
}

fn text(text: &str) -> Vec<u8> {
    let mut value = vec![text.len() as u8];
    value.extend_from_slice(text.as_bytes());
    value
}

#[expect(clippy::unwrap_used, reason = "a measurement")]
fn measure(name: &str, cases: &[Case]) {
    let columns = cases.iter().map(|(column_type, octet_length, _, _)| {
        let definition = ColumnDefinition {
            name: "c".to_owned(),
            data_type: column_type.split(['(', ' ']).next().unwrap_or_default().to_owned(),
            column_type: (*column_type).to_owned(),
            collation_id: 45,
            octet_length: *octet_length,
            nullable: true,
            ..ColumnDefinition::default()
        };
        pack::column(&definition, Flavor::MySql).unwrap()
    });
    let schema = TableSchema {
        database: "sbtest".to_owned(),
        table: "sbtest1".to_owned(),
        flavor: Flavor::MySql,
        columns: columns.collect(),
        primary_key: vec![],
        origin: LayoutOrigin::InformationSchema,
    };
    let results: Vec<_> =
        cases.iter().map(|case| ResultColumn { type_code: case.2, ..ResultColumn::default() }).collect();
    let packer = RowPacker::new(&schema, &results).unwrap();
    let mut packet = vec![0; 1 + (cases.len() + 9) / 8];
    cases.iter().for_each(|case| packet.extend_from_slice(&case.3));
    let packets = vec![packet; ROWS];
    let mut out = Vec::with_capacity(ROWS * 400);
    let mut run = || {
        out.clear();
        for packet in black_box(&packets) {
            packer.pack(packet, &mut out).unwrap();
        }
        out.len()
    };
    let bytes = run();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(run());
    }
    let seconds = start.elapsed().as_secs_f64() / ROUNDS as f64;
    println!("{name:9} {:7.2} M rows/s {:8.0} MB/s", ROWS as f64 / seconds / 1e6, bytes as f64 / seconds / 1e6);
}

fn main() {
    measure(
        "sysbench",
        &[
            ("int", None, 3, vec![1, 2, 3, 4]),
            ("int", None, 3, vec![1, 2, 3, 4]),
            ("char(120)", Some(480), 254, counted(119, b'5')),
            ("char(60)", Some(240), 254, counted(59, b'9')),
        ],
    );
    measure(
        "mixed",
        &[
            ("bigint", None, 8, vec![1; 8]),
            ("int", None, 3, vec![1; 4]),
            ("mediumint", None, 9, vec![1, 2, 3, 0]),
            ("decimal(10,2)", None, 246, text("12345.67")),
            ("varchar(50)", Some(200), 253, counted(20, b'n')),
            ("text", Some(65_535), 252, counted(40, b't')),
            ("datetime(6)", None, 12, vec![11, 0xe8, 7, 2, 29, 23, 59, 58, 1, 2, 3, 0]),
            ("timestamp(3)", None, 7, vec![11, 0xe8, 7, 2, 29, 23, 59, 58, 0xe8, 3, 0, 0]),
            ("double", None, 5, vec![7; 8]),
            ("date", None, 10, vec![4, 0xe8, 7, 2, 29]),
            ("varchar(50)", Some(200), 253, counted(5, b'n')),
        ],
    );
    let document =
        r#"{"id": 12345, "name": "somebody", "tags": ["a", "b", "c"], "price": 12.5, "on": true, "at": "2024-02-29"}"#;
    measure("json", &[("int", None, 3, vec![1; 4]), ("json", None, 245, text(document))]);
}

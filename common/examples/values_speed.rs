//! How fast packed rows are cut, written as SQL, and turned back into row events.
//!
//! `cargo run --release -p logweir-common --example values_speed`

use std::hint::black_box;
use std::time::Instant;

use common::literal::ColumnWriter;
use common::record::{Op, Rows};
use common::row::{Cell, Layout};
use common::row_event::{self, EventHeader, STMT_END};
use common::schema::{Column, LayoutOrigin};
use common::{Flavor, SchemaId, TableSchema};

const ROWS: usize = 20_000;
const ROUNDS: usize = 50;

fn column(name: &str, type_code: u8, meta: u16, collation: u16) -> Column {
    let name = name.to_owned();
    Column { name, type_code, meta, nullable: true, unsigned: false, collation, members: vec![], visible: true }
}

fn schema(columns: Vec<Column>) -> TableSchema {
    TableSchema {
        database: "sbtest".to_owned(),
        table: "sbtest1".to_owned(),
        flavor: Flavor::MySql,
        columns,
        primary_key: vec![],
        origin: LayoutOrigin::TableMap,
    }
}

/// sysbench's table: id, k, c CHAR(120), pad CHAR(60).
fn sysbench() -> (TableSchema, Vec<u8>) {
    let columns = vec![
        column("id", 3, 0, 0),
        column("k", 3, 0, 0),
        column("c", 254, 0x78fe, 255),
        column("pad", 254, 0x3cfe, 255),
    ];
    let mut images = vec![];
    for n in 0..ROWS as u32 {
        images.push(0);
        images.extend(n.to_le_bytes());
        images.extend((n * 7).to_le_bytes());
        images.push(119);
        images.extend([b'5'; 119]);
        images.push(59);
        images.extend([b'9'; 59]);
    }
    (schema(columns), images)
}

/// Twelve columns of many types, one of them NULL.
fn mixed() -> (TableSchema, Vec<u8>) {
    let columns = vec![
        column("id", 8, 0, 0),
        column("a", 3, 0, 0),
        column("b", 9, 0, 0),
        column("price", 246, 0x020a, 0),
        column("name", 15, 200, 255),
        column("note", 252, 2, 255),
        column("at", 18, 6, 0),
        column("ts", 17, 3, 0),
        column("f", 5, 8, 0),
        column("kind", 254, 0x01f7, 255),
        column("day", 10, 0, 0),
        column("nothing", 15, 200, 255),
    ];
    let mut images = vec![];
    for n in 0..ROWS as u64 {
        images.extend([0, 0b1000]);
        images.extend(n.to_le_bytes());
        images.extend((n as u32).to_le_bytes());
        images.extend([1, 2, 3, 0x80, 0, 0, 1, 50]);
        images.push(20);
        images.extend([b'n'; 20]);
        images.extend(40u16.to_le_bytes());
        images.extend([b't'; 40]);
        images.extend([0x99, 0xb2, 0x7b, 0x7e, 0xfb, 1, 2, 3]);
        images.extend([0x65, 0xe0, 0x40, 0x10, 0x03, 0xe8]);
        images.extend((n as f64 / 7.0).to_le_bytes());
        images.push(2);
        images.extend([0x5d, 0xd0, 0x0f]);
    }
    (schema(columns), images)
}

#[expect(clippy::unwrap_used, reason = "a measurement")]
fn measure(name: &str, schema: &TableSchema, images: &[u8]) {
    let layout = Layout::new(schema).unwrap();
    let present = vec![0xff; schema.columns.len().div_ceil(8)];
    let rate = |what: &str, bytes: usize, run: &mut dyn FnMut()| {
        run();
        let start = Instant::now();
        for _ in 0..ROUNDS {
            run();
        }
        let seconds = start.elapsed().as_secs_f64() / ROUNDS as f64;
        println!(
            "{name:8} {what:22} {:7.2} M rows/s {:8.0} MB/s",
            ROWS as f64 / seconds / 1e6,
            bytes as f64 / seconds / 1e6
        );
    };
    rate("count", images.len(), &mut || {
        assert_eq!(layout.count(Op::Insert, &[], &present, black_box(images)).unwrap(), ROWS as u32);
    });
    rate("cells", images.len(), &mut || {
        let mut bytes = 0;
        for row in layout.rows(Op::Insert, &[], &present, black_box(images)).unwrap() {
            for cell in row.unwrap().after.unwrap().cells() {
                bytes += if let Cell::Bytes(value) = cell { value.len() } else { 0 };
            }
        }
        black_box(bytes);
    });
    let writers: Vec<_> =
        (0..schema.columns.len()).map(|i| ColumnWriter::same(schema, i, Flavor::MySql).unwrap()).collect();
    let mut sql = Vec::with_capacity(images.len() * 4);
    let write = |sql: &mut Vec<u8>| {
        sql.clear();
        for row in layout.rows(Op::Insert, &[], &present, black_box(images)).unwrap() {
            sql.push(b'(');
            for (writer, cell) in writers.iter().zip(row.unwrap().after.unwrap().cells()) {
                writer.value(cell, sql).unwrap();
                sql.push(b',');
            }
            sql.push(b')');
        }
    };
    write(&mut sql);
    let len = sql.len();
    rate("SQL literals", len, &mut || write(&mut sql));
    let record = Rows {
        schema: SchemaId(0),
        op: Op::Insert,
        flags: 1,
        row_count: ROWS as u32,
        columns_before: &[],
        columns_after: &present,
        images,
        more_bytes: 0,
    };
    let mut events = Vec::with_capacity(images.len() * 2);
    rate("row event", images.len(), &mut || {
        events.clear();
        let header = EventHeader { timestamp: 1, server_id: 1 };
        row_event::table_map(header, schema, 1, "a", "b", &mut events).unwrap();
        row_event::rows(header, schema, &record, &[], STMT_END, 1, &mut events).unwrap();
    });
}

fn main() {
    for (name, (schema, images)) in [("sysbench", sysbench()), ("mixed", mixed())] {
        measure(name, &schema, &images);
    }
}

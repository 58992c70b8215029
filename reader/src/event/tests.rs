use common::record::Op;
use common::{Flavor, Gtid};

use super::format::FormatDescription;
use super::payload::PayloadEvents;
use super::query::Query;
use super::rows::{RowsEvent, decompress};
use super::table_map::TableMap;
use super::xa::{XaStatement, parse_statement};
use super::*;

/// An event as a server writes it.
pub(crate) fn event(kind: u8, log_pos: u32, flags: u16, body: &[u8], crc: bool) -> Vec<u8> {
    let size = (HEADER_BYTES + body.len() + if crc { 4 } else { 0 }) as u32;
    let header = Header { timestamp: 1_700_000_000, kind, server_id: 7, size, log_pos, flags };
    let mut out = header.to_bytes().to_vec();
    out.extend_from_slice(body);
    if crc {
        let sum = crc32fast::hash(&out);
        out.extend_from_slice(&sum.to_le_bytes());
    }
    out
}

/// The body of a format description of this version, with the algorithm byte.
pub(crate) fn format_body(version: &str, algorithm: u8) -> Vec<u8> {
    let mut body = 4u16.to_le_bytes().to_vec();
    let mut name = version.as_bytes().to_vec();
    name.resize(50, 0);
    body.extend_from_slice(&name);
    body.extend_from_slice(&0u32.to_le_bytes());
    body.push(19);
    let mut lengths = vec![0u8; 42];
    lengths[1] = 13; // QUERY
    lengths[18] = 8; // TABLE_MAP
    body.extend_from_slice(&lengths);
    body.push(algorithm);
    body
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn a_flipped_bit_anywhere_in_an_event_is_found() {
    let whole = event(kind::XID, 300, 0, &77u64.to_le_bytes(), true);
    assert!(Event::parse(&whole, Checksum::Crc32).is_ok());
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Event::parse(&bytes, Checksum::Crc32).is_err(), "bit {bit}");
    }
}

#[test]
fn a_format_description_says_how_the_rest_of_its_file_is_checked() {
    for (algorithm, expected) in [(0, Checksum::Off), (1, Checksum::Crc32)] {
        // It carries a checksum itself in both cases.
        let bytes = event(kind::FORMAT_DESCRIPTION, 122, 0, &format_body("9.7.4", algorithm), true);
        let parsed = Event::parse(&bytes, Checksum::Off).unwrap();
        let format = FormatDescription::parse(&parsed.header, parsed.body).unwrap();
        assert_eq!((format.checksum, format.flavor, format.table_id_bytes()), (expected, Flavor::MySql, 6));
        // What is kept for BINLOG statements has the algorithm OFF, and is right in itself.
        let kept = Event::parse(&format.without_checksums, Checksum::Crc32).unwrap();
        assert_eq!(kept.body.last(), Some(&0));
    }
    let bytes = event(kind::FORMAT_DESCRIPTION, 122, 0, &format_body("11.8.9-MariaDB-log", 1), true);
    let parsed = Event::parse(&bytes, Checksum::Off).unwrap();
    assert_eq!(FormatDescription::parse(&parsed.header, parsed.body).unwrap().flavor, Flavor::MariaDb);
    let unknown = event(kind::FORMAT_DESCRIPTION, 122, 0, &format_body("9.7.4", 9), true);
    let parsed = Event::parse(&unknown, Checksum::Off).unwrap();
    assert!(FormatDescription::parse(&parsed.header, parsed.body).is_err());
}

#[test]
fn gtid_events_of_5_6_and_8_0_are_read() {
    let mut body = vec![1];
    body.extend_from_slice(&[0x3e; 16]);
    body.extend_from_slice(&23u64.to_le_bytes());
    let old = gtid::parse_gtid(&body, false).unwrap();
    assert_eq!(old.gtid.unwrap().to_string(), format!("{}:23", "3e3e3e3e-3e3e-3e3e-3e3e-3e3e3e3e3e3e"));
    assert_eq!(old.committed_us, None);
    body.push(2);
    body.extend_from_slice(&4i64.to_le_bytes());
    body.extend_from_slice(&5i64.to_le_bytes());
    let times = |us: u64, more: bool| (us | u64::from(more) << 55).to_le_bytes()[..7].to_vec();
    body.extend_from_slice(&times(1_700_000_000_000_001, true));
    body.extend_from_slice(&times(1_600_000_000_000_002, false));
    let new = gtid::parse_gtid(&body, false).unwrap();
    assert_eq!((new.last_committed, new.sequence_number), (4, 5));
    assert_eq!((new.committed_us, new.original_us), (Some(1_700_000_000_000_001), Some(1_600_000_000_000_002)));
    assert_eq!(gtid::parse_gtid(&body, true).unwrap().gtid, None);
}

#[test]
fn a_mariadb_gtid_tells_how_its_group_ends() {
    let mut body = 99u64.to_le_bytes().to_vec();
    body.extend_from_slice(&3u32.to_le_bytes());
    let read = |flags: u8, rest: &[u8]| {
        let mut whole = body.clone();
        whole.push(flags);
        whole.extend_from_slice(rest);
        gtid::parse_mariadb(&whole, 11).unwrap()
    };
    let plain = read(4, &[0; 6]);
    assert_eq!(plain.gtid, Some(Gtid::MariaDb { domain: 3, server: 11, sequence: 99 }));
    assert!(!plain.mariadb.unwrap().standalone);
    assert!(read(1 | 32, &[0; 6]).mariadb.unwrap().standalone);
    let xid = read(2 | 64, &[&[0; 8][..], &1i32.to_le_bytes(), &[2, 1], b"abc"].concat())
        .mariadb
        .unwrap()
        .prepared_xa
        .unwrap();
    assert_eq!((xid.gtrid, xid.bqual), (b"ab".to_vec(), b"c".to_vec()));
}

#[test]
fn a_table_map_with_full_metadata_is_a_whole_layout() {
    // id INT UNSIGNED, name VARCHAR(20) latin1, n SMALLINT, y YEAR, with FULL metadata.
    let mut body = vec![1, 0, 1, b'd', 0, 1, b't', 0, 4, 3, 15, 2, 13, 2, 20, 0, 0b0010];
    let mut field = |kind: u8, value: &[u8]| {
        body.push(kind);
        body.push(value.len() as u8);
        body.extend_from_slice(value);
    };
    field(1, &[0b1010_0000]);
    field(2, &[8]);
    field(4, b"\x02id\x04name\x01n\x01y");
    field(9, &[1, 5, 0, 0]);
    field(12, &[0b1101_0000]);
    field(200, b"later");
    let map = TableMap::parse(&body).unwrap();
    let schema = map.schema(Flavor::MySql).unwrap().unwrap();
    let signs: Vec<bool> = schema.columns.iter().map(|column| column.unsigned).collect();
    assert_eq!(signs, [true, false, false, true]);
    assert_eq!((schema.columns[1].meta, schema.columns[1].collation, schema.columns[1].nullable), (20, 8, true));
    assert!(!schema.columns[2].visible);
    assert_eq!((schema.primary_key[0].column, schema.primary_key[0].prefix, schema.primary_key[1].column), (1, 5, 0));
    // Cut anywhere it is an error or lacks its names, and never a panic.
    for len in 0..body.len() {
        if let Ok(map) = TableMap::parse(&body[..len]) {
            let _ = map.schema(Flavor::MySql);
        }
    }
}

#[test]
fn a_type_that_is_not_known_is_an_error() {
    let body = [1, 0, 1, b'd', 0, 1, b't', 0, 1, 99, 0, 0];
    assert!(matches!(TableMap::parse(&body), Err(EventError::Invalid { what: "the type of a column", .. })));
}

#[test]
fn row_events_of_both_versions_are_cut_into_their_parts() {
    let v1 = [7, 0, 0, 0, 0, 0, 1, 0, 2, 0b11, 0b01, 0xaa];
    let event = RowsEvent::parse(kind::UPDATE_ROWS_V1, &v1, 6).unwrap();
    assert_eq!((event.table_id, event.flags, event.op, event.width), (7, 1, Op::Update, 2));
    assert_eq!((event.columns_before, event.columns_after, &*event.images), (&[0b11][..], &[0b01][..], &[0xaa][..]));
    let v2 = [7, 0, 0, 0, 0, 0, 1, 0, 5, 0, 9, 9, 9, 2, 0b11, 0xaa];
    let event = RowsEvent::parse(kind::WRITE_ROWS, &v2, 6).unwrap();
    assert_eq!((event.op, event.columns_after, &*event.images), (Op::Insert, &[0b11][..], &[0xaa][..]));
    for len in 0..v2.len() - 1 {
        assert!(RowsEvent::parse(kind::WRITE_ROWS, &v2[..len], 6).is_err() || len >= v2.len() - 1, "{len}");
    }
}

#[test]
fn compressed_images_that_lie_about_their_length_are_refused() {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&[5; 300]).unwrap();
    let packed = encoder.finish().unwrap();
    let with_length = |len: u16| [&[0x82][..], &len.to_be_bytes(), &packed].concat();
    assert_eq!(decompress(&with_length(300)).unwrap(), vec![5; 300]);
    assert!(decompress(&with_length(299)).is_err() && decompress(&with_length(301)).is_err());
    assert!(decompress(&[0x92, 1, 44]).is_err(), "another algorithm");
}

#[test]
fn a_payload_is_read_event_by_event_and_its_damage_is_an_error() {
    let events: Vec<Vec<u8>> = (0..50u8).map(|i| event(kind::XID, 0, 0, &[i; 8], false)).collect();
    let plain = events.concat();
    let packed = zstd::encode_all(&plain[..], 3).unwrap();
    let body = |packed: &[u8], uncompressed: usize| {
        let lenenc = |value: usize| [&[252][..], &(value as u16).to_le_bytes()].concat();
        let mut body = vec![2, 1, 0]; // zstd
        body.extend_from_slice(&[1, 3]);
        body.extend_from_slice(&lenenc(packed.len()));
        body.extend_from_slice(&[3, 3]);
        body.extend_from_slice(&lenenc(uncompressed));
        body.push(0);
        body.extend_from_slice(packed);
        body
    };
    let read = |body: &[u8]| -> Result<usize, EventError> {
        let mut events = PayloadEvents::open(body)?;
        let mut count = 0;
        while let Some(event) = events.next_event()? {
            assert_eq!(event.body.len(), 8);
            count += 1;
        }
        Ok(count)
    };
    assert_eq!(read(&body(&packed, plain.len())), Ok(50));
    assert!(read(&body(&packed, plain.len() + 27)).is_err(), "more was announced");
    assert!(read(&body(&packed[..packed.len() - 5], plain.len())).is_err(), "it ends early");
    let mut damaged = packed.clone();
    damaged[0] ^= 1;
    assert!(read(&body(&damaged, plain.len())).is_err());
}

#[test]
fn all_status_variables_of_a_statement_are_read() {
    let vars = unhex(
        "00 00400004 01 2000a04500000000 06 03737464 04 ff00 ff00 0800 05 06 2b30323a3030 0b 01 75 01 68 0c 01 6400 0d 3cb005 10 01 11 0100000000000000 12 ff00 13 01 14 00 15 00",
    );
    let mut body = 5u32.to_le_bytes().to_vec();
    body.extend_from_slice(&0u32.to_le_bytes());
    body.push(1);
    body.extend_from_slice(&0u16.to_le_bytes());
    body.extend_from_slice(&(vars.len() as u16).to_le_bytes());
    body.extend_from_slice(&vars);
    body.extend_from_slice(b"d\0CREATE TABLE t (a INT)");
    let query = Query::parse(&body, 13).unwrap();
    assert_eq!((query.database, query.statement), (&b"d"[..], &b"CREATE TABLE t (a INT)"[..]));
    let header = Header { timestamp: 9, kind: kind::QUERY, server_id: 1, size: 0, log_pos: 0, flags: 0 };
    let context = query.context(&header, Flavor::MySql).unwrap();
    assert_eq!(context.flags2, Some(0x0400_4000));
    assert_eq!(context.charsets, Some((255, 255, 8)));
    assert_eq!(context.time_zone.as_deref(), Some("+02:00"));
    assert_eq!(context.microseconds, Some(372_796), "three bytes");
    assert_eq!(context.invoker, Some(("u".into(), "h".into())));
    assert_eq!(context.default_collation_for_utf8mb4, Some(255));
    assert_eq!((context.sql_require_primary_key, context.default_table_encryption), (Some(true), Some(false)));
}

#[test]
fn xa_statements_name_their_branch() {
    let XaStatement::Commit(xid) = parse_statement(b"XA COMMIT X'6f6e65',X'',1").unwrap() else {
        panic!("another verb")
    };
    assert_eq!((xid.format_id, xid.gtrid.as_slice(), xid.bqual.as_slice()), (1, &b"one"[..], &b""[..]));
    assert!(matches!(parse_statement(b"XA START X'61',X'62',7"), Ok(XaStatement::Start(_))));
    assert!(matches!(parse_statement(b"XA ROLLBACK 'a'"), Ok(XaStatement::Rollback(_))));
    assert!(parse_statement(b"XA COMMIT").is_err() && parse_statement(b"XA FROB X'61'").is_err());
}

#[test]
fn variable_length_integers_have_their_length_in_the_low_bits() {
    for (bytes, value) in [
        (&[0b10][..], 1u64),
        (&[0xfe], 127),
        (&[0x01, 0x02], 128),
        (&[0xff, 1, 2, 3, 4, 5, 6, 7, 8], 0x0807_0605_0403_0201),
    ] {
        assert_eq!(input::Input::new(bytes, "x").varlen().unwrap(), value, "{bytes:x?}");
    }
    assert_eq!(input::Input::new(&[0b110], "x").varlen_signed().unwrap(), -2);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(kind in 0u8..=255, body in proptest::collection::vec(0u8..=255, 0..200)) {
        let _ = gtid::parse_gtid(&body, false);
        let _ = gtid::parse_tagged(&body);
        let _ = gtid::parse_mariadb(&body, 1);
        let _ = gtid::parse_mariadb_list(&body);
        let _ = xa::XaPrepare::parse(&body);
        let _ = parse_statement(&body);
        let _ = TableMap::parse(&body).and_then(|map| map.schema(Flavor::MySql));
        let _ = RowsEvent::parse(kind, &body, 6);
        let header = Header { timestamp: 0, kind, server_id: 0, size: 0, log_pos: 0, flags: 0 };
        let _ = Query::parse(&body, 13).and_then(|query| query.context(&header, Flavor::MySql));
        let _ = FormatDescription::parse(&header, &body);
        if let Ok(mut events) = PayloadEvents::open(&body) {
            while let Ok(Some(_)) = events.next_event() {}
        }
    }
}

//! What is written is read back, nothing else is accepted, and the bytes of version 1 stay what they are.

use proptest::prelude::*;

use super::*;
use crate::codec::{decode, encode};
use crate::gtid::SourceId;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn gtid() -> Gtid {
    Gtid::MySql { source: SourceId { uuid: [0xab; 16], tag: "blue".into() }, number: 300 }
}

#[test]
fn the_bytes_of_each_record_are_those_of_format_1() {
    let begin = Begin {
        gtid: Some(gtid()),
        server_id: 7,
        committed_us: 1_700_000_000_000_000,
        original_us: 0,
        last_committed: 1,
        sequence_number: 2,
    };
    let commit = Commit {
        end: BinlogPosition { file: "bin.000001".into(), offset: 5_000_000_000 },
        kind: CommitKind::Commit,
        row_count: 3,
    };
    let rows = Rows {
        schema: SchemaId(1),
        op: Op::Update,
        flags: 1,
        row_count: 1,
        columns_before: &[0xff],
        columns_after: &[0x03],
        images: &[0xfc, 1, 0, 0, 0],
        more_bytes: 0,
    };
    let xa = XaOutcome { xid: Xid { format_id: 1, gtrid: b"g".to_vec(), bqual: vec![] }, commit: true };
    let golden = [
        (encode(&begin).unwrap(), "0100abababababababababababababababab04626c7565fb2c0107fd00401e18240a0600000204"),
        (encode(&commit).unwrap(), "0a62696e2e303030303031fd00f2052a010000000003"),
        (encode(&rows).unwrap(), "01010101 01ff 0103 05fc01000000 00"),
        (encode(&xa).unwrap(), "0201670001"),
    ];
    for (bytes, want) in golden {
        assert_eq!(hex(&bytes), want.replace(' ', ""));
    }
}

#[test]
fn a_record_of_an_unknown_kind_has_no_meaning_here() {
    let known = (0..=255).filter(|&b| RecordKind::from_byte(b).is_some()).count();
    assert_eq!(known, 10);
    for byte in 1..=10 {
        assert_eq!(RecordKind::from_byte(byte).unwrap() as u8, byte);
    }
}

proptest! {
    #[test]
    fn rows_come_back_as_they_were(
        schema: u64, flags: u16, row_count: u32, more_bytes: u64,
        before: Vec<u8>, after: Vec<u8>, images: Vec<u8>,
    ) {
        let rows = Rows {
            schema: SchemaId(schema), op: Op::PartialUpdate, flags, row_count,
            columns_before: &before, columns_after: &after, images: &images, more_bytes,
        };
        let bytes = encode(&rows).unwrap();
        prop_assert_eq!(decode::<Rows>(&bytes).unwrap(), rows);
    }

    #[test]
    fn ddl_comes_back_as_it_was(statement: Vec<u8>, database: Vec<u8>, name: String, zone: Option<String>, mode: Option<u64>) {
        let context = SessionContext { time_zone: zone, sql_mode: mode, ..SessionContext::default() };
        let object = DdlObject { database: name.clone(), name, span: (1, 2), role: DdlRole::NewName };
        let ddl = Ddl {
            statement: &statement, database: &database, kind: DdlKind::RenameTable,
            objects: vec![object], context, atomic_rows_follow: false,
        };
        let bytes = encode(&ddl).unwrap();
        prop_assert_eq!(decode::<Ddl>(&bytes).unwrap(), ddl);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic_or_allocate_beyond_them(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<Begin>(&bytes);
        let _ = decode::<Rows>(&bytes);
        let _ = decode::<Ddl>(&bytes);
        let _ = decode::<Commit>(&bytes);
        let _ = decode::<SourceInfo>(&bytes);
        let _ = decode::<PositionMark>(&bytes);
        let _ = decode::<SegmentStart>(&bytes);
        let _ = decode::<crate::TableSchema>(&bytes);
    }
}

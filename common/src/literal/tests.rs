use super::*;
use crate::row::Cell;
use crate::schema::{Column, LayoutOrigin, TableSchema};
use proptest::prelude::*;

fn column(type_code: u8, meta: u16) -> Column {
    Column {
        name: "c".into(),
        type_code,
        meta,
        nullable: true,
        unsigned: false,
        collation: 0,
        members: vec![],
        visible: true,
    }
}

fn schema(column: Column) -> TableSchema {
    TableSchema {
        database: "d".into(),
        table: "t".into(),
        flavor: Flavor::MySql,
        columns: vec![column],
        primary_key: vec![],
        origin: LayoutOrigin::TableMap,
    }
}

fn to(column: Column, target: (&str, &str, Option<&str>), dialect: Flavor) -> Result<ColumnWriter, LiteralError> {
    ColumnWriter::new(&schema(column), 0, Target::parse("x`y", target.0, target.1, target.2).unwrap(), dialect)
}

fn value(writer: &ColumnWriter, bytes: &[u8]) -> String {
    let mut out = vec![];
    writer.value(Cell::Bytes(bytes), &mut out).unwrap();
    String::from_utf8_lossy(&out).into_owned()
}

fn condition(writer: &ColumnWriter, bytes: &[u8], matching: Matching) -> String {
    let mut out = vec![];
    writer.condition(Cell::Bytes(bytes), matching, &mut out).unwrap();
    String::from_utf8_lossy(&out).into_owned()
}

fn same(column: Column) -> ColumnWriter {
    ColumnWriter::same(&schema(column), 0, Flavor::MySql).unwrap()
}

#[test]
fn a_float_is_written_and_found_as_the_double_that_it_is() {
    let writer = same(column(4, 4));
    assert_eq!(value(&writer, &0.1f32.to_le_bytes()), "0.10000000149011612e0");
    assert_eq!(value(&writer, &(-0.0f32).to_le_bytes()), "-0.0e0");
    assert_eq!(condition(&writer, &0.1f32.to_le_bytes(), Matching::Exact), "`c`<=>0.10000000149011612e0");
    let writer = same(column(5, 8));
    assert_eq!(value(&writer, &f64::MAX.to_le_bytes()), "1.7976931348623157e308");
    assert_eq!(value(&writer, &5e-324f64.to_le_bytes()), "5e-324");
}

#[test]
fn strings_are_escaped_and_nothing_else_is_changed() {
    let writer = same(Column { collation: 255, ..column(15, 200) });
    let mut out = vec![];
    writer.value(Cell::Bytes(b"a'b\\c\0d\n\r\x1a\"\xff"), &mut out).unwrap();
    assert_eq!(out, b"'a\\'b\\\\c\\0d\n\r\x1a\"\xff'");
}

#[test]
fn a_condition_fills_up_binary_and_compares_text_by_its_bytes() {
    let binary = Column { collation: 63, ..column(254, u16::from_le_bytes([254, 4])) };
    let writer = to(binary.clone(), ("binary", "binary(4)", None), Flavor::MySql).unwrap();
    assert_eq!(value(&writer, b"ab"), "'ab'");
    assert_eq!(condition(&writer, b"ab", Matching::Key), r"`x``y`<=>'ab\0\0'");
    let writer = to(binary, ("varbinary", "varbinary(9)", None), Flavor::MySql).unwrap();
    assert_eq!(value(&writer, b"ab"), r"'ab\0\0'");
    let text = Column { collation: 8, ..column(15, 20) };
    let writer = to(text.clone(), ("varchar", "varchar(20)", Some("latin1")), Flavor::MySql).unwrap();
    assert_eq!(condition(&writer, b"ab", Matching::Key), "`x``y`<=>'ab'");
    assert_eq!(condition(&writer, b"ab", Matching::Exact), "CAST(`x``y` AS BINARY)<=>'ab'");
    let writer = to(text, ("varchar", "varchar(20)", Some("utf8mb4")), Flavor::MySql).unwrap();
    assert_eq!(value(&writer, b"ab"), "_latin1'ab'");
    let exact = "CAST(`x``y` AS BINARY)<=>CAST(CONVERT(_latin1'ab' USING utf8mb4) AS BINARY)";
    assert_eq!(condition(&writer, b"ab", Matching::Exact), exact);
}

#[test]
fn mariadbs_addresses_are_bytes_with_their_zeros() {
    let mut inet = schema(Column { collation: 63, ..column(254, u16::from_le_bytes([254, 16])) });
    inet.flavor = Flavor::MariaDb;
    let target = Target::parse("c", "inet6", "inet6", None).unwrap();
    let writer = ColumnWriter::new(&inet, 0, target, Flavor::MariaDb).unwrap();
    assert_eq!(value(&writer, b"12"), format!("'12{}'", r"\0".repeat(14)));
    let target = Target::parse("c", "inet4", "inet4", None).unwrap();
    assert!(ColumnWriter::new(&inet, 0, target, Flavor::MariaDb).is_err());
}

#[test]
fn enum_and_set_are_numbers_or_names() {
    let members = vec![b"x".to_vec(), b"y,z".to_vec(), b"w".to_vec()];
    let writer = same(Column { members: members.clone(), ..column(254, 0x01f7) });
    assert_eq!(value(&writer, &[2]), "2");
    assert!(writer.needs_lenient(Cell::Bytes(&[0])));
    assert!(!writer.needs_lenient(Cell::Bytes(&[1])));
    assert_eq!(condition(&writer, &[0], Matching::Exact), "`c`<=>0");
    let text = ("varchar", "varchar(9)", Some("utf8mb4"));
    let writer =
        to(Column { members: members.clone(), collation: 8, ..column(254, 0x01f7) }, text, Flavor::MariaDb).unwrap();
    assert_eq!(value(&writer, &[3]), "_latin1'w'");
    assert_eq!(value(&writer, &[0]), "_latin1''");
    assert!(writer.value(Cell::Bytes(&[4]), &mut vec![]).is_err());
    let writer = to(Column { members, collation: 8, ..column(254, 0x01f8) }, text, Flavor::MariaDb).unwrap();
    assert_eq!(value(&writer, &[0b101]), "_latin1'x,w'");
    assert!(to(column(254, 0x01f7), text, Flavor::MySql).unwrap_err().to_string().contains("binlog_row_metadata=FULL"));
}

#[test]
fn json_is_text_for_mariadb_and_parsed_for_mysql() {
    let document = [5, 7, 0];
    let longtext = ("longtext", "longtext", Some("utf8mb4"));
    assert_eq!(value(&to(column(245, 4), longtext, Flavor::MariaDb).unwrap(), &document), "_utf8mb4'7'");
    let writer = same(column(245, 4));
    assert_eq!(value(&writer, &document), "_utf8mb4'7'");
    assert_eq!(condition(&writer, &document, Matching::Exact), "`c`<=>CAST(_utf8mb4'7' AS JSON)");
    let from_text = to(Column { collation: 46, ..column(252, 4) }, ("json", "json", None), Flavor::MySql).unwrap();
    assert_eq!(value(&from_text, b"[1]"), "_utf8mb4'[1]'");
    assert_eq!(condition(&from_text, b"[1]", Matching::Key), "`x``y`<=>CAST(_utf8mb4'[1]' AS JSON)");
    assert!(writer.condition(Cell::JsonDiff(b""), Matching::Key, &mut vec![]).is_err());
}

#[test]
fn what_would_lose_something_is_refused_by_name() {
    let refused = [
        (column(246, u16::from_le_bytes([10, 4])), ("decimal", "decimal(10,2)", None)),
        (column(18, 6), ("datetime", "datetime(3)", None)),
        (column(18, 0), ("timestamp", "timestamp", None)),
        (column(5, 8), ("float", "float", None)),
        (column(5, 8), ("int", "int", None)),
        (column(246, u16::from_le_bytes([10, 2])), ("bigint", "bigint", None)),
        (Column { collation: 63, ..column(15, 9) }, ("varchar", "varchar(9)", Some("utf8mb4"))),
        (column(245, 4), ("blob", "blob", None)),
        (column(10, 0), ("int", "int", None)),
    ];
    for (column, target) in refused {
        let error = to(column, target, Flavor::MySql).unwrap_err().to_string();
        assert!(error.starts_with("d.t: column c is ") && error.contains(target.1), "{error}");
    }
    let taken = [
        (column(246, u16::from_le_bytes([10, 2])), ("decimal", "decimal(20,4)", None)),
        (column(18, 0), ("datetime", "datetime(6)", None)),
        (column(17, 2), ("datetime", "datetime(2)", None)),
        (column(4, 4), ("double", "double", None)),
        (column(3, 0), ("bigint", "bigint(20)", None)),
        (column(10, 0), ("datetime", "datetime", None)),
        (column(242, 4), ("vector", "vector(3)", None)),
    ];
    for (column, target) in taken {
        to(column, target, Flavor::MySql).unwrap();
    }
}

#[test]
fn a_failed_value_leaves_nothing_behind() {
    let writer = same(column(245, 4));
    let mut out = b"before".to_vec();
    assert!(writer.value(Cell::Bytes(&[0, 1]), &mut out).is_err());
    assert!(writer.condition(Cell::Bytes(&[0, 1]), Matching::Exact, &mut out).is_err());
    assert_eq!(out, b"before");
    writer.value(Cell::Null, &mut out).unwrap();
    assert_eq!(out, b"beforeNULL");
}

#[test]
fn an_enums_error_value_has_a_statement_of_its_own() {
    let sql = String::from_utf8(lenient("INSERT", b"INTO t VALUES (0)", Flavor::MySql)).unwrap();
    assert!(
        sql.starts_with("INSERT /*+ SET_VAR(sql_mode='ALLOW_INVALID") && sql.ends_with("') */ INTO t VALUES (0)"),
        "{sql}"
    );
    let sql = String::from_utf8(lenient("INSERT", b"INTO t VALUES (0)", Flavor::MariaDb)).unwrap();
    assert!(sql.starts_with("SET STATEMENT sql_mode='") && sql.ends_with("FOR INSERT INTO t VALUES (0)"), "{sql}");
}

proptest! {
    #[test]
    fn any_bytes_of_any_type_are_a_literal_or_an_error(
        type_code in any::<u8>(), meta in any::<u16>(), collation in prop::sample::select(vec![0u16, 8, 33, 63, 255]),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let schema = schema(Column { collation, ..column(type_code, meta) });
        for dialect in [Flavor::MySql, Flavor::MariaDb] {
            if let Ok(writer) = ColumnWriter::same(&schema, 0, dialect) {
                let _ = writer.value(Cell::Bytes(&bytes), &mut vec![]);
                let _ = writer.value(Cell::JsonDiff(&bytes), &mut vec![]);
                let _ = writer.condition(Cell::Bytes(&bytes), Matching::Exact, &mut vec![]);
            }
        }
    }
}

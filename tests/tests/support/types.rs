//! Every column type with its edge values, each in a table with a key and in one without, and the changes that are made to them.

use harness::ServerKind;
use std::fmt::Write;

/// What each session of the source sets: it may write all that any version has ever accepted.
pub(crate) const SESSION: &str = "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci, time_zone = '+00:00', \
     sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'";

/// A type and the literals of its edge values. NULL is added by [`script`].
type Case = (&'static str, &'static [&'static str]);

const PORTABLE: &[Case] = &[
    ("TINYINT", &["-128", "127", "0", "-1"]),
    ("TINYINT UNSIGNED", &["255", "0", "128"]),
    ("SMALLINT", &["-32768", "32767", "-1"]),
    ("SMALLINT UNSIGNED", &["65535", "32768"]),
    ("MEDIUMINT", &["-8388608", "8388607", "-1", "-100"]),
    ("MEDIUMINT UNSIGNED", &["16777215", "8388608"]),
    ("INT", &["-2147483648", "2147483647", "-1"]),
    ("INT UNSIGNED", &["4294967295", "4000000000"]),
    ("INT(7) UNSIGNED ZEROFILL", &["42", "0"]),
    ("BIGINT", &["-9223372036854775808", "9223372036854775807", "-1"]),
    ("BIGINT UNSIGNED", &["18446744073709551615", "9223372036854775808"]),
    (
        "DECIMAL(65,30)",
        &[
            "99999999999999999999999999999999999.999999999999999999999999999999",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
            "-0.5",
        ],
    ),
    ("DECIMAL(10,2)", &["-99999999.99", "0.01", "-0.01", "1234567.80"]),
    ("DECIMAL(5,5)", &["0.99999", "-0.00001"]),
    ("DECIMAL(38,0) UNSIGNED", &["99999999999999999999999999999999999999", "0"]),
    ("FLOAT", &["0.1", "-3.402823e38", "1.17549435e-38", "16777216", "-0.333333333", "123456.789"]),
    ("FLOAT(7,3)", &["1234.567", "-0.001"]),
    ("DOUBLE", &["0.1", "-1.7976931348623157e308", "2.2250738585072014e-308", "5e-324", "0.30000000000000004", "1e22"]),
    ("DOUBLE(10,2)", &["12345678.91", "-0.01"]),
    ("BIT(1)", &["b'0'", "b'1'"]),
    ("BIT(12)", &["b'101010101010'", "b'1'"]),
    ("BIT(64)", &["x'FFFFFFFFFFFFFFFF'", "x'8000000000000001'"]),
    ("ENUM('a','b','long member','ключ')", &["'a'", "4", "'no member'", "'long member'"]),
    ("SET('one','two','three','ключ')", &["''", "'one,three'", "15", "'ключ'"]),
    ("CHAR(10)", &["''", "'trail   '", "'é水🚰'", "'a'"]),
    ("CHAR(255)", &["''", "REPEAT('🚰', 255)", "REPEAT('x', 255)"]),
    ("CHAR(5) CHARACTER SET latin1", &["_latin1 x'E9E8'", "_latin1 x'80FF'"]),
    ("BINARY(4)", &["x'01000000'", "x'00000000'", "x'FF'", "x'2020'"]),
    ("BINARY(255)", &["x'01'", "REPEAT(x'FF', 255)"]),
    ("VARBINARY(300)", &["x''", "x'00'", "x'0000FF00'", "REPEAT(x'27', 300)", "'  '"]),
    ("VARCHAR(20)", &["''", "' '", "'a  '", "_utf8mb4 x'F09F9AB0275C00220A'"]),
    ("VARCHAR(300)", &["REPEAT('é', 300)", "'x'"]),
    ("VARCHAR(50) CHARACTER SET latin1", &["_latin1 x'4DFC6C6C6572'", "_latin1 x'80818D8F'"]),
    ("VARCHAR(50) CHARACTER SET gbk", &["_gbk x'C4E3BAC3'", "_gbk x'815C'", "'ascii'"]),
    ("VARCHAR(50) CHARACTER SET utf16", &["_utf16 x'D83DDEB0'", "_utf16 x'0041'", "''"]),
    ("VARCHAR(50) CHARACTER SET ucs2", &["_ucs2 x'6C34'", "_ucs2 x'00270022'"]),
    ("VARCHAR(50) CHARACTER SET utf8", &["_utf8 x'E6B0B4'", "'é'"]),
    ("VARCHAR(50) CHARACTER SET cp1251", &["_cp1251 x'EAEBFEF7'"]),
    ("VARCHAR(50) CHARACTER SET sjis", &["_sjis x'835C'", "'a'"]),
    ("VARCHAR(50) COLLATE utf8mb4_bin", &["'A'", "'a'", "'a '"]),
    ("TINYTEXT", &["''", "REPEAT('a', 255)"]),
    ("TEXT", &["''", "REPEAT('水', 20000)", "'line\\nline'"]),
    ("MEDIUMTEXT", &["REPEAT('0123456789', 9000)", "'x'"]),
    ("LONGTEXT CHARACTER SET latin1", &["REPEAT(_latin1 x'E9', 70000)", "''"]),
    ("TINYBLOB", &["x''", "REPEAT(x'00', 255)"]),
    ("BLOB", &["x''", "x'00'", "REPEAT(x'DEADBEEF', 16000)"]),
    ("MEDIUMBLOB", &["REPEAT(x'5C27', 40000)", "x'FF'"]),
    ("LONGBLOB", &["REPEAT(x'00FF', 150000)", "x''"]),
    ("DATE", &["'0000-00-00'", "'2024-00-15'", "'2024-02-31'", "'9999-12-31'", "'1000-01-01'", "'2024-02-29'"]),
    ("TIME", &["'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"]),
    ("TIME(1)", &["'-00:00:00.1'", "'-12:34:56.7'", "'-838:59:58.9'", "'00:00:00.1'"]),
    ("TIME(2)", &["'-00:00:00.01'", "'-12:34:56.78'", "'838:59:58.99'"]),
    ("TIME(3)", &["'-00:00:00.001'", "'12:34:56.789'"]),
    ("TIME(4)", &["'-00:00:00.0001'", "'-00:00:01'"]),
    ("TIME(5)", &["'-00:00:00.00001'", "'23:59:59.99999'"]),
    ("TIME(6)", &["'-838:59:58.999999'", "'00:00:00.000001'", "'-00:00:00.000001'"]),
    ("DATETIME", &["'0000-00-00 00:00:00'", "'9999-12-31 23:59:59'", "'2024-02-31 12:00:00'", "'2024-00-00 00:00:00'"]),
    ("DATETIME(1)", &["'2024-02-29 23:59:59.9'"]),
    ("DATETIME(3)", &["'1000-01-01 00:00:00.001'", "'2024-02-29 23:59:59.999'"]),
    ("DATETIME(6)", &["'9999-12-31 23:59:59.999999'", "'0000-00-00 00:00:00.000000'", "'2024-01-01 00:00:00.000001'"]),
    (
        "TIMESTAMP NULL",
        &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'0000-00-00 00:00:00'", "'2024-03-31 02:30:00'"],
    ),
    ("TIMESTAMP(3) NULL", &["'1970-01-01 00:00:01.001'", "'2024-10-27 00:30:00.125'"]),
    ("TIMESTAMP(6) NULL", &["'2038-01-19 03:14:07.999999'", "'0000-00-00 00:00:00'"]),
    ("YEAR", &["0", "1901", "2155", "2000"]),
    (
        "GEOMETRY",
        &[
            "ST_GeomFromText('POINT(1 2)')",
            "ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 10,0 0),(5 5,7 5,7 7,5 7,5 5))')",
            "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 -1),LINESTRING(0 0,1 1))')",
        ],
    ),
    ("POINT", &["ST_GeomFromText('POINT(-1.5 1e10)')"]),
    ("LINESTRING", &["ST_GeomFromText('LINESTRING(0 0,1 1,2 2)')"]),
    ("MULTIPOINT", &["ST_GeomFromText('MULTIPOINT(0 0,20 20,60 60)')"]),
];

/// JSON on servers that have such a type, or the word for one.
const JSON: &[Case] = &[(
    "JSON",
    &[
        "'{}'",
        "'null'",
        "'[1, -1, 1.5, 1e300, true, false, null, \"text\", \"\", {\"a\": {\"b\": [[]]}}]'",
        "'{\"n\": 18446744073709551615, \"i\": -9223372036854775808, \"ключ\": \"🚰\", \"\": 0}'",
        "'\"a \\\\\"quoted\\\\\" \\\\u0000 string\"'",
        "CONCAT('{\"long\": \"', REPEAT('x', 70000), '\"}')",
        "CONCAT('[', REPEAT('12345678,', 9000), '0]')",
    ],
)];

/// What only MySQL's JSON can hold.
const JSON_TYPED: &[Case] = &[
    (
        "JSON",
        &[
            "JSON_OBJECT('d', CAST('12.50' AS DECIMAL(10,2)), 'big', CAST('-0.000000000000000000000000000001' AS DECIMAL(65,30)))",
            "JSON_ARRAY(CAST('2024-02-29' AS DATE), CAST('-12:34:56.789' AS TIME(3)), CAST('2024-02-29 23:59:59.999999' AS DATETIME(6)))",
            "JSON_ARRAY(CAST(x'00FF27' AS BINARY), b'101', CAST(-0e0 AS JSON), CAST(1.0e0 AS JSON), CAST(5e-324 AS JSON))",
            "CAST(CAST('18446744073709551615' AS UNSIGNED) AS JSON)",
            "CAST(TIMESTAMP'2024-02-29 01:02:03' AS JSON)",
        ],
    ),
    ("GEOMETRY", &["ST_GeomFromText('POINT(10 20)', 4326)", "ST_GeomFromText('LINESTRING(1 2,3 4)', 3857)"]),
    ("POINT SRID 4326", &["ST_GeomFromText('POINT(10 20)', 4326)"]),
    ("DOUBLE", &["-0e0", "0e0"]),
    ("VECTOR(3)", &["STRING_TO_VECTOR('[1,2,3]')", "STRING_TO_VECTOR('[-0.5,1e-30,3.4e38]')"]),
    ("VARCHAR(20) COLLATE utf8mb4_0900_ai_ci", &["'é'", "'a '"]),
    ("VARCHAR(20) CHARACTER SET gb18030", &["_gb18030 x'81308130'"]),
];

const MARIADB: &[Case] = &[
    ("INET6", &["'::'", "'::1'", "'2001:db8::ff00:42:8329'", "'::ffff:1.2.3.4'"]),
    ("INET4", &["'0.0.0.0'", "'255.255.255.255'", "'10.0.0.1'"]),
    (
        "UUID",
        &[
            "'12345678-1234-1234-1234-123456789abc'",
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-4fff-bfff-ffffffffffff'",
        ],
    ),
    ("VARCHAR(500) COMPRESSED", &["''", "REPEAT('x', 500)", "'short'"]),
    ("TEXT COMPRESSED", &["REPEAT('水', 5000)", "''"]),
    ("BLOB COMPRESSED", &["REPEAT(x'00', 60000)", "x'01'"]),
];

const MARIADB11: &[Case] = &[
    ("VECTOR(3)", &["VEC_FromText('[1,2,3]')", "VEC_FromText('[-0.5,1e-30,3.4e38]')"]),
    ("TIMESTAMP(6) NULL", &["'2106-02-07 06:28:15.999999'", "'2050-01-01 00:00:00'"]),
];

/// The cases that a source of this kind can write and a destination of that kind can hold.
fn cases(source: ServerKind, destination: ServerKind) -> Vec<Case> {
    use ServerKind::{Mariadb11, Mysql9, Mysql56};
    let mut cases = PORTABLE.to_vec();
    if source != Mysql56 {
        cases.extend(JSON);
    }
    match (source, destination) {
        (Mysql9, Mysql9) => cases.extend(JSON_TYPED),
        _ if source.is_mariadb() && destination.is_mariadb() => {
            cases.extend(MARIADB);
            if source == Mariadb11 && destination == Mariadb11 {
                cases.extend(MARIADB11);
            }
        }
        _ => {}
    }
    cases
}

/// The statements that make a database with all these types and change its rows in every way. Names are `t_N` with a key, `k_N` without.
pub(crate) fn script(database: &str, source: ServerKind, destination: ServerKind) -> String {
    let mut sql =
        format!("CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci; USE {database};\n");
    for (n, (kind, values)) in cases(source, destination).into_iter().enumerate() {
        let rows: Vec<String> =
            values.iter().chain(&["NULL"]).enumerate().map(|(id, v)| format!("({}, {v}, 0)", id + 1)).collect();
        let count = rows.len();
        // Writing to a String cannot fail.
        let _ = write!(
            sql,
            "CREATE TABLE t_{n} (id INT NOT NULL PRIMARY KEY, v {kind}, n INT NOT NULL);
CREATE TABLE k_{n} (v {kind}, n INT NOT NULL);
INSERT INTO t_{n} VALUES {};
INSERT INTO k_{n} SELECT v, n FROM t_{n};
INSERT INTO k_{n} SELECT v, n FROM t_{n};
UPDATE k_{n} SET n = n + 1 LIMIT {count};
DELETE FROM k_{n} LIMIT 2;
UPDATE k_{n} SET v = NULL, n = 7 LIMIT 1;
UPDATE t_{n} SET n = id;
UPDATE t_{n} AS a JOIN t_{n} AS b ON b.id = a.id % {count} + 1 SET a.v = b.v, a.n = -1 WHERE a.id > 1;
DELETE FROM t_{n} WHERE id = 2;
INSERT INTO t_{n} SELECT id + 100, v, n FROM t_{n};
UPDATE t_{n} SET id = id + 1000 WHERE id > 100;
INSERT INTO k_{n} SELECT v, id FROM t_{n};
DELETE FROM k_{n} WHERE n > 1000;
",
            rows.join(", ")
        );
    }
    sql
}

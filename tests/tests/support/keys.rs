//! Tables with keys of every kind, and with none: what each makes and fills them with.

use harness::ServerKind;
use std::fmt::Write;

/// A table: its name, its columns and keys without the padding, the values of its columns for the number `i`, and what stands behind the columns.
struct Table {
    name: &'static str,
    columns: &'static str,
    names: &'static str,
    values: &'static str,
    options: &'static str,
}

const fn table(name: &'static str, columns: &'static str, names: &'static str, values: &'static str) -> Table {
    Table { name, columns, names, values, options: "" }
}

/// A text in no order of ours: letters that collations put in places of their own, in front of a number that makes it unique in all of them.
const WORD: &str =
    "CONCAT(ELT(1 + i % 12, 'ä', 'A', 'z', 'Z', 'ö', 'O', 'ü', 'U', 'ñ', 'n', '', '_'), LPAD(i * 7919 % 9973, 4, '0'))";

/// Those that every server holds alike.
const PORTABLE: &[Table] = &[
    table("plain", "id INT NOT NULL PRIMARY KEY", "id", "i"),
    table("negative", "id BIGINT NOT NULL PRIMARY KEY", "id", "(i - 150) * 61489146912365"),
    table("lowest", "id BIGINT NOT NULL PRIMARY KEY", "id", "-9223372036854775807 - 1 + i * 30744573456182586"),
    table(
        "unsigned",
        "id BIGINT UNSIGNED NOT NULL PRIMARY KEY",
        "id",
        "18446744073709551615 - CAST(i AS UNSIGNED) * 61489146912365172",
    ),
    table("composite", "a SMALLINT NOT NULL, b INT UNSIGNED NOT NULL, PRIMARY KEY (a, b)", "a, b", "i % 7 - 3, i * 13"),
    table(
        "three",
        "a VARCHAR(20) NOT NULL, b DATE NOT NULL, c INT NOT NULL, PRIMARY KEY (b, a, c)",
        "a, b, c",
        "CONCAT('k', i % 3), DATE_ADD('2020-02-29', INTERVAL i % 5 DAY), i",
    ),
    table("amount", "id DECIMAL(30,10) NOT NULL PRIMARY KEY", "id", "(i - 150) * 12345678.9012345678"),
    table("real_number", "id DOUBLE NOT NULL PRIMARY KEY", "id", "(i - 150) / 7e0"),
    table("small_number", "id FLOAT NOT NULL PRIMARY KEY", "id", "(i - 150) / 7e0"),
    table("bytes", "id BINARY(8) NOT NULL PRIMARY KEY", "id", "UNHEX(SUBSTR(SHA2(i, 256), 1, 16))"),
    table("bytes_zero", "id BINARY(4) NOT NULL PRIMARY KEY", "id", "UNHEX(CONCAT(LPAD(HEX(i), 4, '0'), '0000'))"),
    table(
        "variable",
        "id VARBINARY(20) NOT NULL PRIMARY KEY",
        "id",
        "CONCAT(UNHEX(LPAD(HEX(i), 4, '0')), REPEAT(CHAR(0), i % 3))",
    ),
    table("bits", "id BIT(33) NOT NULL PRIMARY KEY", "id", "i * 28633115"),
    table("day", "id DATE NOT NULL PRIMARY KEY", "id", "DATE_ADD('1000-01-01', INTERVAL i * 37 DAY)"),
    table(
        "moment",
        "id DATETIME(6) NOT NULL PRIMARY KEY",
        "id",
        "DATE_ADD('1999-12-31 23:59:59.999990', INTERVAL i MICROSECOND)",
    ),
    table(
        "stamp",
        "id TIMESTAMP(3) NOT NULL DEFAULT '2000-01-01 00:00:00' PRIMARY KEY",
        "id",
        "DATE_ADD('2023-03-26 01:58:00.5', INTERVAL i SECOND)",
    ),
    table("stretch", "id TIME(3) NOT NULL PRIMARY KEY", "id", "SEC_TO_TIME((i - 150) * 3600.125)"),
    table("vintage", "y YEAR NOT NULL, id INT NOT NULL, PRIMARY KEY (y, id)", "y, id", "1901 + i % 9, i"),
    table("kind", "k ENUM('z','a','m') NOT NULL, id INT NOT NULL, PRIMARY KEY (k, id)", "k, id", "1 + i % 3, i"),
    table("tags", "k SET('z','a','m') NOT NULL, id INT NOT NULL, PRIMARY KEY (k, id)", "k, id", "i % 8, i"),
    table(
        "general",
        "id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY",
        "id",
        WORD,
    ),
    table(
        "unicode",
        "id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL PRIMARY KEY",
        "id",
        WORD,
    ),
    table("by_bytes", "id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY", "id", WORD),
    table("german", "id VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_german2_ci NOT NULL PRIMARY KEY", "id", WORD),
    table("swedish", "id CHAR(40) CHARACTER SET latin1 COLLATE latin1_swedish_ci NOT NULL PRIMARY KEY", "id", WORD),
    table(
        "turkish",
        "id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_turkish_ci NOT NULL PRIMARY KEY",
        "id",
        WORD,
    ),
    table(
        "spanish",
        "id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_spanish2_ci NOT NULL PRIMARY KEY",
        "id",
        WORD,
    ),
    table("wide", "id VARCHAR(40) CHARACTER SET utf16 COLLATE utf16_general_ci NOT NULL PRIMARY KEY", "id", WORD),
    table("two_bytes", "id VARCHAR(40) CHARACTER SET ucs2 COLLATE ucs2_bin NOT NULL PRIMARY KEY", "id", WORD),
    table(
        "quotes",
        "id VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL PRIMARY KEY",
        "id",
        "CONCAT(ELT(1 + i % 6, '''', '\\\\', '\"', '%', CHAR(0), CHAR(10)), i)",
    ),
    // No key that rows could be put in place by: read whole, at one point.
    table("no_key", "a INT, b VARCHAR(10)", "a, b", "i % 10, NULL"),
    table("null_unique", "a INT NULL, b INT NULL, UNIQUE KEY a (a, b)", "a, b", "i, NULLIF(i % 5, 0)"),
    table("prefix_key", "a VARCHAR(100) NOT NULL, PRIMARY KEY (a(12))", "a", "CONCAT('number ', i, ' of them')"),
    table("blob_key", "a BLOB NOT NULL, PRIMARY KEY (a(8))", "a", "CONCAT(i, ' in a blob')"),
    // A key that is no primary one; with others that may be NULL.
    table(
        "unique_key",
        "a INT NOT NULL, b INT NULL, UNIQUE KEY b (b), UNIQUE KEY a (a)",
        "a, b",
        "300 - i, NULLIF(i % 4, 0) * 0 + i",
    ),
    Table {
        options: " PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (100), PARTITION p1 VALUES LESS THAN (200), PARTITION p2 VALUES LESS THAN MAXVALUE)",
        ..table("by_range", "id INT NOT NULL PRIMARY KEY", "id", "i")
    },
    Table {
        options: " PARTITION BY HASH (b) PARTITIONS 3",
        ..table("by_hash", "a INT NOT NULL, b INT NOT NULL, PRIMARY KEY (b, a)", "a, b", "i, i % 11")
    },
    Table {
        options: " AUTO_INCREMENT = 5000",
        ..table("counted", "id INT NOT NULL AUTO_INCREMENT PRIMARY KEY", "id", "i + 1")
    },
    table("Größe `of` all", "`ключ` INT NOT NULL PRIMARY KEY, `select` INT", "`ключ`, `select`", "i, -i"),
];

/// Those with generated columns, JSON and checks; not for 5.6.
const MODERN: &[Table] = &[
    table(
        "generated",
        "id INT NOT NULL PRIMARY KEY, s INT AS (id * 2) STORED, w INT AS (id + 1) VIRTUAL, KEY s (s)",
        "id",
        "i",
    ),
    table(
        "generated_key",
        "id INT NOT NULL, s INT AS (id % 7) STORED, PRIMARY KEY (id), UNIQUE KEY s (s, id)",
        "id",
        "i",
    ),
    table("document", "id INT NOT NULL PRIMARY KEY, body JSON", "id, body", "i, CONCAT('{\"n\": ', i, '}')"),
    table("checked", "id INT NOT NULL PRIMARY KEY, CHECK (id >= 0)", "id", "i"),
];

const OF_MYSQL9: &[Table] = &[
    table("generated_keys", "id INT NOT NULL, s INT AS (id % 7) STORED NOT NULL, UNIQUE KEY s (s, id)", "id", "i"),
    table("newest", "id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci NOT NULL PRIMARY KEY", "id", WORD),
    table(
        "newest_as",
        "id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs NOT NULL PRIMARY KEY",
        "id",
        "CONCAT(ELT(1 + i % 4, 'a', 'A', 'ä', 'Ä'), i, REPEAT(' ', i % 3))",
    ),
    table(
        "newest_tr",
        "id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_tr_0900_ai_ci NOT NULL PRIMARY KEY",
        "id",
        WORD,
    ),
    table(
        "newest_de",
        "id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_de_pb_0900_ai_ci NOT NULL PRIMARY KEY",
        "id",
        WORD,
    ),
    table("downwards", "a INT NOT NULL, b INT NOT NULL, PRIMARY KEY (a DESC, b)", "a, b", "i % 9, i"),
    table("unseen", "id INT NOT NULL PRIMARY KEY, hidden INT INVISIBLE", "id, hidden", "i, i * 3"),
    table("unseen_key", "id INT NOT NULL INVISIBLE PRIMARY KEY, a INT", "id, a", "i, 1"),
    table("stored_key", "n INT NOT NULL, id INT AS (n + 1) STORED NOT NULL PRIMARY KEY", "n", "i"),
    table("expression", "id INT NOT NULL PRIMARY KEY, a INT, UNIQUE KEY e ((a * 2))", "id, a", "i, i"),
    table(
        "place",
        "id INT NOT NULL PRIMARY KEY, at POINT NOT NULL SRID 4326, SPATIAL KEY (at)",
        "id, at",
        "i, ST_SRID(POINT(i % 90, i % 80), 4326)",
    ),
];

const OF_MARIADB: &[Table] = &[
    table("network", "id INET6 NOT NULL PRIMARY KEY", "id", "CONCAT('2001:db8::', HEX(i * 7919 % 65536))"),
    table("named", "id UUID NOT NULL PRIMARY KEY", "id", "UNHEX(SUBSTR(SHA2(i, 256), 1, 32))"),
    table("unseen", "id INT NOT NULL PRIMARY KEY, hidden INT INVISIBLE", "id, hidden", "i, i * 3"),
    table("downwards", "a INT NOT NULL, b INT NOT NULL, PRIMARY KEY (a DESC, b)", "a, b", "i % 9, i"),
    table("packed", "id INT NOT NULL PRIMARY KEY, t TEXT COMPRESSED", "id, t", "i, REPEAT('packed ', 50)"),
    table(
        "nopad",
        "id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL PRIMARY KEY",
        "id",
        "CONCAT('a', i, REPEAT(' ', i % 3))",
    ),
];

/// Rows of each table.
pub(crate) const ROWS: u32 = 300;

/// Statements, one a line without `;`, that make and fill the database `name`: the tables that both kinds hold alike.
pub(crate) fn portable(name: &str, source: ServerKind) -> Vec<String> {
    let modern: &[Table] = if source == ServerKind::Mysql56 { &[] } else { MODERN };
    script(name, PORTABLE.iter().chain(modern))
}

/// The same with the tables that only the source's own kind knows.
pub(crate) fn own(name: &str, source: ServerKind) -> Vec<String> {
    script(
        name,
        match source {
            ServerKind::Mysql9 => OF_MYSQL9,
            ServerKind::Mysql56 => &[],
            ServerKind::Mariadb10 | ServerKind::Mariadb11 => OF_MARIADB,
        }
        .iter(),
    )
}

fn script<'a>(name: &str, tables: impl Iterator<Item = &'a Table>) -> Vec<String> {
    let mut sql = vec![
        "SET NAMES utf8mb4, sql_mode = '', time_zone = '+00:00'".to_owned(),
        format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"),
        format!("CREATE TABLE `{name}`.n (i INT NOT NULL PRIMARY KEY)"),
        format!("INSERT INTO `{name}`.n VALUES {}", (0..ROWS).map(|i| format!("({i})")).collect::<Vec<_>>().join(",")),
        format!("CREATE TABLE `{name}`.empty_table (id INT NOT NULL PRIMARY KEY, v VARCHAR(10))"),
        format!("CREATE TABLE `{name}`.empty_keyless (v VARCHAR(10))"),
    ];
    for t in tables {
        let quoted = t.name.replace('`', "``");
        let mut create = String::new();
        // Rows of half a kilobyte, so that a table makes several chunks of the smallest size. Writing to a String cannot fail.
        let _ = write!(create, "CREATE TABLE `{name}`.`{quoted}` ({}, pad VARCHAR(2000)){}", t.columns, t.options);
        sql.push(create);
        sql.push(format!(
            "INSERT INTO `{name}`.`{quoted}` ({}, pad) SELECT {}, REPEAT(CHAR(97 + i % 26), 500 + i % 100) FROM `{name}`.n",
            t.names, t.values
        ));
    }
    sql
}

//! The comparison finds every kind of planted difference, and none where there is none.

use anyhow::Result;
use harness::compare::{self, What};
use harness::{Server, ServerKind};

/// Every type that all servers have, with values at the edges of what text can show.
const PORTABLE: &str = "CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
CREATE TABLE shop.t (id INT UNSIGNED NOT NULL, part SMALLINT NOT NULL, f FLOAT, d DOUBLE, dec_ DECIMAL(65,30), b BIT(64),
  e ENUM('','a','b'), s SET('x','y','z'), c CHAR(5) CHARACTER SET latin1, v VARCHAR(50), bin_ BINARY(4), vb VARBINARY(9), tx TEXT,
  bl BLOB, dt DATETIME(6), ts TIMESTAMP(3) NULL, ti TIME(2), da DATE, y YEAR, g GEOMETRY, j LONGTEXT, PRIMARY KEY (id, part));
CREATE TABLE shop.keyless (n INT, note VARCHAR(20));
CREATE TABLE shop.empty (n INT);
CREATE VIEW shop.seen AS SELECT id FROM shop.t;
SESSION;
INSERT INTO shop.t VALUES (1, -1, 0.1, 0.1, 1.5, 18446744073709551615, 'a', 'x,z', 'é', 'naïve 🚰', x'0100', x'', 'text', x'00ff', '2024-02-29 23:59:59.999999',
  '2024-10-27 00:30:00.125', '-00:00:00.10', '0000-00-00', 0, ST_GeomFromText('POINT(1 2)'), '{\"a\": 1.50}'),
  (2, 1, -0e0, -0e0, -1e-30, 0, '', '', '', '', '', '', '', '', '0000-00-00 00:00:00', NULL, '838:59:59', '2024-02-00', 2155, NULL, ''),
  (3, 1, 3.4e38, 5e-324, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO shop.keyless VALUES (1, 'same'), (1, 'same'), (2, NULL)";

/// What is done to the second server, and the difference that must be found: its kind, table and a word of its text.
const PLANTED: &[(&str, What, &str, &str)] = &[
    ("UPDATE shop.t SET f = 0.10000001 WHERE id = 1", What::Value, "shop.t", "0.1"),
    ("UPDATE shop.t SET d = 0.1 + 1e-17 WHERE id = 1", What::Value, "shop.t", "0.1"),
    ("UPDATE shop.t SET d = 1e-323 WHERE id = 3", What::Value, "shop.t", "*2^-850"),
    ("UPDATE shop.t SET dec_ = 1.500000000000000000000000000001 WHERE id = 1", What::Value, "shop.t", "1.5"),
    ("UPDATE shop.t SET b = b - 1 WHERE id = 1", What::Value, "shop.t", "18446744073709551614"),
    ("UPDATE shop.t SET e = 0 WHERE id = 2", What::Value, "shop.t", "0:"),
    ("UPDATE shop.t SET s = 'x' WHERE id = 1", What::Value, "shop.t", "5:"),
    ("UPDATE shop.t SET c = 'e' WHERE id = 1", What::Value, "shop.t", "'e'"),
    ("UPDATE shop.t SET v = 'naive 🚰' WHERE id = 1", What::Value, "shop.t", "naive"),
    ("UPDATE shop.t SET v = ' ' WHERE id = 2", What::Value, "shop.t", "' '"),
    ("UPDATE shop.t SET v = NULL WHERE id = 2", What::Value, "shop.t", "NULL"),
    ("UPDATE shop.t SET bin_ = x'01' WHERE id = 2", What::Value, "shop.t", "0x"),
    ("UPDATE shop.t SET vb = x'00' WHERE id = 1", What::Value, "shop.t", "0x00"),
    ("UPDATE shop.t SET bl = x'00fe' WHERE id = 1", What::Value, "shop.t", "0x00FE"),
    ("UPDATE shop.t SET dt = dt - INTERVAL 1 MICROSECOND WHERE id = 1", What::Value, "shop.t", "999998"),
    ("UPDATE shop.t SET ts = ts + INTERVAL 1 HOUR WHERE id = 1", What::Value, "shop.t", "01:30:00.125"),
    ("UPDATE shop.t SET ti = '00:00:00.10' WHERE id = 1", What::Value, "shop.t", "-00:00:00.10"),
    ("UPDATE shop.t SET da = '2024-02-01' WHERE id = 2", What::Value, "shop.t", "2024-02-00"),
    ("UPDATE shop.t SET y = 2000 WHERE id = 1", What::Value, "shop.t", "2000"),
    ("UPDATE shop.t SET g = ST_GeomFromText('POINT(2 1)') WHERE id = 1", What::Value, "shop.t", "0x"),
    ("UPDATE shop.t SET j = '{\"a\": 1.5}' WHERE id = 1", What::Value, "shop.t", "1.5}"),
    ("DELETE FROM shop.t WHERE id = 3", What::Row, "shop.t", "nothing"),
    ("INSERT INTO shop.t (id, part) VALUES (3, 2)", What::Row, "shop.t", "part=2"),
    ("DELETE FROM shop.keyless WHERE n = 1 LIMIT 1", What::Row, "shop.keyless", "note='same'"),
    ("INSERT INTO shop.keyless VALUES (2, NULL)", What::Row, "shop.keyless", "note=NULL"),
    ("INSERT INTO shop.empty VALUES (NULL)", What::Row, "shop.empty", "n=NULL"),
    ("ALTER TABLE shop.empty ADD COLUMN m INT", What::Columns, "shop.empty", "m int"),
    ("ALTER TABLE shop.empty MODIFY n INT UNSIGNED", What::Columns, "shop.empty", "unsigned"),
    ("DROP TABLE shop.empty", What::Table, "shop.empty", "nothing"),
    ("CREATE TABLE shop.more (n INT)", What::Table, "shop.more", "nothing"),
    ("DROP VIEW shop.seen", What::Table, "shop.seen", "VIEW"),
];

async fn finds_what_is_planted(first: ServerKind, second: ServerKind) -> Result<()> {
    let left = Server::builder(first).name("left").start().await?;
    let right = Server::builder(second).name("right").start().await?;
    for server in [&left, &right] {
        server.exec(&PORTABLE.replace("SESSION", SESSION)).await?;
    }
    compare::must_be_equal(&left, &right, &[]).await?;
    assert_eq!(compare::summaries(&left, &["shop"]).await?, compare::summaries(&right, &["shop"]).await?);
    for (sql, what, table, word) in PLANTED {
        right.exec(&format!("{SESSION}; {sql}")).await?;
        let found = compare::databases(&left, &right, &["shop"]).await?;
        assert!(!found.is_empty(), "{sql}: not found");
        for difference in &found {
            let text = difference.to_string();
            assert!(difference.what == *what && difference.table == *table && text.contains(word), "{sql}: {text}");
        }
        assert!(compare::must_be_equal(&left, &right, &[]).await.is_err(), "{sql}");
        right.exec(&format!("DROP DATABASE shop; {}", PORTABLE.replace("SESSION", SESSION))).await?;
    }
    Ok(())
}

const SESSION: &str = "SET NAMES utf8mb4; SET sql_mode = '', time_zone = '+00:00'";

#[tokio::test]
async fn between_mysql9_servers_every_planted_difference_is_found() -> Result<()> {
    finds_what_is_planted(ServerKind::Mysql9, ServerKind::Mysql9).await
}

#[tokio::test]
async fn between_mysql9_and_mariadb_every_planted_difference_is_found() -> Result<()> {
    finds_what_is_planted(ServerKind::Mysql9, ServerKind::Mariadb10).await
}

#[tokio::test]
async fn between_mysql56_and_mariadb_every_planted_difference_is_found() -> Result<()> {
    finds_what_is_planted(ServerKind::Mysql56, ServerKind::Mariadb11).await
}

#[tokio::test]
async fn types_of_one_family_are_compared_by_what_they_store() -> Result<()> {
    let mysql =
        [Server::builder(ServerKind::Mysql9).start().await?, Server::builder(ServerKind::Mysql9).start().await?];
    let maria =
        [Server::builder(ServerKind::Mariadb11).start().await?, Server::builder(ServerKind::Mariadb11).start().await?];
    // What is stored first, and what is planted instead: texts that look alike, and are not the same value.
    let mysql_cases = [
        ("JSON", "JSON_OBJECT('a', CAST('1.5' AS DECIMAL(5,1)))", "'{\"a\": 1.5}'"),
        ("JSON", "JSON_ARRAY(CAST('2024-01-02' AS DATE))", "'[\"2024-01-02\"]'"),
        ("JSON", "CAST(1.0 AS JSON)", "'1.0'"),
        ("JSON", "'null'", "NULL"),
        ("DOUBLE", "-0e0", "0e0"),
        ("FLOAT", "-0e0", "0e0"),
        ("GEOMETRY", "ST_GeomFromText('POINT(1 2)', 4326)", "ST_GeomFromText('POINT(1 2)')"),
        ("VECTOR(2)", "STRING_TO_VECTOR('[1,2]')", "STRING_TO_VECTOR('[1,2.0000002]')"),
    ];
    let maria_cases = [
        ("UUID", "'12345678-1234-1234-1234-123456789abc'", "'12345678-1234-1234-1234-123456789abd'"),
        ("INET6", "'::1'", "'::2'"),
        ("TEXT COMPRESSED", "REPEAT('x', 500)", "REPEAT('x', 501)"),
    ];
    for (pair, cases) in [(&mysql, &mysql_cases[..]), (&maria, &maria_cases[..])] {
        for (kind, stored, planted) in cases {
            for server in pair {
                let sql = format!(
                    "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v {kind}); INSERT INTO d.t VALUES (1, {stored})"
                );
                server.exec(&sql).await?;
            }
            compare::must_be_equal(&pair[0], &pair[1], &[]).await?;
            pair[1].exec(&format!("REPLACE INTO d.t VALUES (1, {planted})")).await?;
            let found = compare::databases(&pair[0], &pair[1], &[]).await?;
            assert!(found.len() == 1 && found[0].column == "v", "{kind} {stored}: {found:?}");
            assert_eq!(found[0].key, "id=1");
            for server in pair {
                server.exec("DROP DATABASE d").await?;
            }
        }
    }
    // The same document as MySQL's JSON and as MariaDB's text is equal however it is written; another one is not.
    for server in [&mysql[0], &maria[0]] {
        server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v JSON); INSERT INTO d.t VALUES (1, '{\"bb\":1,\"a\":[1.0,null]}')").await?;
    }
    compare::must_be_equal(&mysql[0], &maria[0], &["d"]).await?;
    maria[0].exec("UPDATE d.t SET v = '{\"bb\":1,\"a\":[1.0,false]}'").await?;
    let found = compare::databases(&mysql[0], &maria[0], &["d"]).await?;
    assert!(found.len() == 1 && found[0].what == What::Value, "{found:?}");
    Ok(())
}

#[tokio::test]
async fn tables_of_other_names_and_column_orders_can_be_compared() -> Result<()> {
    let server = Server::builder(ServerKind::Mariadb10).start().await?;
    server
        .exec("CREATE DATABASE d; CREATE TABLE d.a (id INT PRIMARY KEY, v TEXT); INSERT INTO d.a VALUES (1, 'x')")
        .await?;
    server
        .exec("CREATE DATABASE e; CREATE TABLE e.b (v TEXT, id INT PRIMARY KEY); INSERT INTO e.b VALUES ('x', 1)")
        .await?;
    let found = compare::table((&server, "d", "a"), (&server, "e", "b")).await?;
    assert!(found.iter().all(|d| d.what == What::Columns), "{found:?}");
    server.exec("UPDATE e.b SET v = 'y'").await?;
    let found = compare::table((&server, "d", "a"), (&server, "e", "b")).await?;
    assert!(found.iter().any(|d| d.what == What::Value && d.right.as_deref() == Some("'y'")), "{found:?}");
    Ok(())
}

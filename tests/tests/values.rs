//! Every value of every type, written both ways, leaves the same bytes behind as at its source.
//!
//! A source runs the statements of `support/types.rs`; its binlog file is read back and applied twice, as row events in BINLOG statements (within
//! a family) and as SQL. Then the servers are compared.

#[path = "support/logged.rs"]
mod logged;
#[path = "support/types.rs"]
mod types;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::literal::{ColumnWriter, Matching, SESSION_SQL, Target, lenient, quote};
use common::record::{Op, Rows};
use common::row::{Image, Layout};
use common::row_event::{self, STMT_END};
use common::{Flavor, SchemaId, TableSchema};
use harness::{Server, ServerKind, compare, text_rows};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::collections::HashMap;

use logged::{Log, flavor, logged, source};

use ServerKind::{Mariadb10, Mariadb11, Mysql9, Mysql56};

/// Applies the log as row events: 20 source events in a BINLOG statement, one transaction.
async fn apply_events(log: &Log, server: &Server) -> Result<()> {
    let mut conn = server.conn().await?;
    conn.query_drop(format!("BINLOG '{}'", STANDARD.encode(&log.format))).await.context("the format description")?;
    if !server.kind().is_mariadb() {
        conn.query_drop("SET gtid_next='AUTOMATIC'").await?;
    }
    conn.query_drop("BEGIN").await?;
    for (n, group) in log.changes.chunks(20).enumerate() {
        let mut events = vec![];
        for change in group {
            let schema = &change.schema;
            let count =
                Layout::new(schema)?.count(change.op, &change.columns_before, &change.columns_after, &change.images)?;
            let record = Rows {
                schema: SchemaId(0),
                op: change.op,
                flags: STMT_END,
                row_count: count,
                columns_before: &change.columns_before,
                columns_after: &change.columns_after,
                images: &change.images,
                more_bytes: 0,
            };
            row_event::table_map(change.header, schema, 7, &schema.database, &schema.table, &mut events)?;
            row_event::rows(change.header, schema, &record, &[], STMT_END, 7, &mut events)?;
        }
        let tables: Vec<_> = group.iter().map(|c| c.schema.table.as_str()).collect();
        let sql = format!("BINLOG '{}'", STANDARD.encode(&events));
        conn.query_drop(sql).await.with_context(|| format!("{}: events of group {n}: {tables:?}", server.name()))?;
    }
    conn.query_drop("COMMIT").await?;
    Ok(conn.disconnect().await?)
}

async fn writers(conn: &mut Conn, schema: &TableSchema, dialect: Flavor) -> Result<Vec<ColumnWriter>> {
    let sql = format!(
        "SELECT column_name, data_type, column_type, character_set_name FROM information_schema.columns \
         WHERE table_schema = _utf8'{}' AND table_name = _utf8'{}'",
        schema.database, schema.table
    );
    let mut targets = HashMap::new();
    for row in text_rows(conn, &sql).await? {
        let text = |i: usize| row.get(i).cloned().flatten().map(|b| String::from_utf8_lossy(&b).into_owned());
        let (name, data_type, kind) =
            (text(0).unwrap_or_default(), text(1).unwrap_or_default(), text(2).unwrap_or_default());
        let target = Target::parse(&name, &data_type, &kind, text(3).as_deref()).with_context(|| kind.clone())?;
        targets.insert(name, target);
    }
    schema
        .columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let target = targets.remove(&column.name).with_context(|| format!("no column {}", column.name))?;
            Ok(ColumnWriter::new(schema, i, target, dialect)?)
        })
        .collect()
}

/// Applies the log as SQL, a statement for each row.
async fn apply_sql(log: &Log, server: &Server) -> Result<()> {
    let dialect = flavor(server);
    let opts = server.opts_builder().client_found_rows(true);
    let mut conn = Conn::new(opts).await?;
    for sql in SESSION_SQL {
        conn.query_drop(sql).await?;
    }
    conn.query_drop("BEGIN").await?;
    let mut known: HashMap<String, Vec<ColumnWriter>> = HashMap::new();
    for change in &log.changes {
        let schema = &change.schema;
        let name = schema.full_name();
        if !known.contains_key(&name) {
            known.insert(name.clone(), writers(&mut conn, schema, dialect).await?);
        }
        let writers = known.get(&name).context("just inserted")?;
        let layout = Layout::new(schema)?;
        for row in layout.rows(change.op, &change.columns_before, &change.columns_after, &change.images)? {
            let row = row?;
            let sql = match (&row.before, &row.after) {
                (None, Some(after)) => insert(schema, writers, after, dialect)?,
                (Some(before), Some(after)) => update(schema, writers, before, after, dialect)?,
                (Some(before), None) => delete(schema, writers, before)?,
                (None, None) => bail!("no image"),
            };
            let shown = || String::from_utf8_lossy(&sql[..sql.len().min(500)]).into_owned();
            conn.query_drop(sql.as_slice()).await.with_context(|| format!("{}: {}", server.name(), shown()))?;
            ensure!(conn.affected_rows() == 1, "{}: {} rows by {}", server.name(), conn.affected_rows(), shown());
        }
    }
    conn.query_drop("COMMIT").await?;
    Ok(conn.disconnect().await?)
}

fn table_name(schema: &TableSchema, out: &mut Vec<u8>) {
    quote::name(&schema.database, out);
    out.push(b'.');
    quote::name(&schema.table, out);
}

fn insert(schema: &TableSchema, writers: &[ColumnWriter], after: &Image<'_>, dialect: Flavor) -> Result<Vec<u8>> {
    let mut sql = b"INTO ".to_vec();
    table_name(schema, &mut sql);
    let mut values = vec![];
    let mut strict = true;
    for (i, (writer, cell)) in writers.iter().zip(after.cells()).enumerate() {
        sql.push(if i == 0 { b'(' } else { b',' });
        values.push(if i == 0 { b'(' } else { b',' });
        sql.extend_from_slice(writer.quoted_name());
        writer.value(cell, &mut values)?;
        strict &= !writer.needs_lenient(cell);
    }
    sql.extend_from_slice(b") VALUES ");
    sql.extend_from_slice(&values);
    sql.push(b')');
    Ok(if strict { [b"INSERT ", sql.as_slice()].concat() } else { lenient("INSERT", &sql, dialect) })
}

fn update(
    schema: &TableSchema,
    writers: &[ColumnWriter],
    before: &Image<'_>,
    after: &Image<'_>,
    dialect: Flavor,
) -> Result<Vec<u8>> {
    let mut sql = vec![];
    table_name(schema, &mut sql);
    let mut strict = true;
    let mut word: &[u8] = b" SET ";
    for (writer, cell) in writers.iter().zip(after.cells()) {
        if cell == common::row::Cell::Absent {
            continue;
        }
        sql.extend_from_slice(word);
        word = b",";
        sql.extend_from_slice(writer.quoted_name());
        sql.push(b'=');
        writer.value(cell, &mut sql)?;
        strict &= !writer.needs_lenient(cell);
    }
    condition(schema, writers, before, &mut sql)?;
    Ok(if strict { [b"UPDATE ", sql.as_slice()].concat() } else { lenient("UPDATE", &sql, dialect) })
}

fn delete(schema: &TableSchema, writers: &[ColumnWriter], before: &Image<'_>) -> Result<Vec<u8>> {
    let mut sql = b"DELETE FROM ".to_vec();
    table_name(schema, &mut sql);
    condition(schema, writers, before, &mut sql)?;
    Ok(sql)
}

/// By key where there is one, else by all columns.
fn condition(schema: &TableSchema, writers: &[ColumnWriter], before: &Image<'_>, sql: &mut Vec<u8>) -> Result<()> {
    let mut word: &[u8] = b" WHERE ";
    for (i, (writer, cell)) in writers.iter().zip(before.cells()).enumerate() {
        let key = schema.primary_key.iter().any(|part| usize::from(part.column) == i);
        if !key && !schema.primary_key.is_empty() {
            continue;
        }
        sql.extend_from_slice(word);
        word = b" AND ";
        writer.condition(cell, if key { Matching::Key } else { Matching::Exact }, sql)?;
    }
    sql.extend_from_slice(b" LIMIT 1");
    Ok(())
}

/// The statements of a script that make databases and tables.
async fn create(script: &str, server: &Server) -> Result<()> {
    let ddl: Vec<&str> = script
        .split(";\n")
        .flat_map(|s| s.split("; "))
        .filter(|s| s.starts_with("CREATE") || s.starts_with("USE"))
        .collect();
    server.exec(&format!("{}; {}", types::SESSION, ddl.join("; "))).await
}

async fn both_ways(
    source_kind: ServerKind,
    metadata: &str,
    settings: &str,
    to: &[(ServerKind, &[&str])],
) -> Result<()> {
    let source = source(source_kind, metadata).await?;
    let mut failures = vec![];
    for (n, (kind, ways)) in to.iter().enumerate() {
        let database = format!("v_{n}");
        let script = types::script(&database, source_kind, *kind);
        let log = logged(&source, settings, &script).await?;
        for way in *ways {
            let server = Server::builder(*kind).name(&format!("{way}-{}", kind.name())).start().await?;
            create(&script, &server).await?;
            let applied = match *way {
                "events" => apply_events(&log, &server).await,
                _ => apply_sql(&log, &server).await,
            };
            let result = match applied {
                Ok(()) => compare::must_be_equal(&source, &server, &[&database]).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => {
                    println!("{} to {} by {way}: {} events, equal", source_kind.name(), kind.name(), log.changes.len())
                }
                Err(error) => failures.push(format!("{} to {} by {way}: {error:#}", source_kind.name(), kind.name())),
            }
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

#[tokio::test]
async fn every_value_of_mysql_9_is_the_same_by_events_and_by_sql() -> Result<()> {
    both_ways(Mysql9, "FULL", "", &[(Mysql9, &["events", "sql"]), (Mariadb11, &["sql"]), (Mariadb10, &["sql"])]).await
}

#[tokio::test]
async fn every_value_of_mariadb_11_is_the_same_by_events_and_by_sql() -> Result<()> {
    both_ways(Mariadb11, "FULL", "", &[(Mariadb11, &["events", "sql"]), (Mysql9, &["sql"])]).await
}

#[tokio::test]
async fn every_value_of_mariadb_10_is_the_same_by_events_and_by_sql() -> Result<()> {
    both_ways(Mariadb10, "FULL", "", &[(Mariadb10, &["events", "sql"]), (Mariadb11, &["events"]), (Mysql9, &["sql"])])
        .await
}

#[tokio::test]
async fn every_value_of_mysql_5_6_is_the_same_by_events_and_by_sql() -> Result<()> {
    both_ways(Mysql56, "", "", &[(Mysql9, &["events", "sql"]), (Mariadb11, &["sql"])]).await
}

#[tokio::test]
async fn minimal_metadata_makes_no_difference() -> Result<()> {
    both_ways(Mysql9, "MINIMAL", "", &[(Mysql9, &["events", "sql"])]).await?;
    both_ways(Mariadb11, "NO_LOG", "", &[(Mariadb11, &["events", "sql"]), (Mysql9, &["sql"])]).await
}

#[tokio::test]
async fn images_without_all_columns_are_enough() -> Result<()> {
    both_ways(Mysql9, "FULL", "SET binlog_row_image = 'MINIMAL';", &[(Mysql9, &["events", "sql"])]).await?;
    both_ways(Mariadb10, "FULL", "SET binlog_row_image = 'NOBLOB';", &[(Mariadb10, &["events", "sql"])]).await
}

/// JSON changes, keys first; the rows go through MySQL's partial updates.
const PARTIAL: &str = "CREATE DATABASE v_p; USE v_p;
CREATE TABLE p (id INT PRIMARY KEY, a JSON, x INT, b JSON, c JSON, d JSON, e JSON, f JSON, g JSON, h JSON, i JSON);
INSERT INTO p VALUES (1, '{\"k\": 1, \"arr\": [1, 2, {\"q\": \"long enough to be replaced\"}], \"t\": \"text text text\"}', 1, '[1, 2, 3]', NULL, '{}', '{}', '{}', '{}', '{}', '{\"z\": 1}');
INSERT INTO p SELECT id + 1, a, x, b, c, d, e, f, g, h, i FROM p;
UPDATE p SET a = JSON_SET(a, '$.k', 2), x = 2;
UPDATE p SET a = JSON_REPLACE(a, '$.arr[2].q', 'short'), b = JSON_REPLACE(b, '$[1]', 9) WHERE id = 1;
UPDATE p SET a = JSON_SET(a, '$.\"new \\\\\"key\"', JSON_ARRAY('it''s', NULL, TRUE, -1.5e0)), i = JSON_SET(i, '$.z', 5);
UPDATE p SET a = JSON_REMOVE(a, '$.t'), b = JSON_REMOVE(b, '$[0]');
UPDATE p SET b = JSON_ARRAY_INSERT(b, '$[0]', CAST('{\"o\": []}' AS JSON)) WHERE id = 2;
UPDATE p SET b = JSON_ARRAY_APPEND(b, '$', 'tail'), a = JSON_SET(a, '$.k', '7', '$.m', JSON_OBJECT('n', 1));
UPDATE p SET i = JSON_SET(i, '$.z', 6), x = x + 1;
UPDATE p SET a = JSON_SET(a, '$.k', JSON_ARRAY(1, 'a\\\\b')), b = NULL WHERE id = 1;
DELETE FROM p WHERE id = 1;
";

#[tokio::test]
async fn partial_updates_of_json_are_the_same_by_events_and_by_sql() -> Result<()> {
    let source = source(Mysql9, "FULL").await?;
    for image in ["FULL", "MINIMAL"] {
        let settings = format!(
            "SET binlog_row_value_options = 'PARTIAL_JSON', binlog_row_image = '{image}'; DROP DATABASE IF EXISTS v_p;"
        );
        let log = logged(&source, &settings, PARTIAL).await?;
        let partial = log.changes.iter().filter(|c| c.op == Op::PartialUpdate).count();
        assert!(partial >= 6, "only {partial} events are partial updates");
        for (kind, way) in [(Mysql9, "events"), (Mysql9, "sql"), (Mariadb11, "sql")] {
            let server = Server::builder(kind).name(&format!("{way}-{}", kind.name())).start().await?;
            create(PARTIAL, &server).await?;
            match way {
                "events" => apply_events(&log, &server).await?,
                _ => apply_sql(&log, &server).await?,
            }
            let found = compare::databases(&source, &server, &["v_p"]).await?;
            // A change in place may leave its numbers' and strings' room behind, but no other document.
            ensure!(
                found.is_empty(),
                "{image} by {way} to {}: {}",
                kind.name(),
                found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn opaque_json_values_stay_what_they_are_by_sql() -> Result<()> {
    let source = source(Mysql9, "FULL").await?;
    let script = "CREATE DATABASE v_o; USE v_o;
CREATE TABLE o (id INT PRIMARY KEY, j JSON);
CREATE TABLE s (a BLOB, b VARBINARY(20), c BINARY(4), d BIT(10), e TINYBLOB, f MEDIUMBLOB, g LONGBLOB, h TIMESTAMP(6), i TIME(3), k DECIMAL(20,10), l YEAR);
INSERT INTO s VALUES (x'00FF27', x'', x'5C', 513, 'e', 'f', 'g', '2020-01-02 03:04:05.678', '-12:34:56.789', -1.5, 2020);
INSERT INTO o SELECT 1, JSON_ARRAY(a, b, c, d, e, f, g, h, i, k, l, 'it''s', NULL, JSON_OBJECT('p', k, 'q', JSON_ARRAY(1, 'x'))) FROM s;
INSERT INTO o SELECT 2, JSON_EXTRACT(JSON_ARRAY(d), '$[0]') FROM s;
INSERT INTO o SELECT 3, JSON_EXTRACT(JSON_ARRAY(e), '$[0]') FROM s;
INSERT INTO o SELECT 4, CAST(i AS JSON) FROM s;
INSERT INTO o SELECT 5, JSON_EXTRACT(JSON_ARRAY(h), '$[0]') FROM s;
INSERT INTO o VALUES (6, CAST(CAST(7 AS UNSIGNED) AS JSON)), (7, CAST(CAST(1.10 AS DECIMAL(65,30)) AS JSON));
DROP TABLE s;
";
    let log = logged(&source, "", script).await?;
    let log = Log { changes: log.changes.into_iter().filter(|c| c.schema.table == "o").collect(), ..log };
    let server = Server::builder(Mysql9).name("sql").start().await?;
    server.exec("CREATE DATABASE v_o; USE v_o; CREATE TABLE o (id INT PRIMARY KEY, j JSON)").await?;
    apply_sql(&log, &server).await?;
    compare::must_be_equal(&source, &server, &["v_o"]).await
}

#[tokio::test]
async fn vectors_before_strings_do_not_shift_their_character_sets() -> Result<()> {
    for metadata in ["FULL", "MINIMAL"] {
        let source = Server::builder(Mysql9).name("source").option("binlog_row_metadata", metadata).start().await?;
        let script = "CREATE DATABASE v_v; USE v_v;
CREATE TABLE v (id INT PRIMARY KEY, a VECTOR(300), l VARCHAR(9) CHARACTER SET latin1, u VARCHAR(9) CHARACTER SET utf8mb4, b VECTOR(2), g VARCHAR(9) CHARACTER SET gbk);
INSERT INTO v VALUES (1, STRING_TO_VECTOR('[1,2,3]'), _latin1 x'E9', _utf8mb4 x'C3A9', STRING_TO_VECTOR('[1,2]'), _gbk x'815C');
UPDATE v SET a = STRING_TO_VECTOR('[1]');
";
        let (ddl, changes) = script.split_once("INSERT").context("a script without INSERT")?;
        source.exec(ddl).await?;
        let log = logged(&source, "", &format!("USE v_v; INSERT{changes}")).await?;
        let collations: Vec<u16> = log.changes[0].schema.columns.iter().map(|c| c.collation).collect();
        assert_eq!(collations[1], 300, "{metadata}");
        assert_eq!(collations[4], 2, "{metadata}");
        let names: Vec<_> = [2, 3, 5].map(|i| common::charset::of_collation(collations[i])).to_vec();
        assert_eq!(names, [Some("latin1"), Some("utf8mb4"), Some("gbk")], "{metadata}");
        for way in ["events", "sql"] {
            let server = Server::builder(Mysql9).name(way).start().await?;
            server.exec(ddl).await?;
            if way == "events" {
                apply_events(&log, &server).await?
            } else {
                apply_sql(&log, &server).await?
            }
            compare::must_be_equal(&source, &server, &["v_v"]).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn mariadbs_old_temporal_columns_are_refused_and_alter_table_helps() -> Result<()> {
    for kind in [Mariadb10, Mariadb11] {
        let source = source(kind, "FULL").await?;
        let make = "SET GLOBAL mysql56_temporal_format = OFF; CREATE DATABASE v_t; USE v_t;
            CREATE TABLE t (id INT PRIMARY KEY, d DATETIME(3), t TIME(6), s TIMESTAMP(2) NULL); INSERT INTO t VALUES (1, '2024-01-02 03:04:05.678', '-00:00:00.000001', NOW());";
        let log = logged(&source, "", make).await?;
        let schema = &log.changes.first().context("a change")?.schema;
        let error = Layout::new(schema).err().context("an old column was not noticed")?.to_string();
        let (_, statement) = error.split_once("run on the source: ").context("no statement")?;
        let after = format!(
            "{statement}; USE v_t; INSERT INTO t VALUES (2, '2024-01-02 03:04:05.678', '-00:00:00.000001', NOW());"
        );
        let log = logged(&source, "", &after).await?;
        let change = log.changes.first().context("a change")?;
        let layout = Layout::new(&change.schema)?;
        assert_eq!(layout.count(change.op, &change.columns_before, &change.columns_after, &change.images)?, 1);
    }
    Ok(())
}

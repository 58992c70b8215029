//! The reader's part of a copy: what stands in the store is replayed here, row by row, as strictly as a destination would.

use anyhow::{Context, Result, bail, ensure};
use common::control::{self, Answer, ReaderStatus, Request};
use common::record::{Op, RecordKind, Rows, RowsMore};
use common::row::{Cell, Layout};
use common::snapshot::{SnapshotStep, TableName};
use common::{SchemaId, TableSchema, codec};
use harness::{Pipeline, Server, ServerKind, Service};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use store::Tail;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(90);

/// Where a table's copy stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stand {
    #[default]
    None,
    Pending,
    Made,
    Copying,
    Done,
}

/// A destination in memory: per table, rows by key (or, without one, by all of the row, with a count).
#[derive(Debug, Default)]
struct Model {
    schemas: HashMap<SchemaId, TableSchema>,
    stands: BTreeMap<TableName, Stand>,
    keyed: HashMap<TableName, bool>,
    rows: BTreeMap<TableName, HashMap<Vec<u8>, (i64, u32)>>,
    /// Rows of chunks, strict changes, runs that ended, chunks, and tables that were begun anew.
    copied: u64,
    strict: u64,
    ended: u32,
    chunks: u64,
    again: u32,
    spans: BTreeMap<TableName, usize>,
    in_chunk: Option<(TableName, u64)>,
}

impl Model {
    fn read(dir: &Path) -> Result<Model> {
        let mut model = Model::default();
        let mut tail = Tail::open(dir)?;
        tail.seek_start()?;
        let mut open: Option<(Vec<u8>, u64)> = None;
        while let Some(frame) = tail.next()? {
            for record in frame.records() {
                match RecordKind::from_byte(record.kind).context("unknown kind")? {
                    RecordKind::Schema => {
                        let schema: TableSchema = codec::decode(record.payload)?;
                        model.schemas.insert(schema.id()?, schema);
                    }
                    RecordKind::Snapshot => model.step(codec::decode(record.payload)?)?,
                    RecordKind::Rows => {
                        let rows: Rows<'_> = codec::decode(record.payload)?;
                        if rows.more_bytes > 0 {
                            open = Some((record.payload.to_vec(), rows.more_bytes));
                        } else {
                            model.take(&rows)?;
                        }
                    }
                    RecordKind::RowsMore => {
                        let more: RowsMore<'_> = codec::decode(record.payload)?;
                        let (payload, left) = open.take().context("more of nothing")?;
                        let head: Rows<'_> = codec::decode(&payload)?;
                        let images = [head.images, more.images].concat();
                        let left = left - more.images.len() as u64;
                        let whole = Rows { images: &images, more_bytes: left, ..head };
                        if left == 0 { model.take(&whole)? } else { open = Some((codec::encode(&whole)?, left)) }
                    }
                    _ => {}
                }
            }
        }
        Ok(model)
    }

    fn step(&mut self, step: SnapshotStep) -> Result<()> {
        match step {
            SnapshotStep::Begin(begin) => {
                for table in begin.tables {
                    self.rows.remove(&table);
                    self.stands.insert(table, Stand::Pending);
                }
            }
            SnapshotStep::Object(object) if object.object.kind == common::snapshot::ObjectKind::Table => {
                ensure!(object.statement.to_uppercase().contains("CREATE TABLE"), "{object:?}");
                let table = TableName { database: object.object.database.clone(), table: object.object.name.clone() };
                self.keyed.insert(table.clone(), object.keyed);
                let stand = self.stands.insert(table, if object.keyed { Stand::Copying } else { Stand::Made });
                ensure!(stand == Some(Stand::Pending), "a definition for a table that is {stand:?}");
            }
            SnapshotStep::Chunk(chunk) => {
                ensure!(self.in_chunk.is_none(), "a chunk in a chunk");
                if !chunk.spans.is_empty() {
                    self.spans.insert(chunk.table.clone(), chunk.spans.len());
                }
                let stand = self.stands.entry(chunk.table.clone()).or_default();
                ensure!(matches!(stand, Stand::Made | Stand::Copying), "a chunk of {} which is {stand:?}", chunk.table);
                *stand = Stand::Copying;
                self.chunks += 1;
                self.in_chunk = Some((chunk.table.clone(), chunk.rows));
            }
            SnapshotStep::ChunkEnd { row_count } => {
                let (table, left) = self.in_chunk.take().context("the end of no chunk")?;
                ensure!(left == 0, "{table}: {left} of {row_count} rows of a chunk are missing");
            }
            SnapshotStep::TableEnd { table, .. } => {
                self.stands.insert(table, Stand::Done);
            }
            SnapshotStep::TableAgain { table, gone, .. } => {
                self.again += 1;
                self.rows.remove(&table);
                if gone {
                    self.stands.remove(&table);
                } else {
                    self.stands.insert(table, Stand::Made);
                }
            }
            SnapshotStep::End { .. } => self.ended += 1,
            SnapshotStep::Object(_) => {}
        }
        Ok(())
    }

    fn take(&mut self, rows: &Rows<'_>) -> Result<()> {
        let schema = self.schemas.get(&rows.schema).context("rows without a layout")?;
        let table = TableName { database: schema.database.clone(), table: schema.table.clone() };
        let stand = self.stands.get(&table).copied().unwrap_or_default();
        let layout = Layout::new(schema)?;
        let mut key: Vec<usize> = Vec::new();
        for (index, column) in schema.columns.iter().enumerate() {
            if column.name.starts_with('k') {
                key.push(index);
            }
        }
        let value = schema.columns.iter().position(|column| column.name == "v").context("no v")?;
        let chunk = self.in_chunk.is_some();
        if let Some((_, left)) = &mut self.in_chunk {
            *left = left.checked_sub(u64::from(rows.row_count)).context("more rows than the chunk says")?;
            self.copied += u64::from(rows.row_count);
        } else if self.stands.is_empty() || matches!(stand, Stand::Pending | Stand::Made) {
            return Ok(()); // a destination begins at the first run
        }
        let keyed = !key.is_empty();
        let content = self.rows.entry(table.clone()).or_default();
        for row in layout.rows(rows.op, rows.columns_before, rows.columns_after, rows.images)? {
            let row = row?;
            let parts = |image: common::row::Image<'_>| -> Result<(Vec<u8>, i64)> {
                let mut name = Vec::new();
                // Not the NULL bitmap itself: servers differ in its unused bits.
                for (index, cell) in image.cells().enumerate().filter(|(index, _)| !keyed || key.contains(index)) {
                    match cell {
                        Cell::Bytes(cell) => {
                            name.extend_from_slice(&(cell.len() as u32).to_le_bytes());
                            name.extend_from_slice(cell);
                        }
                        Cell::Null if !keyed => name.extend_from_slice(&u32::MAX.to_le_bytes()),
                        other => bail!("{table}: column {index} is {other:?}"),
                    }
                }
                let v = match image.column(value) {
                    Cell::Bytes(&[a, b, c, d]) => i64::from(i32::from_le_bytes([a, b, c, d])),
                    other => bail!("{table}: v is {other:?}"),
                };
                Ok((name, v))
            };
            let idempotent = stand == Stand::Copying && !chunk;
            if !chunk && !idempotent {
                self.strict += 1;
            }
            if let Some(before) = row.before {
                let (name, _) = parts(before)?;
                match content.get_mut(&name) {
                    Some((_, count)) if *count > 1 => *count -= 1,
                    Some(_) => drop(content.remove(&name)),
                    None => {
                        ensure!(idempotent, "{table} ({stand:?}): {:?} of a row that is not there: {name:?}", rows.op)
                    }
                }
            }
            if let Some(after) = row.after {
                let (name, v) = parts(after)?;
                if keyed {
                    let old = content.insert(name.clone(), (v, 1));
                    if chunk {
                        // What stands there already came from the binlog and is the same.
                        ensure!(
                            old.is_none_or(|(old, _)| old == v),
                            "{table}: a chunk's row {name:?} has {v}, there is {old:?}"
                        );
                    } else {
                        ensure!(idempotent || old.is_none(), "{table} ({stand:?}): {:?} makes {name:?} twice", rows.op);
                    }
                } else {
                    let entry = content.entry(name).or_insert((v, 0));
                    entry.1 += 1;
                }
            }
        }
        ensure!(!chunk || rows.op == Op::Insert, "a chunk with {:?}", rows.op);
        Ok(())
    }

    /// Rows and the sum of `v`.
    fn sum(&self, table: &TableName) -> (u64, i64) {
        let rows = self.rows.get(table).into_iter().flatten();
        rows.fold((0, 0), |(count, sum), (_, (v, times))| (count + u64::from(*times), sum + v * i64::from(*times)))
    }
}

fn tables(kind: ServerKind) -> Vec<(&'static str, String, &'static str)> {
    let falling = if kind == ServerKind::Mysql56 { "k1, k2" } else { "k1 DESC, k2" };
    let latin = "CHARACTER SET latin1 COLLATE latin1_swedish_ci";
    vec![
        ("ints", "k1 INT AUTO_INCREMENT PRIMARY KEY".into(), "n"),
        ("bigs", "k1 BIGINT UNSIGNED PRIMARY KEY".into(), "18446744073709551615 - n * 3"),
        ("negatives", "k1 BIGINT PRIMARY KEY".into(), "-9223372036854775808 + n * 7"),
        ("pairs", format!("k1 INT, k2 VARCHAR(20) {latin}, PRIMARY KEY ({falling})"), "n % 50, CONCAT('k', n)"),
        (
            "words",
            format!("k1 VARCHAR(40) {latin} PRIMARY KEY"),
            "CONCAT(ELT(1 + n % 4, 'a', 'B', 'ä ', '\\'\\\\'), n)",
        ),
        ("bytes", "k1 BINARY(8) PRIMARY KEY".into(), "UNHEX(CONCAT(LPAD(HEX(n), 6, '0'), '0000'))"),
        ("decimals", "k1 DECIMAL(20,6) PRIMARY KEY".into(), "n / 7 - 100"),
        ("times", "k1 DATETIME NOT NULL, UNIQUE KEY (k1)".into(), "'2024-02-28 23:00:00' + INTERVAL n SECOND"),
        ("enums", "k1 ENUM('z','a','m') NOT NULL, k2 BIT(20) NOT NULL, UNIQUE KEY (k1, k2)".into(), "1 + n % 3, n"),
        ("parts", "k1 INT PRIMARY KEY".into(), "n"),
        ("keyless", "name VARCHAR(20)".into(), "IF(n % 3 = 0, NULL, n % 100)"),
    ]
}

const ROWS: u32 = 4000;

async fn fill(source: &Server, kind: ServerKind) -> Result<()> {
    let mut conn = source.conn().await?;
    conn.query_drop("CREATE DATABASE shop CHARACTER SET utf8").await?;
    conn.query_drop("USE shop").await?;
    conn.query_drop("SET NAMES utf8").await?;
    conn.query_drop("CREATE TABLE shop.empty (k1 INT PRIMARY KEY, v INT NOT NULL, pad VARCHAR(200))").await?;
    conn.query_drop("CREATE DATABASE helper").await?;
    conn.query_drop("CREATE TABLE helper.n (n INT PRIMARY KEY)").await?;
    let numbers: Vec<String> = (1..=ROWS).map(|n| format!("({n})")).collect();
    conn.query_drop(format!("INSERT INTO helper.n VALUES {}", numbers.join(","))).await?;
    for (name, columns, values) in tables(kind) {
        let partitions = if name == "parts" { " PARTITION BY HASH (k1) PARTITIONS 4" } else { "" };
        conn.query_drop(format!(
            "CREATE TABLE {name} ({columns}, v INT NOT NULL, pad VARCHAR(200)) ENGINE=InnoDB{partitions}"
        ))
        .await?;
        conn.query_drop(format!("INSERT INTO {name} SELECT {values}, n, REPEAT('x', n % 150) FROM helper.n"))
            .await
            .with_context(|| name.to_owned())?;
    }
    conn.query_drop("CREATE VIEW shop.seen AS SELECT k1, v FROM shop.ints").await?;
    conn.disconnect().await?;
    Ok(())
}

/// Rows change, go, and come, their keys move; some of it is rolled back.
fn churn(source: &Server, kind: ServerKind, seed: u64, stop: &Arc<AtomicBool>) -> JoinHandle<Result<u64>> {
    let (opts, stop) = (source.opts(), stop.clone());
    tokio::spawn(async move {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut conn = Conn::new(opts).await?;
        conn.query_drop("USE shop").await?;
        conn.query_drop("SET NAMES utf8").await?;
        let tables = tables(kind);
        let mut done = 0_u64;
        while !stop.load(Relaxed) {
            conn.query_drop("BEGIN").await?;
            for _ in 0..rng.random_range(1..6) {
                let (name, _, values) = &tables[rng.random_range(0..tables.len())];
                let n = rng.random_range(1..ROWS * 2);
                let sql = match rng.random_range(0..4) {
                    0 => format!("DELETE FROM {name} WHERE v BETWEEN {n} AND {}", n + 3),
                    1 => {
                        format!("INSERT IGNORE INTO {name} SELECT {values}, n, 'new' FROM (SELECT {n} + {ROWS} AS n) x")
                    }
                    2 => format!("UPDATE {name} SET v = v + 1 WHERE v BETWEEN {n} AND {}", n + 5),
                    _ if *name == "ints" => format!("UPDATE ints SET k1 = k1 + 1000000 WHERE v = {n}"),
                    _ => format!("UPDATE {name} SET pad = 'changed' WHERE v = {n}"),
                };
                if let Err(error) = conn.query_drop(&sql).await {
                    match error {
                        mysql_async::Error::Server(e) if [1205, 1213, 1062].contains(&e.code) => {}
                        other => return Err(other).context(sql),
                    }
                }
                done += 1;
            }
            conn.query_drop(if rng.random_ratio(1, 5) { "ROLLBACK" } else { "COMMIT" }).await?;
        }
        conn.disconnect().await?;
        Ok(done)
    })
}

async fn status(pipeline: &Pipeline) -> Option<ReaderStatus> {
    match control::request(&control::reader_socket(&pipeline.store()), Request::Status).await {
        Ok(Answer::Reader(status)) => Some(*status),
        _ => None,
    }
}

async fn wait_ended(pipeline: &Pipeline, runs: usize) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while pipeline.whole_log(&Service::Reader).matches("the copy is complete").count() < runs {
        pipeline.must_run(&Service::Reader)?;
        ensure!(
            Instant::now() < deadline,
            "the copy does not end: {:?}\n{}",
            status(pipeline).await,
            pipeline.log(&Service::Reader, 30)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Waits until the reader has a row that is written now.
async fn wait_level(pipeline: &Pipeline, source: &Server) -> Result<()> {
    source.exec("CREATE TABLE IF NOT EXISTS helper.last (k1 INT PRIMARY KEY, v INT NOT NULL); REPLACE INTO helper.last VALUES (1, 1)").await?;
    let rows = source.rows("SHOW BINARY LOG STATUS").await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(_) => source.rows("SHOW MASTER STATUS").await?,
    };
    let cell = |index: usize| rows.first()?.get(index)?.as_ref().map(|text| String::from_utf8_lossy(text).into_owned());
    let end = format!("{}:{}", cell(0).context("no file")?, cell(1).context("no offset")?);
    let wanted: common::LogPosition = format!("binlog:{end}").parse()?;
    let common::LogPosition::Binlog(wanted) = wanted else { bail!("{end}") };
    let deadline = Instant::now() + LIMIT;
    loop {
        pipeline.must_run(&Service::Reader)?;
        if let Some(at) = status(pipeline).await.and_then(|status| status.position.binlog)
            && at >= wanted
        {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the reader does not reach {end}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn compare(source: &Server, kind: ServerKind, model: &Model) -> Result<()> {
    for (name, ..) in tables(kind).iter().chain([&("empty", String::new(), "")]) {
        let rows = source.rows(&format!("SELECT COUNT(*), COALESCE(SUM(v), 0) FROM shop.{name}")).await?;
        let cell = |index: usize| rows[0][index].as_ref().map(|text| String::from_utf8_lossy(text).into_owned());
        let table = TableName { database: "shop".into(), table: (*name).into() };
        let have = model.sum(&table);
        let want = (cell(0).context("no count")?.parse()?, cell(1).context("no sum")?.parse()?);
        ensure!(have == want, "shop.{name}: the store has {have:?} rows and sum, the source {want:?}");
        ensure!(model.stands.get(&table) == Some(&Stand::Done), "shop.{name} is {:?}", model.stands.get(&table));
        ensure!(model.keyed.get(&table) == Some(&(*name != "keyless")), "shop.{name}: {:?}", model.keyed.get(&table));
    }
    Ok(())
}

/// Copies under writes; with `kills`, the reader is killed several times on its way.
async fn copies(kind: ServerKind, options: &[(&str, &str)], way: &str, kills: bool) -> Result<()> {
    let seed = match std::env::var("LOGWEIR_SEED") {
        Ok(text) => text.parse()?,
        Err(_) => rand::rng().random(),
    };
    println!("repeat with LOGWEIR_SEED={seed}");
    let mut source = Server::builder(kind).name("source");
    for (name, value) in options {
        source = source.option(name, value);
    }
    let source = source.start().await?;
    fill(&source, kind).await?;
    let slow = if kills { "max_rows_per_second = 15000" } else { "threads = 3" };
    let pipeline = Pipeline::builder(&source)
        .destination("nobody", &source)
        .source_line("include = [\"shop.*\", \"helper.*\"]")
        .source_line("exclude = [\"helper.n\"]")
        .snapshot_line("mode = \"full\"")
        .snapshot_line("chunk_size = \"64KiB\"")
        .snapshot_line(slow)
        .build()?;
    let stop = Arc::new(AtomicBool::new(false));
    let churn = churn(&source, kind, seed, &stop);
    pipeline.start_service(&Service::Reader)?;
    if kills {
        for round in 0..4 {
            tokio::time::sleep(Duration::from_millis(700 + round * 100)).await;
            pipeline.kill_and_start(&Service::Reader).await?;
        }
    }
    wait_ended(&pipeline, 1).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Relaxed);
    let changes = churn.await??;
    wait_level(&pipeline, &source).await?;
    pipeline.stop().await?;
    let model = Model::read(&pipeline.store())?;
    println!(
        "{} ({way}): {changes} changes, {} rows in {} chunks, {} strict rows, {} begun anew",
        source.version(),
        model.copied,
        model.chunks,
        model.strict,
        model.again
    );
    ensure!(model.ended == 1 && model.chunks > 30, "{} runs, {} chunks", model.ended, model.chunks);
    ensure!(changes > 100 && model.strict > 10, "{changes} changes, {} strict", model.strict);
    let log = pipeline.whole_log(&Service::Reader);
    ensure!(log.contains(way), "the way was not {way}: {log}");
    compare(&source, kind, &model).await
}

#[tokio::test]
async fn mysql_with_gtids_is_copied_exactly_under_writes() -> Result<()> {
    copies(ServerKind::Mysql9, &[("binlog_row_metadata", "FULL")], "gtid", false).await
}

#[tokio::test]
async fn mysql_without_gtids_is_copied_exactly_under_writes() -> Result<()> {
    copies(ServerKind::Mysql9, &[("gtid_mode", "OFF"), ("enforce_gtid_consistency", "OFF")], "row-locks", false).await
}

#[tokio::test]
async fn mysql56_is_copied_exactly_under_writes() -> Result<()> {
    copies(ServerKind::Mysql56, &[], "", false).await
}

#[tokio::test]
async fn mariadb_is_copied_exactly_under_writes() -> Result<()> {
    copies(ServerKind::Mariadb11, &[], "binlog-snapshot", false).await
}

#[tokio::test]
async fn a_killed_reader_goes_on_where_the_log_ends() -> Result<()> {
    copies(ServerKind::Mysql9, &[("binlog_row_metadata", "FULL")], "gtid", true).await
}

//! Tables that are altered, emptied, renamed, dropped and made while they are copied.

#[path = "support/copy.rs"]
mod copy;

use anyhow::{Context, Result, ensure};
use copy::{COPY_LIMIT, numbers, seed, wait_rows, wait_runs};
use harness::{Pipeline, Server, ServerKind, Service, compare};
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

use ServerKind::{Mariadb10, Mariadb11, Mysql9};

const ROWS: u32 = 6_000;

/// Each with the tables that it needs; `{t}` is the table's name. Statements are separated by `; `.
const CHANGES: [(&str, &str); 13] = [
    (
        "add_column",
        "ALTER TABLE {t} ADD COLUMN extra INT NOT NULL DEFAULT 7; UPDATE {t} SET extra = 8 WHERE id % 100 = 3",
    ),
    (
        "add_first",
        "ALTER TABLE {t} ADD COLUMN extra VARCHAR(9) DEFAULT 'x' FIRST; INSERT INTO {t} VALUES ('new', 900001, 1, 'after')",
    ),
    ("drop_column", "ALTER TABLE {t} DROP COLUMN v; DELETE FROM {t} WHERE id % 50 = 1"),
    ("widen_key", "ALTER TABLE {t} MODIFY id BIGINT NOT NULL; INSERT INTO {t} VALUES (5000000000, 1, 'beyond an int')"),
    (
        "move_key",
        "ALTER TABLE {t} DROP PRIMARY KEY, ADD COLUMN n INT NOT NULL DEFAULT 0, ADD PRIMARY KEY (n, id); UPDATE {t} SET n = 1 WHERE id % 7 = 0",
    ),
    ("add_index", "CREATE INDEX by_v ON {t} (v, k); UPDATE {t} SET v = 'indexed' WHERE id % 90 = 2"),
    ("drop_index", "ALTER TABLE {t} DROP INDEX k; UPDATE {t} SET k = -1 WHERE id % 80 = 5"),
    ("empty", "TRUNCATE TABLE {t}; INSERT INTO {t} VALUES (1, 1, 'after the truncate'), (900000, 2, 'too')"),
    ("rename", "RENAME TABLE {t} TO {t}_renamed; UPDATE {t}_renamed SET v = 'renamed' WHERE id % 60 = 4"),
    ("leave", "DROP TABLE {t}"),
    (
        "come_back",
        "DROP TABLE {t}; CREATE TABLE {t} (a VARCHAR(20) NOT NULL PRIMARY KEY, b INT); INSERT INTO {t} VALUES ('new', 1), ('newer', 2)",
    ),
    (
        "exchange",
        "CREATE TABLE {t}_new (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, v VARCHAR(200), extra INT NULL, KEY k (k)); \
      INSERT INTO {t}_new (id, k, v) SELECT id, k, v FROM {t}; \
      RENAME TABLE {t} TO {t}_old, {t}_new TO {t}; INSERT INTO {t} VALUES (900002, 3, 'in the new one', 4); DROP TABLE {t}_old",
    ),
    (
        "made",
        "CREATE TABLE {t}_more (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)); INSERT INTO {t}_more VALUES (1, 'made'), (2, 'meanwhile')",
    ),
];

/// A key of strings whose order changes with its collation.
async fn words(source: &Server, table: &str) -> Result<()> {
    source
        .exec(&format!(
            "CREATE TABLE {table} (id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY, v VARCHAR(200))"
        ))
        .await?;
    let values: Vec<String> = (0..4000)
        .map(|i| format!("('{}{}', 'as it was')", ["a", "B", "c", "D", "ä", "Z", "z"][i % 7], i * 7919 % 10_007))
        .collect();
    source.exec(&format!("INSERT INTO {table} VALUES {}", values.join(", "))).await
}

/// As gh-ost does it: the new table is made after the old one, whose definition may not be at a destination yet.
const MADE_LIKE: [(&str, &str); 1] = [(
    "exchange",
    "CREATE TABLE {t}_new LIKE {t}; ALTER TABLE {t}_new ADD COLUMN extra INT NULL; INSERT INTO {t}_new (id, k, v) SELECT id, k, v FROM {t}; \
      RENAME TABLE {t} TO {t}_old, {t}_new TO {t}; INSERT INTO {t} VALUES (900002, 3, 'in the new one', 4); DROP TABLE {t}_old",
)];

async fn altered_while_copied(kinds: [ServerKind; 3], list: &[(&str, &str)]) -> Result<()> {
    let seed = seed()?;
    let mut rng = StdRng::seed_from_u64(seed);
    let source = Server::builder(kinds[0]).name("source").option("binlog_row_metadata", "FULL").start().await?;
    source.exec("CREATE DATABASE shop CHARACTER SET latin1").await?;
    for (name, _) in list {
        numbers(&source, &format!("shop.{name}"), ROWS).await?;
    }
    words(&source, "shop.words").await?;
    numbers(&source, "shop.left_alone", ROWS).await?;
    let (a, b) =
        (Server::builder(kinds[1]).name("a").start().await?, Server::builder(kinds[2]).name("b").start().await?);
    let pipeline = Pipeline::builder(&source)
        .source_line("include = [\"shop.*\", \"logweir_probe.*\"]")
        .store_line("segment_size = \"1MiB\"")
        .snapshot_line("mode = \"full\"")
        .snapshot_line("chunk_size = \"64KiB\"")
        .snapshot_line("max_rows_per_second = 20000")
        .destination("a", &a)
        .destination("b", &b)
        .build()?;
    let mut changes: Vec<(String, String)> =
        list.iter().map(|(name, sql)| ((*name).to_owned(), sql.replace("{t}", &format!("shop.{name}")))).collect();
    changes.push((
        "words".to_owned(),
        "ALTER TABLE shop.words MODIFY id VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL; INSERT INTO shop.words VALUES ('A', 'new'), ('a', 'new')"
            .to_owned(),
    ));
    changes.shuffle(&mut rng);
    let names: Vec<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    println!("in this order: {names:?}");
    pipeline.start()?;
    wait_rows(&pipeline, 1, COPY_LIMIT).await?;
    let mut conn = source.conn().await?;
    for (name, sql) in &changes {
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..500))).await;
        for statement in sql.split("; ") {
            conn.query_drop(statement).await.with_context(|| format!("{name}: {statement}"))?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..20))).await;
        }
        if rng.random_ratio(1, 4) {
            // The copy of a changed table goes on after a restart too.
            pipeline.must_run(&Service::Reader).context(name.clone())?;
            pipeline.kill_and_start(&Service::Reader).await?;
        }
    }
    conn.disconnect().await?;
    let before = copy::runs_ended(&pipeline);
    if before == 0 {
        // A reader that has just started does not listen yet.
        let _ = copy::tune(&pipeline, "max_rows_per_second", "").await;
    }
    wait_runs(&pipeline, 1, COPY_LIMIT).await?;
    println!("the copy was over when the last table was changed: {}", before > 0);
    // Tables that were renamed during the copy have a run of their own, which is begun a moment after the first has ended.
    let deadline = Instant::now() + COPY_LIMIT;
    let mut quiet = 0;
    while quiet < 25 {
        let done = copy::reader_status(&pipeline).await.is_some_and(|s| s.snapshot.is_none());
        quiet = if done { quiet + 1 } else { 0 };
        ensure!(Instant::now() < deadline, "a copy does not end:\n{}", pipeline.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pipeline.wait_level(COPY_LIMIT).await?;
    for server in [&a, &b] {
        let equal = compare::must_be_equal(&source, server, &["shop"]).await;
        equal.with_context(|| pipeline.logs())?;
    }
    pipeline.stop_with(&["killed", "interrupted", "unfinished", "was cut", "left by", "again"]).await
}

#[tokio::test]
async fn at_mysql_in_random_order() -> Result<()> {
    altered_while_copied([Mysql9, Mysql9, Mariadb10], &CHANGES).await
}

#[tokio::test]
async fn at_mariadb_in_random_order() -> Result<()> {
    altered_while_copied([Mariadb11, Mariadb11, Mysql9], &CHANGES).await
}

#[tokio::test]
async fn a_table_is_made_like_one_that_is_not_copied_yet() -> Result<()> {
    altered_while_copied([Mysql9, Mysql9, Mariadb10], &MADE_LIKE).await
}

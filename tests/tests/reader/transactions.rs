//! What transactions look like in the binlog, and what of it stands in the store.

use super::*;
use mysql_async::prelude::Queryable;

async fn follow(source: &Server, lines: &[&str]) -> Result<Pipeline> {
    let pipeline = pipeline(source, lines)?;
    pipeline.start_service(&Service::Reader)?;
    source.exec("CREATE DATABASE d").await?;
    Ok(pipeline)
}

#[tokio::test]
async fn prepared_branches_and_their_outcomes_are_kept_apart() -> Result<()> {
    for kind in [ServerKind::Mysql9, ServerKind::Mariadb10, ServerKind::Mariadb11] {
        let source = Server::builder(kind).option("binlog_row_metadata", "FULL").start().await?;
        let pipeline = follow(&source, &[]).await?;
        source.exec("CREATE TABLE d.t (a INT PRIMARY KEY)").await?;
        for (name, end) in [("one", "XA COMMIT 'one'"), ("two", "XA ROLLBACK 'two'")] {
            let mut conn = source.conn().await?;
            conn.query_drop(format!("XA START '{name}'")).await?;
            conn.query_drop(format!("INSERT INTO d.t VALUES ({})", name.len() + usize::from(name == "two"))).await?;
            conn.query_drop(format!("XA END '{name}'")).await?;
            conn.query_drop(format!("XA PREPARE '{name}'")).await?;
            conn.disconnect().await?;
            source.exec(&format!("INSERT INTO d.t VALUES ({})", 10 + usize::from(name == "two"))).await?;
            source.exec(end).await?;
        }
        source
            .exec("XA START 'three'; INSERT INTO d.t VALUES (20); XA END 'three'; XA COMMIT 'three' ONE PHASE; CREATE TABLE d.done (a INT)")
            .await?;
        let story = wait_for(&pipeline, "ddl CreateTable d.done").await.with_context(|| format!("{kind:?}"))?;
        let without = |line: &&String| !line.starts_with("begin") && !line.starts_with("ddl");
        let lines: Vec<&str> = story.lines().iter().filter(without).map(String::as_str).collect();
        assert_eq!(
            lines[2..lines.len() - 1],
            [
                "insert d.t (3)",
                "commit prepare one",
                "insert d.t (10)",
                "commit Commit",
                "xa commit one",
                "commit Implicit",
                "insert d.t (4)",
                "commit prepare two",
                "insert d.t (11)",
                "commit Commit",
                "xa rollback two",
                "commit Implicit",
                "insert d.t (20)",
                "commit Commit",
            ],
            "{kind:?}"
        );
        pipeline.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn tagged_gtids_are_followed_and_resumed() -> Result<()> {
    let source = mysql9(&[]).await?;
    let pipeline = follow(&source, &[]).await?;
    source
        .exec(
            "CREATE TABLE d.t (a INT); SET gtid_next = 'AUTOMATIC:blue'; INSERT INTO d.t VALUES (1); INSERT INTO d.t VALUES (2); SET gtid_next = 'AUTOMATIC'; \
             INSERT INTO d.t VALUES (3); CREATE TABLE d.done (a INT)",
        )
        .await?;
    wait_for(&pipeline, "ddl CreateTable d.done").await?;
    pipeline.kill(&Service::Reader).await?;
    source.exec("SET gtid_next = 'AUTOMATIC:red'; INSERT INTO d.t VALUES (4); SET gtid_next = 'AUTOMATIC'; CREATE TABLE d.done2 (a INT)").await?;
    pipeline.start_service(&Service::Reader)?;
    let story = wait_for(&pipeline, "ddl CreateTable d.done2").await?;
    let inserts: Vec<_> = story.changes().into_iter().filter(|line| line.starts_with("insert")).collect();
    assert_eq!(inserts, ["insert d.t (1)", "insert d.t (2)", "insert d.t (3)", "insert d.t (4)"]);
    let executed = source.value("SELECT @@GLOBAL.gtid_executed").await?.context("a set")?;
    let executed: common::GtidSet = executed.parse()?;
    assert_eq!(story.gtids_of_the_end(), executed.to_string());
    assert!(executed.to_string().contains(":blue:1-2"), "{executed}");
    pipeline.stop().await
}

#[tokio::test]
async fn partial_images_and_partial_json_arrive_as_they_were_logged() -> Result<()> {
    let source = mysql9(&[("binlog_row_image", "MINIMAL"), ("binlog_row_value_options", "PARTIAL_JSON")]).await?;
    let pipeline = follow(&source, &[]).await?;
    source
        .exec(
            "CREATE TABLE d.t (a INT PRIMARY KEY, b VARCHAR(9), c TEXT, j JSON); INSERT INTO d.t VALUES (1, 'x', 'y', '{\"k\": \"some longer text\", \"l\": [1, 2, 3]}'); \
             UPDATE d.t SET b = 'z' WHERE a = 1; UPDATE d.t SET j = JSON_SET(j, '$.l[1]', 7) WHERE a = 1; DELETE FROM d.t WHERE a = 1; CREATE TABLE d.done (a INT)",
        )
        .await?;
    let story = wait_for(&pipeline, "ddl CreateTable d.done").await?;
    let changes = story.changes();
    assert_eq!(changes[3], "partial update d.t (1, -, -, -) -> (-, 'z', -, -)");
    assert!(changes[4].starts_with("partial update d.t (1, -, -, -) -> (-, -, -, diff of"), "{}", changes[4]);
    assert_eq!(changes[5], "delete d.t (1, -, -, -)");
    pipeline.stop().await
}

#[tokio::test]
async fn noblob_images_lack_the_blobs_that_did_not_change() -> Result<()> {
    let source = mysql9(&[("binlog_row_image", "NOBLOB")]).await?;
    let pipeline = follow(&source, &[]).await?;
    source
        .exec(
            "CREATE TABLE d.t (a INT PRIMARY KEY, b VARCHAR(9), c TEXT); INSERT INTO d.t VALUES (1, 'x', 'y'); UPDATE d.t SET b = 'z' WHERE a = 1; CREATE TABLE d.done (a INT)",
        )
        .await?;
    let story = wait_for(&pipeline, "ddl CreateTable d.done").await?;
    assert_eq!(story.changes()[3], "update d.t (1, 'x', -) -> (1, 'z', -)");
    pipeline.stop().await
}

/// 40 MB in one transaction and in one compressed payload, with rows of 5 MB among them, over segments of 4 MiB.
#[tokio::test]
async fn a_large_transaction_goes_over_many_segments_in_little_memory() -> Result<()> {
    for compression in ["OFF", "ON"] {
        let source = mysql9(&[("binlog_transaction_compression", compression)]).await?;
        let builder = Pipeline::builder(&source).destination("nobody", &source).store_line("segment_size = \"4MiB\"");
        let pipeline = builder.build()?;
        pipeline.start_service(&Service::Reader)?;
        source
            .exec(
                "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b LONGBLOB); SET SESSION cte_max_recursion_depth = 1000000; BEGIN; \
                 INSERT INTO d.t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) SELECT i, REPEAT(CHAR(65 + i % 26), 1000) FROM n; \
                 INSERT INTO d.t VALUES (30001, REPEAT('z', 5000000)), (30002, REPEAT('y', 18000000)); COMMIT; CREATE TABLE d.done (a INT)",
            )
            .await?;
        let story = wait_for(&pipeline, "ddl CreateTable d.done").await.with_context(|| compression.to_owned())?;
        assert_eq!(story.rows, 30_002);
        assert_eq!(story.transactions, 4);
        assert!(story.changes().contains(&"insert d.t (30002, 18000000 bytes)"));
        let memory = pipeline.process(&Service::Reader)?.peak_memory().context("the peak")?;
        assert!(memory < 160 << 20, "{} MiB with compression {compression}", memory >> 20);
        // After it, the log goes on as ever.
        pipeline.kill(&Service::Reader).await?;
        source.exec("CREATE TABLE d.after (a INT)").await?;
        pipeline.start_service(&Service::Reader)?;
        let again = wait_for(&pipeline, "ddl CreateTable d.after").await?;
        assert_eq!(again.transactions, 5);
        pipeline.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn only_what_is_selected_is_stored_and_the_place_moves_all_the_same() -> Result<()> {
    let source = mysql9(&[]).await?;
    let pipeline = follow(&source, &["include = [\"d.*\"]", "exclude = [\"d.skip*\"]"]).await?;
    source
        .exec(
            "CREATE TABLE d.t (a INT); CREATE TABLE d.skipped (a INT); CREATE DATABASE other; CREATE TABLE other.t (a INT); INSERT INTO other.t VALUES (1); \
             BEGIN; INSERT INTO d.t VALUES (1); INSERT INTO d.skipped VALUES (2); COMMIT; DROP TABLE d.skipped, d.t; CREATE TABLE d.done (a INT); \
             INSERT INTO other.t VALUES (2); INSERT INTO other.t VALUES (3)",
        )
        .await?;
    let story = wait_for(&pipeline, "ddl CreateTable d.done").await?;
    assert_eq!(
        story.changes(),
        [
            "ddl CreateDatabase d.",
            "ddl CreateTable d.t",
            "insert d.t (1)",
            "ddl DropTable d.skipped d.t",
            "ddl CreateTable d.done"
        ]
    );
    let executed = source.value("SELECT @@GLOBAL.gtid_executed").await?.context("a set")?;
    transcript::wait_until(&pipeline, |story| story.gtids_of_the_end() == executed).await?;
    pipeline.stop().await
}

#[tokio::test]
async fn savepoints_and_mixed_engines_end_as_they_ended_at_the_source() -> Result<()> {
    let source = mysql9(&[("gtid_mode", "OFF"), ("enforce_gtid_consistency", "OFF")]).await?;
    let pipeline = follow(&source, &[]).await?;
    source
        .exec(
            "CREATE TABLE d.t (a INT); CREATE TABLE d.m (a INT) ENGINE=MyISAM; BEGIN; INSERT INTO d.t VALUES (1); SAVEPOINT s; INSERT INTO d.t VALUES (2); \
             INSERT INTO d.m VALUES (3); ROLLBACK TO s; INSERT INTO d.t VALUES (4); COMMIT; BEGIN; INSERT INTO d.t VALUES (5); INSERT INTO d.m VALUES (6); ROLLBACK; \
             CREATE TABLE d.done (a INT)",
        )
        .await?;
    let story = wait_for(&pipeline, "ddl CreateTable d.done").await?;
    let rows: Vec<_> = story.changes().into_iter().filter(|line| line.starts_with("insert")).collect();
    // The server logs MyISAM's rows at once and what was rolled back not at all, or with the statements that undo it.
    assert!(
        rows.contains(&"insert d.m (3)") && rows.contains(&"insert d.t (4)") && rows.contains(&"insert d.m (6)"),
        "{rows:?}"
    );
    assert!(!rows.contains(&"insert d.t (5)"), "{rows:?}");
    pipeline.stop().await
}

//! What an applier does where source and destination are not alike: divergence and its policies, triggers, prepared branches, other
//! columns, positions that do not fit.

use anyhow::{Result, ensure};
use harness::{Pipeline, Server, ServerKind, Service, compare};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);

async fn servers(source: ServerKind, destination: ServerKind) -> Result<(Server, Server)> {
    let source = Server::builder(source).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let destination = Server::builder(destination).name("destination").start().await?;
    Ok((source, destination))
}

/// A table with three rows on both sides, then the destination's first row is taken away behind the applier's back and its second changed.
async fn diverged(write: &str, policy: &str) -> Result<(Server, Server, Pipeline)> {
    let (source, destination) = servers(ServerKind::Mysql9, ServerKind::Mysql9).await?;
    let pipeline = Pipeline::builder(&source)
        .destination("d", &destination)
        .destination_line(&format!("write = \"{write}\""))
        .destination_line(&format!("on_divergence = \"{policy}\""))
        .build()?;
    pipeline.start()?;
    source.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO shop.t VALUES (1, 'one'), (2, 'two'), (3, 'three')").await?;
    pipeline.wait_marker(LIMIT).await?;
    destination.exec("DELETE FROM shop.t WHERE id = 1; INSERT INTO shop.t VALUES (4, 'intruder')").await?;
    Ok((source, destination, pipeline))
}

async fn stops(write: &str, change: &str, words: &[&str]) -> Result<()> {
    let (source, destination, pipeline) = diverged(write, "stop").await?;
    let before = destination.rows("SELECT * FROM shop.t ORDER BY id").await?;
    source.exec(&format!("INSERT INTO shop.t VALUES (90, 'same transaction'); {change}")).await?;
    let code = pipeline.wait_exit(&Service::applier("d"), LIMIT).await?;
    let log = pipeline.log(&Service::applier("d"), 5);
    ensure!(code == 4, "code {code}: {log}");
    for word in words {
        ensure!(log.contains(word), "'{word}' is not in {log}");
    }
    let now = destination.rows("SELECT * FROM shop.t WHERE id <> 90 ORDER BY id").await?;
    assert_eq!(now, before, "nothing of the transaction that does not fit is there");
    Ok(())
}

#[tokio::test]
async fn a_missing_row_stops_row_events_and_names_table_key_and_image() -> Result<()> {
    let words = ["shop.t", "UPDATE", "`id`<=>1", "'uno'", "no such row", "binlog end", "on_divergence"];
    stops("row-events", "UPDATE shop.t SET v = 'uno' WHERE id < 3", &words).await
}

#[tokio::test]
async fn a_surplus_row_stops_sql_and_both_images_are_shown() -> Result<()> {
    let words = ["shop.t", "INSERT", "`id`<=>4", "'four'", "'intruder'"];
    stops("sql", "INSERT INTO shop.t VALUES (5, 'five'), (4, 'four')", &words).await
}

#[tokio::test]
async fn overwrite_makes_the_row_as_the_source_has_it_and_records_it() -> Result<()> {
    for write in ["row-events", "sql"] {
        let (source, destination, pipeline) = diverged(write, "overwrite").await?;
        source.exec("UPDATE shop.t SET v = 'uno' WHERE id < 3; INSERT INTO shop.t VALUES (4, 'four'), (5, 'five'); DELETE FROM shop.t WHERE id = 3").await?;
        pipeline.wait_marker(LIMIT).await?;
        compare::must_be_equal(&source, &destination, &["shop"]).await?;
        let recorded = destination
            .value("SELECT COUNT(*) FROM logweir.incident WHERE kind = 'row overwritten' AND object = 'shop.t'")
            .await?;
        assert_eq!(recorded.as_deref(), Some("2"), "{write}");
        pipeline.stop_with(&["row overwritten", "looking for the row"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn skip_leaves_the_row_and_goes_on() -> Result<()> {
    let (source, destination, pipeline) = diverged("auto", "skip").await?;
    source.exec("UPDATE shop.t SET v = 'uno' WHERE id < 3; INSERT INTO shop.t VALUES (4, 'four'), (5, 'five')").await?;
    pipeline.wait_marker(LIMIT).await?;
    let rows = destination.rows("SELECT CONCAT(id, v) FROM shop.t ORDER BY id").await?;
    let rows: Vec<_> =
        rows.iter().map(|r| String::from_utf8_lossy(r[0].as_deref().unwrap_or_default()).into_owned()).collect();
    assert_eq!(rows, ["2uno", "3three", "4intruder", "5five"]);
    pipeline.stop_with(&["row skipped", "looking for the row"]).await
}

#[tokio::test]
async fn triggers_do_not_fire_on_row_events_and_stop_sql() -> Result<()> {
    let (source, destination) = servers(ServerKind::Mysql9, ServerKind::Mysql9).await?;
    let pipeline = Pipeline::builder(&source).destination("d", &destination).build()?;
    pipeline.start()?;
    source
        .exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); CREATE TABLE shop.log (id INT)")
        .await?;
    source
        .exec("CREATE TRIGGER shop.logged AFTER INSERT ON shop.t FOR EACH ROW INSERT INTO shop.log VALUES (NEW.id)")
        .await?;
    source.exec("INSERT INTO shop.t VALUES (1)").await?;
    pipeline.wait_marker(LIMIT).await?;
    compare::must_be_equal(&source, &destination, &["shop"]).await?;
    assert_eq!(
        destination
            .value("SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = 'shop'")
            .await?
            .as_deref(),
        Some("1")
    );
    pipeline.stop().await
}

#[tokio::test]
async fn triggers_from_the_log_do_not_fire_on_sql_and_others_that_are_there_stop_it() -> Result<()> {
    let (source, destination) = servers(ServerKind::Mysql9, ServerKind::Mysql9).await?;
    let pipeline =
        Pipeline::builder(&source).destination("d", &destination).destination_line("write = \"sql\"").build()?;
    pipeline.start()?;
    source
        .exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); CREATE TABLE shop.log (id INT)")
        .await?;
    let trigger = "CREATE TRIGGER shop.logged AFTER INSERT ON shop.t FOR EACH ROW INSERT INTO shop.log VALUES (NEW.id)";
    source.exec(trigger).await?;
    source.exec("INSERT INTO shop.t VALUES (1)").await?;
    pipeline.wait_marker(LIMIT).await?;
    compare::must_be_equal(&source, &destination, &["shop"]).await.or_else(|error| {
        // Definitions differ by the trigger alone.
        if error.to_string().contains("logged") { Ok(()) } else { Err(error) }
    })?;
    let count = "SELECT COUNT(*) FROM shop.log";
    assert_eq!(destination.value(count).await?.as_deref(), Some("1"));
    // The guard lets it fire for everybody else.
    destination.exec("INSERT INTO shop.t VALUES (9); DELETE FROM shop.t WHERE id = 9").await?;
    assert_eq!(destination.value(count).await?.as_deref(), Some("2"));
    destination.exec("DELETE FROM shop.log WHERE id = 9; DROP TRIGGER shop.logged").await?;
    destination.exec(trigger).await?;
    pipeline.kill_and_start(&Service::applier("d")).await?;
    source.exec("INSERT INTO shop.t VALUES (2)").await?;
    let code = pipeline.wait_exit(&Service::applier("d"), LIMIT).await?;
    let log = pipeline.log(&Service::applier("d"), 3);
    ensure!(code == 1 && log.contains("shop.t has triggers") && log.contains("logged"), "{code}: {log}");
    assert_eq!(destination.value(count).await?.as_deref(), Some("1"), "nothing fired");
    Ok(())
}

#[tokio::test]
async fn a_prepared_branch_waits_for_its_outcome_over_a_kill() -> Result<()> {
    let (source, destination) = servers(ServerKind::Mysql9, ServerKind::Mysql9).await?;
    let pipeline =
        Pipeline::builder(&source).destination("d", &destination).destination_line("group_size = \"64KiB\"").build()?;
    pipeline.start()?;
    source.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200)); INSERT INTO shop.t (v) VALUES (REPEAT('x', 200)); CREATE TABLE shop.o (id INT PRIMARY KEY)").await?;
    for _ in 0..10 {
        source.exec("INSERT INTO shop.t (v) SELECT v FROM shop.t").await?;
    }
    // The first is larger than a piece, so that it is recognised only at its end.
    source.exec("XA START 'big'; UPDATE shop.t SET v = 'changed'; XA END 'big'; XA PREPARE 'big'").await?;
    source.exec("XA START 'lost'; INSERT INTO shop.o VALUES (1); XA END 'lost'; XA PREPARE 'lost'").await?;
    pipeline.wait_marker(LIMIT).await?;
    assert_eq!(destination.value("SELECT COUNT(*) FROM shop.t WHERE v = 'changed'").await?.as_deref(), Some("0"));
    pipeline.kill_and_start(&Service::applier("d")).await?;
    source.exec("XA COMMIT 'big'; XA ROLLBACK 'lost'").await?;
    pipeline.wait_marker(LIMIT).await?;
    compare::must_be_equal(&source, &destination, &["shop"]).await?;
    assert_eq!(destination.value("SELECT COUNT(*) FROM shop.t WHERE v = 'changed'").await?.as_deref(), Some("1024"));
    assert_eq!(destination.value("SELECT COUNT(*) FROM logweir.prepared").await?.as_deref(), Some("0"));
    pipeline.stop_with(&["interrupted"]).await
}

#[tokio::test]
async fn a_table_with_other_columns_is_written_by_name() -> Result<()> {
    let (source, destination) = servers(ServerKind::Mysql9, ServerKind::Mysql9).await?;
    let pipeline = Pipeline::builder(&source).destination("d", &destination).build()?;
    source.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, name VARCHAR(20) CHARACTER SET latin1, n INT)").await?;
    pipeline.start()?;
    pipeline.wait_marker(LIMIT).await?;
    let _ = destination.exec("CREATE DATABASE shop").await;
    destination
        .exec("DROP TABLE IF EXISTS shop.t; CREATE TABLE shop.t (extra INT DEFAULT 7, name VARCHAR(30) CHARACTER SET utf8mb4, id BIGINT PRIMARY KEY, n BIGINT, twice BIGINT GENERATED ALWAYS AS (n * 2))")
        .await?;
    pipeline.kill_and_start(&Service::applier("d")).await?;
    source.exec("SET NAMES utf8mb4; INSERT INTO shop.t VALUES (1, 'Zoë', 5), (2, 'b', 6); UPDATE shop.t SET n = 50 WHERE id = 1; DELETE FROM shop.t WHERE id = 2").await?;
    pipeline.wait_marker(LIMIT).await?;
    let row = destination.value("SELECT CONCAT_WS('|', extra, HEX(name), id, n, twice) FROM shop.t").await?;
    assert_eq!(row.as_deref(), Some("7|5A6FC3AB|1|50|100"));
    pipeline.stop_with(&["interrupted"]).await
}

#[tokio::test]
async fn cascades_leave_the_same_rows_in_both_ways() -> Result<()> {
    for (from, to) in [
        (ServerKind::Mysql9, ServerKind::Mysql9),
        (ServerKind::Mariadb11, ServerKind::Mysql9),
        (ServerKind::Mysql9, ServerKind::Mariadb11),
    ] {
        let (source, a) = servers(from, to).await?;
        let pipeline = Pipeline::builder(&source).destination("d", &a).build()?;
        pipeline.start()?;
        source
            .exec(
                "CREATE DATABASE shop CHARACTER SET latin1; USE shop; CREATE TABLE p (id INT PRIMARY KEY, v INT); \
                 CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE); \
                 CREATE TABLE n (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE SET NULL); \
                 INSERT INTO p VALUES (1, 1), (2, 2), (3, 3); INSERT INTO c VALUES (10, 1), (11, 1), (20, 2), (30, 3); \
                 INSERT INTO n VALUES (100, 10), (200, 20); DELETE FROM p WHERE id = 1; UPDATE p SET id = 22 WHERE id = 2; \
                 SET foreign_key_checks = 0; INSERT INTO c VALUES (99, 12345); DELETE FROM p WHERE id = 3",
            )
            .await?;
        pipeline.wait_marker(LIMIT).await?;
        compare::must_be_equal(&source, &a, &["shop"]).await?;
        pipeline.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_position_that_does_not_fit_stops_with_the_next_step() -> Result<()> {
    let (source, destination) = servers(ServerKind::Mysql9, ServerKind::Mysql9).await?;
    let pipeline = Pipeline::builder(&source).destination("d", &destination).build()?;
    let applier = Service::applier("d");
    pipeline.start()?;
    source.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT)").await?;
    pipeline.wait_marker(LIMIT).await?;

    // The control socket is gone, so only the lock at the destination can tell that there is an applier already.
    std::fs::remove_file(pipeline.store().join("run/applier-d.sock"))?;
    let second = harness::Process::builder("logweir-applier", pipeline.dir())?
        .name("second")
        .args(["--config".into(), pipeline.config().to_owned().into_os_string()])
        .start()?;
    let status = second.wait(LIMIT).await?;
    ensure!(!status.success() && second.stderr().contains("another applier"), "{status}: {}", second.stderr());

    pipeline.terminate(&applier).await?;
    pipeline.start_with(&applier, &["--from", "earliest"])?;
    assert_eq!(pipeline.wait_exit(&applier, LIMIT).await?, 1);
    ensure!(pipeline.log(&applier, 3).contains("--override-position"), "{}", pipeline.log(&applier, 3));
    for (change, word) in [
        ("UPDATE logweir.position SET seq = seq + 1000000", "it was rebuilt or restored"),
        ("UPDATE logweir.position SET store = 'another'", "belongs to the store another"),
    ] {
        destination.exec(change).await?;
        pipeline.start_service(&applier)?;
        assert_eq!(pipeline.wait_exit(&applier, LIMIT).await?, 1, "{change}");
        ensure!(pipeline.log(&applier, 3).contains(word), "{}", pipeline.log(&applier, 3));
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_until_ends_at_its_place() -> Result<()> {
    let (source, destination) = servers(ServerKind::Mysql9, ServerKind::Mysql9).await?;
    let pipeline = Pipeline::builder(&source).destination("d", &destination).build()?;
    let applier = Service::applier("d");
    pipeline.start()?;
    source.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT)").await?;
    pipeline.wait_marker(LIMIT).await?;
    for round in 0..5 {
        let ids = destination.rows("SELECT id FROM information_schema.processlist WHERE command = 'Sleep'").await?;
        for id in ids.into_iter().flatten().flatten() {
            // It may have gone by itself.
            let _ = destination.exec(&format!("KILL {}", String::from_utf8_lossy(&id))).await;
        }
        source.exec(&format!("INSERT INTO shop.t VALUES ({round})")).await?;
        pipeline.wait_marker(LIMIT).await?;
    }
    compare::must_be_equal(&source, &destination, &["shop"]).await?;
    pipeline.terminate(&applier).await?;
    source.exec("INSERT INTO shop.t VALUES (100)").await?;
    pipeline.start_with(&applier, &["--until", "latest"])?;
    assert_eq!(pipeline.wait_exit(&applier, LIMIT).await?, 0);
    pipeline.no_complaints(&["trying again"])
}

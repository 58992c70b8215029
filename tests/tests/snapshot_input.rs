//! What a source may ask too much of: definitions and rows that a destination refuses, bodies that may not be seen, accounts that are missing, a source
//! that is to be spared.

#[path = "support/copy.rs"]
mod copy;

use anyhow::{Context, Result, ensure};
use copy::{COPY_LIMIT, copied_and_level, numbers, reader_status, tune, wait_rows, wait_runs};
use harness::{Pipeline, Server, ServerKind, Service, compare};
use std::time::{Duration, Instant};

use ServerKind::{Mariadb10, Mysql9};

fn builder(source: &Server) -> harness::PipelineBuilder {
    Pipeline::builder(source)
        .source_line("include = [\"shop.*\", \"logweir_probe.*\"]")
        .snapshot_line("mode = \"full\"")
        .snapshot_line("chunk_size = \"64KiB\"")
}

async fn source() -> Result<Server> {
    let source = Server::builder(Mysql9).name("source").option("binlog_row_metadata", "FULL").start().await?;
    source.exec("CREATE DATABASE shop CHARACTER SET latin1").await?;
    Ok(source)
}

/// An index over an expression is nothing that MariaDB 10.11 knows.
#[tokio::test]
async fn a_definition_that_the_destination_refuses_is_named_and_left_out_if_chosen() -> Result<()> {
    let source = source().await?;
    source.exec("CREATE TABLE shop.strange (id INT NOT NULL PRIMARY KEY, a INT, UNIQUE KEY e ((a * 2))); INSERT INTO shop.strange VALUES (1, 1)").await?;
    numbers(&source, "shop.plain", 2000).await?;
    let applier = Service::applier("there");
    for on_error in ["stop", "skip"] {
        let there = Server::builder(Mariadb10).name("there").start().await?;
        let pipeline =
            builder(&source).snapshot_line(&format!("on_error = {on_error:?}")).destination("there", &there).build()?;
        pipeline.start()?;
        if on_error == "stop" {
            let code = pipeline.wait_exit(&applier, COPY_LIMIT).await?;
            let log = pipeline.whole_log(&applier);
            ensure!(code != 0 && log.contains("shop.strange"), "{code}: {log}");
            ensure!(log.contains("on_error"), "it does not say what to do: {log}");
            continue;
        }
        wait_runs(&pipeline, 1, COPY_LIMIT).await?;
        // What is left out stays left out.
        source
            .exec("INSERT INTO shop.strange VALUES (2, 2); INSERT INTO shop.plain VALUES (900000, 1, 'later')")
            .await?;
        pipeline.wait_level(COPY_LIMIT).await?;
        ensure!(
            compare::table((&source, "shop", "plain"), (&there, "shop", "plain")).await?.is_empty(),
            "shop.plain differs"
        );
        ensure!(there.rows("SHOW TABLES FROM shop LIKE 'strange'").await?.is_empty(), "shop.strange is there");
        let incidents = there.rows("SELECT object, detail FROM logweir.incident").await?;
        let text = format!(
            "{:?}",
            incidents.iter().flatten().flatten().map(|b| String::from_utf8_lossy(b)).collect::<Vec<_>>()
        );
        ensure!(text.contains("shop.strange"), "no incident: {text}");
        let (code, out, err) = pipeline.command(&["status", "--json"], COPY_LIMIT).await?;
        ensure!(code == 0 && out.contains("shop.strange"), "status does not show it: {out} {err}");
        pipeline.stop_with(&["shop.strange"]).await?;
    }
    Ok(())
}

/// A table of the destination, kept by `append`, is narrower than the source's.
#[tokio::test]
async fn a_row_that_the_destination_refuses_is_named_and_not_cut() -> Result<()> {
    let source = source().await?;
    source.exec("CREATE TABLE shop.narrow (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)); INSERT INTO shop.narrow VALUES (1, 'ok'), (2, 'much longer')").await?;
    numbers(&source, "shop.plain", 2000).await?;
    let applier = Service::applier("there");
    for (column, on_error) in [
        ("v VARCHAR(3)", "stop"),
        ("v VARCHAR(20) CHARACTER SET ascii NOT NULL DEFAULT '' CHECK (LENGTH(v) < 5)", "stop"),
        ("v VARCHAR(3)", "skip"),
    ] {
        let there = Server::builder(Mysql9).name("there").start().await?;
        there.exec(&format!("CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.narrow (id INT NOT NULL PRIMARY KEY, {column})")).await?;
        let pipeline = builder(&source)
            .snapshot_line("on_existing = \"append\"")
            .snapshot_line(&format!("on_error = {on_error:?}"))
            .destination("there", &there)
            .build()?;
        pipeline.start()?;
        if on_error == "stop" {
            let code = pipeline.wait_exit(&applier, COPY_LIMIT).await.context(column)?;
            let log = pipeline.whole_log(&applier);
            ensure!(code != 0 && log.contains("shop.narrow"), "{column}: {code}: {log}");
        } else {
            wait_runs(&pipeline, 1, COPY_LIMIT).await?;
            pipeline.wait_level(COPY_LIMIT).await?;
            ensure!(
                compare::table((&source, "shop", "plain"), (&there, "shop", "plain")).await?.is_empty(),
                "shop.plain differs"
            );
            let incidents = there.value("SELECT COUNT(*) FROM logweir.incident WHERE object LIKE '%narrow%'").await?;
            ensure!(incidents.as_deref() != Some("0"), "no incident");
            pipeline.stop_with(&["shop.narrow"]).await?;
        }
        ensure!(
            there.value("SELECT COUNT(*) FROM shop.narrow WHERE v LIKE 'muc%'").await?.as_deref() == Some("0"),
            "{column}: a row was cut"
        );
    }
    Ok(())
}

/// Views, routines, triggers and events come; a definer that is missing is named; a body that may not be seen is named.
#[tokio::test]
async fn bodies_and_definers_are_there_or_named() -> Result<()> {
    let source = source().await?;
    source
        .exec(
            "CREATE USER ghost@nowhere; GRANT ALL ON shop.* TO ghost@nowhere; USE shop;
             CREATE TABLE t (id INT NOT NULL PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 1), (2, 2);
             CREATE TABLE log (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, what VARCHAR(20));
             CREATE FUNCTION twice (n INT) RETURNS INT DETERMINISTIC RETURN n * 2;
             CREATE DEFINER = ghost@nowhere VIEW of_ghost AS SELECT id, twice(n) AS n2 FROM t;
             CREATE VIEW above AS SELECT id, twice(n) AS n2 FROM t;
             CREATE PROCEDURE more () INSERT INTO t VALUES (99, 99);
             CREATE TRIGGER noted AFTER INSERT ON t FOR EACH ROW INSERT INTO log (what) VALUES (CONCAT('t ', NEW.id));
             CREATE EVENT nightly ON SCHEDULE EVERY 1 SECOND DO INSERT INTO log (what) VALUES ('event')",
        )
        .await?;
    source.exec("SET GLOBAL event_scheduler = OFF").await?;
    let count = |kind: &str| format!("SELECT COUNT(*) FROM information_schema.{kind}");
    for definer in ["keep", "invoker"] {
        let there = Server::builder(Mysql9).name("there").option("event_scheduler", "ON").start().await?;
        let pipeline =
            builder(&source).snapshot_line(&format!("definer = {definer:?}")).destination("there", &there).build()?;
        pipeline.start()?;
        copied_and_level(&pipeline, COPY_LIMIT).await?;
        for (sql, wanted) in [
            (format!("{} WHERE table_schema = 'shop'", count("views")), "2"),
            (format!("{} WHERE routine_schema = 'shop'", count("routines")), "2"),
            (format!("{} WHERE trigger_schema = 'shop'", count("triggers")), "1"),
            (format!("{} WHERE event_schema = 'shop'", count("events")), "1"),
        ] {
            let found = there.value(&sql).await?;
            ensure!(found.as_deref() == Some(wanted), "{definer}: {sql}: {found:?}\n{}", pipeline.logs());
        }
        let status = there.value("SELECT status FROM information_schema.events WHERE event_schema = 'shop'").await?;
        ensure!(status.as_deref() != Some("ENABLED"), "the event runs at the destination: {status:?}");
        // Our own writes do not fire the trigger; what it wrote at the source comes by the log.
        let id = if definer == "keep" { 10 } else { 11 };
        source.exec(&format!("INSERT INTO shop.t VALUES ({id}, 10)")).await?;
        pipeline.wait_level(COPY_LIMIT).await?;
        if definer == "keep" {
            compare::must_be_equal(&source, &there, &["shop"]).await?;
        }
        for table in ["t", "log"] {
            let found = compare::table((&source, "shop", table), (&there, "shop", table)).await?;
            ensure!(found.is_empty(), "{definer}: {found:?}");
        }
        let log = pipeline.whole_log(&Service::applier("there"));
        if definer == "keep" {
            ensure!(log.contains("ghost"), "the missing definer is not named: {log}");
            there.exec("CREATE USER ghost@nowhere; GRANT ALL ON shop.* TO ghost@nowhere").await?;
        }
        let rows = there.rows("SELECT * FROM shop.above ORDER BY id").await?;
        ensure!(
            rows == source.rows("SELECT * FROM shop.above ORDER BY id").await?,
            "{definer}: the view shows {rows:?}"
        );
        // And whoever writes there himself, fires it.
        there.exec("INSERT INTO shop.t VALUES (500, 1)").await?;
        let fired = there.value("SELECT COUNT(*) FROM shop.log WHERE what = 't 500'").await?;
        ensure!(fired.as_deref() == Some("1"), "{definer}: the trigger does not fire for others");
        pipeline.stop_with(&["ghost"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_view_that_may_not_be_seen_is_named() -> Result<()> {
    let source = source().await?;
    source
        .exec(
            "CREATE TABLE shop.t (id INT NOT NULL PRIMARY KEY); INSERT INTO shop.t VALUES (1);
             CREATE VIEW shop.hidden AS SELECT id FROM shop.t;
             CREATE USER reader; GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT, XA_RECOVER_ADMIN ON *.* TO reader",
        )
        .await?;
    for on_error in ["stop", "skip"] {
        let there = Server::builder(Mysql9).name("there").start().await?;
        let pipeline = builder(&source)
            .source_url(&source.url("reader"))
            .snapshot_line(&format!("on_error = {on_error:?}"))
            .destination("there", &there)
            .build()?;
        pipeline.start()?;
        let deadline = Instant::now() + COPY_LIMIT;
        let applier = Service::applier("there");
        loop {
            let all = format!("{}{}", pipeline.whole_log(&Service::Reader), pipeline.whole_log(&applier));
            if all.contains("shop.hidden") && (on_error == "skip" || all.contains("SHOW VIEW")) {
                break;
            }
            ensure!(Instant::now() < deadline, "the view is not named:\n{}", pipeline.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if on_error == "stop" {
            let code = pipeline.wait_exit(&applier, COPY_LIMIT).await?;
            ensure!(code != 0, "the applier goes on without the view");
        } else {
            copied_and_level(&pipeline, COPY_LIMIT).await?;
            ensure!(compare::table((&source, "shop", "t"), (&there, "shop", "t")).await?.is_empty(), "shop.t differs");
            pipeline.stop_with(&["shop.hidden"]).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_source_is_spared_as_asked_and_status_says_by_what() -> Result<()> {
    const ROWS: u32 = 24_000;
    let source = source().await?;
    numbers(&source, "shop.t", ROWS).await?;
    source
        .exec("CREATE DATABASE control; CREATE TABLE control.pause (v INT); INSERT INTO control.pause VALUES (0)")
        .await?;
    let there = Server::builder(Mysql9).name("there").start().await?;
    let pipeline = builder(&source)
        .snapshot_line("max_rows_per_second = 4000")
        .snapshot_line("threads = 2")
        .snapshot_line("pause_query = \"SELECT v FROM control.pause\"")
        .destination("there", &there)
        .build()?;
    let begin = Instant::now();
    pipeline.start()?;
    wait_rows(&pipeline, 1, COPY_LIMIT).await?;
    let first = Instant::now();
    let at = wait_rows(&pipeline, 8000, COPY_LIMIT).await?;
    let seconds = first.elapsed().as_secs_f64();
    let rate = at as f64 / seconds.max(0.1);
    println!("{at} rows after {seconds:.2} s: {rate:.0} a second of 4000 that are allowed");
    ensure!(rate < 4000.0 * 1.6, "{rate:.0} rows a second are more than 4000");
    ensure!(rate > 4000.0 * 0.5, "{rate:.0} rows a second are far below 4000");
    let seen = reader_status(&pipeline).await.and_then(|s| s.snapshot).context("no copy")?;
    ensure!(seen.held_seconds.contains_key("max_rows_per_second"), "{seen:?}");
    ensure!(seen.tables == 1 && seen.rows_estimate >= seen.rows && seen.rows_estimate > 10_000, "{seen:?}");

    source.exec("UPDATE control.pause SET v = 1").await?;
    let deadline = Instant::now() + COPY_LIMIT;
    loop {
        let seen = reader_status(&pipeline).await.and_then(|s| s.snapshot).context("the copy was not paused")?;
        if seen.held_by.as_deref().is_some_and(|why| why.contains("pause_query")) {
            break;
        }
        ensure!(Instant::now() < deadline, "it is not paused: {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What was on its way when it was paused, arrives.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let held = reader_status(&pipeline).await.and_then(|s| s.snapshot).context("the copy was not paused")?;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let still = reader_status(&pipeline).await.and_then(|s| s.snapshot).context("the copy was not paused")?;
    ensure!(held.rows == still.rows, "rows are copied while paused: {held:?} {still:?}");
    let (code, out, err) = pipeline.command(&["status"], COPY_LIMIT).await?;
    ensure!(code == 0 && out.contains("pause_query"), "status does not say what holds it: {out} {err}");

    // Live: no limit, no query.
    let (code, out, err) = pipeline.command(&["snapshot", "--set", "max_rows_per_second="], COPY_LIMIT).await?;
    ensure!(code == 0, "snapshot --set: {code} {out} {err}");
    tune(&pipeline, "pause_query", "").await?;
    ensure!(tune(&pipeline, "nothing", "1").await.is_err(), "a key that does not exist was set");
    let (code, _, err) = pipeline.command(&["snapshot", "--set", "threads=none"], COPY_LIMIT).await?;
    ensure!(code != 0 && err.contains("threads"), "{code} {err}");
    copied_and_level(&pipeline, COPY_LIMIT).await?;
    println!("all of it took {:.1} s", begin.elapsed().as_secs_f64());
    compare::must_be_equal(&source, &there, &["shop"]).await?;
    pipeline.stop().await
}

#[tokio::test]
async fn definitions_alone_and_nothing_at_all() -> Result<()> {
    let source = source().await?;
    numbers(&source, "shop.t", 1000).await?;
    source.exec("CREATE VIEW shop.v AS SELECT id FROM shop.t").await?;
    for mode in ["schema", "none"] {
        let there = Server::builder(Mysql9).name("there").start().await?;
        let pipeline = Pipeline::builder(&source)
            .source_line("include = [\"shop.*\", \"logweir_probe.*\"]")
            .snapshot_line(&format!("mode = {mode:?}"))
            .source_line(if mode == "none" { "start = \"latest\"" } else { "" })
            .destination("there", &there)
            .build()?;
        pipeline.start()?;
        if mode == "schema" {
            copied_and_level(&pipeline, COPY_LIMIT).await?;
            ensure!(there.value("SELECT COUNT(*) FROM shop.t").await?.as_deref() == Some("0"), "rows came");
            ensure!(there.rows("SHOW TABLES FROM shop").await?.len() == 2, "the view did not come");
            // From here on it is followed like any other.
            source.exec("INSERT INTO shop.t VALUES (5000000, 1, 'new')").await?;
            pipeline.wait_level(COPY_LIMIT).await?;
            ensure!(
                there.value("SELECT COUNT(*) FROM shop.t").await?.as_deref() == Some("1"),
                "a new row did not come"
            );
            pipeline.stop().await?;
            continue;
        }
        let deadline = Instant::now() + COPY_LIMIT;
        while reader_status(&pipeline).await.is_none_or(|s| s.position.binlog.is_none()) {
            pipeline.must_run(&Service::Reader)?;
            ensure!(Instant::now() < deadline, "the reader does not start:\n{}", pipeline.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        source.exec("CREATE TABLE shop.new (id INT NOT NULL PRIMARY KEY); DROP TABLE shop.new").await?;
        ensure!(copy::runs_ended(&pipeline) == 0, "something was copied");
        ensure!(there.rows("SHOW DATABASES LIKE 'shop'").await?.is_empty(), "something came");
    }
    Ok(())
}

//! Copies on a running pipeline: a destination that comes later, a table that is copied again, tables that are included later; and what is done
//! about tables that a destination has already.

#[path = "support/copy.rs"]
mod copy;

use anyhow::{Context, Result, ensure};
use copy::{COPY_LIMIT, copied_and_level, numbers, seed, wait_runs};
use harness::load::{self, Load};
use harness::{Pipeline, Server, ServerKind, Service, compare};

use ServerKind::{Mariadb10, Mysql9};

fn builder(source: &Server) -> harness::PipelineBuilder {
    Pipeline::builder(source).snapshot_line("mode = \"full\"").snapshot_line("chunk_size = \"64KiB\"")
}

#[tokio::test]
async fn a_second_destination_gets_its_own_copy_while_the_first_flows_on() -> Result<()> {
    let seed = seed()?;
    let source = Server::builder(Mysql9).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let (a, b) =
        (Server::builder(Mysql9).name("a").start().await?, Server::builder(Mariadb10).name("b").start().await?);
    let options =
        load::Options { seed, sessions: 2, rate: Some(80.0), wild: 5000, ddl: false, ..load::Options::default() };
    load::prepare(&source, &options).await?;
    load::fill(&source, &options, 5000).await?;
    let mut pipeline =
        builder(&source).source_line("include = [\"shop.*\", \"logweir_probe.*\"]").destination("a", &a).build()?;
    pipeline.start()?;
    let load = Load::start(&source, &options);
    copied_and_level(&pipeline, COPY_LIMIT).await?;
    let made =
        "SELECT table_name, create_time FROM information_schema.tables WHERE table_schema = 'shop' ORDER BY table_name";
    let before = a.rows(made).await?;
    ensure!(before.len() >= 9, "too few tables");
    let inserted = copy::counter(&a, "Innodb_rows_inserted").await?;
    let runs = copy::runs_ended(&pipeline);

    // The reader reads the new configuration; the first applier is not touched.
    pipeline.add_destination("b", &b, &[])?;
    ensure!(pipeline.terminate(&Service::Reader).await?.success(), "the reader did not end well");
    pipeline.start_service(&Service::Reader)?;
    pipeline.start_service(&Service::applier("b"))?;
    wait_runs(&pipeline, runs + 1, COPY_LIMIT).await?;
    let report = load.stop().await?;
    pipeline.wait_level(COPY_LIMIT).await?;
    ensure!(a.rows(made).await? == before, "tables of the first destination were made anew");
    let inserted = copy::counter(&a, "Innodb_rows_inserted").await? - inserted;
    ensure!(
        inserted < report.inserted + report.updated + 20_000,
        "{inserted} rows came to the first destination: {report:?}"
    );
    for server in [&a, &b] {
        let ledger = load::check_ledger(&source, server, "shop").await?;
        ensure!(ledger.lost == 0 && ledger.doubled == 0 && ledger.written > 50, "{}: {ledger:?}", server.name());
        compare::must_be_equal(&source, server, &["shop"]).await?;
    }
    pipeline.stop().await
}

#[tokio::test]
async fn a_damaged_table_is_copied_again_and_included_tables_come() -> Result<()> {
    let source = Server::builder(Mysql9).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let (a, b) =
        (Server::builder(Mysql9).name("a").start().await?, Server::builder(Mariadb10).name("b").start().await?);
    source.exec("CREATE DATABASE shop CHARACTER SET latin1").await?;
    for name in ["orders", "stock", "later"] {
        numbers(&source, &format!("shop.{name}"), 5000).await?;
    }
    let include = "include = [\"shop.orders\", \"shop.stock\", \"logweir_probe.*\"]";
    let pipeline = builder(&source).source_line(include).destination("a", &a).destination("b", &b).build()?;
    pipeline.start()?;
    copied_and_level(&pipeline, COPY_LIMIT).await?;
    ensure!(a.rows("SHOW TABLES FROM shop LIKE 'later'").await?.is_empty(), "a table came that is not included");

    // Damage at both; copied again at one of them only.
    for server in [&a, &b] {
        server
            .exec("DELETE FROM shop.orders WHERE id % 3 = 0; UPDATE shop.orders SET v = 'damaged' WHERE id % 5 = 1")
            .await?;
    }
    let args = ["snapshot", "--tables", "shop.orders", "--destination", "a"];
    let (code, out, err) = pipeline.command(&args, COPY_LIMIT).await?;
    ensure!(code == 0 && format!("{out}{err}").contains("shop.orders"), "{code}: {out} {err}");
    wait_runs(&pipeline, 2, COPY_LIMIT).await?;
    source.exec("INSERT INTO shop.stock VALUES (900000, 1, 'more')").await?;
    pipeline.wait_level(COPY_LIMIT).await?;
    compare::must_be_equal(&source, &a, &["shop"]).await.context("after the copy for a").err().map_or(Ok(()), |e| {
        // The table that is not included stands at the source only.
        let text = format!("{e:#}");
        if text.matches("\n  ").count() == 1 && text.contains("shop.later Table") { Ok(()) } else { Err(e) }
    })?;
    ensure!(!compare::table((&source, "shop", "orders"), (&b, "shop", "orders")).await?.is_empty(), "b was copied too");
    let (code, _, err) = pipeline.command(&["snapshot", "--tables", "shop.orders"], COPY_LIMIT).await?;
    ensure!(code == 0, "{code}: {err}");
    wait_runs(&pipeline, 3, COPY_LIMIT).await?;
    pipeline.wait_level(COPY_LIMIT).await?;
    ensure!(compare::table((&source, "shop", "orders"), (&b, "shop", "orders")).await?.is_empty(), "b differs still");

    // What nothing selects, is said.
    let (code, out, err) = pipeline.command(&["snapshot", "--tables", "shop.nothing"], COPY_LIMIT).await?;
    ensure!(code != 0 && format!("{out}{err}").contains("shop.nothing"), "{code}: {out} {err}");

    pipeline.edit_config(include, "include = [\"shop.*\", \"logweir_probe.*\"]")?;
    ensure!(pipeline.terminate(&Service::Reader).await?.success(), "the reader did not end well");
    pipeline.start_service(&Service::Reader)?;
    wait_runs(&pipeline, 4, COPY_LIMIT).await?;
    source.exec("UPDATE shop.later SET v = 'after its copy' WHERE id % 7 = 0").await?;
    pipeline.wait_level(COPY_LIMIT).await?;
    for server in [&a, &b] {
        compare::must_be_equal(&source, server, &["shop"]).await?;
    }
    pipeline.stop().await
}

/// What a destination has already, under each setting.
#[tokio::test]
async fn tables_that_exist_are_named_replaced_or_kept() -> Result<()> {
    let source = Server::builder(Mysql9).name("source").option("binlog_row_metadata", "FULL").start().await?;
    let there = Server::builder(Mysql9).name("there").start().await?;
    source.exec("CREATE DATABASE shop CHARACTER SET latin1").await?;
    numbers(&source, "shop.orders", 3000).await?;
    numbers(&source, "shop.stock", 100).await?;
    let own = "CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.orders (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, v VARCHAR(200), KEY k (k)); \
               INSERT INTO shop.orders VALUES (5, 5, 'of the destination'), (777777, 7, 'of the destination')";
    let applier = Service::applier("there");
    for mode in ["stop", "overwrite", "append"] {
        there
            .exec(
                "DROP DATABASE IF EXISTS shop; DROP DATABASE IF EXISTS logweir; DROP DATABASE IF EXISTS logweir_probe",
            )
            .await?;
        there.exec(own).await?;
        let pipeline = builder(&source)
            .source_line("include = [\"shop.*\"]")
            .snapshot_line(&format!("on_existing = {mode:?}"))
            .destination("there", &there)
            .build()?;
        pipeline.start()?;
        if mode == "stop" {
            let code = pipeline.wait_exit(&applier, COPY_LIMIT).await?;
            let log = pipeline.whole_log(&applier);
            ensure!(code != 0, "the applier wrote over tables of the destination");
            ensure!(
                log.contains("shop.orders") && log.contains("2 rows"),
                "the table and its rows are not named: {log}"
            );
            ensure!(log.contains("on_existing"), "it does not say what to do: {log}");
            let said = log.lines().filter(|line| line.contains(" ERROR ")).collect::<String>();
            ensure!(!said.contains("shop.stock"), "a table is named that is not there: {log}");
            ensure!(there.value("SELECT COUNT(*) FROM shop.orders").await?.as_deref() == Some("2"), "rows changed");
            ensure!(there.rows("SHOW TABLES FROM shop").await?.len() == 1, "tables came");
            continue;
        }
        wait_runs(&pipeline, 1, COPY_LIMIT).await?;
        let (code, _, err) = pipeline.command(&["wait", "--timeout", "60s"], COPY_LIMIT).await?;
        ensure!(code == 0, "{mode}: {err}\n{}", pipeline.logs());
        if mode == "append" {
            let kept = there.value("SELECT v FROM shop.orders WHERE id = 777777").await?;
            ensure!(kept.as_deref() == Some("of the destination"), "a row of the destination went: {kept:?}");
            there.exec("DELETE FROM shop.orders WHERE id = 777777").await?;
        }
        compare::must_be_equal(&source, &there, &["shop"]).await.context(mode)?;
        pipeline.stop().await?;
    }
    Ok(())
}

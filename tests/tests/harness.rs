//! The harness itself, on every kind of server that is set up here.

use anyhow::{Context, Result};
use harness::proxy::{Mode, Proxy};
use harness::{Process, Server, ServerKind, compare};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use std::time::{Duration, Instant};

/// Every kind must be there where the suite runs; `./dev test` sets them up.
async fn lives_and_restarts(kind: ServerKind) -> Result<()> {
    let server = Server::builder(kind).option("max_connections", "77").start().await?;
    assert_eq!(
        server.value("SELECT @@max_connections").await?.as_deref(),
        Some("77"),
        "an option wins over the defaults"
    );
    assert_eq!(server.value("SELECT @@log_bin").await?.as_deref(), Some("1"));
    server
        .exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1), (2)")
        .await?;
    let (port, pid) = (server.port(), server.pid());
    server.restart().await?;
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    server.exec("INSERT INTO shop.t VALUES (3)").await?;
    server.kill().await?;
    assert!(server.conn().await.is_err(), "a killed server answers no more");
    server.restart().await?;
    assert_eq!(server.value("SELECT COUNT(*) FROM shop.t").await?.as_deref(), Some("3"), "a kill -9 loses no commit");
    server.stop().await
}

#[tokio::test]
async fn mysql9_keeps_its_data_over_stop_and_kill() -> Result<()> {
    lives_and_restarts(ServerKind::Mysql9).await
}

#[tokio::test]
async fn mariadb10_keeps_its_data_over_stop_and_kill() -> Result<()> {
    lives_and_restarts(ServerKind::Mariadb10).await
}

#[tokio::test]
async fn mariadb11_keeps_its_data_over_stop_and_kill() -> Result<()> {
    lives_and_restarts(ServerKind::Mariadb11).await
}

#[tokio::test]
async fn mysql56_keeps_its_data_over_stop_and_kill() -> Result<()> {
    lives_and_restarts(ServerKind::Mysql56).await
}

#[tokio::test]
async fn each_server_has_an_identity_of_its_own_and_is_reached_by_tcp_and_socket() -> Result<()> {
    let (a, b) =
        (Server::builder(ServerKind::Mysql9).start().await?, Server::builder(ServerKind::Mysql9).start().await?);
    for variable in ["@@server_uuid", "@@server_id", "@@port", "@@datadir"] {
        let sql = format!("SELECT {variable}");
        assert_ne!(a.value(&sql).await?, b.value(&sql).await?, "{variable}");
    }
    assert_eq!(a.value("SELECT @@global.gtid_executed").await?.as_deref(), Some(""), "no transaction of our own");
    let opts = OptsBuilder::default().user(Some("root")).socket(Some(b.socket().display().to_string()));
    let port: Option<u16> = Conn::new(opts).await?.query_first("SELECT @@port").await?;
    assert_eq!(port, Some(b.port()));
    Ok(())
}

#[tokio::test]
async fn options_that_are_fixed_at_initialisation_get_a_data_folder_of_their_own() -> Result<()> {
    let server = Server::builder(ServerKind::Mysql9).option("lower_case_table_names", "1").start().await?;
    server.exec("CREATE DATABASE Shop; CREATE TABLE Shop.T (id INT)").await?;
    assert_eq!(server.value("SELECT COUNT(*) FROM sHOP.t").await?.as_deref(), Some("0"));
    Ok(())
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() -> Result<()> {
    let refused = Server::builder(ServerKind::Mysql9).option("no_such_option", "1").start().await;
    let message = format!("{:#}", refused.err().context("it started")?);
    assert!(message.contains("unknown variable 'no_such_option=1'"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_paused_server_goes_on_where_it_was() -> Result<()> {
    let server = Server::builder(ServerKind::Mariadb10).start().await?;
    let mut conn = server.conn().await?;
    server.pause()?;
    let stuck = tokio::time::timeout(Duration::from_millis(300), conn.query_drop("SELECT 1")).await;
    assert!(stuck.is_err(), "a paused server answers nothing");
    server.cont()?;
    assert_eq!(server.value("SELECT 1").await?.as_deref(), Some("1"));
    Ok(())
}

#[tokio::test]
async fn a_server_in_a_folder_of_the_callers_is_started_again_with_its_data() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let builder = Server::builder(ServerKind::Mariadb10).dir(dir.path().join("source"));
    let server = builder.clone().start().await?;
    server.exec("CREATE DATABASE kept").await?;
    drop(server);
    let server = builder.start().await?;
    assert_eq!(server.value("SHOW DATABASES LIKE 'kept'").await?.as_deref(), Some("kept"));
    Ok(())
}

/// The child of the next test: starts a server, says its pid and waits to be killed.
#[tokio::test]
async fn servers_and_processes_die_with_the_test_that_started_them() -> Result<()> {
    const MARK: &str = "LOGWEIR_TEST_CHILD";
    if let Some(file) = std::env::var_os(MARK) {
        let server = Server::builder(ServerKind::Mariadb10).start().await?;
        std::fs::write(file, server.pid().context("no pid")?.to_string())?;
        std::future::pending::<()>().await;
    }
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("pid");
    let child = Process::builder_at(std::env::current_exe()?, dir.path());
    let child = child
        .args(["--exact", "servers_and_processes_die_with_the_test_that_started_them"])
        .env(MARK, &file)
        .start()?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let pid = loop {
        match std::fs::read_to_string(&file).unwrap_or_default().parse::<u32>() {
            Ok(pid) => break pid,
            Err(_) => assert!(Instant::now() < deadline, "{}", child.stderr()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let alive = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
    assert!(alive());
    child.kill().await?;
    while alive() {
        assert!(Instant::now() < deadline, "the server {pid} outlived the process that started it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_process_is_watched_frozen_and_ended() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let script = "echo out; echo err >&2; trap 'exit 7' TERM; while :; do sleep 0.01; done";
    let process = Process::builder_at("/bin/sh", dir.path()).name("shell").args(["-c", script]).start()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while process.stderr() != "err\n" || process.stdout() != "out\n" {
        assert!(Instant::now() < deadline, "{:?} {:?}", process.stderr(), process.stdout());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(process.is_running()? && process.peak_memory().is_some_and(|n| n > 100_000));
    assert!(process.cpu_time().is_some());
    process.pause()?;
    process.terminate()?;
    assert!(process.wait(Duration::from_millis(200)).await.is_err(), "a frozen process does not end");
    process.cont()?;
    assert_eq!(process.wait(Duration::from_secs(20)).await?.code(), Some(7));
    assert!(process.terminate().is_err(), "it has ended");
    Ok(())
}

#[tokio::test]
async fn the_proxy_forwards_stalls_delays_cuts_and_resets() -> Result<()> {
    let server = Server::builder(ServerKind::Mariadb10).start().await?;
    let proxy = Proxy::start(server.port()).await?;
    let through = || server.opts_builder().tcp_port(proxy.port());
    let big = "SELECT REPEAT('x', 1000000)";

    let mut conn = Conn::new(through()).await?;
    assert_eq!(conn.query_first::<String, _>(big).await?.map(|text| text.len()), Some(1_000_000));
    assert!(proxy.passed() > 1_000_000 && proxy.accepted() == 1);

    proxy.set(Mode::Delay(Duration::from_millis(100)));
    let started = Instant::now();
    conn.query_drop("SELECT 1").await?;
    assert!(started.elapsed() >= Duration::from_millis(200), "each direction is late");

    proxy.set(Mode::Stall);
    assert!(tokio::time::timeout(Duration::from_millis(300), conn.query_drop("SELECT 1")).await.is_err());
    proxy.set(Mode::Forward);

    let mut conn = Conn::new(through()).await?;
    proxy.set(Mode::Throttle(1_000_000));
    let started = Instant::now();
    conn.query_drop("SELECT REPEAT('x', 500000)").await?;
    assert!(started.elapsed() >= Duration::from_millis(450), "half a second at that rate");
    proxy.set(Mode::Forward);

    proxy.cut_after(500_000);
    assert!(conn.query_drop(big).await.is_err(), "cut in the middle of the answer");
    let mut conn = Conn::new(through()).await?;
    conn.query_drop(big).await?;
    proxy.cut();
    assert!(conn.query_drop("SELECT 1").await.is_err());
    Conn::new(through()).await?.query_drop("SELECT 1").await?;
    for mode in [Mode::Close, Mode::Reset] {
        proxy.set(mode);
        assert!(Conn::new(through()).await.is_err(), "{mode:?}");
    }
    Ok(())
}

/// A source changes all over its tables; a replica of it is stopped at a place in between, then at the end.
async fn a_replica_stands_where_its_source_was(kind: ServerKind, gtids: bool) -> Result<()> {
    let mut source = Server::builder(kind).name("source");
    if !gtids {
        source = source.option("gtid_mode", "OFF").option("enforce_gtid_consistency", "OFF");
    }
    let source = source.start().await?;
    let then = Server::replica_builder(&source).name("then").start().await?;
    then.replicate_from(&source).await?;
    let options = harness::load::Options {
        seed: 5,
        transactions: Some(400),
        ddl: false,
        wild: 1500,
        ..harness::load::Options::default()
    };
    harness::load::prepare(&source, &options).await?;
    harness::load::fill(&source, &options, 1500).await?;
    let before = compare::summaries(&source, &["shop"]).await?;
    assert!(before.iter().filter(|s| s.rows > 1000).count() >= 6, "{before:?}");
    let place = source.binlog_end().await?;
    let report = harness::Load::start(&source, &options).finish().await?;
    assert!(report.rolled_back > 20 && report.updated > 1000 && report.deleted > 10, "{report:?}");
    then.replicate_until(&place).await?;
    assert_eq!(compare::summaries(&then, &["shop"]).await?, before);
    then.replicate_until(&source.binlog_end().await?).await?;
    compare::must_be_equal(&source, &then, &["shop"]).await
}

#[tokio::test]
async fn a_replica_stands_where_a_mysql_source_was() -> Result<()> {
    a_replica_stands_where_its_source_was(ServerKind::Mysql9, true).await
}

#[tokio::test]
async fn a_replica_stands_where_a_mysql_source_without_gtids_was() -> Result<()> {
    a_replica_stands_where_its_source_was(ServerKind::Mysql9, false).await
}

#[tokio::test]
async fn a_replica_stands_where_an_old_mysql_source_was() -> Result<()> {
    a_replica_stands_where_its_source_was(ServerKind::Mysql56, true).await
}

#[tokio::test]
async fn a_replica_stands_where_a_mariadb_source_was() -> Result<()> {
    a_replica_stands_where_its_source_was(ServerKind::Mariadb10, true).await?;
    a_replica_stands_where_its_source_was(ServerKind::Mariadb11, true).await
}

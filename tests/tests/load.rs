//! The load runs on every kind of server, survives its server's end, and its ledger tells what a destination lost or doubled.

use anyhow::{Context, Result, ensure};
use harness::load::{self, Ledger, Load, Options};
use harness::{Server, ServerKind, compare};
use std::process::{Command, Stdio};
use std::time::Duration;

async fn runs_and_reports_what_it_did(kind: ServerKind) -> Result<()> {
    let server = Server::builder(kind).start().await?;
    let options = Options { seed: 7, transactions: Some(400), ..Options::default() };
    load::prepare(&server, &options).await?;
    let report = Load::start(&server, &options).finish().await?;
    assert!(report.transactions > 200 && report.rolled_back > 0 && report.ddl > 3, "{report:?}");
    assert!(report.inserted > 0 && report.updated > 0 && report.deleted > 0, "{report:?}");
    assert_eq!(report.reconnected, 0);
    let changed = server.value("SELECT SUM(affected) FROM shop.ledger").await?;
    let counted = report.inserted + report.updated + report.deleted;
    assert_eq!(changed, Some(counted.to_string()), "the ledger and the report count the same rows");
    Ok(())
}

#[tokio::test]
async fn the_load_runs_on_mysql9() -> Result<()> {
    runs_and_reports_what_it_did(ServerKind::Mysql9).await
}

#[tokio::test]
async fn the_load_runs_on_mariadb10() -> Result<()> {
    runs_and_reports_what_it_did(ServerKind::Mariadb10).await
}

#[tokio::test]
async fn the_load_runs_on_mariadb11() -> Result<()> {
    runs_and_reports_what_it_did(ServerKind::Mariadb11).await
}

#[tokio::test]
async fn the_load_runs_on_mysql56() -> Result<()> {
    runs_and_reports_what_it_did(ServerKind::Mysql56).await
}

/// Copies a source by the server's own tools, so that comparison and ledger are held against something that is known to be right.
fn copy_by_mysqlbinlog(source: &Server, destination: &Server) -> Result<()> {
    let files = std::fs::read_dir(source.dir().join("data"))?.filter_map(|entry| entry.ok().map(|e| e.path()));
    let mut files: Vec<_> = files.filter(|p| p.to_string_lossy().contains("/binlog.0")).collect();
    files.sort();
    let mut dump = Command::new(ServerKind::Mysql9.program("mysqlbinlog")?);
    let mut dump = dump.arg("--no-defaults").args(files).stdout(Stdio::piped()).spawn()?;
    let mut client = Command::new(ServerKind::Mysql9.program("mysql")?);
    client.args(["--no-defaults", "--binary-mode", "--user=root"]);
    client.arg(format!("--socket={}", destination.socket().display()));
    let status = client.stdin(dump.stdout.take().context("no pipe")?).status()?;
    ensure!(status.success() && dump.wait()?.success(), "mysqlbinlog | mysql: {status}");
    Ok(())
}

#[tokio::test]
async fn after_a_kill_of_the_source_a_faithful_copy_is_equal_and_its_ledger_complete() -> Result<()> {
    let source = Server::builder(ServerKind::Mysql9).name("source").start().await?;
    let options = Options { seed: 11, sessions: 3, ..Options::default() };
    load::prepare(&source, &options).await?;
    let load = Load::start(&source, &options);
    while load.report().transactions < 300 {
        ensure!(!load.is_finished(), "the load ended: {:?}", load.stop().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    source.kill().await?;
    source.restart().await?;
    let before = load.report().transactions;
    while load.report().transactions < before + 100 {
        ensure!(!load.is_finished(), "the load ended: {:?}", load.stop().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let report = load.stop().await?;
    assert!(report.reconnected >= 1, "{report:?}");

    let copy = Server::builder(ServerKind::Mysql9).name("copy").start().await?;
    copy_by_mysqlbinlog(&source, &copy)?;
    compare::must_be_equal(&source, &copy, &[]).await?;
    assert_eq!(compare::summaries(&source, &[]).await?, compare::summaries(&copy, &[]).await?);
    let written = load::check_ledger(&source, &copy, "shop").await?.written;
    assert!(written > 400, "{written}");
    assert_eq!(load::check_ledger(&source, &copy, "shop").await?, Ledger { written, lost: 0, doubled: 0 });

    copy.exec("DELETE FROM shop.ledger LIMIT 2; INSERT INTO shop.ledger SELECT * FROM shop.ledger LIMIT 3").await?;
    let ledger = load::check_ledger(&source, &copy, "shop").await?;
    assert_eq!(ledger, Ledger { written, lost: 2, doubled: 3 });
    assert!(compare::must_be_equal(&source, &copy, &[]).await.is_err());
    Ok(())
}

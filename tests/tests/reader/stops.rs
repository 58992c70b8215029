//! What a reader must not pass over: each is a stop with the reason and the next step.

use super::*;

/// Waits for the reader to end and checks exit code and words of its last message.
async fn ends_with(pipeline: &Pipeline, code: i32, words: &[&str]) -> Result<()> {
    let ended = pipeline.wait_exit(&Service::Reader, LIMIT).await?;
    let log = pipeline.whole_log(&Service::Reader);
    assert_eq!(ended, code, "{log}");
    let last = log.lines().rfind(|line| line.contains("ERROR")).unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "'{word}' is missing in: {last}\n{log}");
    }
    Ok(())
}

#[tokio::test]
async fn rows_logged_as_statements_stop_the_reader_by_name() -> Result<()> {
    let source = mysql9(&[]).await?;
    let pipeline = pipeline(&source, &[])?;
    pipeline.start_service(&Service::Reader)?;
    source.exec("CREATE DATABASE d; CREATE TABLE d.t (a INT); SET SESSION binlog_format = 'STATEMENT'; INSERT INTO d.t VALUES (1)").await?;
    ends_with(&pipeline, 1, &["INSERT INTO d.t VALUES (1)", "binlog_format=ROW", "binlog.0"]).await
}

#[tokio::test]
async fn purged_transactions_are_named() -> Result<()> {
    let source = mysql9(&[]).await?;
    let pipeline = pipeline(&source, &[])?;
    pipeline.start_service(&Service::Reader)?;
    source.exec("CREATE DATABASE d; CREATE TABLE d.done (a INT)").await?;
    wait_for(&pipeline, "ddl CreateTable d.done").await?;
    pipeline.kill(&Service::Reader).await?;
    source.exec("INSERT INTO d.done VALUES (1); INSERT INTO d.done VALUES (2); FLUSH BINARY LOGS; INSERT INTO d.done VALUES (3)").await?;
    let last = source.rows("SHOW BINARY LOGS").await?;
    let file = last.last().and_then(|row| row.first().cloned().flatten()).context("a file")?;
    let file = String::from_utf8(file)?;
    source.exec(&format!("PURGE BINARY LOGS TO '{file}'")).await?;
    pipeline.start_service(&Service::Reader)?;
    let uuid = source.value("SELECT @@server_uuid").await?.context("a uuid")?;
    ends_with(&pipeline, 1, &["purged", &format!("{uuid}:3-4"), "new store"]).await
}

#[tokio::test]
async fn a_source_that_was_reset_is_not_followed_as_if_nothing_had_happened() -> Result<()> {
    let source = mysql9(&[]).await?;
    let pipeline = pipeline(&source, &[])?;
    pipeline.start_service(&Service::Reader)?;
    source.exec("CREATE DATABASE d; CREATE TABLE d.done (a INT)").await?;
    wait_for(&pipeline, "ddl CreateTable d.done").await?;
    pipeline.kill(&Service::Reader).await?;
    source.exec("RESET BINARY LOGS AND GTIDS; INSERT INTO d.done VALUES (1)").await?;
    pipeline.start_service(&Service::Reader)?;
    let uuid = source.value("SELECT @@server_uuid").await?.context("a uuid")?;
    ends_with(&pipeline, 1, &["does not have", &format!("{uuid}:2"), "new store"]).await
}

#[tokio::test]
async fn without_gtids_a_lost_file_and_another_server_are_told_apart() -> Result<()> {
    let options = [("gtid_mode", "OFF"), ("enforce_gtid_consistency", "OFF")];
    let source = mysql9(&options).await?;
    let pipeline = pipeline(&source, &[])?;
    pipeline.start_service(&Service::Reader)?;
    source.exec("CREATE DATABASE d; CREATE TABLE d.done (a INT)").await?;
    wait_for(&pipeline, "ddl CreateTable d.done").await?;
    pipeline.kill(&Service::Reader).await?;
    source.exec("RESET BINARY LOGS AND GTIDS").await?;
    pipeline.start_service(&Service::Reader)?;
    ends_with(&pipeline, 1, &["behind the end", "new store"]).await
}

#[tokio::test]
async fn what_is_wrong_with_a_source_is_said_with_the_next_step() -> Result<()> {
    let source = mysql9(&[("binlog_format", "MIXED")]).await?;
    let mixed = pipeline(&source, &[])?;
    mixed.start_service(&Service::Reader)?;
    ends_with(&mixed, 1, &["binlog_format=MIXED", "SET GLOBAL binlog_format=ROW"]).await?;

    source
        .exec("SET GLOBAL binlog_format = 'ROW'; CREATE USER weak IDENTIFIED BY 'pw-of-weak'; CREATE USER half IDENTIFIED BY 'x'; GRANT REPLICATION CLIENT, SELECT ON *.* TO half")
        .await?;
    for (user, password, words) in [
        ("weak", "pw-of-weak", &["REPLICATION CLIENT"][..]),
        ("weak", "wrong-password", &["let this user in"]),
        ("half", "x", &["REPLICATION SLAVE"]),
    ] {
        let url = source.url(user).replace(&format!("{user}@"), &format!("{user}:{password}@"));
        let refused = Pipeline::builder(&source).source_url(&url).destination("nobody", &source).build()?;
        refused.start_service(&Service::Reader)?;
        ends_with(&refused, 1, words).await?;
        assert!(!refused.whole_log(&Service::Reader).contains("pw-of-weak"), "a password stands in the log");
    }
    Ok(())
}

#[tokio::test]
async fn a_second_reader_on_the_same_store_is_refused() -> Result<()> {
    let source = mysql9(&[]).await?;
    let first = pipeline(&source, &[])?;
    first.start_service(&Service::Reader)?;
    source.exec("CREATE DATABASE d; CREATE TABLE d.done (a INT)").await?;
    wait_for(&first, "ddl CreateTable d.done").await?;
    let mut second = harness::Process::builder("logweir-reader", first.dir())?.name("second");
    second = second.arg("--config").arg(first.config());
    let second = second.start()?;
    let status = second.wait(LIMIT).await?;
    assert_eq!(status.code(), Some(1), "{}", second.stderr());
    let told = ["is written by another process", "is answered by a running service"]
        .iter()
        .any(|text| second.stderr().contains(text));
    assert!(told, "{}", second.stderr());
    first.must_run(&Service::Reader)?;
    first.stop().await
}

#[tokio::test]
async fn a_layout_that_cannot_be_known_stops_with_the_statement_that_ends_it() -> Result<()> {
    let source = Server::builder(ServerKind::Mysql9).start().await?; // MINIMAL metadata
    source.exec("CREATE DATABASE d; CREATE TABLE d.t (a INT, b INT); INSERT INTO d.t VALUES (1, 2)").await?;
    tokio::time::sleep(Duration::from_millis(1100)).await; // the events' clock has seconds
    source.exec("ALTER TABLE d.t RENAME COLUMN a TO c, ALGORITHM=COPY").await?;
    let pipeline = pipeline(&source, &[])?;
    pipeline.start_service(&Service::Reader)?;
    ends_with(&pipeline, 1, &["d.t", "SET GLOBAL binlog_row_metadata=FULL"]).await
}

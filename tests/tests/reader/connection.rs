//! Restarts, broken connections, rotations, checksums, TLS.

use super::*;
use harness::proxy::Proxy;

/// All values of d.t in the order of the store; each once, none missing.
fn values(story: &Story) -> Vec<u64> {
    let rows = story.changes().into_iter().filter_map(|line| line.strip_prefix("insert d.t ("));
    rows.filter_map(|row| row.trim_end_matches(')').parse().ok()).collect()
}

#[tokio::test]
async fn restarts_kills_rotations_and_checksum_changes_lose_and_double_nothing() -> Result<()> {
    for gtid in ["ON", "OFF"] {
        let source = mysql9(&[("gtid_mode", gtid), ("enforce_gtid_consistency", "ON")]).await?;
        let pipeline = pipeline(&source, &["heartbeat = \"200ms\""])?;
        pipeline.start_service(&Service::Reader)?;
        source.exec("CREATE DATABASE d; CREATE TABLE d.t (a INT)").await?;
        for round in 0..8u64 {
            source.exec(&format!("INSERT INTO d.t VALUES ({round})")).await?;
            match round {
                1 => source.exec("SET GLOBAL binlog_checksum = 'NONE'").await?,
                2 => source.exec("SET GLOBAL binlog_checksum = 'CRC32'").await?,
                3 => source.exec("FLUSH BINARY LOGS; FLUSH BINARY LOGS").await?,
                4 => source.restart().await?,
                5 => {
                    source.kill().await?;
                    source.restart().await?;
                }
                6 => {
                    pipeline.kill(&Service::Reader).await?;
                    pipeline.start_service(&Service::Reader)?;
                }
                _ => {}
            }
        }
        source.exec("CREATE TABLE d.done (a INT)").await?;
        let story = wait_for(&pipeline, "ddl CreateTable d.done").await.with_context(|| format!("gtid_mode {gtid}"))?;
        assert_eq!(values(&story), (0..8).collect::<Vec<_>>(), "gtid_mode {gtid}");
        // The positions are the source's own: each commit ends where an event of its file ends.
        for commit in &story.commits {
            let events = source.rows(&format!("SHOW BINLOG EVENTS IN '{}'", commit.end.file)).await?;
            let ends = events
                .iter()
                .any(|row| row.get(4).cloned().flatten() == Some(commit.end.offset.to_string().into_bytes()));
            assert!(ends, "{} is no end of an event", commit.end);
        }
        pipeline.process(&Service::Reader)?.kill().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_cut_inside_a_transaction_brings_it_again_whole() -> Result<()> {
    let source = mysql9(&[]).await?;
    let proxy = Proxy::start(source.port()).await?;
    let url = format!("mysql://root@127.0.0.1:{}", proxy.port());
    let builder = Pipeline::builder(&source).source_url(&url).destination("nobody", &source);
    let pipeline = builder.source_line("heartbeat = \"200ms\"").build()?;
    pipeline.start_service(&Service::Reader)?;
    source.exec("CREATE DATABASE d; CREATE TABLE d.t (a INT); CREATE TABLE d.big (a INT, b TEXT); CREATE TABLE d.ready (a INT)").await?;
    wait_for(&pipeline, "ddl CreateTable d.ready").await?;
    for round in 0..3u64 {
        // The cut falls into the 8 MB, after several fragments of it are in the store.
        proxy.cut_after(5 << 20);
        source
            .exec(&format!(
                "SET SESSION cte_max_recursion_depth = 1000000; BEGIN; INSERT INTO d.t VALUES ({round}); INSERT INTO d.big WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 \
                 FROM n WHERE i < 8000) SELECT i, REPEAT('x', 1000) FROM n; COMMIT"
            ))
            .await?;
    }
    source.exec("CREATE TABLE d.done (a INT)").await?;
    let story = wait_for(&pipeline, "ddl CreateTable d.done").await?;
    assert_eq!(values(&story), [0, 1, 2]);
    assert_eq!(story.rows, 3 * 8001);
    assert!(proxy.accepted() > 3, "nothing was cut");
    pipeline.process(&Service::Reader)?.kill().await
}

#[tokio::test]
async fn a_source_is_reached_through_tls_and_with_a_password_over_a_plain_connection() -> Result<()> {
    let source = mysql9(&[]).await?;
    source
        .exec("CREATE USER repl IDENTIFIED BY 'pässwort/1'; GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO repl; CREATE DATABASE d; CREATE TABLE d.done (a INT)")
        .await?;
    let url = source.url("repl").replace("repl@", "repl:p%C3%A4sswort%2F1@");
    for tls in ["disabled", "preferred", "required"] {
        source.exec("FLUSH PRIVILEGES").await?; // forgets the cached hash: the password itself must be sent
        let line = format!("tls = {{ mode = \"{tls}\" }}");
        let pipeline =
            Pipeline::builder(&source).source_url(&url).source_line(&line).destination("nobody", &source).build()?;
        pipeline.start_service(&Service::Reader)?;
        wait_for(&pipeline, "ddl CreateTable d.done").await.with_context(|| tls.to_owned())?;
        pipeline.process(&Service::Reader)?.kill().await?;
    }
    let pipeline = Pipeline::builder(&source)
        .source_url(&url)
        .source_line("tls = { mode = \"verify-identity\" }")
        .destination("nobody", &source)
        .build()?;
    pipeline.start_service(&Service::Reader)?;
    assert_eq!(pipeline.wait_exit(&Service::Reader, LIMIT).await?, 1);
    assert!(pipeline.whole_log(&Service::Reader).contains("certificate"), "{}", pipeline.log(&Service::Reader, 5));
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_the_reader_in_order_and_status_tells_where_it_is() -> Result<()> {
    let source = mysql9(&[]).await?;
    let pipeline = pipeline(&source, &[])?;
    pipeline.start_service(&Service::Reader)?;
    source.exec("CREATE DATABASE d; CREATE TABLE d.done (a INT)").await?;
    wait_for(&pipeline, "ddl CreateTable d.done").await?;
    let socket = common::control::reader_socket(&pipeline.store());
    let common::control::Answer::Reader(status) =
        common::control::request(&socket, common::control::Request::Status).await?
    else {
        anyhow::bail!("no reader's answer")
    };
    assert_eq!(status.position.gtids, source.value("SELECT @@GLOBAL.gtid_executed").await?.context("a set")?);
    assert_eq!((status.totals.transactions, status.totals.ddl), (2, 2));
    assert_eq!(status.lag.seconds, Some(0.0));
    assert!(pipeline.terminate(&Service::Reader).await?.success());
    Ok(())
}

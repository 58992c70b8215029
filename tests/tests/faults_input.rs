//! What an operator gets wrong, or a machine runs out of: a message with the reason and the next step, the right exit code, and when the
//! cause is gone all goes on with nothing lost. (What the reader says of its source is in `reader/stops.rs`.)

use anyhow::{Context, Result, ensure};
use harness::{Pipeline, Process, Server, ServerKind, Service, compare, process};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);
const SHOP: &str = "CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20))";

async fn mysql9(name: &str) -> Result<Server> {
    Server::builder(ServerKind::Mysql9).name(name).option("binlog_row_metadata", "FULL").start().await
}

/// Waits for a service to end by itself, and checks its exit code and the words of its last ERROR line.
async fn ends_with(pipeline: &Pipeline, service: &Service, code: i32, words: &[&str]) -> Result<()> {
    let ended = pipeline.wait_exit(service, LIMIT).await?;
    let log = pipeline.whole_log(service);
    let last = log.lines().rfind(|line| line.contains(" ERROR ")).unwrap_or_default();
    ensure!(ended == code, "exit code {ended} instead of {code}\n{log}");
    for word in words {
        ensure!(last.to_lowercase().contains(&word.to_lowercase()), "'{word}' is missing in: {last}");
    }
    Ok(())
}

#[tokio::test]
async fn servers_that_refuse_or_do_not_answer_are_named_with_the_next_step() -> Result<()> {
    let (source, destination) = (mysql9("source").await?, mysql9("destination").await?);
    source.exec(SHOP).await?;
    for server in [&source, &destination] {
        server.exec("CREATE USER 'sync'@'%' IDENTIFIED BY 'right'").await?;
    }
    source.exec("GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO 'sync'@'%'").await?;
    let (reader, applier) = (Service::Reader, Service::applier("d"));
    let dir = tempfile::tempdir()?;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let pipeline = |source_port: u16, destination_port: u16, password: &str, more: &str| {
        Pipeline::builder(&source)
            .dir(dir.path())
            .source_url(&format!("mysql://sync@127.0.0.1:{source_port}"))
            .source_line("password_env = \"TEST_PASSWORD\"")
            .source_line("retry_for = \"1s\"")
            .destination_at("d", &destination, &format!("mysql://sync@127.0.0.1:{destination_port}"))
            .destination_line("password_env = \"TEST_PASSWORD\"")
            .destination_line("retry_for = \"1s\"")
            .destination_line(more)
            .env("TEST_PASSWORD", password)
            .build()
    };

    let bad = pipeline(nobody, nobody, "right", "")?;
    bad.start_service(&reader)?;
    ends_with(&bad, &reader, 1, &[&nobody.to_string(), "refused"]).await?;

    let bad = pipeline(source.port(), destination.port(), "wrong", "")?;
    bad.start_service(&reader)?;
    ends_with(&bad, &reader, 1, &["sync", "denied", "password"]).await?;

    // From here on the reader is right, and the applier is not.
    let good = pipeline(source.port(), destination.port(), "right", "")?;
    good.start_service(&reader)?;
    source.exec("INSERT INTO shop.t VALUES (1, 'one')").await?;

    let bad = pipeline(source.port(), nobody, "right", "")?;
    bad.start_service(&applier)?;
    ends_with(&bad, &applier, 1, &[&nobody.to_string()]).await?;

    let bad = pipeline(source.port(), destination.port(), "wrong", "")?;
    bad.start_service(&applier)?;
    ends_with(&bad, &applier, 1, &["sync", "denied"]).await?;

    let bad = pipeline(source.port(), destination.port(), "right", "")?;
    bad.start_service(&applier)?;
    ends_with(&bad, &applier, 1, &["needs CREATE", "logweir.*"]).await?;

    destination.exec("GRANT ALL ON logweir.* TO 'sync'@'%'; GRANT ALL ON shop.* TO 'sync'@'%'; GRANT ALL ON logweir_probe.* TO 'sync'@'%'").await?;
    let bad = pipeline(source.port(), destination.port(), "right", "write = \"row-events\"")?;
    bad.start_service(&applier)?;
    ends_with(&bad, &applier, 1, &["REPLICATION_APPLIER", "GRANT"]).await?;

    // With SQL the rights on the tables are enough; what was refused before is applied now.
    let good_too = pipeline(source.port(), destination.port(), "right", "")?;
    good_too.start_service(&applier)?;
    good_too.wait_marker(LIMIT).await?;
    compare::must_be_equal(&source, &destination, &["shop"]).await?;
    for service in [&reader, &applier] {
        let log = good.whole_log(service);
        ensure!(!log.contains("right") && !log.contains("wrong"), "a password stands in the log of {service:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_second_applier_of_the_same_destination_is_refused() -> Result<()> {
    let (source, destination) = (mysql9("source").await?, mysql9("destination").await?);
    let pipeline = Pipeline::builder(&source).destination("d", &destination).build()?;
    pipeline.start()?;
    source.exec(SHOP).await?;
    pipeline.wait_marker(LIMIT).await?;
    // Beside the first one on this machine, and from a machine that does not see the first one's files.
    let second =
        Process::builder("logweir-applier", pipeline.dir())?.name("second").arg("--config").arg(pipeline.config());
    let second = second.args(["--destination", "d"]).start()?;
    let status = second.wait(LIMIT).await?;
    let said = second.stderr();
    ensure!(status.code() == Some(1) && said.contains("running"), "{status}: {said}");
    pipeline.must_run(&Service::applier("d"))?;

    // A pipeline has one reader; the other machine's takes its place for a while.
    ensure!(pipeline.terminate(&Service::Reader).await?.success());
    let elsewhere =
        Pipeline::builder(&source).destination("d", &destination).destination_line("retry_for = \"1s\"").build()?;
    elsewhere.start()?;
    ends_with(&elsewhere, &Service::applier("d"), 1, &["applier"]).await?;
    drop(elsewhere);
    pipeline.start_service(&Service::Reader)?;
    source.exec("INSERT INTO shop.t VALUES (1, 'one')").await?;
    pipeline.wait_level(LIMIT).await?;
    compare::must_be_equal(&source, &destination, &["shop"]).await?;
    pipeline.stop().await
}

/// The store's segment files, in order.
fn segments(pipeline: &Pipeline) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![pipeline.store()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if path.parent().is_some_and(|p| p.ends_with("segments")) && !name.starts_with('.') {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[tokio::test]
async fn a_damaged_segment_stops_by_name_and_is_never_applied() -> Result<()> {
    let (source, destination) = (mysql9("source").await?, mysql9("destination").await?);
    let pipeline =
        Pipeline::builder(&source).store_line("segment_size = \"1MiB\"").destination("d", &destination).build()?;
    let applier = Service::applier("d");
    pipeline.start()?;
    source.exec(SHOP).await?;
    pipeline.wait_marker(LIMIT).await?;
    ensure!(pipeline.terminate(&applier).await?.success());
    // Random text, so that several segments are filled however they are compressed.
    source.exec("ALTER TABLE shop.t MODIFY v VARBINARY(2000)").await?;
    for n in 0..60 {
        let rows: Vec<String> =
            (0..50).map(|i| format!("({}, CONCAT(RANDOM_BYTES(1000), x'00'))", n * 50 + i + 10)).collect();
        source.exec(&format!("INSERT INTO shop.t VALUES {}", rows.join(", "))).await?;
    }
    let (code, _, err) = wait_for_reader(&pipeline, &source).await?;
    ensure!(code == 0, "{err}");
    ensure!(pipeline.terminate(&Service::Reader).await?.success());
    let files = segments(&pipeline)?;
    ensure!(files.len() >= 3, "{files:?}");
    let victim = &files[1];
    let whole = fs::read(victim)?;
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    fs::write(victim, &damaged)?;

    let name = victim.file_name().unwrap_or_default().to_string_lossy().into_owned();
    pipeline.start_service(&applier)?;
    ends_with(&pipeline, &applier, 3, &[&name, "logweir store verify"]).await?;
    let (code, out, err) = pipeline.command(&["store", "verify"], LIMIT).await?;
    ensure!(code == 3 && format!("{out}{err}").contains(&name), "code {code}: {out}{err}");
    // What stands before the damage is applied, and nothing of what stands behind it.
    let count = destination.value("SELECT COUNT(*) FROM shop.t").await?.context("a count")?;
    ensure!(count.parse::<u32>()? < 3000, "{count} rows were applied");

    fs::write(victim, &whole)?;
    pipeline.start()?;
    pipeline.wait_level(LIMIT).await?;
    compare::must_be_equal(&source, &destination, &["shop"]).await
}

/// Waits until the reader has stored all that the source has.
async fn wait_for_reader(pipeline: &Pipeline, source: &Server) -> Result<(i32, String, String)> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = pipeline.command(&["status", "--json"], LIMIT).await?;
        let offset = source.rows("SHOW BINARY LOG STATUS").await?;
        let offset = offset.first().and_then(|row| row.get(1).cloned().flatten()).context("a position")?;
        if answer.1.contains(&format!("\"offset\":{}", String::from_utf8_lossy(&offset)))
            || answer.1.contains(&format!("\"offset\": {}", String::from_utf8_lossy(&offset)))
        {
            return Ok((0, answer.1, answer.2));
        }
        ensure!(Instant::now() < deadline, "the reader is not level: {} {}", answer.1, answer.2);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_full_store_waits_for_the_slowest_destination_and_goes_on() -> Result<()> {
    let (source, destination) = (mysql9("source").await?, mysql9("destination").await?);
    let pipeline = Pipeline::builder(&source)
        .store_line("segment_size = \"1MiB\"")
        .store_line("max_size = \"4MiB\"")
        .store_line("retain = \"0s\"")
        .destination("d", &destination)
        .build()?;
    pipeline.start()?;
    source
        .exec("CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.t (id INT PRIMARY KEY, v VARBINARY(2000))")
        .await?;
    pipeline.wait_marker(LIMIT).await?;
    pipeline.kill(&Service::applier("d")).await?;
    for n in 0..120 {
        let rows: Vec<String> = (0..100).map(|i| format!("({}, RANDOM_BYTES(1000))", n * 100 + i)).collect();
        source.exec(&format!("INSERT INTO shop.t VALUES {}", rows.join(", "))).await?;
    }
    // Twelve megabytes do not fit into four: the reader says that it waits, and whom for.
    let deadline = Instant::now() + LIMIT;
    loop {
        let (_, out, err) = pipeline.command(&["status", "--json"], LIMIT).await?;
        pipeline.must_run(&Service::Reader)?;
        if out.contains("blocked") {
            break;
        }
        ensure!(Instant::now() < deadline, "the reader is not blocked: {out}{err}\n{}", pipeline.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let size: u64 = segments(&pipeline)?.iter().filter_map(|p| fs::metadata(p).ok()).map(|m| m.len()).sum();
    ensure!(size <= 6 << 20, "the store holds {size} bytes");
    let log = pipeline.whole_log(&Service::Reader);
    ensure!(log.contains("max_size") || log.contains("full"), "{log}");
    pipeline.start_service(&Service::applier("d"))?;
    pipeline.wait_level(Duration::from_secs(60)).await?;
    compare::must_be_equal(&source, &destination, &["shop"]).await?;
    ensure!(segments(&pipeline)?.len() < 10, "passed segments are not deleted");
    pipeline.stop_with(&["full", "max_size", "room"]).await
}

#[tokio::test]
async fn a_full_disk_stops_nothing_for_good() -> Result<()> {
    let (source, destination) = (mysql9("source").await?, mysql9("destination").await?);
    let pipeline = Pipeline::builder(&source)
        .store_line("segment_size = \"1MiB\"")
        .store_line("retain = \"0s\"")
        .destination("d", &destination)
        .build()?;
    source
        .exec("CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.t (id INT PRIMARY KEY, v VARBINARY(2000))")
        .await?;
    for n in 0..80 {
        let rows: Vec<String> = (0..100).map(|i| format!("({}, RANDOM_BYTES(1000))", n * 100 + i)).collect();
        source.exec(&format!("INSERT INTO shop.t VALUES {}", rows.join(", "))).await?;
    }
    // A small disk of the test's own, in a namespace of its own, which needs no privilege; most of it is taken by a file of somebody else.
    fs::create_dir_all(pipeline.store())?;
    let script =
        "set -e; cd \"$1\"; mount -t tmpfs -o size=16m,mode=700 none store; head -c 13000000 /dev/zero > store/ballast
        \"$2\" --config logweir.toml 2> reader.err &
        while [ ! -e free ]; do sleep 0.1; done; rm store/ballast
        \"$3\" --config logweir.toml --destination d 2> applier-d.err & wait";
    let small = Process::builder_at("unshare", pipeline.dir())
        .args(["--fork", "--pid", "--kill-child", "-Urm", "--mount-proc", "sh", "-c", script, "sh"])
        .arg(pipeline.dir())
        .arg(process::program("logweir-reader")?)
        .arg(process::program("logweir-applier")?)
        .start()?;
    let deadline = Instant::now() + LIMIT;
    while !pipeline.whole_log(&Service::Reader).contains("no room in the store") {
        ensure!(small.is_running()?, "ended: {}", small.stderr());
        ensure!(Instant::now() < deadline, "the full disk is not told:\n{}", pipeline.whole_log(&Service::Reader));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fs::write(pipeline.dir().join("free"), "")?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while pipeline_rows(&destination).await != Some(8000) {
        ensure!(
            Instant::now() < deadline && small.is_running()?,
            "not level:\n{}",
            pipeline.whole_log(&Service::Reader)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    compare::must_be_equal(&source, &destination, &["shop"]).await
}

async fn pipeline_rows(destination: &Server) -> Option<u32> {
    destination.value("SELECT COUNT(*) FROM shop.t").await.ok().flatten()?.parse().ok()
}

#[tokio::test]
async fn another_server_in_the_sources_place_is_not_followed() -> Result<()> {
    let (source, other, destination) = (mysql9("source").await?, mysql9("other").await?, mysql9("destination").await?);
    let dir = tempfile::tempdir()?;
    let first = Pipeline::builder(&source).dir(dir.path()).destination("d", &destination).build()?;
    first.start()?;
    source.exec(SHOP).await?;
    source.exec("INSERT INTO shop.t VALUES (1, 'one')").await?;
    first.wait_level(LIMIT).await?;
    first.stop().await?;
    other.exec(SHOP).await?;
    other.exec("INSERT INTO shop.t VALUES (1, 'other'), (2, 'other')").await?;
    let second = Pipeline::builder(&other).dir(dir.path()).destination("d", &destination).build()?;
    second.start()?;
    ends_with(&second, &Service::Reader, 1, &["new store"]).await?;
    // Nothing of the other server has reached the destination, and the right one is followed again.
    compare::must_be_equal(&source, &destination, &["shop"]).await?;
    drop(second);
    let third = Pipeline::builder(&source).dir(dir.path()).destination("d", &destination).build()?;
    third.start()?;
    source.exec("INSERT INTO shop.t VALUES (2, 'two')").await?;
    third.wait_level(LIMIT).await?;
    compare::must_be_equal(&source, &destination, &["shop"]).await
}

//! `logweir run` and the operators' commands on running services, with real servers.

use anyhow::{Context, Result, ensure};
use harness::{Process, Server, ServerKind, compare};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const SOURCE_PASSWORD: &str = "s0urce/p@ss:word#1";
const REPLICA_PASSWORD: &str = "r3plica secret";

/// A source, a destination, and a configuration with passwords between them.
struct Site {
    source: Server,
    replica: Server,
    config: PathBuf,
    dir: TempDir,
}

impl Site {
    async fn new() -> Result<Site> {
        let source = Server::builder(ServerKind::Mysql9).name("source").option("binlog_row_metadata", "FULL").start();
        let replica = Server::builder(ServerKind::Mysql9).name("replica").start();
        let (source, replica) = tokio::try_join!(source, replica)?;
        source.exec(&format!("CREATE USER repl@'%' IDENTIFIED BY '{SOURCE_PASSWORD}'")).await?;
        source.exec("GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO repl@'%'").await?;
        replica.exec(&format!("CREATE USER sync@'%' IDENTIFIED BY '{REPLICA_PASSWORD}'")).await?;
        replica.exec("GRANT ALL ON *.* TO sync@'%'").await?;
        let dir = TempDir::with_prefix("logweir-cli-")?;
        std::fs::write(dir.path().join("password"), format!("{REPLICA_PASSWORD}\n"))?;
        let config = dir.path().join("logweir.toml");
        let text = format!(
            "name = \"site\"\n[source]\nurl = \"{}\"\npassword_env = \"SITE_PASSWORD\"\nheartbeat = \"200ms\"\n[snapshot]\nmode = \"none\"\n\
             [store]\ndir = \"store\"\n[log]\nlevel = \"trace\"\n[[destination]]\nname = \"replica\"\nurl = \"{}\"\npassword_file = \"password\"\n",
            source.url("repl"),
            replica.url("sync"),
        );
        std::fs::write(&config, text)?;
        Ok(Site { source, replica, config, dir })
    }

    fn start(&self, program: &str, name: &str, args: &[&str]) -> Result<Process> {
        let builder = Process::builder(program, self.dir.path().join("out"))?.name(name).args(args.iter().copied());
        builder.arg("--config").arg(&self.config).env("SITE_PASSWORD", SOURCE_PASSWORD).start()
    }

    /// Runs a command to its end: exit code and stdout; stderr is added to the error.
    async fn command(&self, args: &[&str], code: i32) -> Result<String> {
        let name = format!("{}-{}", args.join("-").replace(['/', ' '], "_"), self.outputs()?.len());
        let process = self.start("logweir", &name, args)?;
        let status = process.wait(LIMIT).await?;
        let found = (status.code(), process.stdout(), process.stderr());
        ensure!(status.code() == Some(code), "logweir {args:?}: {found:?}");
        Ok(found.1)
    }

    async fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.command(&["status", "--json"], 0).await?)?)
    }

    async fn wait_for(&self, what: &str, fine: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let seen = self.status().await?;
            if fine(&seen) {
                return Ok(seen);
            }
            ensure!(Instant::now() < deadline, "{what} did not come: {seen:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn outputs(&self) -> Result<Vec<PathBuf>> {
        let Ok(entries) = std::fs::read_dir(self.dir.path().join("out")) else { return Ok(Vec::new()) };
        Ok(entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?)
    }
}

fn must_be_silent(what: &str, bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    for secret in [SOURCE_PASSWORD, REPLICA_PASSWORD, "s0urce%2Fp%40ss", "SITE_PASSWORD=s0"] {
        ensure!(!text.contains(secret), "{what} shows a password");
    }
    Ok(())
}

/// What everybody on the machine can see of a process: its command line.
fn command_line(pid: u64) -> Result<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/cmdline")).with_context(|| format!("while looking at process {pid}"))
}

fn alive(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn both_run(seen: &Value) -> bool {
    let up = |part: &Value| part["running"] == true && part["state"] == "running" && part["pid"].as_u64() > Some(0);
    up(&seen["reader"]) && up(&seen["destinations"][0])
}

#[tokio::test]
async fn a_pipeline_is_run_steered_and_stopped_by_the_command() -> Result<()> {
    let site = Site::new().await?;
    let run = site.start("logweir", "run", &["run", "--plain"])?;
    let seen = site.wait_for("running services", both_run).await?;
    let pid = |seen: &Value, part: &str| seen.pointer(part).and_then(Value::as_u64).unwrap_or_default();
    let (reader, applier) = (pid(&seen, "/reader/pid"), pid(&seen, "/destinations/0/pid"));
    for pid in [u64::from(run.pid()), reader, applier] {
        must_be_silent("a command line", &command_line(pid)?)?;
    }
    site.source
        .exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)")
        .await?;
    let told = site.command(&["wait", "--timeout", "30s"], 0).await?;
    ensure!(told.starts_with("level with "), "{told}");
    compare::must_be_equal(&site.source, &site.replica, &["shop"]).await?;

    // A paused applier applies nothing, and `wait` says so with its own exit code.
    site.command(&["pause", "--destination", "replica"], 0).await?;
    site.wait_for("the pause", |seen| seen["destinations"][0]["state"] == "paused").await?;
    site.source.exec("INSERT INTO shop.t VALUES (2)").await?;
    site.command(&["wait", "--timeout", "1s"], 5).await?;
    ensure!(site.replica.value("SELECT COUNT(*) FROM shop.t").await?.as_deref() == Some("1"));
    site.command(&["resume", "--destination", "replica"], 0).await?;
    site.command(&["wait", "--timeout", "30s"], 0).await?;
    compare::must_be_equal(&site.source, &site.replica, &["shop"]).await?;

    // A second reader on this store is refused, and says who has it.
    let second = site.start("logweir-reader", "second", &[])?;
    let status = second.wait(LIMIT).await?;
    ensure!(status.code() == Some(1), "{status}: {}", second.stderr());
    ensure!(second.stderr().contains("stop"), "no next step in {}", second.stderr());
    must_be_silent("the second reader's log", second.stderr().as_bytes())?;

    // A killed applier is started again by `run`.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(applier)?), nix::sys::signal::Signal::SIGKILL)?;
    let again = |seen: &Value| both_run(seen) && seen["destinations"][0]["pid"].as_u64() != Some(applier);
    let seen = site.wait_for("a new applier", again).await?;
    ensure!(pid(&seen, "/reader/pid") == reader, "the reader was restarted too");
    site.source.exec("INSERT INTO shop.t VALUES (3)").await?;
    site.command(&["wait", "--timeout", "30s"], 0).await?;
    compare::must_be_equal(&site.source, &site.replica, &["shop"]).await?;

    let applier = pid(&seen, "/destinations/0/pid");
    run.terminate()?;
    let status = run.wait(LIMIT).await?;
    ensure!(status.success(), "{status}: {}", run.stderr());
    ensure!(!alive(reader) && !alive(applier), "a service outlives `logweir run`");
    let seen = site.status().await?;
    ensure!(seen["reader"]["running"] == false && seen["reader"]["position"]["seq"].as_u64() > Some(3), "{seen:#}");
    site.command(&["store", "verify"], 0).await?;

    for path in site.outputs()? {
        must_be_silent(&path.display().to_string(), &std::fs::read(&path)?)?;
    }
    for entry in std::fs::read_dir(site.dir.path().join("store/run"))? {
        let path = entry?.path();
        if path.is_file() {
            must_be_silent(&path.display().to_string(), &std::fs::read(&path)?)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn services_die_with_a_run_that_is_killed() -> Result<()> {
    let site = Site::new().await?;
    let run = site.start("logweir", "run", &["run", "--plain"])?;
    let seen = site.wait_for("running services", both_run).await?;
    let pids = [&seen["reader"]["pid"], &seen["destinations"][0]["pid"]].map(|pid| pid.as_u64().unwrap_or_default());
    run.kill().await?;
    let deadline = Instant::now() + LIMIT;
    while pids.iter().any(|pid| alive(*pid)) {
        ensure!(Instant::now() < deadline, "services outlive `logweir run`");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_check_names_what_is_wrong_with_a_server() -> Result<()> {
    let site = Site::new().await?;
    let checked: Value = serde_json::from_str(&site.command(&["check", "--json"], 0).await?)?;
    ensure!(checked["ok"] == true, "{checked:#}");
    let verdict = |checked: &Value, part: &str, id: &str| -> Result<String> {
        let items = checked["items"].as_array().context("no items")?;
        let item = items.iter().find(|i| i["part"] == part && i["id"] == id);
        Ok(item.with_context(|| format!("no item {part} {id}"))?["verdict"].as_str().unwrap_or_default().to_owned())
    };
    site.source.exec("SET GLOBAL binlog_format = STATEMENT; SET GLOBAL binlog_row_image = MINIMAL").await?;
    site.source.exec("REVOKE REPLICATION SLAVE ON *.* FROM repl@'%'").await?;
    site.replica
        .exec("SET GLOBAL read_only = ON; REVOKE ALL ON *.* FROM sync@'%'; GRANT SELECT ON *.* TO sync@'%'")
        .await?;
    let checked: Value = serde_json::from_str(&site.command(&["check", "--json"], 1).await?)?;
    for (part, id, wanted) in [
        ("source", "connect", "pass"),
        ("source", "binlog-format", "fail"),
        ("source", "row-image", "warn"),
        ("source", "may-replicate", "fail"),
        ("source", "may-see-position", "pass"),
        ("replica", "writable", "fail"),
        ("replica", "position-database", "fail"),
        ("replica", "row-events", "warn"),
    ] {
        ensure!(verdict(&checked, part, id)? == wanted, "{part} {id}: {checked:#}");
    }
    must_be_silent("the check", checked.to_string().as_bytes())
}

#[tokio::test]
async fn every_service_refuses_a_wrong_configuration_with_all_its_errors() -> Result<()> {
    let dir = TempDir::with_prefix("logweir-cli-")?;
    let config = dir.path().join("bad.toml");
    std::fs::write(
        &config,
        "name = \"a b\"\n[source]\nurl = \"mysql://u:hunter2@h\"\nincude = [\"*.*\"]\n[[destination]]\nname = \"d\"\n",
    )?;
    for (program, args) in [
        ("logweir-reader", &[][..]),
        ("logweir-reader", &["--check-config"]),
        ("logweir-applier", &["--destination", "d"]),
        ("logweir-applier", &["--destination", "d", "--print-config"]),
        ("logweir", &["run"]),
        ("logweir", &["check"]),
    ] {
        let process = Process::builder(program, dir.path())?.args(args.iter().copied());
        let process = process.arg("--config").arg(&config).start()?;
        let code = process.wait(LIMIT).await?.code();
        let err = process.stderr();
        ensure!(code == Some(2), "{program} {args:?}: {code:?} {err}");
        for wanted in [
            ":1: name",
            ":4: source.incude",
            "did you mean 'include'",
            "store.dir: is missing",
            "destination[0].url: is missing",
        ] {
            ensure!(err.contains(wanted), "{program} {args:?} does not say '{wanted}': {err}");
        }
        ensure!(process.stdout().is_empty() && !err.contains("hunter2"), "{err}");
    }
    Ok(())
}

#[tokio::test]
async fn the_demo_ends_with_proof_that_all_servers_are_equal() -> Result<()> {
    let dir = TempDir::with_prefix("logweir-cli-")?;
    let process = Process::builder("logweir", dir.path())?.args(["demo", "--plain", "--seconds", "4", "--seed", "7"]);
    let process = process.start()?;
    let status = process.wait(Duration::from_secs(240)).await?;
    let (out, err) = (process.stdout(), process.stderr());
    ensure!(status.success(), "{status}\n{out}\n{err}");
    for wanted in ["all three servers hold the same", "shop.ledger", "0 were lost and 0 doubled", "where the time went"]
    {
        ensure!(out.contains(wanted), "no '{wanted}' in {out}");
    }
    ensure!(err.contains("kill -9") && err.contains("started again"), "{err}");
    Ok(())
}

//! The full copy: what it takes to bring an empty destination level with a source that is full of data, beside the tools that people use for that.
//!
//! The tables are those of sysbench (`id`, `k`, `c`, `pad`, an index on `k`). Source and destinations are MySQL with the durability of their own
//! defaults (every commit is synced, the binlog too), and each measurement has a fresh destination:
//!
//! - Logweir, one destination and three, from the start of the processes until the last applier reports the copy's end as committed;
//! - `mysqldump | mysql`;
//! - `mydumper`, then `myloader`, with as many threads as Logweir has connections;
//! - `LOAD DATA LOCAL INFILE` of files that are there already, by as many connections, each its own tables: the limit.

mod tools;

use crate::Args;
use crate::pipeline::{Destination, Pipeline, stop};
use crate::report::{Aim, Line};
use anyhow::{Context, Result, bail};
use common::control::{self, Answer, Request};
use harness::{Process, Server, ServerKind};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Tables, and connections of every tool.
pub(super) const TABLES: u64 = 4;
const ROWS: u64 = 250_000;
const LIMIT: Duration = Duration::from_secs(1800);
const MIB: f64 = 1_048_576.0;

const OPTIONS: [(&str, &str); 4] = [
    ("innodb_flush_log_at_trx_commit", "1"),
    ("sync_binlog", "1"),
    ("innodb_buffer_pool_size", "512M"),
    ("innodb_redo_log_capacity", "1G"),
];

/// What one way of copying took.
pub(super) struct Taken {
    pub(super) name: String,
    pub(super) seconds: f64,
    /// The most resident memory of the program that reads the source, and of that which writes, in bytes; 0 where there is none.
    pub(super) memory: [u64; 2],
    /// `data_length + data_free`, and `index_length`.
    pub(super) size: [f64; 2],
}

pub(crate) async fn measure(args: &Args) -> Result<Vec<Line>> {
    // LOGWEIR_BENCH_ROWS: rows of each of the four tables.
    let given = std::env::var("LOGWEIR_BENCH_ROWS").ok().map(|n| n.parse::<u64>()).transpose();
    let rows = args.scaled(given.context("LOGWEIR_BENCH_ROWS is no number")?.unwrap_or(ROWS));
    let parent = crate::machine::output_dir();
    std::fs::create_dir_all(&parent).with_context(|| format!("while creating {}", parent.display()))?;
    let files = TempDir::with_prefix_in("copy-", &parent).context("while creating a folder for dumps")?;
    let source = source(rows, args).await?;
    let wanted = sums(&source).await?;

    let mut taken = Vec::new();
    for count in if args.wants("logweir") { &[1, 3][..] } else { &[] } {
        let count = *count;
        taken.push(logweir(&source, count, &wanted).await?);
    }
    for tool in tools::ALL.into_iter().filter(|tool| args.wants(tool.name())) {
        let destination = destination("tool").await?;
        match tools::run(tool, &source, &destination, files.path()).await {
            Ok(mut result) => {
                same(&wanted, &destination).await.with_context(|| result.name.clone())?;
                result.size = size(&destination).await?;
                taken.push(result);
            }
            // A tool that does not know this server is no reason not to measure the others.
            Err(error) if tool == tools::Tool::MyDumper => println!("mydumper is left out: {error:#}"),
            Err(error) => return Err(error),
        }
        destination.stop().await?;
    }
    #[allow(clippy::cast_precision_loss)]
    Ok(lines(&taken, (rows * TABLES) as f64))
}

fn lines(taken: &[Taken], rows: f64) -> Vec<Line> {
    let find = |name: &str| taken.iter().find(|t| t.name.starts_with(name));
    let dump = find("mysqldump").map_or(f64::NAN, |t| t.size[0]);
    #[allow(clippy::cast_precision_loss)]
    let mut lines: Vec<Line> = taken
        .iter()
        .map(|t| {
            let memory = |bytes: u64, ours: Aim| (bytes as f64 / MIB, if bytes > 0 { ours } else { Aim::None });
            let aim = if t.name.starts_with("logweir") { Aim::AtMost(256.0) } else { Aim::None };
            let ((reads, read_aim), (writes, write_aim)) = (memory(t.memory[0], aim), memory(t.memory[1], aim));
            Line::new("copy", &t.name)
                .with("time", t.seconds, "s")
                .with("rows", rows / t.seconds, "rows/s")
                .aiming("memory, reads", reads, "MiB", read_aim)
                .aiming("memory, writes", writes, "MiB", write_aim)
                .with("data", t.size[0] / 1e6, "MB")
                .with("indexes", t.size[1] / 1e6, "MB")
                .with("data / dump's", t.size[0] / dump, "")
        })
        .collect();
    let Some(ours) = find("logweir, 1") else { return lines };
    let fastest =
        ["mysqldump", "mydumper"].iter().filter_map(|n| find(n)).min_by(|a, b| a.seconds.total_cmp(&b.seconds));
    if let Some(tool) = fastest {
        let name = format!("against {}", tool.name);
        let line = Line::new("copy", name).aiming("ratio", tool.seconds / ours.seconds, "", Aim::AtLeast(2.0));
        lines.push(line);
    }
    let limit = find("LOAD DATA");
    if let Some(limit) = limit {
        let line = Line::new("copy", "against LOAD DATA");
        lines.push(line.aiming("ratio", limit.seconds / ours.seconds, "", Aim::AtLeast(0.7)));
    }
    if let (Some(three), Some(limit)) = (find("logweir, 3"), limit) {
        // Two more destinations; each has the work of a LOAD DATA of its own.
        let growth = (three.seconds - ours.seconds) / (2.0 * limit.seconds);
        lines.push(Line::new("copy", "three destinations, growth").aiming("ratio", growth, "", Aim::AtMost(1.0)));
    }
    lines
}

/// The tables, filled. With `--data` they may be there already.
async fn source(rows: u64, args: &Args) -> Result<Server> {
    let name = format!("source-copy-{rows}");
    let mut builder = Server::builder(ServerKind::Mysql9).name(&name).option("binlog_row_metadata", "FULL");
    for (option, value) in OPTIONS {
        builder = builder.option(option, value);
    }
    if let Some(data) = &args.data {
        builder = builder.dir(data.join(&name));
    }
    let server = builder.start().await?;
    let mark = server.dir().join("loaded");
    if mark.exists() {
        return Ok(server);
    }
    let begin = Instant::now();
    server.exec("CREATE DATABASE bench").await?;
    for n in 1..=TABLES {
        server.exec(&table(n, ", KEY k (k)")).await?;
        let group = "LPAD(FLOOR(RAND() * 1e11), 11, '0')";
        let (c, pad) = ([group; 10].join(", "), [group; 5].join(", "));
        for from in (1..=rows).step_by(50_000) {
            let last = rows.min(from + 49_999);
            server
                .exec(&format!(
                    "INSERT INTO bench.sbtest{n} WITH RECURSIVE s (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM s WHERE i < {last}) \
                     SELECT /*+ SET_VAR(cte_max_recursion_depth = 4294967295) */ i, 1 + FLOOR(RAND() * {rows}), CONCAT_WS('-', {c}), \
                     CONCAT_WS('-', {pad}) FROM s"
                ))
                .await?;
        }
        server.exec(&format!("ANALYZE TABLE bench.sbtest{n}")).await?;
    }
    server.exec("RESET BINARY LOGS AND GTIDS").await?;
    eprintln!("{name}: filled in {:.1} s", begin.elapsed().as_secs_f64());
    std::fs::write(&mark, "").with_context(|| format!("while writing {}", mark.display()))?;
    Ok(server)
}

/// The definition that sysbench uses.
pub(super) fn table(n: u64, index: &str) -> String {
    format!(
        "CREATE TABLE bench.sbtest{n} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, c CHAR(120) NOT NULL DEFAULT '', \
         pad CHAR(60) NOT NULL DEFAULT ''{index})"
    )
}

async fn destination(name: &str) -> Result<Server> {
    let mut builder = Server::builder(ServerKind::Mysql9).name(&format!("destination-{name}"));
    for (option, value) in OPTIONS {
        builder = builder.option(option, value);
    }
    builder.start().await
}

async fn logweir(source: &Server, count: usize, wanted: &[String]) -> Result<Taken> {
    let mut servers = Vec::new();
    for n in 1..=count {
        servers.push((destination(&n.to_string()).await?, format!("d{n}")));
    }
    let to: Vec<Destination<'_>> =
        servers.iter().map(|(s, name)| Destination { name, url: s.url("root"), write: "auto" }).collect();
    let pipeline = Pipeline::copying(source, TABLES, &to)?;
    let sent = bytes_sent(source).await?;
    let begin = Instant::now();
    let reader = pipeline.start_reader()?;
    let mut appliers = Vec::new();
    for (_, name) in &servers {
        appliers.push((pipeline.start_applier(name)?, name));
    }
    let end = copied(&pipeline, &reader).await?;
    let in_log = begin.elapsed().as_secs_f64();
    let sent = bytes_sent(source).await? - sent;
    for (applier, name) in &appliers {
        pipeline.applier_level(applier, name, end, LIMIT).await?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let mut memory = [reader.peak_memory().unwrap_or_default(), 0];
    for (applier, _) in &appliers {
        memory[1] = memory[1].max(applier.peak_memory().unwrap_or_default());
        stop(applier).await?;
    }
    let (cpu, name) = (reader.cpu_time().unwrap_or_default().as_secs_f64(), format!("logweir, {count} destinations"));
    stop(&reader).await?;
    eprintln!(
        "{name}: in the log after {in_log:.2} s, level after {seconds:.2} s; reader's processor {cpu:.2} s, the source sent {sent:.0} MB"
    );
    let mut found = [0.0; 2];
    for (server, _) in &servers {
        same(wanted, server).await?;
        found = size(server).await?;
        server.stop().await?;
    }
    Ok(Taken { name, seconds, memory, size: found })
}

/// MB that a server has sent to its clients.
async fn bytes_sent(server: &Server) -> Result<f64> {
    let row = server.rows("SHOW GLOBAL STATUS LIKE 'Bytes_sent'").await?.into_iter().next();
    let value = row.and_then(|row| row.into_iter().nth(1)).flatten().context("no Bytes_sent")?;
    Ok(String::from_utf8_lossy(&value).parse::<f64>()? / 1e6)
}

/// Waits until the copy has ended in the log: the seq of its end or one behind it.
async fn copied(pipeline: &Pipeline, reader: &Process) -> Result<u64> {
    let socket = control::reader_socket(&pipeline.store());
    let deadline = Instant::now() + LIMIT;
    let mut seen = false;
    loop {
        if let Ok(Answer::Reader(status)) = control::request(&socket, Request::Status).await {
            seen |= status.snapshot.is_some();
            if seen && status.snapshot.is_none() {
                return Ok(status.position.seq);
            }
        }
        if !reader.is_running()? {
            bail!("the reader has ended:\n{}", reader.stderr());
        }
        if Instant::now() > deadline {
            bail!("the copy has not ended after {LIMIT:?}:\n{}", reader.stderr());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What proves that all rows are there.
async fn sums(server: &Server) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for n in 1..=TABLES {
        let sql =
            format!("SELECT CONCAT_WS(' ', COUNT(*), SUM(k), SUM(CRC32(CONCAT(id, k, c, pad)))) FROM bench.sbtest{n}");
        all.push(server.value(&sql).await?.unwrap_or_default());
    }
    Ok(all)
}

async fn same(wanted: &[String], server: &Server) -> Result<()> {
    let found = sums(server).await?;
    if found != wanted {
        bail!("{} holds {found:?} instead of {wanted:?}", server.name());
    }
    let indexes =
        server.value("SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = 'bench'").await?;
    if indexes != Some((2 * TABLES).to_string()) {
        bail!("{} has {indexes:?} indexes", server.name());
    }
    Ok(())
}

/// `data_length + data_free`, and `index_length`, of all tables.
async fn size(server: &Server) -> Result<[f64; 2]> {
    for n in 1..=TABLES {
        server.exec(&format!("ANALYZE TABLE bench.sbtest{n}")).await?;
    }
    let of = |what: &str| {
        format!(
            "SELECT /*+ SET_VAR(information_schema_stats_expiry = 0) */ SUM({what}) FROM information_schema.tables WHERE table_schema = 'bench'"
        )
    };
    let number = |text: Option<String>| text.unwrap_or_default().parse::<f64>().context("a size is no number");
    Ok([
        number(server.value(&of("data_length + data_free")).await?)?,
        number(server.value(&of("index_length")).await?)?,
    ])
}

/// A new, empty folder below `parent`.
pub(super) fn folder(parent: &Path, name: &str) -> Result<std::path::PathBuf> {
    let path = parent.join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).with_context(|| format!("while emptying {}", path.display()))?;
    }
    std::fs::create_dir_all(&path).with_context(|| format!("while creating {}", path.display()))?;
    Ok(path)
}

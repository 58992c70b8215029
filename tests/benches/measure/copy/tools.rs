//! The tools that are measured beside us.

use super::{TABLES, Taken, folder, table};
use anyhow::{Context, Result, bail};
use harness::{Server, ServerKind, servers_dir};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Rows in one file of the `LOAD DATA` limit: about as many bytes as one of our chunks.
const ROWS_PER_FILE: u64 = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    MysqlDump,
    MyDumper,
    LoadData,
    LoadDataIndexAfter,
}

/// In this order.
pub(super) const ALL: [Tool; 4] = [Tool::MysqlDump, Tool::MyDumper, Tool::LoadData, Tool::LoadDataIndexAfter];

impl Tool {
    pub(super) fn name(self) -> &'static str {
        match self {
            Tool::MysqlDump => "mysqldump | mysql",
            Tool::MyDumper => "mydumper, myloader",
            Tool::LoadData => "LOAD DATA",
            Tool::LoadDataIndexAfter => "LOAD DATA, then index",
        }
    }
}

pub(super) async fn run(tool: Tool, source: &Server, destination: &Server, files: &Path) -> Result<Taken> {
    let (source_port, port) = (source.port(), destination.port());
    let (seconds, memory) = match tool {
        Tool::MysqlDump => mysqldump(source_port, port)?,
        Tool::MyDumper => mydumper(source_port, port, files)?,
        Tool::LoadData | Tool::LoadDataIndexAfter => {
            let after = tool == Tool::LoadDataIndexAfter;
            let dir = written(source, files).await?;
            destination.exec("CREATE DATABASE bench").await?;
            for n in 1..=TABLES {
                destination.exec(&table(n, if after { "" } else { ", KEY k (k)" })).await?;
            }
            load_data(port, &dir, after)?
        }
    };
    Ok(Taken { name: tool.name().to_owned(), seconds, memory, size: [0.0; 2] })
}

fn mysqldump(from: u16, to: u16) -> Result<(f64, [u64; 2])> {
    let begin = Instant::now();
    let mut dump = Command::new(ServerKind::Mysql9.program("mysqldump")?);
    dump.args(connection(from)).args([
        "--single-transaction",
        "--quick",
        "--set-gtid-purged=OFF",
        "--databases",
        "bench",
    ]);
    let mut dump = dump.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("while starting mysqldump")?;
    let pipe = dump.stdout.take().context("mysqldump has no stdout")?;
    let mut load = Command::new(ServerKind::Mysql9.program("mysql")?);
    let mut load = load.args(connection(to)).stdin(pipe).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let memory = ended(&mut [("mysqldump", &mut dump), ("mysql", &mut load)])?;
    Ok((begin.elapsed().as_secs_f64(), [memory[0], memory[1]]))
}

/// Connections as our own: TCP, root, no encryption.
fn connection(port: u16) -> Vec<String> {
    let fixed = ["--no-defaults", "--host=127.0.0.1", "--user=root", "--ssl-mode=DISABLED", "--get-server-public-key"];
    fixed.iter().map(|&s| s.to_owned()).chain([format!("--port={port}")]).collect()
}

fn mydumper_program(name: &str) -> Result<PathBuf> {
    let own = std::env::var_os("LOGWEIR_MYDUMPER_BASEDIR").map(PathBuf::from);
    let path = own.unwrap_or_else(|| servers_dir().join("mydumper")).join("bin").join(name);
    if !path.is_file() {
        bail!("no {}: run `scripts/servers.sh mydumper`", path.display());
    }
    Ok(path)
}

fn mydumper(from: u16, to: u16, files: &Path) -> Result<(f64, [u64; 2])> {
    let dir = folder(files, "mydumper")?;
    let arguments = |port: u16| {
        let fixed = ["--host=127.0.0.1".to_owned(), "--user=root".to_owned(), format!("--port={port}")];
        fixed.into_iter().chain([format!("--threads={TABLES}")])
    };
    let begin = Instant::now();
    let mut dump = Command::new(mydumper_program("mydumper")?);
    dump.args(arguments(from)).arg("--database=bench").arg("--rows=50000").arg("--outputdir").arg(&dir);
    let mut dump = dump.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("while starting mydumper")?;
    let dumped = ended(&mut [("mydumper", &mut dump)])?;
    let mut load = Command::new(mydumper_program("myloader")?);
    // The destination's binlog is written in all ways of copying.
    load.args(arguments(to)).arg("--enable-binlog").arg("--directory").arg(&dir);
    let mut load = load.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("while starting myloader")?;
    let loaded = ended(&mut [("myloader", &mut load)])?;
    let seconds = begin.elapsed().as_secs_f64();
    let _ = std::fs::remove_dir_all(&dir);
    Ok((seconds, [dumped[0], loaded[0]]))
}

/// The tables as files for `LOAD DATA`, `TABLE.NUMBER`; written once.
async fn written(source: &Server, files: &Path) -> Result<PathBuf> {
    let dir = files.join("load-data");
    if dir.exists() {
        return Ok(dir);
    }
    let dir = folder(files, "load-data")?;
    let client = ServerKind::Mysql9.program("mysql")?;
    for n in 1..=TABLES {
        let last: u64 =
            source.value(&format!("SELECT MAX(id) FROM bench.sbtest{n}")).await?.context("no rows")?.parse()?;
        for (number, from) in (1..=last).step_by(usize::try_from(ROWS_PER_FILE)?).enumerate() {
            let path = dir.join(format!("sbtest{n}.{number:04}"));
            let out = File::create(&path).with_context(|| format!("while creating {}", path.display()))?;
            let until = from + ROWS_PER_FILE - 1;
            let sql = format!("SELECT * FROM bench.sbtest{n} WHERE id BETWEEN {from} AND {until} ORDER BY id");
            let mut read = Command::new(&client);
            let read = read.args(connection(source.port())).args([
                "--batch",
                "--skip-column-names",
                "--quick",
                "--execute",
                &sql,
            ]);
            let status = read.stdout(out).status().context("while starting mysql")?;
            if !status.success() {
                bail!("mysql ended with {status}");
            }
        }
    }
    Ok(dir)
}

/// One client for each table, all at the same time; each file is a transaction.
fn load_data(port: u16, dir: &Path, index_after: bool) -> Result<(f64, [u64; 2])> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    let begin = Instant::now();
    let mut clients = Vec::new();
    for n in 1..=TABLES {
        let own = files.iter().filter(|f| f.file_stem().is_some_and(|s| s.to_string_lossy() == format!("sbtest{n}")));
        let mut sql: Vec<String> = own
            .map(|f| {
                format!("LOAD DATA LOCAL INFILE '{}' INTO TABLE bench.sbtest{n} CHARACTER SET utf8mb4", f.display())
            })
            .collect();
        if sql.is_empty() {
            bail!("no files for table {n} in {}", dir.display());
        }
        sql.insert(0, "SET foreign_key_checks = 0, unique_checks = 0".to_owned());
        if index_after {
            sql.push(format!("ALTER TABLE bench.sbtest{n} ADD KEY k (k)"));
        }
        let mut client = Command::new(ServerKind::Mysql9.program("mysql")?);
        let client = client.args(connection(port)).args(["--local-infile=1", "--execute", &sql.join("; ")]);
        clients.push(client.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("while starting mysql")?);
    }
    let mut all: Vec<(&str, &mut Child)> = clients.iter_mut().map(|c| ("mysql", c)).collect();
    let memory = ended(&mut all)?;
    Ok((begin.elapsed().as_secs_f64(), [0, memory.into_iter().max().unwrap_or_default()]))
}

/// Waits for all of them to end well: the most memory that each has held.
fn ended(children: &mut [(&str, &mut Child)]) -> Result<Vec<u64>> {
    let mut memory = vec![0; children.len()];
    let mut open: Vec<usize> = (0..children.len()).collect();
    while !open.is_empty() {
        for (most, (_, child)) in memory.iter_mut().zip(children.iter()) {
            *most = peak(child.id()).max(*most);
        }
        let mut left = Vec::new();
        for i in open {
            let Some((name, child)) = children.get_mut(i) else { continue };
            match child.try_wait()? {
                None => left.push(i),
                Some(status) if status.success() => {}
                Some(status) => {
                    let mut text = String::new();
                    if let Some(mut errors) = child.stderr.take() {
                        errors.read_to_string(&mut text)?;
                    }
                    bail!("{name} ended with {status}: {}", text.lines().take(10).collect::<Vec<_>>().join("; "));
                }
            }
        }
        open = left;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(memory)
}

fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or_default() * 1024
}

//! Measures the store on this machine: durable appends, verified reads, and how soon another process sees what was appended.
//!
//! `cargo run --release -p logweir-store --example bench_store -- [--json] [--dir FOLDER] [--mib N]`
//!
//! The folder decides which disk is measured; it is the system's folder for temporary files unless given.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use store::{Compression, FrameBuilder, StoreError, StoreOptions, Tail, Writer};

type Error = Box<dyn std::error::Error>;

/// Bytes of one record, header not counted: an ordinary row.
const ROW: usize = 200;
/// Bytes of one group.
const GROUP: usize = 1 << 20;

struct Line {
    what: &'static str,
    value: f64,
    unit: &'static str,
    /// At least (positive) or at most (negative) this.
    aim: Option<f64>,
}

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().collect();
    if let Some(dir) = value(&args, "--tail") {
        return tail(Path::new(&dir));
    }
    let base = value(&args, "--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let mib: usize = value(&args, "--mib").map_or(Ok(512), |text| text.parse())?;
    let dir = base.join(format!("logweir-bench-{}", std::process::id()));
    let result = measure(&dir, mib);
    std::fs::remove_dir_all(&dir).ok();
    let lines = result?;
    if args.iter().any(|arg| arg == "--json") {
        let fields: Vec<String> = lines
            .iter()
            .map(|l| format!("{{\"what\":\"{}\",\"value\":{:.3},\"unit\":\"{}\"}}", l.what, l.value, l.unit))
            .collect();
        println!("[{}]", fields.join(","));
        return Ok(());
    }
    for Line { what, value, unit, aim } in &lines {
        let aim = match aim {
            Some(aim) if *aim > 0.0 => format!("aim >= {aim}: {}", if value >= aim { "met" } else { "MISSED" }),
            Some(aim) => format!("aim <= {}: {}", -aim, if *value <= -aim { "met" } else { "MISSED" }),
            None => String::new(),
        };
        println!("{what:<52} {value:>12.3} {unit:<10} {aim}");
    }
    Ok(())
}

fn value(args: &[String], name: &str) -> Option<String> {
    args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned()
}

fn measure(dir: &Path, mib: usize) -> Result<Vec<Line>, Error> {
    let mut lines = Vec::new();
    plain_disk(dir, mib, &mut lines)?;
    for (how, append, read, aims) in [
        (Compression::None, "durable append, 1 MiB groups, no compression", "verified read, no compression", true),
        (Compression::Lz4, "durable append, 1 MiB groups, LZ4", "verified read, LZ4", false),
        (Compression::Zstd, "durable append, 1 MiB groups, Zstandard", "verified read, Zstandard", false),
    ] {
        let dir = dir.join(format!("{how:?}"));
        let (rate, per_cpu, ratio) = append_rate(&dir, how, mib)?;
        lines.push(Line { what: append, value: rate, unit: "MB/s", aim: aims.then_some(200.0) });
        lines.push(Line { what: "  per second of processor time", value: per_cpu, unit: "MB/s", aim: None });
        if how != Compression::None {
            lines.push(Line { what: "  stored / raw", value: ratio, unit: "", aim: None });
        }
        // The second reading finds the files in memory.
        read_rate(&dir)?;
        let (rate, per_cpu) = read_rate(&dir)?;
        lines.push(Line { what: read, value: rate, unit: "GB/s", aim: aims.then_some(1.0) });
        lines.push(Line { what: "  per second of processor time", value: per_cpu, unit: "GB/s", aim: None });
        let start = Instant::now();
        let report = store::verify(&dir)?;
        let rate = report.bytes as f64 / 1e9 / start.elapsed().as_secs_f64();
        lines.push(Line { what: "  verify of the whole store, stored bytes", value: rate, unit: "GB/s", aim: None });
        let start = Instant::now();
        drop(Writer::open(&dir, StoreOptions::default())?);
        lines.push(Line { what: "  recovery", value: start.elapsed().as_secs_f64() * 1e3, unit: "ms", aim: None });
        std::fs::remove_dir_all(&dir).ok();
    }
    latency(&dir.join("small"), &mut lines)?;
    Ok(lines)
}

/// What the disk itself gives now, without a store: the bound for every figure below it.
fn plain_disk(dir: &Path, mib: usize, lines: &mut Vec<Line>) -> Result<(), Error> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("plain");
    let mut file = std::fs::File::create(&path)?;
    let group = vec![0x5a; GROUP];
    let start = Instant::now();
    for _ in 0..mib {
        file.write_all(&group)?;
        file.sync_data()?;
    }
    let rate = (mib * GROUP) as f64 / 1e6 / start.elapsed().as_secs_f64();
    lines.push(Line { what: "disk alone: write + fdatasync of 1 MiB", value: rate, unit: "MB/s", aim: None });
    let mut times = Vec::new();
    for _ in 0..1000 {
        let start = Instant::now();
        file.write_all(&group[..300])?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    lines.push(Line {
        what: "disk alone: write + fdatasync of 300 bytes, p50",
        value: percentile(&mut times, 50),
        unit: "ms",
        aim: None,
    });
    lines.push(Line {
        what: "disk alone: write + fdatasync of 300 bytes, p99",
        value: percentile(&mut times, 99),
        unit: "ms",
        aim: None,
    });
    std::fs::remove_file(&path)?;
    Ok(())
}

/// Fills a group with rows that look like rows: numbers that count, a few words, some noise.
fn fill(frame: &mut FrameBuilder, from: &mut u64) {
    const WORDS: [&[u8]; 8] =
        [b"alpha", b"customer", b"pending", b"Berlin", b"delivered", b"2026-01-31", b"NULL", b"street"];
    while frame.len_bytes() < GROUP {
        *from += 1;
        let mut noise = from.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        frame.push_with(1, |buf| {
            let end = buf.len() + ROW;
            buf.extend_from_slice(&from.to_le_bytes());
            while buf.len() + 24 < end {
                noise = noise.rotate_left(17).wrapping_mul(0xd6e8_feb8_6659_fd93);
                buf.extend_from_slice(WORDS[(noise & 7) as usize]);
                buf.extend_from_slice(&noise.to_le_bytes()[..4]);
            }
            buf.resize(end, b' ');
        });
        frame.end_seq();
    }
}

fn append_rate(dir: &Path, compression: Compression, mib: usize) -> Result<(f64, f64, f64), Error> {
    let (mut writer, _) = Writer::open(dir, StoreOptions { compression, ..StoreOptions::default() })?;
    // Filling the groups is not the store's time.
    let mut frame = FrameBuilder::new();
    let (mut filling, mut filling_cpu) = (Duration::ZERO, 0.0);
    let cpu = cpu_seconds();
    let start = Instant::now();
    let mut from = 0;
    for _ in 0..mib {
        let (began, began_cpu) = (Instant::now(), cpu_seconds());
        fill(&mut frame, &mut from);
        filling += began.elapsed();
        filling_cpu += cpu_seconds() - began_cpu;
        if writer.segment_is_full() {
            writer.roll(b"bench")?;
        }
        writer.append(&mut frame)?;
        writer.sync()?;
    }
    let seconds = (start.elapsed() - filling).as_secs_f64();
    let cpu = cpu_seconds() - cpu - filling_cpu;
    let stats = *writer.stats();
    writer.close()?;
    let raw = stats.raw_bytes as f64;
    Ok((raw / 1e6 / seconds, raw / 1e6 / cpu, stats.stored_bytes as f64 / raw))
}

fn read_rate(dir: &Path) -> Result<(f64, f64), Error> {
    let mut tail = Tail::open(dir)?;
    let (mut bytes, mut rows) = (0, 0u64);
    let cpu = cpu_seconds();
    let start = Instant::now();
    while let Some(frame) = tail.next()? {
        bytes += frame.body().len();
        rows += frame.records().map(|record| u64::from(record.ends_seq)).sum::<u64>();
    }
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(rows, tail.last_seq().0);
    let gigabytes = bytes as f64 / 1e9;
    Ok((gigabytes / seconds, gigabytes / (cpu_seconds() - cpu)))
}

/// Small transactions, one at a time, seen by another process.
fn latency(dir: &Path, lines: &mut Vec<Line>) -> Result<(), Error> {
    const COUNT: u64 = 2000;
    let (mut writer, _) = Writer::open(dir, StoreOptions::default())?;
    writer.roll(b"bench")?;
    let mut reader = Command::new(std::env::current_exe()?).arg("--tail").arg(dir).stdout(Stdio::piped()).spawn()?;
    std::thread::sleep(Duration::from_millis(200));
    let mut frame = FrameBuilder::new();
    let mut syncs = Vec::new();
    for seq in 1..=COUNT {
        std::thread::sleep(Duration::from_micros(500));
        let began = Instant::now();
        frame.push(1, &now_ns().to_le_bytes());
        frame.push(2, &[b'x'; ROW]);
        if seq == COUNT {
            frame.push(3, b"");
        }
        frame.end_seq();
        writer.append(&mut frame)?;
        writer.sync()?;
        syncs.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let mut text = String::new();
    reader.stdout.take().ok_or("the reader has no output")?.read_to_string(&mut text)?;
    reader.wait()?;
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [p50, p99, wake50, wake99, cpu] = numbers[..] else { return Err(format!("reader said {text:?}").into()) };
    lines.push(Line {
        what: "append + sync, 1-row transactions, p50",
        value: percentile(&mut syncs, 50),
        unit: "ms",
        aim: None,
    });
    lines.push(Line {
        what: "append + sync, 1-row transactions, p99",
        value: percentile(&mut syncs, 99),
        unit: "ms",
        aim: None,
    });
    lines.push(Line { what: "append to read by another process, p50", value: p50, unit: "ms", aim: None });
    lines.push(Line { what: "append to read by another process, p99", value: p99, unit: "ms", aim: Some(-10.0) });
    lines.push(Line { what: "publication to wake-up of another process, p50", value: wake50, unit: "ms", aim: None });
    lines.push(Line {
        what: "publication to wake-up of another process, p99",
        value: wake99,
        unit: "ms",
        aim: Some(-1.0),
    });
    lines.push(Line { what: "processor time of the waiting process", value: cpu, unit: "% of one", aim: None });
    Ok(())
}

/// The reading process: prints percentiles in milliseconds.
fn tail(dir: &Path) -> Result<(), Error> {
    let mut tail = loop {
        match Tail::open(dir) {
            Err(StoreError::NotYet { .. }) => std::thread::sleep(Duration::from_millis(1)),
            other => break other?,
        }
    };
    let (mut seen, mut woken) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let mut done = false;
    while !done && start.elapsed() < Duration::from_secs(60) {
        if !tail.wait(Duration::from_secs(1)) {
            continue;
        }
        let late = SystemTime::now().duration_since(tail.watermark().heartbeat).unwrap_or_default();
        woken.push(late.as_secs_f64() * 1e3);
        while let Some(frame) = tail.next()? {
            for record in frame.records() {
                match record.kind {
                    1 => {
                        let then = u64::from_le_bytes(record.payload.try_into()?);
                        seen.push(now_ns().saturating_sub(then) as f64 / 1e6);
                    }
                    3 => done = true,
                    _ => {}
                }
            }
        }
    }
    let cpu = cpu_seconds() / start.elapsed().as_secs_f64() * 100.0;
    let p =
        [percentile(&mut seen, 50), percentile(&mut seen, 99), percentile(&mut woken, 50), percentile(&mut woken, 99)];
    println!("{} {} {} {} {cpu}", p[0], p[1], p[2], p[3]);
    Ok(())
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() * percent / 100).copied().unwrap_or(f64::NAN)
}

/// The machine's clock, the same in both processes.
fn now_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

/// Processor time of this thread: what it costs, however busy the machine is.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

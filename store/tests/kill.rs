//! 1,000 times kill -9 of the writing process at a random moment, with two processes reading at the tail all the while.
//!
//! The processes are this test program again, told apart by an environment variable.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::{FrameBuilder, Seq, StoreError, StoreOptions, Tail, Writer, verify};

const DIR: &str = "LOGWEIR_KILL_DIR";
const KILLS: usize = 1000;

fn options() -> StoreOptions {
    StoreOptions { segment_bytes: 256 << 10, ..StoreOptions::default() }
}

/// A stable hash; the order of its input matters.
fn mix(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Payload of a record: what it says is checked by the readers.
fn payload(seq: u64, epoch: u64, part: u64, len: usize, buf: &mut Vec<u8>) {
    let start = buf.len();
    for word in [seq, epoch, part] {
        buf.extend_from_slice(&word.to_le_bytes());
    }
    let seed = mix(1, &buf[start..]).to_le_bytes();
    buf.extend((0..len).map(|i| seed[i % 8] ^ (i / 8) as u8));
}

/// Checks a record and returns its epoch.
fn check(seq: Seq, part: u64, bytes: &[u8]) -> u64 {
    let epoch = u64::from_le_bytes(bytes[8..16].try_into().unwrap());
    let mut expected = Vec::new();
    payload(seq.0, epoch, part, bytes.len() - 24, &mut expected);
    assert_eq!(bytes, expected, "record {part} of seq {seq} is not what a writer wrote");
    epoch
}

/// Writes until it is killed.
fn writer(dir: &Path) {
    let (mut writer, found) = Writer::open(dir, options()).unwrap();
    let mut rng = StdRng::seed_from_u64(found.epoch);
    if found.needs_roll {
        writer.roll(b"").unwrap();
    }
    let mut frame = FrameBuilder::new();
    let mut seq = found.next_seq.0;
    loop {
        if writer.segment_is_full() {
            writer.roll(&seq.to_le_bytes()).unwrap();
        }
        for _ in 0..rng.random_range(1..4) {
            let parts = rng.random_range(1..4);
            for part in 0..parts {
                let len = rng.random_range(0..600);
                frame.push_with(1, |buf| payload(seq, found.epoch, part, len, buf));
                if rng.random_bool(0.05) {
                    writer.append(&mut frame).unwrap();
                    if rng.random_bool(0.2) {
                        writer.roll(b"inside").unwrap();
                    }
                }
            }
            frame.push_with(2, |buf| payload(seq, found.epoch, parts, 0, buf));
            frame.end_seq();
            seq += 1;
        }
        writer.append(&mut frame).unwrap();
        if rng.random_bool(0.7) {
            writer.sync().unwrap();
        }
    }
}

/// Reads at the tail until the log ends at the seq given on standard input; then says what it read.
fn reader(dir: &Path) {
    let (send, stop) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(std::io::stdin()).lines() {
            let _ = send.send(line.unwrap().parse::<u64>().unwrap());
        }
    });
    let deadline = Instant::now() + Duration::from_secs(300);
    let mut tail = loop {
        match Tail::open(dir) {
            Ok(tail) => break tail,
            Err(StoreError::NotYet { .. }) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < deadline);
    };
    let (mut until, mut last, mut hash) = (u64::MAX, 0, 0);
    while last < until {
        assert!(Instant::now() < deadline, "stuck at seq {last} of {until}");
        read(&mut tail, &mut last, &mut hash);
        tail.wait(Duration::from_millis(100));
        until = stop.try_recv().unwrap_or(until);
    }
    assert_eq!(last, until, "read beyond the recovered end");
    // Found by the parent even where the test program prints beside it.
    println!("\nread {last} {hash}");
    std::io::stdout().flush().unwrap();
}

/// Reads what is there; checks that seqs are dense and records whole.
fn read(tail: &mut Tail, last: &mut u64, hash: &mut u64) {
    let (mut part, mut epoch) = (0, 0);
    while let Some(frame) = tail.next().unwrap() {
        for record in frame.records() {
            assert_eq!(record.seq.0, *last + 1, "a seq is missing or doubled");
            assert_eq!(record.first_in_seq, part == 0);
            let of = check(record.seq, part, record.payload);
            assert!(part == 0 || epoch == of, "seq {} has parts of two writers", record.seq);
            epoch = of;
            *hash = mix(*hash, record.payload);
            part += 1;
            if record.ends_seq {
                assert_eq!(record.kind, 2);
                *last += 1;
                part = 0;
            }
        }
    }
    assert_eq!(part, 0, "part of a seq is visible");
}

fn start(role: &str, dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    command.env(DIR, dir).env("LOGWEIR_KILL_ROLE", role);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits until the process has recovered the store and publishes.
fn wait_for_writer(dir: &Path, pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !Tail::open(dir).is_ok_and(|tail| tail.watermark().writer_pid == pid) {
        assert!(Instant::now() < deadline, "the writer does not start");
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// Not a test of its own: what the child processes run.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    match std::env::var("LOGWEIR_KILL_ROLE").as_deref() {
        Ok("writer") => writer(&dir),
        _ => reader(&dir),
    }
}

#[test]
fn a_thousand_kills_of_the_writer_lose_and_double_nothing() {
    if std::env::var_os(DIR).is_some() {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut readers = [start("reader", disk.path()), start("reader", disk.path())];
    let mut published = 0;
    for kill in 0..KILLS {
        let mut writer = start("writer", disk.path());
        // Four of five die at work, however slow the machine is today; the fifth may die while it starts or recovers.
        if rng.random_bool(0.8) {
            wait_for_writer(disk.path(), writer.id());
            std::thread::sleep(Duration::from_micros(rng.random_range(0..15_000)));
        } else {
            std::thread::sleep(Duration::from_micros(rng.random_range(500..30_000)));
        }
        writer.kill().unwrap();
        let status = writer.wait().unwrap();
        assert_eq!(status.code(), None, "kill {kill}: the writer ended by itself: {status}");
        if let Ok(tail) = Tail::open(disk.path()) {
            let now = tail.last_seq().0;
            assert!(now >= published, "kill {kill}: the visible end went back from {published} to {now}");
            published = now;
        }
    }
    let (writer, found) = Writer::open(disk.path(), options()).unwrap();
    let end = found.next_seq.0 - 1;
    assert!(end >= published);
    drop(writer);
    for reader in &mut readers {
        writeln!(reader.stdin.take().unwrap(), "{end}").unwrap();
    }
    let (mut last, mut hash) = (0, 0);
    read(&mut Tail::open(disk.path()).unwrap(), &mut last, &mut hash);
    for reader in readers {
        let output = reader.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(
            text.contains(&format!("read {last} {hash}")),
            "a reader saw something else than seq {last}, {hash}: {text}"
        );
    }
    let report = verify(disk.path()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(last, end);
    println!("{KILLS} kills, {last} seqs, {} segments, {} bytes", report.segments, report.bytes);
    assert!(found.epoch > KILLS as u64 * 7 / 10, "only {} writers came to work", found.epoch);
    assert!(last > 1000, "only {last} seqs were written");
}

//! The `logweir` command as a process: exit codes, what goes to stdout and what to stderr, and stores that it looks into.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::path::Path;
use std::process::{Command, Output};

use common::record::{Begin, Commit, CommitKind, Ddl, DdlKind, Op, RecordKind, Rows, SegmentStart, SessionContext};
use common::schema::LayoutOrigin;
use common::{BinlogPosition, Column, Flavor, GtidSet, TableSchema, codec};
use serde_json::Value;
use store::{Consumer, FrameBuilder, Seq, StoreOptions, Writer};

fn logweir(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    command.args(args).env_remove("LOGWEIR_CONFIG").env("SHOP_PASSWORD", "hunter2");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs and expects this exit code; returns stdout and stderr.
fn expect(code: i32, args: &[&str]) -> (String, String) {
    let output = logweir(args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "logweir {args:?}\nstdout: {out}\nstderr: {err}");
    (out, err)
}

fn json(args: &[&str]) -> Value {
    let (out, _) = expect(0, args);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn push<T: bincode::Encode>(frame: &mut FrameBuilder, kind: RecordKind, record: &T) {
    frame.push(kind as u8, &codec::encode(record).unwrap());
}

/// A store of `count` transactions that each insert a row into shop.orders, with a DDL statement before them.
fn store(dir: &Path, count: u64) {
    let (mut writer, _) = Writer::open(dir, StoreOptions::default()).unwrap();
    let at = |offset| BinlogPosition { file: "binlog.000007".into(), offset };
    let start = SegmentStart {
        epoch: 1,
        position: at(4),
        gtids: GtidSet::new(),
        committed_us: 0,
        snapshots: Default::default(),
    };
    writer.roll(&codec::encode(&start).unwrap()).unwrap();
    let column = |name: &str, type_code, meta| Column {
        name: name.into(),
        type_code,
        meta,
        nullable: true,
        unsigned: false,
        collation: if type_code == 15 { 45 } else { 0 },
        members: Vec::new(),
        visible: true,
    };
    let schema = TableSchema {
        database: "shop".into(),
        table: "orders".into(),
        flavor: Flavor::MySql,
        columns: vec![column("id", 3, 0), column("note", 15, 80)],
        primary_key: Vec::new(),
        origin: LayoutOrigin::TableMap,
    };
    let begin = |n: u64| Begin {
        gtid: Some(format!("{UUID}:{n}").parse().unwrap()),
        server_id: 11,
        committed_us: 1_769_860_800_000_000 + n * 1_000_000,
        original_us: 0,
        last_committed: 0,
        sequence_number: 0,
    };
    let commit = |n: u64, kind, row_count| Commit { end: at(n * 100), kind, row_count };
    let mut frame = FrameBuilder::new();
    push(&mut frame, RecordKind::Begin, &begin(1));
    let ddl = Ddl {
        statement: b"CREATE TABLE orders (id INT, note VARCHAR(20))",
        database: b"shop",
        kind: DdlKind::CreateTable,
        objects: Vec::new(),
        context: SessionContext::default(),
        atomic_rows_follow: false,
    };
    push(&mut frame, RecordKind::Ddl, &ddl);
    push(&mut frame, RecordKind::Commit, &commit(1, CommitKind::Implicit, 0));
    frame.end_seq();
    for n in 2..=count {
        push(&mut frame, RecordKind::Begin, &begin(n));
        if n == 2 {
            push(&mut frame, RecordKind::Schema, &schema);
        }
        let mut images = vec![0];
        images.extend(u32::try_from(n).unwrap().to_le_bytes());
        images.extend(b"\x06gr\xc3\xbcn!");
        let rows = Rows {
            schema: schema.id().unwrap(),
            op: Op::Insert,
            flags: 1,
            row_count: 1,
            columns_before: &[],
            columns_after: &[3],
            images: &images,
            more_bytes: 0,
        };
        push(&mut frame, RecordKind::Rows, &rows);
        push(&mut frame, RecordKind::Commit, &commit(n, CommitKind::Commit, 1));
        frame.end_seq();
    }
    writer.append(&mut frame).unwrap();
    writer.sync().unwrap();
    writer.close().unwrap();
}

fn config(dir: &Path) -> String {
    let path = dir.join("logweir.toml");
    let text = "name = \"shop\"\n[source]\nurl = \"mysql://repl@127.0.0.1:1\"\npassword_env = \"SHOP_PASSWORD\"\n[store]\ndir = \"store\"\n\
                [[destination]]\nname = \"replica\"\nurl = \"mysql://sync:s3cret@127.0.0.1:1\"\n";
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn bad_usage_ends_with_code_2_and_help_with_0() {
    for args in
        [&["nonsense"][..], &[], &["wait", "--timeout", "soon"], &["store", "list"], &["store", "find", "--store", "x"]]
    {
        let (out, err) = expect(2, args);
        assert!(out.is_empty() && err.contains("--help"), "{out}{err}");
    }
    for args in
        [&["--help"][..], &["--version"], &["run", "--help"], &["completions", "bash"], &["store", "dump", "--help"]]
    {
        let (out, err) = expect(0, args);
        assert!(!out.is_empty() && err.is_empty(), "{out}{err}");
    }
}

#[test]
fn a_wrong_configuration_shows_all_its_errors_with_lines_and_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.toml");
    std::fs::write(&path, "name = \"shop\"\n[source]\nurl = \"mysql://repl:hunter2@h/db\"\nretry = \"1h\"\n[store]\n")
        .unwrap();
    let path = path.display().to_string();
    for args in [
        &["run", "--config"][..],
        &["status", "--config"],
        &["wait", "--config"],
        &["pause", "--config"],
        &["run", "--check-config", "--config"],
    ] {
        let (out, err) = expect(2, &[args, &[&path]].concat());
        for wanted in [
            "has 4 errors",
            ":3: source.url: names a database",
            ":4: source.retry: is not a key",
            "store.dir: is missing",
            "destination: is missing",
        ] {
            assert!(err.contains(wanted), "no '{wanted}' in {err}");
        }
        assert!(out.is_empty() && !err.contains("hunter2"), "{out}{err}");
    }
    let (_, err) = expect(2, &["run", "--config", "/nowhere.toml"]);
    assert!(err.contains("/nowhere.toml: cannot be read"), "{err}");
}

#[test]
fn a_right_configuration_is_ok_and_printed_without_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (out, _) = expect(0, &["run", "--check-config", "--config", &config]);
    assert!(out.contains("ok"), "{out}");
    let (out, _) = expect(0, &["run", "--print-config", "--config", &config]);
    assert!(out.contains("retry_for = \"12h\"") && out.contains("***"), "{out}");
    assert!(!out.contains("hunter2") && !out.contains("s3cret"), "{out}");
}

#[test]
fn status_tells_what_it_can_while_nothing_runs() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (out, _) = expect(0, &["status", "--config", &config]);
    assert!(out.contains("not running") && out.contains("no store in"), "{out}");
    store(&dir.path().join("store"), 10);
    let mut consumer = Consumer::register(&dir.path().join("store"), "replica").unwrap();
    consumer.advance(Seq(7)).unwrap();
    consumer.flush().unwrap();
    let seen = json(&["status", "--json", "--config", &config]);
    assert_eq!(seen["reader"]["running"], false);
    assert_eq!(seen["reader"]["position"]["seq"], 10);
    assert_eq!(seen["reader"]["position"]["gtids"], format!("{UUID}:1-10"));
    assert_eq!(seen["reader"]["position"]["binlog"]["offset"], 1000);
    assert_eq!(seen["destinations"][0]["position"]["seq"], 7);
    assert_eq!(seen["destinations"][0]["lag"]["seqs"], 3);
    let note = common::control::StopNote {
        exit_code: 4,
        reason: "shop.orders id=5 is missing".into(),
        at_us: common::control::now_us(),
    };
    std::fs::create_dir_all(dir.path().join("store/run")).unwrap();
    common::control::leave_note(&common::control::applier_socket(&dir.path().join("store"), "replica"), &note).unwrap();
    let (out, _) = expect(0, &["status", "--config", &config]);
    assert!(out.contains("exit code 4: shop.orders id=5 is missing"), "{out}");
    assert!(!out.contains("hunter2") && !out.contains("s3cret"), "{out}");
}

#[test]
fn services_that_do_not_run_cannot_be_paused_and_unknown_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (out, _) = expect(1, &["pause", "--config", &config]);
    assert_eq!(out, "reader: not running\napplier replica: not running\n");
    let (_, err) = expect(2, &["resume", "--config", &config, "--destination", "nobody"]);
    assert!(err.contains("there is no destination 'nobody'; there are: replica"), "{err}");
    let (_, err) = expect(1, &["wait", "--config", &config, "--timeout", "2s"]);
    assert!(err.contains("mysql://repl@127.0.0.1:1 cannot be reached") && !err.contains("hunter2"), "{err}");
}

#[test]
fn a_store_is_listed_dumped_and_searched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    store(&path, 10);
    let store = path.display().to_string();
    let listed = json(&["store", "list", "--json", "--store", &store]);
    assert_eq!(
        (listed["last_seq"].as_u64(), listed["segments"][0]["binlog"].as_str()),
        (Some(10), Some("binlog.000007:4"))
    );
    let (out, _) = expect(0, &["store", "list", "--store", &store]);
    assert!(out.contains("1 segments") && out.contains("binlog.000007:4"), "{out}");

    let (out, _) = expect(0, &["store", "dump", "--store", &store, "--from", "seq:3", "--until", "seq:4"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 8, "{out}");
    assert!(lines[1] == "3 insert shop.orders (1 rows)" && lines[2].contains("{id: 3, note: \"grün!\"}"), "{out}");
    let (out, _) = expect(0, &["store", "dump", "--store", &store, "--json"]);
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.iter().any(|r| r["record"] == "ddl" && r["kind"] == "CreateTable"), "{out}");
    assert!(rows.iter().any(|r| r["record"] == "rows" && r["values"][0]["after"]["id"] == 9), "{out}");
    let (out, _) = expect(0, &["store", "dump", "--store", &store, "--table", "shop.nothing", "--summary"]);
    assert!(!out.contains("insert"), "{out}");

    for (position, seq) in [
        ("seq:5", 5),
        (&format!("gtid:{UUID}:6"), 6),
        ("binlog:binlog.000007:650", 7),
        ("binlog:binlog.000007:700", 7),
        ("time:2026-01-31T12:00:08Z", 8),
        ("earliest", 1),
        ("latest", 10),
    ] {
        let found = json(&["store", "find", "--json", "--store", &store, position]);
        assert_eq!(found["seq"], seq, "{position}: {found}");
        assert_eq!(found["gtid"], format!("{UUID}:{seq}"), "{position}");
    }
    let (out, _) = expect(0, &["store", "find", "--store", &store, "seq:5"]);
    assert!(out.contains("shop.orders: 1") && out.contains("binlog.000007:500"), "{out}");
    for position in ["seq:11", &format!("gtid:{UUID}:99"), "time:2030-01-01T00:00:00Z"] {
        let (_, err) = expect(1, &["store", "find", "--store", &store, position]);
        assert!(err.contains("is not in the store"), "{err}");
    }
}

#[test]
fn verify_finds_a_flipped_bit_and_ends_with_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    store(&path, 10);
    let arg = path.display().to_string();
    let report = json(&["store", "verify", "--json", "--store", &arg]);
    assert_eq!((report["sound"].as_bool(), report["last_seq"].as_u64()), (Some(true), Some(10)));
    let listed = json(&["store", "list", "--json", "--store", &arg]);
    let file = path.join("segments").join(listed["segments"][0]["file"].as_str().unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4096 + 200] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (out, _) = expect(3, &["store", "verify", "--store", &arg]);
    assert!(out.contains("damaged: segment") && out.contains("offset 4096") && out.contains("seq 1"), "{out}");
    let (_, err) = expect(3, &["store", "dump", "--store", &arg]);
    assert!(!err.is_empty());
    let (_, err) = expect(1, &["store", "list", "--store", "/nowhere"]);
    assert!(err.contains("no store in /nowhere"), "{err}");
}

#[test]
fn prune_deletes_only_what_every_destination_has_passed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let segment = |first: u64, last: u64| {
        let (mut writer, _) = Writer::open(&path, StoreOptions::default()).unwrap();
        let at = BinlogPosition { file: "binlog.000007".into(), offset: first };
        let start = SegmentStart {
            epoch: 1,
            position: at.clone(),
            gtids: GtidSet::new(),
            committed_us: 0,
            snapshots: Default::default(),
        };
        writer.roll(&codec::encode(&start).unwrap()).unwrap();
        let mut frame = FrameBuilder::new();
        for _ in first..=last {
            push(&mut frame, RecordKind::Commit, &Commit { end: at.clone(), kind: CommitKind::Commit, row_count: 0 });
            frame.end_seq();
        }
        writer.append(&mut frame).unwrap();
        writer.sync().unwrap();
        writer
    };
    segment(1, 5).close().unwrap();
    segment(6, 9).close().unwrap();
    let writer = segment(10, 12);
    let arg = path.display().to_string();
    let consumer = |name: &str, seq| {
        let mut consumer = Consumer::register(&path, name).unwrap();
        consumer.advance(Seq(seq)).unwrap();
        consumer.flush().unwrap();
    };
    consumer("fast", 12);
    consumer("slow", 5);
    let (_, err) = expect(1, &["store", "prune", "--store", &arg]);
    assert!(err.contains("has the store open"), "{err}");
    writer.close().unwrap();
    let (out, _) = expect(0, &["store", "prune", "--store", &arg, "--keep", "1h"]);
    assert!(out.contains("0 segments deleted"), "{out}");
    let (out, _) = expect(0, &["store", "prune", "--store", &arg]);
    assert!(out.contains("segment 1 (seq 1 to 5") && out.contains("1 segments deleted"), "{out}");
    let (_, err) = expect(2, &["store", "prune", "--store", &arg, "--forget", "nobody"]);
    assert!(err.contains("there are: fast, slow"), "{err}");
    let (out, _) = expect(0, &["store", "prune", "--store", &arg, "--forget", "slow"]);
    assert!(out.contains("slow is forgotten") && out.contains("segment 2"), "{out}");
    assert_eq!(json(&["store", "verify", "--json", "--store", &arg])["first_seq"], 10);
    expect(1, &["store", "prune", "--store", "/nowhere"]);
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn whoever_reads_only_the_beginning_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    store(&path, 3000);
    let script = format!(
        "set -o pipefail; '{}' store dump --store '{}' | head -1",
        env!("CARGO_BIN_EXE_logweir"),
        path.display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

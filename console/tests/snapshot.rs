//! `logweir snapshot` against a reader that is played by the test, and stores that hold a snapshot.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::control::{self, Answer, ApplierStatus, ReaderStatus, Request, SnapshotSeen};
use common::record::{RecordKind, SegmentStart};
use common::snapshot::{
    ObjectKind, ObjectName, SnapshotBegin, SnapshotChunk, SnapshotObject, SnapshotStep, Span, TableName,
};
use common::{BinlogPosition, GtidSet, codec};
use serde_json::Value;
use store::{FrameBuilder, StoreOptions, Writer};

async fn logweir(args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_logweir"));
    command.args(args).env_remove("LOGWEIR_CONFIG").kill_on_drop(true).output().await.unwrap()
}

/// Runs and expects this exit code; returns stdout and stderr.
async fn expect(code: i32, args: &[&str]) -> (String, String) {
    let output = logweir(args).await;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "logweir {args:?}\nstdout: {out}\nstderr: {err}");
    (out, err)
}

fn config(dir: &Path) -> String {
    let path = dir.join("logweir.toml");
    let text = "name = \"shop\"\n[source]\nurl = \"mysql://repl@127.0.0.1:1\"\n[store]\ndir = \"store\"\n\
                [[destination]]\nname = \"a\"\nurl = \"mysql://sync@127.0.0.1:1\"\n[[destination]]\nname = \"b\"\nurl = \"mysql://sync@127.0.0.1:1\"\n";
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// What the played services are asked and how far they are.
#[derive(Default)]
struct Played {
    asked: Vec<Request>,
    begun: Option<Instant>,
}

const COPY: Duration = Duration::from_millis(1500);
const LOAD: Duration = Duration::from_millis(3000);

/// A reader that copies for a while after it was told to, and the applier `a` that has it later; `b` never does.
async fn play(store: &Path) -> (Arc<Mutex<Played>>, Vec<control::Served>) {
    let played = Arc::new(Mutex::new(Played::default()));
    let mut served = Vec::new();
    let shared = played.clone();
    let reader = move |request: Request| {
        let shared = shared.clone();
        async move {
            let mut played = shared.lock().unwrap();
            match &request {
                Request::Status => {
                    let running = played.begun.is_some_and(|at| at.elapsed() < COPY);
                    let mut status = ReaderStatus::default();
                    status.position.seq = if played.begun.is_none() { 5 } else { 9 };
                    status.snapshot = running.then(|| SnapshotSeen { tables: 2, rows: 7, ..SnapshotSeen::default() });
                    return Answer::Reader(Box::new(status));
                }
                Request::Snapshot { tables, .. } => {
                    let answer = match tables.iter().any(|t| t == "shop.nothing") {
                        true => Answer::Refused { reason: "no table matches shop.nothing".into() },
                        false => Answer::Begun { tables: vec!["shop.orders".into(), "shop.lines".into()] },
                    };
                    played.begun = Some(Instant::now());
                    played.asked.push(request);
                    return answer;
                }
                _ => {}
            }
            played.asked.push(request);
            Answer::Done
        }
    };
    served.push(control::serve(&control::reader_socket(store), reader).await.unwrap());
    for name in ["a", "b"] {
        let shared = played.clone();
        let applier = move |_| {
            let mut status = ApplierStatus { destination: name.into(), ..ApplierStatus::default() };
            let loaded = shared.lock().unwrap().begun.is_some_and(|at| at.elapsed() > LOAD);
            status.position.seq = if loaded && name == "a" { 9 } else { 5 };
            async move { Answer::Applier(Box::new(status)) }
        };
        served.push(control::serve(&control::applier_socket(store, name), applier).await.unwrap());
    }
    (played, served)
}

#[tokio::test]
async fn a_reader_that_does_not_run_is_said_with_the_command_that_starts_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    for args in [&["--tables", "shop.*"][..], &["--cancel"], &["--set", "threads=2"], &[]] {
        let (out, err) = expect(1, &[&["snapshot", "--config", &config], args].concat()).await;
        assert!(out.is_empty() && err.contains(&format!("logweir run --config {config}")), "{out}{err}");
    }
    let (_, err) = expect(2, &["snapshot", "--config", &config, "--destination", "nobody"]).await;
    assert!(err.contains("there is no destination 'nobody'; there are: a, b"), "{err}");
    for wrong in ["--tables=shop", "--set=mode=none", "--set=threads"] {
        let (_, err) = expect(2, &["snapshot", "--config", &config, wrong]).await;
        assert!(err.contains("--help"), "{err}");
    }
}

#[tokio::test]
async fn requests_reach_the_reader_and_what_was_begun_is_told_in_words_and_json() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (played, _served) = play(&dir.path().join("store")).await;
    let snapshot = ["snapshot", "--config", config.as_str()];
    let run = async |code, args: &[&str]| expect(code, &[&snapshot, args].concat()).await;
    let (out, err) = run(0, &["--tables", "shop.orders,shop.l*", "--destination", "a"]).await;
    assert_eq!((out.as_str(), err.as_str()), ("2 tables will be copied to a: shop.orders, shop.lines\n", ""));
    let (out, _) = run(0, &["--json", "--set", "max_rows_per_second=50000", "--tables", "shop.*"]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["begun"], serde_json::json!(["shop.orders", "shop.lines"]));
    assert_eq!(told["destinations"], serde_json::json!(["a", "b"]));
    let (out, _) = run(0, &["--set", "pause_query="]).await;
    assert_eq!(out, "pause_query is no limit until the reader's next start\n");
    let (out, _) = run(0, &["--cancel"]).await;
    assert!(out.contains("tables that are not done stay as they are"), "{out}");
    let (_, err) = run(1, &["--tables", "shop.nothing"]).await;
    assert!(err.contains("the reader refuses: no table matches shop.nothing"), "{err}");
    let tune = |key: &str, value: &str| Request::Tune { key: key.into(), value: value.into() };
    let copy = |tables: &[&str], destination: Option<&str>| Request::Snapshot {
        tables: tables.iter().map(|t| (*t).to_owned()).collect(),
        destination: destination.map(str::to_owned),
    };
    assert_eq!(
        played.lock().unwrap().asked,
        [
            copy(&["shop.orders", "shop.l*"], Some("a")),
            tune("max_rows_per_second", "50000"),
            copy(&["shop.*"], None),
            tune("pause_query", ""),
            Request::CancelSnapshot,
            copy(&["shop.nothing"], None),
        ]
    );
}

#[tokio::test]
async fn waiting_shows_progress_and_ends_when_the_destination_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (_played, _served) = play(&dir.path().join("store")).await;
    let started = Instant::now();
    let args = ["snapshot", "--config", &config, "--destination", "a", "--wait", "--timeout", "60s", "--json"];
    let (out, err) = expect(0, &args).await;
    assert!(started.elapsed() >= LOAD, "it came back before the destination had it");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["seq"], 9, "{told}");
    assert!(err.contains("reader copies: 0 of 2 tables"), "{err}");
    // The other destination never has it.
    let (_, err) = expect(5, &["snapshot", "--config", &config, "--wait", "--timeout", "5s"]).await;
    assert!(err.contains("is not at all destinations yet; it goes on"), "{err}");
}

fn store_with_a_snapshot(dir: &Path) {
    let (mut writer, _) = Writer::open(dir, StoreOptions::default()).unwrap();
    let at = BinlogPosition { file: "binlog.000007".into(), offset: 400 };
    let table = |name: &str| TableName { database: "shop".into(), table: name.into() };
    let start = SegmentStart {
        epoch: 1,
        position: BinlogPosition { file: "binlog.000007".into(), offset: 4 },
        gtids: GtidSet::new(),
        committed_us: 0,
        snapshots: Default::default(),
    };
    writer.roll(&codec::encode(&start).unwrap()).unwrap();
    let key = |n: &str| vec![n.as_bytes().to_vec()];
    let object = |name: &str| {
        SnapshotStep::Object(Box::new(SnapshotObject {
            run: 7,
            object: ObjectName { kind: ObjectKind::Table, database: "shop".into(), name: name.into() },
            statement: format!("CREATE TABLE `{name}` (id INT PRIMARY KEY)"),
            more: Vec::new(),
            definer: None,
            context: Default::default(),
            problem: None,
            rows_estimate: 1000,
            bytes_estimate: 2 << 20,
            keyed: true,
            at: at.clone(),
        }))
    };
    let chunk = |name: &str, spans: Vec<Span>, reached: &str, ends_span: bool| {
        SnapshotStep::Chunk(Box::new(SnapshotChunk {
            run: 7,
            table: table(name),
            span: 0,
            spans,
            reached: key(reached),
            ends_span,
            rows: 500,
            bytes: 4096,
            at: at.clone(),
        }))
    };
    let steps = [
        vec![SnapshotStep::Begin(Box::new(SnapshotBegin {
            run: 7,
            destinations: vec!["a".into()],
            whole: true,
            tables: vec![table("orders"), table("lines")],
            way: "gtid".into(),
            at: at.clone(),
            ..SnapshotBegin::default()
        }))],
        vec![object("orders")],
        vec![chunk("orders", vec![Span::default()], "500", false), SnapshotStep::ChunkEnd { row_count: 500 }],
        vec![chunk("orders", vec![], "1000", true), SnapshotStep::ChunkEnd { row_count: 500 }],
        vec![SnapshotStep::TableEnd { run: 7, table: table("orders"), rows: 1000, at: at.clone() }],
        vec![object("lines")],
        vec![chunk("lines", vec![Span::default()], "'x'", true), SnapshotStep::ChunkEnd { row_count: 500 }],
        vec![SnapshotStep::TableAgain { run: 7, table: table("lines"), gone: true, at: at.clone() }],
        vec![SnapshotStep::End { run: 7, cancelled: false, at: at.clone() }],
    ];
    let mut frame = FrameBuilder::new();
    for seq in steps {
        for step in seq {
            frame.push(RecordKind::Snapshot as u8, &codec::encode(&step).unwrap());
        }
        frame.end_seq();
    }
    writer.append(&mut frame).unwrap();
    writer.sync().unwrap();
    writer.close().unwrap();
}

#[tokio::test]
async fn steps_of_a_snapshot_are_dumped_by_table_with_key_ranges_and_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    store_with_a_snapshot(&path);
    let store = path.display().to_string();
    let (out, _) = expect(0, &["store", "dump", "--store", &store]).await;
    for line in [
        "1 snapshot run 7 begins for a (everything that is selected; gtid): 2 tables (shop.orders, shop.lines) and 0 other objects, at binlog.000007:400",
        "2 snapshot table shop.orders (about 1000 rows, 2.0 MiB): CREATE TABLE `orders` (id INT PRIMARY KEY)",
        "3 snapshot chunk shop.orders span 0: 500 rows, 4.0 KiB, from the first key to (500), at binlog.000007:400",
        "3 snapshot chunk ends (500 rows)",
        "4 snapshot chunk shop.orders span 0: 500 rows, 4.0 KiB, from behind (500) to (1000), the last of its span, at binlog.000007:400",
        "5 snapshot table shop.orders is complete (1000 rows) at binlog.000007:400",
        "8 snapshot table shop.lines is gone at the source and leaves the run at binlog.000007:400",
        "9 snapshot run 7 is complete at binlog.000007:400",
    ] {
        assert!(out.lines().any(|l| l == line), "no '{line}' in\n{out}");
    }
    let (out, _) = expect(0, &["store", "dump", "--store", &store, "--table", "shop.lines"]).await;
    assert!(out.contains("shop.lines span 0") && !out.contains("table shop.orders"), "{out}");
    assert_eq!(out.lines().count(), 6, "Begin, Object, Chunk, ChunkEnd, TableAgain, End: {out}");
    let (out, _) = expect(0, &["store", "dump", "--store", &store, "--table", "crm.*"]).await;
    assert_eq!(out, "");
    let (out, _) = expect(0, &["store", "dump", "--store", &store, "--json"]).await;
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let chunk = lines.iter().filter(|l| l["step"] == "chunk").nth(1).unwrap();
    assert_eq!((&chunk["table"], &chunk["rows"]), (&"shop.orders".into(), &500.into()));
    assert_eq!((&chunk["after"], &chunk["reached"]), (&serde_json::json!(["500"]), &serde_json::json!(["1000"])));
    assert!(lines.iter().all(|l| l["record"] == "snapshot" && l["seq"].as_u64() > Some(0)), "{out}");

    let (out, _) = expect(0, &["store", "find", "--store", &store, "seq:4"]).await;
    assert!(out.contains("from behind (500) to (1000)"), "{out}");
    let (out, _) = expect(0, &["store", "find", "--store", &store, "--json", "seq:4"]).await;
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&found["snapshot"][0]["step"], &found["snapshot"][1]["step"]), (&"chunk".into(), &"chunk_end".into()));
}

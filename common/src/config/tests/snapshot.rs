//! `[snapshot]`.

use super::*;

fn with(lines: &str) -> String {
    format!("{MINIMAL}[snapshot]\n{lines}\n")
}

#[test]
fn a_file_without_the_section_copies_everything_with_the_documented_defaults() {
    let s = parse(MINIMAL).unwrap().snapshot;
    assert_eq!(s, Snapshot::default());
    assert_eq!((s.mode, s.threads, s.chunk_bytes), (SnapshotMode::Full, 4, 4 << 20));
    assert_eq!((s.definer, s.on_existing), (Definer::Keep, OnExisting::Stop));
    assert_eq!((s.on_error, s.defer_indexes), (OnObjectError::Stop, DeferIndexes::Auto));
}

#[test]
fn every_key_is_read_and_printed_so_that_it_reads_back_as_the_same() {
    let text = with(
        r#"
        mode = "schema"
        threads = 8
        chunk_size = "1MiB"
        max_rows_per_second = 50_000
        max_bytes_per_second = "20MiB"
        max_threads_running = 30
        max_replica_lag = "5s"
        replicas = ["mysql://repl@db3:3306", "mysql://repl:own%40@db4"]
        pause_query = "SELECT \"x\" FROM ops.stop"
        definer = "ad@min@%"
        on_existing = "append"
        on_error = "skip"
        defer_indexes = "never"
        "#,
    );
    let text = text.replacen("[source]", "[source]\npassword_env = \"SHOP_PASSWORD\"", 1);
    let p = parse(&text).unwrap();
    let s = &p.snapshot;
    assert_eq!((s.mode, s.threads, s.chunk_bytes), (SnapshotMode::Schema, 8, 1 << 20));
    assert_eq!((s.max_rows_per_second, s.max_bytes_per_second), (Some(50_000), Some(20 << 20)));
    assert_eq!((s.max_threads_running, s.max_replica_lag), (Some(30), Some(Duration::from_secs(5))));
    assert_eq!(s.pause_query.as_deref(), Some("SELECT \"x\" FROM ops.stop"));
    assert_eq!(s.definer, Definer::As { user: "ad@min".into(), host: "%".into() });
    assert_eq!((s.on_existing, s.on_error), (OnExisting::Append, OnObjectError::Skip));
    assert_eq!(s.defer_indexes, DeferIndexes::Never);
    let passwords: Vec<_> = s.replicas.iter().map(|r| r.password.clone().unwrap()).collect();
    assert_eq!(passwords, [Secret::new("hunter2"), Secret::new("own@")], "the source's, or their own");
    assert!(p.warnings.len() == 1 && !p.warnings[0].contains("own"), "{:?}", p.warnings);

    let printed = p.to_toml();
    assert!(!printed.contains("hunter2") && !printed.contains("own"), "{printed}");
    let again = parse(&printed).unwrap();
    let urls = |p: &Pipeline| p.snapshot.replicas.iter().map(|r| r.url.clone()).collect::<Vec<_>>();
    assert_eq!(urls(&again), urls(&p));
    let bare = |p: &Pipeline| Snapshot { replicas: Vec::new(), ..p.snapshot.clone() };
    assert_eq!(bare(&again), bare(&p));
}

#[test]
fn replicas_are_reached_with_the_sources_tls() {
    let text = with("replicas = \"mysql://repl@db3\"\nmax_replica_lag = \"2s\"");
    let text = text.replacen("[source]", "[source]\ntls = { mode = \"required\" }", 1);
    let p = parse(&text).unwrap();
    assert_eq!(p.snapshot.replicas[0].tls.mode, TlsMode::Required);
}

#[test]
fn each_mistake_is_reported_alone_with_its_line_and_key() {
    for (line, wanted) in [
        ("mode = \"ful\"", "mode: 'ful' is not one of full, schema, none; did you mean 'full'?"),
        ("threads = 0", "threads: 0 is out of range: at least 1, at most 64"),
        ("threads = \"4\"", "threads: is a text; write a whole number"),
        ("chunk_size = \"1KiB\"", "chunk_size: 1KiB is out of range: at least 64KiB, at most 64MiB"),
        ("max_rows_per_second = 0", "max_rows_per_second: 0 is out of range"),
        ("max_bytes_per_second = \"fast\"", "max_bytes_per_second: 'fast' is not a size"),
        ("max_threads_running = -3", "max_threads_running: -3 is out of range"),
        ("max_replica_lag = \"5s\"", "max_replica_lag: needs replicas"),
        ("replicas = []", "replicas: is an empty list"),
        ("replicas = [\"db3\"]", "replicas: is not a url"),
        ("replicas = [3]", "replicas[0]: is a number"),
        ("pause_query = \" \"", "pause_query: ' ' is not a query"),
        (
            "definer = \"keeep\"",
            "definer: 'keeep' is none of keep, invoker, or an account as user@host without quotes; did you mean 'keep'?",
        ),
        ("definer = \"'a'@'b'\"", "definer: ''a'@'b'' is none of"),
        ("definer = \"@host\"", "definer: '@host' is none of"),
        ("on_existing = \"replace\"", "on_existing: 'replace' is not one of stop, overwrite, append"),
        ("on_error = \"skipp\"", "on_error: 'skipp' is not one of stop, skip; did you mean 'skip'?"),
        ("defer_indexes = true", "defer_indexes: is true or false"),
        ("max_replica_lagg = \"5s\"", "max_replica_lagg: is not a key of [snapshot]; did you mean 'max_replica_lag'?"),
    ] {
        let found = errors(&with(line));
        assert!(found.len() == 1 && found[0].starts_with(&format!("11: snapshot.{wanted}")), "{line}: {found:#?}");
    }
}

#[test]
fn what_can_be_tuned_are_keys_of_the_section() {
    for key in TUNABLE {
        let found = errors(&with(&format!("{key} = []")));
        assert!(found.len() == 1 && !found[0].contains("is not a key"), "{found:?}");
    }
}

//! Snapshots at destinations, from a store that is written by hand: every step in every state, kills in between, and destinations that a run is not for.

#[path = "support/handmade.rs"]
mod handmade;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use common::record::SessionContext;
use common::snapshot::{ObjectKind, ObjectName, SnapshotBegin, SnapshotObject, SnapshotStep};
use handmade::{Change, Log, Rows3, table};
use harness::{Pipeline, Server, ServerKind, Service};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const LIMIT: Duration = Duration::from_secs(90);
const TABLES: [&str; 4] = ["a", "b", "e", "k"];

/// How far a table of a run is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    Pending,
    /// Rows up to this id are copied.
    At(i32),
    Done,
}

/// The source, and the log that tells of it.
struct Source {
    log: Log,
    rows: Rows3,
    random: StdRng,
    next_run: u64,
}

impl Source {
    fn new(log: Log, seed: u64, size: i32) -> Self {
        let mut rows = Rows3::new();
        for name in TABLES {
            let count = if name == "e" { 0 } else { size };
            rows.insert(name, (0..count).map(|id| (id * 3, format!("{name} {id} ü"))).collect());
        }
        Self { log, rows, random: StdRng::seed_from_u64(seed), next_run: 1 }
    }

    fn transaction(&mut self, touched: &mut BTreeSet<(&'static str, i32)>) -> Result<()> {
        let mut changes = Vec::new();
        for _ in 0..self.random.random_range(1..6) {
            let name = TABLES[self.random.random_range(0..TABLES.len())];
            let rows = self.rows.entry(name).or_default();
            let id = self.random.random_range(0..4000);
            let text = format!("{name} {} é", self.random.random_range(0..1_000_000));
            let found = rows.range(id..).next().map(|(id, v)| (*id, v.clone()));
            match (self.random.random_range(0..4), found) {
                (0, Some(row)) => {
                    touched.insert((name, row.0));
                    rows.remove(&row.0);
                    changes.push(Change::Delete(name, row));
                }
                (1, Some(row)) => {
                    touched.insert((name, row.0));
                    rows.insert(row.0, text.clone());
                    changes.push(Change::Update(name, row.clone(), (row.0, text)));
                }
                // A key that changes.
                (2, Some(row)) if !rows.contains_key(&id) => {
                    touched.extend([(name, row.0), (name, id)]);
                    rows.remove(&row.0);
                    rows.insert(id, text.clone());
                    changes.push(Change::Update(name, row, (id, text)));
                }
                _ if !rows.contains_key(&id) => {
                    touched.insert((name, id));
                    rows.insert(id, text.clone());
                    changes.push(Change::Insert(name, (id, text)));
                }
                _ => {}
            }
        }
        self.log.transaction(&changes)
    }

    fn object(&mut self, run: u64, kind: ObjectKind, name: &str, statement: &str) -> Result<()> {
        let object = SnapshotObject {
            run,
            object: ObjectName { kind, database: "shop".into(), name: name.into() },
            statement: statement.into(),
            more: Vec::new(),
            definer: None,
            context: SessionContext::default(),
            problem: None,
            rows_estimate: self.rows.get(name).map_or(0, |rows| rows.len() as u64),
            bytes_estimate: 0,
            keyed: name != "k",
            at: self.log.at(),
        };
        self.log.step(&SnapshotStep::Object(Box::new(object)))
    }

    /// A run of these tables, with transactions in between; `pace` is called after each seq or so.
    async fn run(
        &mut self,
        destinations: &[&str],
        tables: &[&'static str],
        (whole, again): (bool, bool),
        pace: &mut impl AsyncFnMut(&mut Log) -> Result<()>,
    ) -> Result<()> {
        let run = self.next_run;
        self.next_run += 1;
        let view = ObjectName { kind: ObjectKind::View, database: "shop".into(), name: "seen".into() };
        self.log.step(&SnapshotStep::Begin(Box::new(SnapshotBegin {
            run,
            destinations: destinations.iter().map(|&name| name.to_owned()).collect(),
            whole,
            again,
            tables: tables.iter().map(|name| table(name)).collect(),
            others: if whole { vec![view] } else { Vec::new() },
            at: self.log.at(),
            ..SnapshotBegin::default()
        })))?;
        let mut copies: Vec<(&'static str, Copy)> = tables.iter().map(|&name| (name, Copy::Pending)).collect();
        let mut touched = BTreeSet::new();
        let mut again_at = whole.then(|| self.random.random_range(2..6));
        if whole {
            self.object(
                run,
                ObjectKind::Database,
                "",
                "CREATE DATABASE `shop` /*!40100 DEFAULT CHARACTER SET utf8mb4 */",
            )?;
        }
        while copies.iter().any(|(_, copy)| *copy != Copy::Done) {
            pace(&mut self.log).await?;
            if self.random.random_bool(0.6) {
                self.transaction(&mut touched)?;
                continue;
            }
            let at = self.random.random_range(0..copies.len());
            let (name, copy) = copies[at];
            copies[at].1 = match copy {
                Copy::Pending => {
                    touched.retain(|(of, _)| *of != name);
                    let key = if name == "k" { "KEY (`id`)" } else { "PRIMARY KEY (`id`)" };
                    let sql = format!(
                        "CREATE TABLE `{name}` (\n  `id` int NOT NULL,\n  `v` varchar(40) NOT NULL,\n  {key}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
                    );
                    self.object(run, ObjectKind::Table, name, &sql)?;
                    Copy::At(i32::MIN)
                }
                Copy::At(_) if name == "k" => {
                    // Without a key: all at one place.
                    let all: Vec<_> = self.rows["k"].iter().map(|(id, v)| (*id, v.clone())).collect();
                    for some in all.chunks(100) {
                        self.log.chunk(run, "k", some, false, 40)?;
                    }
                    let rows = all.len() as u64;
                    self.log.step(&SnapshotStep::TableEnd { run, table: table(name), rows, at: self.log.at() })?;
                    Copy::Done
                }
                Copy::At(reached) => {
                    if name == "b"
                        && again_at.as_mut().is_some_and(|left| {
                            *left -= 1;
                            *left == 0
                        })
                    {
                        let again =
                            SnapshotStep::TableAgain { run, table: table(name), gone: false, at: self.log.at() };
                        self.log.step(&again)?;
                        touched.retain(|(of, _)| *of != name);
                        copies[at].1 = Copy::At(i32::MIN);
                        continue;
                    }
                    let count = self.random.random_range(20..150);
                    let range = (std::ops::Bound::Excluded(reached), std::ops::Bound::Unbounded);
                    let next: Vec<_> =
                        self.rows[name].range(range).take(count).map(|(id, v)| (*id, v.clone())).collect();
                    let last = next.len() < count;
                    let up_to = next.last().map_or(reached, |(id, _)| *id);
                    // What changed meanwhile may be left out, because it is put in place by its change: not after TableAgain, which passes changes
                    // over before the first chunk.
                    let may_drop = reached != i32::MIN;
                    let left: Vec<_> = next
                        .into_iter()
                        .filter(|(id, _)| !(may_drop && touched.contains(&(name, *id)) && self.random.random_bool(0.5)))
                        .collect();
                    if !may_drop {
                        touched.retain(|(of, _)| *of != name);
                    }
                    self.log.chunk(run, name, &left, last, 60)?;
                    if last {
                        let rows = self.rows[name].len() as u64;
                        self.log.step(&SnapshotStep::TableEnd { run, table: table(name), rows, at: self.log.at() })?;
                        Copy::Done
                    } else {
                        Copy::At(up_to)
                    }
                }
                Copy::Done => Copy::Done,
            };
        }
        if whole {
            let sql = "CREATE VIEW `seen` AS select `a`.`id` AS `id` from `a`";
            self.object(run, ObjectKind::View, "seen", sql)?;
        }
        self.log.step(&SnapshotStep::End { run, cancelled: false, at: self.log.at() })?;
        self.log.publish()
    }

    async fn transactions(&mut self, count: u32, pace: &mut impl AsyncFnMut(&mut Log) -> Result<()>) -> Result<()> {
        for _ in 0..count {
            self.transaction(&mut BTreeSet::new())?;
            pace(&mut self.log).await?;
        }
        self.log.publish()
    }
}

/// Waits until a destination has applied all of the log.
async fn wait_applied(pipeline: &Pipeline, name: &str, server: &Server, seq: u64) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let sql =
        format!("SELECT CONCAT(seq, '/', beyond) FROM logweir.position WHERE destination = '{name}' AND worker = 0");
    loop {
        pipeline.must_run(&Service::applier(name))?;
        // The table comes with the applier.
        let found = server.value(&sql).await.unwrap_or_default().unwrap_or_default();
        if found == format!("{seq}/") {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{name} stands at {found}, not at {seq}: {}",
            pipeline.log(&Service::applier(name), 20)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn must_equal(server: &Server, wanted: &Rows3, what: &str) -> Result<()> {
    for (name, rows) in wanted {
        let found = server.rows(&format!("SELECT CONCAT(id, ' ', v) FROM shop.{name} ORDER BY id, v")).await?;
        let found: Vec<_> = found
            .iter()
            .map(|row| String::from_utf8_lossy(row[0].as_deref().unwrap_or_default()).into_owned())
            .collect();
        let wanted: Vec<_> = rows.iter().map(|(id, v)| format!("{id} {v}")).collect();
        let differs = wanted.iter().zip(&found).find(|(wanted, found)| wanted != found);
        ensure!(
            wanted == found,
            "{what}, table {name}: {} rows wanted, {} found, first difference {differs:?}",
            wanted.len(),
            found.len()
        );
    }
    let seen = server.value("SELECT COUNT(*) FROM shop.seen").await?;
    ensure!(seen == Some(wanted["a"].len().to_string()), "{what}: the view shows {seen:?}");
    Ok(())
}

/// All of it: a whole run, a whole run for a destination that came later, and a table copied again, with changes all the time.
async fn several_runs(d: ServerKind, late: ServerKind, seed: u64, kills: bool) -> Result<()> {
    println!("seed {seed}");
    let d = Server::builder(d).name("d").start().await?;
    let late = Server::builder(late).name("late").start().await?;
    let pipeline = Pipeline::builder(&d)
        .snapshot_line("mode = \"full\"")
        .snapshot_line("threads = 3")
        .destination("d", &d)
        .destination_line("write = \"sql\"")
        .destination("late", &late)
        .destination_line("write = \"sql\"")
        .build()?;
    let log = Log::new(&pipeline.store(), 32 << 10)?;
    let mut source = Source::new(log, seed, 900);
    pipeline.start_service(&Service::applier("d"))?;
    pipeline.start_service(&Service::applier("late"))?;
    let mut random = StdRng::seed_from_u64(seed ^ 77);
    let mut kill_at = Instant::now() + Duration::from_millis(300);
    let mut count = 0u32;
    let mut pace = async |log: &mut Log| -> Result<()> {
        if random.random_bool(0.2) {
            log.publish()?;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..30))).await;
        }
        if kills && Instant::now() > kill_at {
            let name = if random.random_bool(0.7) { "d" } else { "late" };
            pipeline.kill_and_start(&Service::applier(name)).await?;
            kill_at = Instant::now() + Duration::from_millis(random.random_range(60..400));
            count += 1;
        }
        Ok(())
    };
    source.run(&["d"], &TABLES, (true, false), &mut pace).await?;
    source.transactions(60, &mut pace).await?;
    source.run(&["late"], &TABLES, (true, false), &mut pace).await?;
    source.transactions(20, &mut pace).await?;
    source.run(&["d"], &["a", "k"], (false, true), &mut pace).await?;
    source.transactions(60, &mut pace).await?;
    let last = source.log.seq;
    println!("{last} seqs, {count} kills");
    wait_applied(&pipeline, "d", &d, last).await?;
    wait_applied(&pipeline, "late", &late, last).await?;
    must_equal(&d, &source.rows, "d").await?;
    must_equal(&late, &source.rows, "late").await?;
    for (name, server) in [("d", &d), ("late", &late)] {
        let sql = format!(
            "SELECT COUNT(*) FROM logweir.snapshot WHERE destination = '{name}' AND part = 0 AND state NOT IN ('done')"
        );
        let left = server.value(&sql).await?;
        ensure!(left.as_deref() == Some("0"), "{name}: {left:?} objects are not done");
    }
    pipeline.stop_with(&["loading a chunk again", "trying again", "on_error"]).await.context("stopping")
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_the_usual_size_on_four_loaders_stay_within_the_memory_budget() -> Result<()> {
    let d = Server::builder(ServerKind::Mysql9).name("d").start().await?;
    let pipeline = Pipeline::builder(&d)
        .snapshot_line("mode = \"full\"")
        .destination("d", &d)
        .destination_line("write = \"sql\"")
        .build()?;
    let log = Log::new(&pipeline.store(), 64 << 20)?;
    let mut source = Source::new(log, 1, 0);
    source.log.step(&SnapshotStep::Begin(Box::new(SnapshotBegin {
        run: 1,
        destinations: vec!["d".into()],
        whole: true,
        tables: vec![table("a")],
        at: source.log.at(),
        ..SnapshotBegin::default()
    })))?;
    source.object(1, ObjectKind::Database, "", "CREATE DATABASE `shop` /*!40100 DEFAULT CHARACTER SET utf8mb4 */")?;
    let sql = "CREATE TABLE `a` (\n  `id` int NOT NULL,\n  `v` varchar(40) NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";
    source.object(1, ObjectKind::Table, "a", sql)?;
    // 4 MiB of images each.
    const ROWS: i32 = 91_000;
    const CHUNKS: i32 = 16;
    for chunk in 0..CHUNKS {
        let rows: Vec<_> = (0..ROWS).map(|i| (chunk * ROWS + i, format!("{i:>40}"))).collect();
        source.log.chunk(1, "a", &rows, chunk == CHUNKS - 1, 22_000)?;
    }
    source.log.step(&SnapshotStep::TableEnd { run: 1, table: table("a"), rows: 0, at: source.log.at() })?;
    source.log.step(&SnapshotStep::End { run: 1, cancelled: false, at: source.log.at() })?;
    source.log.publish()?;
    let started = Instant::now();
    pipeline.start_service(&Service::applier("d"))?;
    wait_applied(&pipeline, "d", &d, source.log.seq).await?;
    let seconds = started.elapsed().as_secs_f64();
    let peak = pipeline.process(&Service::applier("d"))?.peak_memory().context("no memory")?;
    println!("{} rows in {seconds:.1} s, peak {} MiB", ROWS * CHUNKS, peak >> 20);
    let found = d.value("SELECT COUNT(*) FROM shop.a").await?;
    ensure!(found == Some((ROWS * CHUNKS).to_string()), "{found:?} rows");
    ensure!(peak < 256 << 20, "peak {} MiB", peak >> 20);
    pipeline.stop().await
}

fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random)
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_for_one_destination_each_leave_it_as_the_source() -> Result<()> {
    several_runs(ServerKind::Mysql9, ServerKind::Mariadb11, seed(), false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn appliers_that_are_killed_at_any_time_end_as_the_source_mysql() -> Result<()> {
    several_runs(ServerKind::Mysql9, ServerKind::Mariadb11, seed(), true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn appliers_that_are_killed_at_any_time_end_as_the_source_mariadb() -> Result<()> {
    several_runs(ServerKind::Mariadb11, ServerKind::Mysql9, seed(), true).await
}

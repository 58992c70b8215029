//! `logweir demo`: a whole pipeline between throw-away servers of this machine, and proof that it did what it promises.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use common::config::Pipeline;
use harness::load::{self, Load};

use crate::cli::DemoArgs;
use crate::exit::{Exit, Failure};
use crate::observe::{Observation, observe};
use crate::run::live::Live;
use crate::{out, snapshot, wait};

mod fill;
mod parts;
mod proof;
mod timing;

use parts::{Servers, Services};
use timing::Timing;

/// The database of the load.
const DATABASE: &str = "shop";
/// How long the services may take to come up.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long the destinations may take to get level after the load.
const LEVEL_LIMIT: Duration = Duration::from_secs(300);
/// How long the copy may take.
const COPY_LIMIT: Duration = Duration::from_secs(300);
/// How often the progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Gives the demonstration. Exit code 4 if the servers are not equal at its end.
pub(crate) async fn demo(args: DemoArgs) -> Result<Exit, Failure> {
    let live = Live::new(args.plain || !std::io::stderr().is_terminal());
    // Dropped halfway, everything that was started is stopped and removed.
    let result = tokio::select! {
        result = play(&args, &live) => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; everything that was started is stopped")),
    };
    live.finish();
    Ok(result?)
}

async fn play(args: &DemoArgs, live: &Live) -> anyhow::Result<Exit> {
    let mut timing = Timing::default();
    let folder = Folder::new(args.dir.clone(), args.keep)?;
    live.line("starting three servers: a source, and two destinations of both families");
    let servers = timing.of("start three servers", Servers::start(folder.path(), args.keep)).await?;
    for (name, server) in servers.named() {
        live.line(&format!("  {name:8} {} {}, port {}", server.kind().name(), server.version(), server.port()));
    }
    let options = load::Options {
        seed: args.seed,
        database: DATABASE.to_owned(),
        sessions: 2,
        rate: args.rate,
        ..load::Options::default()
    };
    live.line(&format!(
        "filling the source: tables with {} rows each, a view, routines, a trigger, an event",
        fill::ROWS
    ));
    timing.of("fill the source", fill::fill(&servers.source, &options)).await?;
    let config = servers.write_config(folder.path())?;
    let pipeline = Pipeline::load(&config)?;
    live.line(&format!("starting the reader and two appliers by {}", config.display()));
    let services = Services::start(&config, folder.path(), args.keep)?;
    timing.of("start three services", ready(&pipeline, &services)).await?;

    live.line("copying what exists to both destinations");
    timing.of("copy what exists", copy(&pipeline, &services, live)).await?;
    live.line(&format!("writing a mixed load with DDL to the source for {} s (seed {})", args.seconds, args.seed));
    let load = Load::start(&servers.source, &options);
    timing.of("load", disturb(args.seconds, &pipeline, &services, &load, live)).await?;
    let report = load.stop().await.context("while the load was running")?;
    live.line(&format!(
        "the load has ended: {} transactions, {} rows written, {} changed, {} deleted, {} DDL statements",
        report.transactions, report.inserted, report.updated, report.deleted, report.ddl
    ));
    timing.of("catch up", catch_up(&pipeline, &services, live)).await?;
    let seen = observe(&pipeline, false).await;
    live.draw(&seen);
    live.finish();
    let proof = timing.of("compare the servers", proof::compare(&servers)).await?;
    out::line(&format!("\n{}", proof.text()))?;
    out::line(&summary(&seen, &timing, report.transactions, args.seconds))?;
    if args.keep {
        out::line(&servers.how_to_connect(&config, folder.path(), &services))?;
    } else {
        services.stop().await?;
    }
    Ok(if proof.equal() { Exit::Done } else { Exit::Differ })
}

/// Waits until all services say that they run.
async fn ready(pipeline: &Pipeline, services: &Services) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        services.must_run()?;
        let seen = observe(pipeline, false).await;
        let reader = seen.reader.running && seen.reader.status.source.is_some();
        if reader && seen.destinations.iter().all(|d| d.running && d.status.server.is_some()) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the services did not come up in {READY_LIMIT:?}:\n{}", services.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits, with progress, until both destinations have what the source held.
async fn copy(pipeline: &Pipeline, services: &Services, live: &Live) -> anyhow::Result<()> {
    let names: Vec<String> = pipeline.destinations.iter().map(|d| d.name.clone()).collect();
    // A run comes for sure: the source is full and the store new.
    let copied = snapshot::wait(pipeline, &names, COPY_LIMIT, COPY_LIMIT, live);
    tokio::pin!(copied);
    loop {
        tokio::select! {
            result = &mut copied => match result {
                Ok(_) => return Ok(()),
                Err(failure) => bail!("{failure}\n{}", services.logs()),
            },
            () = tokio::time::sleep(DRAW_EVERY) => services.must_run()?,
        }
    }
}

/// Watches the load, and kills an applier in the middle of it.
async fn disturb(
    seconds: u64,
    pipeline: &Pipeline,
    services: &Services,
    load: &Load,
    live: &Live,
) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let kill_at = Instant::now() + Duration::from_secs(seconds).mul_f64(0.4);
    let restart_at = Instant::now() + Duration::from_secs(seconds).mul_f64(0.6);
    let (mut killed, mut restarted) = (false, false);
    while Instant::now() < end {
        if !killed && Instant::now() >= kill_at {
            services.kill_applier().await?;
            live.line("kill -9 on the applier of replica, in the middle of what it was doing");
            killed = true;
        }
        if !restarted && Instant::now() >= restart_at {
            services.restart_applier()?;
            live.line("the applier of replica is started again");
            restarted = true;
        }
        if killed == restarted {
            services.must_run()?;
        }
        if load.is_finished() {
            return Ok(());
        }
        live.draw(&observe(pipeline, false).await);
        tokio::time::sleep(DRAW_EVERY).await;
    }
    Ok(())
}

async fn catch_up(pipeline: &Pipeline, services: &Services, live: &Live) -> anyhow::Result<()> {
    let wanted = wait::source_position(&pipeline.source).await?;
    let names: Vec<String> = pipeline.destinations.iter().map(|d| d.name.clone()).collect();
    let deadline = Instant::now() + LEVEL_LIMIT;
    let level = wait::level(pipeline, &names, &wanted, deadline);
    tokio::pin!(level);
    loop {
        tokio::select! {
            result = &mut level => match result {
                Ok(_) => return Ok(()),
                Err(missing) => bail!("not level after {LEVEL_LIMIT:?}: {missing}\n{}", services.logs()),
            },
            () = tokio::time::sleep(DRAW_EVERY) => {
                services.must_run()?;
                live.draw(&observe(pipeline, false).await);
            }
        }
    }
}

fn summary(seen: &Observation, timing: &Timing, transactions: u64, seconds: u64) -> String {
    let mut lines = vec![format!("where the time went\n{}", timing.text())];
    let rate = transactions as f64 / seconds.max(1) as f64;
    lines.push(format!(
        "{transactions} source transactions at {rate:.0} a second, stored in {} segments",
        seen.store.segments
    ));
    lines.extend(seen.destinations.iter().map(|d| {
        let totals = &d.status.totals;
        let (name, mode) = (&d.status.destination, &d.status.write.mode);
        format!(
            "{name}: {} rows and {} DDL statements since its last start, written as {mode}",
            totals.rows, totals.ddl
        )
    }));
    lines.join("\n")
}

/// The demonstration's folder: removed at the end unless it is to be kept.
struct Folder {
    path: PathBuf,
    remove: bool,
}

impl Folder {
    fn new(wanted: Option<PathBuf>, keep: bool) -> anyhow::Result<Folder> {
        let named = wanted.is_some();
        let path = wanted.unwrap_or_else(|| std::env::temp_dir().join(format!("logweir-demo-{}", std::process::id())));
        if named && path.exists() {
            let mut entries = std::fs::read_dir(&path).with_context(|| format!("while reading {}", path.display()))?;
            ensure!(entries.next().is_none(), "{} is not empty; name another --dir", path.display());
        }
        std::fs::create_dir_all(&path).with_context(|| format!("while creating {}", path.display()))?;
        let path = std::fs::canonicalize(&path).with_context(|| format!("while looking at {}", path.display()))?;
        Ok(Folder { path, remove: !keep && !named })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.remove {
            // It lies in the system's folder for temporary files; whatever cannot be removed goes with that.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

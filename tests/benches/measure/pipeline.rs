//! A pipeline's own processes, and how far they are.

use anyhow::{Context, Result, bail};
use common::GtidSet;
use common::control::{self, Answer, ApplierStatus, ReaderStatus, Request};
use common::record::{RecordKind, Rows};
use harness::{Process, Server};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::Tail;
use tempfile::TempDir;

/// A configuration file and a store, in a folder that goes with this.
pub(crate) struct Pipeline {
    dir: TempDir,
}

/// A destination of a pipeline.
pub(crate) struct Destination<'a> {
    pub(crate) name: &'a str,
    pub(crate) url: String,
    /// `auto`, `row-events` or `sql`.
    pub(crate) write: &'a str,
}

impl Pipeline {
    /// Follows `source` from `start` on. Connections are not encrypted, as those of the programs that we compare with.
    pub(crate) fn new(source: &Server, start: &str, destinations: &[Destination<'_>]) -> Result<Pipeline> {
        Self::with(source, &format!("start = \"{start}\"\n[snapshot]\nmode = \"none\""), destinations)
    }

    /// Copies `source`, by so many connections, and follows it from there.
    pub(crate) fn copying(source: &Server, threads: u64, destinations: &[Destination<'_>]) -> Result<Pipeline> {
        Self::with(source, &format!("[snapshot]\nmode = \"full\"\nthreads = {threads}"), destinations)
    }

    fn with(source: &Server, lines: &str, destinations: &[Destination<'_>]) -> Result<Pipeline> {
        let parent = crate::machine::output_dir();
        std::fs::create_dir_all(&parent).with_context(|| format!("while creating {}", parent.display()))?;
        let dir = TempDir::with_prefix_in("pipeline-", &parent).context("while creating a pipeline's folder")?;
        let mut text = format!(
            "name = \"bench\"\n[source]\nurl = \"{}\"\ntls = {{ mode = \"disabled\" }}\ninclude = [\"bench.*\"]\n{lines}\n\
            [store]\ndir = \"store\"\n",
            source.url("root")
        );
        let nobody = [Destination { name: "nobody", url: source.url("root"), write: "auto" }];
        for destination in if destinations.is_empty() { &nobody } else { destinations } {
            let Destination { name, url, write } = destination;
            text.push_str(&format!(
                "[[destination]]\nname = \"{name}\"\nurl = \"{url}\"\nwrite = \"{write}\"\ntls = {{ mode = \"disabled\" }}\n"
            ));
        }
        std::fs::write(dir.path().join("logweir.toml"), text).context("while writing a configuration")?;
        Ok(Pipeline { dir })
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn start_reader(&self) -> Result<Process> {
        self.program("logweir-reader")?.start()
    }

    pub(crate) fn start_applier(&self, destination: &str) -> Result<Process> {
        let program = self.program("logweir-applier")?.name(&format!("applier-{destination}"));
        program.arg("--destination").arg(destination).start()
    }

    fn program(&self, name: &str) -> Result<harness::process::Builder> {
        Ok(Process::builder(name, self.dir.path())?.arg("--config").arg(self.dir.path().join("logweir.toml")))
    }

    /// Waits until everything that the source has committed by now is durable in the store.
    pub(crate) async fn reader_level(
        &self,
        reader: &Process,
        source: &Server,
        limit: Duration,
    ) -> Result<ReaderStatus> {
        let committed: GtidSet = source.value("SELECT @@gtid_executed").await?.unwrap_or_default().parse()?;
        let socket = control::reader_socket(&self.store());
        let deadline = Instant::now() + limit;
        loop {
            let mut missing = committed.clone();
            if let Ok(Answer::Reader(status)) = control::request(&socket, Request::Status).await {
                missing = status.position.gtids.parse::<GtidSet>()?.missing(&committed);
                if missing.is_empty() {
                    return Ok(*status);
                }
            }
            check_running(reader, "the reader")?;
            if Instant::now() > deadline {
                bail!("the reader lacks {missing} after {limit:?}:\n{}", reader.stderr());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until an applier has committed the seq.
    pub(crate) async fn applier_level(
        &self,
        applier: &Process,
        name: &str,
        seq: u64,
        limit: Duration,
    ) -> Result<ApplierStatus> {
        let socket = control::applier_socket(&self.store(), name);
        let deadline = Instant::now() + limit;
        loop {
            let mut at = 0;
            if let Ok(Answer::Applier(status)) = control::request(&socket, Request::Status).await {
                if status.position.seq >= seq {
                    return Ok(*status);
                }
                at = status.position.seq;
            }
            check_running(applier, "an applier")?;
            if Instant::now() > deadline {
                bail!("the applier {name} is at seq {at} of {seq} after {limit:?}:\n{}", applier.stderr());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn check_running(process: &Process, what: &str) -> Result<()> {
    if !process.is_running()? {
        bail!("{what} has ended:\n{}", process.stderr());
    }
    Ok(())
}

/// Ends a process as an operator would, and expects it to say that all is well.
pub(crate) async fn stop(process: &Process) -> Result<()> {
    process.terminate()?;
    let status = process.wait(Duration::from_secs(60)).await?;
    if !status.success() {
        bail!("a process ended with {status}:\n{}", process.stderr());
    }
    Ok(())
}

/// Notes when the store's durable end moves, from its first moment on.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(Instant, u64)>>,
}

impl Watch {
    pub(crate) fn start(store: &Path) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (store, stopped) = (store.to_path_buf(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (mut tail, mut seen) = (None, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                if tail.is_none() {
                    tail = Tail::open(&store).ok();
                }
                let seq = tail.as_ref().map_or(0, |tail| tail.last_seq().0);
                if seen.last().is_none_or(|(_, last)| seq > *last) {
                    seen.push((Instant::now(), seq));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            seen
        });
        Watch { stop, thread }
    }

    /// When `seq` was first durable.
    pub(crate) fn finish(self, seq: u64) -> Result<Instant> {
        self.stop.store(true, Ordering::Relaxed);
        let Ok(seen) = self.thread.join() else { bail!("the thread that watches the store has panicked") };
        let found = seen.iter().find(|(_, at)| *at >= seq);
        found.map(|(when, _)| *when).context("the store's end was not seen to move that far")
    }
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Contents {
    /// Row changes.
    pub(crate) rows: u64,
    /// The last seq that has some.
    pub(crate) last_seq: u64,
    /// Bytes on disk.
    pub(crate) bytes: u64,
}

/// Reads a store from its beginning to its end.
pub(crate) fn contents(store: &Path) -> Result<Contents> {
    let mut found =
        Contents { bytes: store::list_segments(store)?.iter().map(|s| s.bytes).sum(), ..Contents::default() };
    let mut tail = Tail::open(store)?;
    tail.seek_start()?;
    while let Some(frame) = tail.next()? {
        for record in frame.records().filter(|record| record.kind == RecordKind::Rows as u8) {
            let rows: Rows<'_> = common::codec::decode(record.payload)?;
            found.rows += u64::from(rows.row_count);
            found.last_seq = record.seq.0;
        }
    }
    Ok(found)
}

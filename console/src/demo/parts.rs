//! The servers and services of the demonstration.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::{Process, Server, ServerKind};

/// How long a service may take over its transaction in hand.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// One source and two destinations.
pub(super) struct Servers {
    pub(super) source: Server,
    pub(super) replica: Server,
    pub(super) maria: Server,
}

impl Servers {
    /// Starts them side by side, with data folders in `dir`.
    pub(super) async fn start(dir: &Path, outlive: bool) -> Result<Servers> {
        let mariadb = [ServerKind::Mariadb10, ServerKind::Mariadb11].into_iter().find(|kind| kind.available());
        let start = |kind, name: &str| Server::builder(kind).name(name).dir(dir.join(name)).outlive(outlive);
        let source = start(ServerKind::Mysql9, "source").option("binlog_row_metadata", "FULL");
        let replica = start(ServerKind::Mysql9, "replica");
        let maria = start(mariadb.unwrap_or(ServerKind::Mariadb10), "maria");
        let (source, replica, maria) = tokio::try_join!(source.start(), replica.start(), maria.start())?;
        Ok(Servers { source, replica, maria })
    }

    /// All of them with their names, the source first.
    pub(super) fn named(&self) -> [(&'static str, &Server); 3] {
        [("source", &self.source), ("replica", &self.replica), ("maria", &self.maria)]
    }

    /// Writes `logweir.toml` into `dir`.
    pub(super) fn write_config(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join("logweir.toml");
        let text = format!(
            "name = \"demo\"\n\n\
             [source]\nurl = \"{}\"\n\n\
             [store]\ndir = \"store\"\n\n\
             [[destination]]\nname = \"replica\"\nurl = \"{}\"\n\n\
             [[destination]]\nname = \"maria\"\nurl = \"{}\"\n",
            self.source.url("root"),
            self.replica.url("root"),
            self.maria.url("root"),
        );
        std::fs::write(&path, text).with_context(|| format!("while writing {}", path.display()))?;
        Ok(path)
    }

    /// What can be done with a demonstration that was kept, and how to end it.
    pub(super) fn how_to_connect(&self, config: &Path, dir: &Path, services: &Services) -> String {
        let mut lines = vec!["everything is left running:".to_owned()];
        for (name, server) in self.named() {
            let (kind, port, pid) = (server.kind().name(), server.port(), server.pid().unwrap_or(0));
            lines.push(format!("  {name:8} {kind:10} mysql -h 127.0.0.1 -P {port} -u root      (process {pid})"));
        }
        lines.push(format!("  logweir status --watch --config {}", config.display()));
        lines.push(format!("  logweir store list --config {}", config.display()));
        let services = services.pids();
        let servers: Vec<String> =
            self.named().iter().filter_map(|(_, s)| s.pid()).map(|pid| pid.to_string()).collect();
        lines.push(format!(
            "to end it: kill {}; kill {}; rm -r {}",
            services.join(" "),
            servers.join(" "),
            dir.display()
        ));
        lines.join("\n")
    }
}

/// The reader and two appliers as processes.
pub(super) struct Services {
    config: PathBuf,
    logs: PathBuf,
    outlive: bool,
    reader: Process,
    maria: Process,
    replica: Mutex<Process>,
}

impl Services {
    /// Starts them; their logs go into `dir/logs`.
    pub(super) fn start(config: &Path, dir: &Path, outlive: bool) -> Result<Services> {
        let (config, logs) = (config.to_owned(), dir.join("logs"));
        let start = |destination| start(&config, &logs, destination, outlive);
        let (reader, replica, maria) = (start(None)?, start(Some("replica"))?, start(Some("maria"))?);
        Ok(Services { config, logs, outlive, reader, maria, replica: Mutex::new(replica) })
    }

    /// An error with the end of its log if one of them has ended by itself.
    pub(super) fn must_run(&self) -> Result<()> {
        let replica = self.replica();
        for (name, process) in
            [("reader", &self.reader), ("applier maria", &self.maria), ("applier replica", &*replica)]
        {
            if !process.is_running()? {
                bail!("the {name} has ended by itself:\n{}", last_lines(&process.stderr(), 30));
            }
        }
        Ok(())
    }

    /// The ends of all logs.
    pub(super) fn logs(&self) -> String {
        let replica = self.replica();
        let all = [("reader", &self.reader), ("maria", &self.maria), ("replica", &*replica)];
        all.map(|(name, process)| format!("--- {name}\n{}", last_lines(&process.stderr(), 20))).join("\n")
    }

    /// kill -9 on the replica's applier.
    pub(super) async fn kill_applier(&self) -> Result<()> {
        let pid = self.replica().pid();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid)?), nix::sys::signal::Signal::SIGKILL)
            .context("while killing the applier of replica")?;
        let deadline = std::time::Instant::now() + STOP_LIMIT;
        while self.replica().is_running()? {
            ensure!(std::time::Instant::now() < deadline, "the applier of replica survived kill -9");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Starts the replica's applier again.
    pub(super) fn restart_applier(&self) -> Result<()> {
        *self.replica() = start(&self.config, &self.logs, Some("replica"), self.outlive)?;
        Ok(())
    }

    /// Stops them as an operator would.
    pub(super) async fn stop(self) -> Result<()> {
        let replica = self.replica.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (name, process) in [("reader", &self.reader), ("applier maria", &self.maria), ("applier replica", &replica)]
        {
            process.terminate()?;
            let status = process.wait(STOP_LIMIT).await?;
            ensure!(status.success(), "the {name} ended with {status}:\n{}", last_lines(&process.stderr(), 20));
        }
        Ok(())
    }

    fn pids(&self) -> Vec<String> {
        [self.reader.pid(), self.replica().pid(), self.maria.pid()].map(|pid| pid.to_string()).to_vec()
    }

    fn replica(&self) -> std::sync::MutexGuard<'_, Process> {
        self.replica.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn start(config: &Path, logs: &Path, destination: Option<&str>, outlive: bool) -> Result<Process> {
    let program = if destination.is_some() { "logweir-applier" } else { "logweir-reader" };
    let mut builder = Process::builder(program, logs)?.arg("--config").arg(config).outlive(outlive);
    if let Some(name) = destination {
        builder = builder.arg("--destination").arg(name).name(&format!("applier-{name}"));
    }
    builder.start()
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

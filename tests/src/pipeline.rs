//! A whole pipeline on this machine: its configuration file and store in one folder, the reader and the appliers as processes.
//!
//! ```no_run
//! # async fn example(source: &harness::Server, replica: &harness::Server) -> anyhow::Result<()> {
//! use harness::Pipeline;
//! use std::time::Duration;
//! let pipeline = Pipeline::builder(source).destination("replica", replica).build()?;
//! pipeline.start()?;
//! source.exec("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)").await?;
//! pipeline.wait_level(Duration::from_secs(30)).await?;
//! harness::compare::must_be_equal(source, replica, &["shop"]).await?;
//! pipeline.stop().await?;
//! # Ok(()) }
//! ```

mod builder;
mod level;

use crate::process::Process;
use anyhow::{Context, Result, bail, ensure};
pub use builder::Builder;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// How long a service may take over its transaction in hand after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// One service of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// The reader.
    Reader,
    /// The applier of the destination with this name.
    Applier(String),
}

impl Service {
    /// The applier of a destination.
    pub fn applier(destination: &str) -> Service {
        Service::Applier(destination.to_owned())
    }

    /// What its output files in the pipeline's folder begin with.
    fn file_name(&self) -> String {
        match self {
            Service::Reader => "reader".to_owned(),
            Service::Applier(name) => format!("applier-{name}"),
        }
    }
}

/// A pipeline. Dropping it kills its services and removes its folder.
#[derive(Debug)]
pub struct Pipeline {
    source: mysql_async::Opts,
    destinations: Vec<(String, mysql_async::Opts)>,
    env: Vec<(String, String)>,
    running: Mutex<BTreeMap<Service, Arc<Process>>>,
    config: PathBuf,
    dir: PathBuf,
    // The last field: processes end before their folder goes.
    _temporary: Option<TempDir>,
}

impl Pipeline {
    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its folder: configuration, `store/`, the services' output.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its store.
    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Adds a destination to the configuration, with further lines like `write = "sql"`. Its applier is not started.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add_destination(&mut self, name: &str, server: &crate::server::Server, lines: &[&str]) -> Result<()> {
        let mut text = self.config_text()?;
        text.push_str(&format!("\n[[destination]]\nname = {name:?}\nurl = {:?}\n", server.url("root")));
        text.extend(lines.iter().map(|line| format!("{line}\n")));
        std::fs::write(&self.config, text).with_context(|| format!("while writing {}", self.config.display()))?;
        self.destinations.push((name.to_owned(), server.opts()));
        Ok(())
    }

    /// Replaces a text in the configuration. What runs has read the old one.
    ///
    /// # Errors
    /// When the file does not hold `from`, or cannot be written.
    pub fn edit_config(&self, from: &str, to: &str) -> Result<()> {
        let text = self.config_text()?;
        ensure!(text.contains(from), "{} does not hold {from}", self.config.display());
        std::fs::write(&self.config, text.replace(from, to))
            .with_context(|| format!("while writing {}", self.config.display()))
    }

    fn config_text(&self) -> Result<String> {
        std::fs::read_to_string(&self.config).with_context(|| format!("while reading {}", self.config.display()))
    }

    /// Starts the reader and all appliers.
    ///
    /// # Errors
    /// When a program has not been built, or one of them runs already.
    pub fn start(&self) -> Result<()> {
        self.start_service(&Service::Reader)?;
        for (name, _) in &self.destinations {
            self.start_service(&Service::applier(name))?;
        }
        Ok(())
    }

    /// Starts one service.
    ///
    /// # Errors
    /// When its program has not been built, or it runs already.
    pub fn start_service(&self, service: &Service) -> Result<()> {
        self.start_with(service, &[])
    }

    /// Starts one service with further arguments.
    ///
    /// # Errors
    /// When its program has not been built, or it runs already.
    pub fn start_with(&self, service: &Service, args: &[&str]) -> Result<()> {
        if let Some(process) = self.running().get(service) {
            ensure!(!process.is_running()?, "{service:?} runs already");
        }
        let program = if *service == Service::Reader { "logweir-reader" } else { "logweir-applier" };
        let mut builder = Process::builder(program, &self.dir)?.name(&service.file_name());
        builder = builder.arg("--config").arg(&self.config);
        if let Service::Applier(name) = service {
            builder = builder.arg("--destination").arg(name);
        }
        for (name, value) in &self.env {
            builder = builder.env(name, value);
        }
        let process = builder.args(args.iter().copied()).start()?;
        self.running().insert(service.clone(), Arc::new(process));
        Ok(())
    }

    /// The process of a service that was started.
    ///
    /// # Errors
    /// When it was not.
    pub fn process(&self, service: &Service) -> Result<Arc<Process>> {
        self.running().get(service).cloned().with_context(|| format!("{service:?} was not started"))
    }

    /// Kills a service at once (SIGKILL).
    ///
    /// # Errors
    /// When it was not started.
    pub async fn kill(&self, service: &Service) -> Result<()> {
        self.process(service)?.kill().await
    }

    /// Kills a service at once and starts it again.
    ///
    /// # Errors
    /// When it was not started, or has ended by itself before: the message holds its last words.
    pub async fn kill_and_start(&self, service: &Service) -> Result<()> {
        self.must_run(service)?;
        self.kill(service).await?;
        self.start_service(service)
    }

    /// Asks a service to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// When it has ended before, or does not end in time.
    pub async fn terminate(&self, service: &Service) -> Result<ExitStatus> {
        let process = self.process(service)?;
        process.terminate()?;
        process.wait(STOP_LIMIT).await
    }

    /// Waits for a service to end by itself: its exit code.
    ///
    /// # Errors
    /// When it has not ended after `limit`, or by a signal; the message holds the end of its log.
    pub async fn wait_exit(&self, service: &Service, limit: Duration) -> Result<i32> {
        let process = self.process(service)?;
        let status = process.wait(limit).await?;
        status.code().with_context(|| format!("{service:?} ended with {status}:\n{}", process.stderr()))
    }

    /// Ends all services as an operator would, and checks that they end well and that no service ever warned.
    ///
    /// # Errors
    /// When one has ended by itself, ends with another code than 0, or has logged a warning, an error or a panic.
    pub async fn stop(&self) -> Result<()> {
        self.stop_with(&[]).await
    }

    /// The same, where warnings and errors that contain one of these words are expected.
    ///
    /// # Errors
    /// As [`Pipeline::stop`].
    pub async fn stop_with(&self, expected: &[&str]) -> Result<()> {
        let services: Vec<Service> = self.running().keys().cloned().collect();
        for service in &services {
            self.must_run(service)?;
            let status = self.terminate(service).await?;
            ensure!(status.success(), "{service:?} ended with {status}:\n{}", self.log(service, 30));
        }
        self.no_complaints(expected)
    }

    /// An error if a service has logged a warning, an error or a panic that contains none of these words.
    ///
    /// # Errors
    /// With the first 20 such lines.
    pub fn no_complaints(&self, expected: &[&str]) -> Result<()> {
        let mut found = Vec::new();
        for service in self.running().keys() {
            let text = self.whole_log(service);
            let bad = text.lines().filter(|l| l.contains(" WARN ") || l.contains(" ERROR ") || l.contains("panicked"));
            let bad = bad.filter(|l| !expected.iter().any(|word| l.contains(word)));
            found.extend(bad.map(|line| format!("  {service:?}: {line}")));
        }
        ensure!(found.is_empty(), "unexpected in the logs:\n{}", found[..found.len().min(20)].join("\n"));
        Ok(())
    }

    /// An error with its last words if a service is not running.
    ///
    /// # Errors
    /// When it was not started or has ended.
    pub fn must_run(&self, service: &Service) -> Result<()> {
        if !self.process(service)?.is_running()? {
            bail!("{service:?} has ended by itself; the end of its log:\n{}", self.log(service, 30));
        }
        Ok(())
    }

    /// The last lines that a service has logged, over all its starts.
    pub fn log(&self, service: &Service, lines: usize) -> String {
        crate::spawn::tail(&self.dir.join(format!("{}.err", service.file_name())), lines)
    }

    /// All that a service has logged, over all its starts.
    pub fn whole_log(&self, service: &Service) -> String {
        let path = self.dir.join(format!("{}.err", service.file_name()));
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }

    /// Runs one of the operator's commands (`logweir ARGS… --config F`) to its end: exit code, stdout, stderr.
    ///
    /// # Errors
    /// When the program has not been built or does not end within `limit`.
    pub async fn command(&self, args: &[&str], limit: Duration) -> Result<(i32, String, String)> {
        // Each run has its own output files, so that runs do not read each other's.
        let run = tempfile::Builder::new().prefix("command-").tempdir_in(&self.dir)?;
        let mut builder = Process::builder("logweir", run.path())?.args(args.iter().copied());
        builder = builder.arg("--config").arg(&self.config);
        for (name, value) in &self.env {
            builder = builder.env(name, value);
        }
        let process = builder.start()?;
        let status = process.wait(limit).await.with_context(|| format!("logweir {}", args.join(" ")))?;
        let code = status.code().or(status_signal(status)).unwrap_or(-1);
        Ok((code, process.stdout(), process.stderr()))
    }

    /// The ends of all services' logs, for an error message.
    pub fn logs(&self) -> String {
        let services: Vec<Service> = self.running().keys().cloned().collect();
        let each = services.iter().map(|s| {
            let state = match self.must_run(s) {
                Ok(()) => "running",
                Err(_) => "ended",
            };
            format!("--- {s:?} ({state}):\n{}", self.log(s, 25))
        });
        each.collect::<Vec<_>>().join("\n")
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Service, Arc<Process>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As shells count: 128 and the signal's number.
fn status_signal(status: ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    status.signal().map(|number| 128 + number)
}

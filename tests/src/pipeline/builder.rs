//! The configuration of a pipeline between servers of ours.

use super::Pipeline;
use crate::server::Server;
use anyhow::{Context, Result};
use mysql_async::Opts;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use tempfile::TempDir;

/// What a pipeline is to be made of.
#[derive(Debug)]
pub struct Builder {
    name: String,
    source: Opts,
    source_url: String,
    lines: BTreeMap<&'static str, Vec<String>>,
    destinations: Vec<Destination>,
    env: Vec<(String, String)>,
    dir: Option<PathBuf>,
}

#[derive(Debug)]
struct Destination {
    name: String,
    url: String,
    opts: Opts,
    lines: Vec<String>,
}

impl Pipeline {
    /// Begins the description of a pipeline that follows `source` from the beginning of its binlog, as root.
    pub fn builder(source: &Server) -> Builder {
        Builder {
            name: "test".to_owned(),
            source: source.opts(),
            source_url: source.url("root"),
            lines: BTreeMap::new(),
            destinations: Vec::new(),
            env: Vec::new(),
            dir: None,
        }
    }
}

impl Builder {
    /// The pipeline's name, by default `test`.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Another way to the source than straight to it as root: another user, or a proxy's port.
    pub fn source_url(mut self, url: &str) -> Self {
        url.clone_into(&mut self.source_url);
        self
    }

    /// A line for `[source]`, like `heartbeat = "200ms"`. A `start` line replaces ours.
    pub fn source_line(self, line: &str) -> Self {
        self.line("source", line)
    }

    /// A line for `[store]`, like `max_size = "8MiB"`.
    pub fn store_line(self, line: &str) -> Self {
        self.line("store", line)
    }

    /// A line for `[snapshot]`, like `threads = 2`. Without a `mode` line nothing is copied; with another mode than `none` the pipeline does not begin
    /// at the source's first binlog, but where the copy does.
    pub fn snapshot_line(self, line: &str) -> Self {
        self.line("snapshot", line)
    }

    /// A destination, as root.
    pub fn destination(self, name: &str, server: &Server) -> Self {
        self.destination_at(name, server, &server.url("root"))
    }

    /// A destination that is reached by another url than its own.
    pub fn destination_at(mut self, name: &str, server: &Server, url: &str) -> Self {
        let (name, url) = (name.to_owned(), url.to_owned());
        self.destinations.push(Destination { name, url, opts: server.opts(), lines: Vec::new() });
        self
    }

    /// A line for the last destination, like `write = "sql"`.
    pub fn destination_line(mut self, line: &str) -> Self {
        if let Some(destination) = self.destinations.last_mut() {
            destination.lines.push(line.to_owned());
        }
        self
    }

    /// An environment variable for all its programs.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A folder of the caller's, which stays. By default a temporary one.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Writes the configuration; nothing is started yet.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub fn build(self) -> Result<Pipeline> {
        let (dir, temporary) = match &self.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let temporary = TempDir::with_prefix("logweir-pipeline-");
                let temporary = temporary.context("while creating a pipeline's folder")?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("while creating {}", dir.display()))?;
        let config = dir.join("logweir.toml");
        std::fs::write(&config, self.text()?).with_context(|| format!("while writing {}", config.display()))?;
        Ok(Pipeline {
            source: self.source,
            destinations: self.destinations.into_iter().map(|d| (d.name, d.opts)).collect(),
            env: self.env,
            running: Mutex::default(),
            config,
            dir,
            _temporary: temporary,
        })
    }

    fn text(&self) -> Result<String> {
        let of = |section| self.lines.get(section).map_or(&[][..], Vec::as_slice);
        let mut text = format!("name = {:?}\n\n[source]\nurl = {:?}\n", self.name, self.source_url);
        let mode = of("snapshot").iter().find(|line| line.starts_with("mode"));
        let copies = mode.is_some_and(|line| !line.contains("none"));
        if !copies && !of("source").iter().any(|line| line.starts_with("start")) {
            text.push_str("start = \"earliest\"\n");
        }
        // A quick heartbeat shows within a test's time what it does.
        if !of("source").iter().any(|line| line.starts_with("heartbeat")) {
            text.push_str("heartbeat = \"500ms\"\n");
        }
        text.extend(of("source").iter().map(|line| format!("{line}\n")));
        text.push_str("\n[snapshot]\n");
        if mode.is_none() {
            text.push_str("mode = \"none\"\n");
        }
        text.extend(of("snapshot").iter().map(|line| format!("{line}\n")));
        text.push_str("\n[store]\ndir = \"store\"\n");
        text.extend(of("store").iter().map(|line| format!("{line}\n")));
        for destination in &self.destinations {
            write!(text, "\n[[destination]]\nname = {:?}\nurl = {:?}\n", destination.name, destination.url)?;
            text.extend(destination.lines.iter().map(|line| format!("{line}\n")));
        }
        Ok(text)
    }

    fn line(mut self, section: &'static str, line: &str) -> Self {
        self.lines.entry(section).or_default().push(line.to_owned());
        self
    }
}

//! One throw-away server: start it with given options, talk to it, stop, kill and restart it.

use crate::install::{INIT_OPTIONS, copy_template};
use crate::kind::{Programs, ServerKind};
use crate::options::{default_options, free_port, location_options};
use crate::spawn::{self, tail};
use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to answer after its start; generous, since a crash recovery on a busy machine counts too.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long a graceful stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A row as the text protocol gives it: each value's bytes, or `None` for NULL.
pub type TextRow = Vec<Option<Vec<u8>>>;

/// What a server is to be started with.
#[derive(Clone, Debug)]
pub struct Builder {
    kind: ServerKind,
    name: String,
    options: Vec<(String, String)>,
    dir: Option<PathBuf>,
    outlive: bool,
}

impl Builder {
    /// A server option, as on its command line without the dashes (`"binlog_row_metadata", "FULL"`). It wins over our defaults.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.replace('-', "_"), value.to_owned()));
        self
    }

    /// What this server is called in messages and folder names.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// A folder of the caller's for data, log and socket. It is created, and kept when the server goes; if it already holds a data
    /// folder, the server starts with that. Without this call a temporary folder is used.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The server goes on when its [`Server`] is dropped and when this process ends (`logweir demo --keep`).
    pub fn outlive(mut self, outlive: bool) -> Self {
        self.outlive = outlive;
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// When its programs are missing or it does not come up; the message holds the end of the server's log.
    pub async fn start(self) -> Result<Server> {
        let programs = Programs::find(self.kind)?;
        let (dir, temporary) = match self.dir {
            Some(dir) => (dir, None),
            None => {
                let temporary = TempDir::with_prefix(format!("logweir-{}-", self.name));
                let temporary = temporary.context("while creating a server's folder")?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        fs::create_dir_all(dir.join("tmp")).with_context(|| format!("while creating {}", dir.display()))?;
        let data = dir.join("data");
        if !data.is_dir() {
            let init = |(name, _): &&(String, String)| INIT_OPTIONS.contains(&name.as_str());
            let init: Vec<_> = self.options.iter().filter(init).cloned().collect();
            let (programs, data) = (programs.clone(), data.clone());
            tokio::task::spawn_blocking(move || copy_template(&programs, &init, &data)).await??;
        }
        // The kernel limits socket paths to 107 bytes; a deep folder of the caller's gets its socket elsewhere.
        let (socket, socket_dir) = if dir.as_os_str().len() < 90 {
            (dir.join("sock"), None)
        } else {
            let short = TempDir::with_prefix("logweir-").context("while creating a folder for a server's socket")?;
            (short.path().join("sock"), Some(short))
        };
        let mut server = Server {
            kind: self.kind,
            name: self.name,
            programs,
            options: self.options,
            outlive: self.outlive,
            dir,
            socket,
            port: 0,
            version: String::new(),
            child: Mutex::new(None),
            _folders: (temporary, socket_dir),
        };
        server.first_start().await?;
        Ok(server)
    }
}

/// A running (or stopped) server. Dropping it kills the server and removes its temporary folder.
#[derive(Debug)]
pub struct Server {
    kind: ServerKind,
    name: String,
    programs: Programs,
    options: Vec<(String, String)>,
    outlive: bool,
    dir: PathBuf,
    socket: PathBuf,
    port: u16,
    version: String,
    child: Mutex<Option<Child>>,
    _folders: (Option<TempDir>, Option<TempDir>),
}

impl Server {
    /// Begins the description of a server.
    pub fn builder(kind: ServerKind) -> Builder {
        Builder { kind, name: kind.name().to_owned(), options: Vec::new(), dir: None, outlive: false }
    }

    /// What kind it is.
    pub fn kind(&self) -> ServerKind {
        self.kind
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its TCP port on 127.0.0.1. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its Unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its folder: `data/`, `log`, `tmp/`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `SELECT VERSION()` says.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// A url for a `logweir.toml`: `mysql://USER@127.0.0.1:PORT`.
    pub fn url(&self, user: &str) -> String {
        format!("mysql://{user}@127.0.0.1:{}", self.port)
    }

    /// Options for a connection as root over TCP.
    pub fn opts(&self) -> Opts {
        self.opts_builder().into()
    }

    /// The same, to be changed (another user, a database, …).
    pub fn opts_builder(&self) -> OptsBuilder {
        // The library would switch to the socket by itself; what the user gets is TCP, so that is what we test with.
        OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(self.port).user(Some("root")).prefer_socket(false)
    }

    /// A new connection as root.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn conn(&self) -> Result<Conn> {
        Conn::new(self.opts()).await.with_context(|| format!("while connecting to {}", self.name))
    }

    /// Runs one or more statements (`;` between them) on a connection of their own.
    ///
    /// # Errors
    /// When one fails; the message holds the statement.
    pub async fn exec(&self, sql: &str) -> Result<()> {
        let mut conn = self.conn().await?;
        conn.query_drop(sql).await.with_context(|| format!("{}: while running {}", self.name, shorten(sql)))?;
        Ok(conn.disconnect().await?)
    }

    /// The rows of one query, each value as the text protocol sends it.
    ///
    /// # Errors
    /// When the query fails; the message holds it.
    pub async fn rows(&self, sql: &str) -> Result<Vec<TextRow>> {
        let mut conn = self.conn().await?;
        let rows = text_rows(&mut conn, sql).await.with_context(|| self.name.clone())?;
        conn.disconnect().await?;
        Ok(rows)
    }

    /// The first column of the first row, as text; `None` for NULL or no row.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn value(&self, sql: &str) -> Result<Option<String>> {
        let first = self.rows(sql).await?.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
        Ok(first.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Stops the server as an operator would (SIGTERM) and waits for its end. Does nothing if it is not running.
    ///
    /// # Errors
    /// When it has not ended after a minute; it is killed then.
    pub async fn stop(&self) -> Result<()> {
        let Some(mut child) = self.child().take() else { return Ok(()) };
        spawn::signal(&child, Signal::SIGCONT)?;
        spawn::signal(&child, Signal::SIGTERM)?;
        if spawn::wait(&mut child, STOP_LIMIT).await?.is_none() {
            child.kill()?;
            child.wait()?;
            bail!("{} did not stop within {STOP_LIMIT:?}; the end of its log:\n{}", self.name, self.log_tail(15));
        }
        Ok(())
    }

    /// Kills the server at once (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn kill(&self) -> Result<()> {
        let Some(mut child) = self.child().take() else { return Ok(()) };
        child.kill().context("while killing a server")?;
        spawn::wait(&mut child, STOP_LIMIT).await?.context("a killed server is still there")?;
        Ok(())
    }

    /// Starts it again after [`Server::stop`] or [`Server::kill`], on the same port and data; stops it first if it runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    /// Freezes the process (SIGSTOP): it keeps its connections and says nothing.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&self) -> Result<()> {
        spawn::pause(self.child().as_ref().context("the server is not running")?)
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn cont(&self) -> Result<()> {
        spawn::signal(self.child().as_ref().context("the server is not running")?, Signal::SIGCONT)
    }

    /// The last lines of the server's error log.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.dir.join("log"), lines)
    }

    /// The value of an option that it was started with beyond the defaults.
    pub(crate) fn given_option(&self, name: &str) -> Option<&str> {
        self.options.iter().rfind(|(option, _)| option == name).map(|(_, value)| value.as_str())
    }

    async fn first_start(&mut self) -> Result<()> {
        let given = self.options.iter().any(|(name, _)| name == "port");
        for attempt in 1.. {
            self.port = match self.options.iter().rfind(|(name, _)| name == "port") {
                Some((_, port)) => port.parse().context("the option port is no number")?,
                None => free_port()?,
            };
            match self.launch().await {
                Ok(()) => break,
                // Between our look and the server's bind another process may take the port.
                Err(_) if !given && attempt < 5 && self.log_tail(40).contains("Address already in use") => {}
                Err(error) => return Err(error),
            }
        }
        self.version = self.value("SELECT VERSION()").await?.unwrap_or_default();
        Ok(())
    }

    /// Starts the process and waits until it answers.
    async fn launch(&self) -> Result<()> {
        let mut command = Command::new(&self.programs.server);
        let data = self.dir.join("data");
        command.arg("--no-defaults");
        command.args(location_options(&self.programs));
        command.args(default_options(self.kind).iter().map(|o| format!("--{o}")));
        command.args([format!("--datadir={}", data.display()), format!("--server-id={}", self.port)]);
        command.args(self.options.iter().map(|(name, value)| format!("--{name}={value}")));
        command.arg(format!("--port={}", self.port));
        command.arg(format!("--socket={}", self.socket.display()));
        command.arg(format!("--tmpdir={}", self.dir.join("tmp").display()));
        command.arg(format!("--pid-file={}", self.dir.join("pid").display()));
        let log = File::options().create(true).append(true).open(self.dir.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(&self.dir);
        let mut child = spawn::spawn(command, self.outlive)?;
        let failed = match self.wait_until_ready(&mut child).await {
            Ok(()) => {
                *self.child() = Some(child);
                return Ok(());
            }
            Err(error) => error,
        };
        let _ = child.kill();
        let _ = child.wait();
        Err(failed.context(format!(
            "while starting {} ({}); the end of its log:\n{}",
            self.name,
            self.kind.name(),
            self.log_tail(20)
        )))
    }

    async fn wait_until_ready(&self, child: &mut Child) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = child.try_wait()? {
                bail!("the server ended with {status}");
            }
            match tokio::time::timeout(Duration::from_secs(5), Conn::new(self.opts())).await {
                Ok(Ok(conn)) => return Ok(conn.disconnect().await?),
                Ok(Err(error)) if Instant::now() > deadline => return Err(error.into()),
                Err(_) if Instant::now() > deadline => bail!("it did not answer within {START_LIMIT:?}"),
                _ => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take().filter(|_| !self.outlive) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The rows of one query on a connection that the caller keeps.
///
/// # Errors
/// When the query fails; the message holds it.
pub async fn text_rows(conn: &mut Conn, sql: &str) -> Result<Vec<TextRow>> {
    let rows: Vec<Row> = conn.query(sql).await.with_context(|| format!("while running {}", shorten(sql)))?;
    let text = |value| match value {
        Value::NULL => Ok(None),
        Value::Bytes(bytes) => Ok(Some(bytes)),
        other => bail!("the text protocol gave {other:?}"),
    };
    rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
}

fn shorten(sql: &str) -> String {
    let mut text: String = sql.chars().take(300).collect();
    if text.len() < sql.len() {
        text.push('…');
    }
    text
}

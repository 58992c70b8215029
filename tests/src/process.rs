//! Our own programs as processes: start, watch, kill.

use crate::spawn::{self, tail};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The path of one of our programs: in `LOGWEIR_BIN_DIR`, beside this program, or in the target folder that this test was built into.
///
/// # Errors
/// When it has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("LOGWEIR_BIN_DIR") {
        let path = Path::new(&dir).join(name);
        if path.is_file() {
            return Ok(path);
        }
        bail!("LOGWEIR_BIN_DIR is {}, which holds no {name}", Path::new(&dir).display());
    }
    let own = std::env::current_exe().context("while looking for our own program file")?;
    // A test is target/PROFILE/deps/NAME-HASH, a program target/PROFILE/NAME.
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("no {name} beside {}: run `./dev build`, or set LOGWEIR_BIN_DIR", own.display()))
}

/// What a process is to be started with.
#[derive(Debug)]
pub struct Builder {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: PathBuf,
    name: String,
    outlive: bool,
}

impl Builder {
    /// One argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Several arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// An environment variable beside the inherited ones.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// What it is called in messages, and its output files: `DIR/NAME.out` and `DIR/NAME.err`. By default the program's name.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The process goes on when its [`Process`] is dropped and when we end.
    pub fn outlive(mut self, outlive: bool) -> Self {
        self.outlive = outlive;
        self
    }

    /// Starts the process. Output files of an earlier one with the same name are continued.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(self) -> Result<Process> {
        fs::create_dir_all(&self.dir).with_context(|| format!("while creating {}", self.dir.display()))?;
        let open = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.with_context(|| format!("while opening {}", path.display()))
        };
        let (out, err) = (self.dir.join(format!("{}.out", self.name)), self.dir.join(format!("{}.err", self.name)));
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(open(&out)?).stderr(open(&err)?);
        let from = fs::metadata(&err).map(|m| m.len()).unwrap_or_default();
        let child = spawn::spawn(command, self.outlive)?;
        Ok(Process {
            name: self.name,
            pid: child.id(),
            child: Mutex::new(child),
            out,
            err,
            from,
            outlive: self.outlive,
        })
    }
}

/// A started process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
    out: PathBuf,
    err: PathBuf,
    /// Where this process's own part of the stderr file begins.
    from: u64,
    outlive: bool,
}

impl Process {
    /// Describes a process of one of our programs (`logweir`, `logweir-reader`, `logweir-applier`), whose output goes into files in `dir`.
    ///
    /// # Errors
    /// When the program has not been built.
    pub fn builder(name: &str, dir: impl Into<PathBuf>) -> Result<Builder> {
        Ok(Self::builder_at(program(name)?, dir))
    }

    /// Describes a process of any program.
    pub fn builder_at(program: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Builder {
        let program = program.into();
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Builder { program, args: Vec::new(), env: Vec::new(), dir: dir.into(), name, outlive: false }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the kernel cannot tell.
    pub fn is_running(&self) -> Result<bool> {
        Ok(self.child().try_wait()?.is_none())
    }

    /// Kills it at once (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn kill(&self) -> Result<()> {
        self.child().kill().with_context(|| format!("while killing {}", self.name))?;
        self.wait(Duration::from_secs(30)).await?;
        Ok(())
    }

    /// Asks it to end (SIGTERM); [`Process::wait`] then tells how it did.
    ///
    /// # Errors
    /// When it has ended already and been waited for.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Freezes it (SIGSTOP).
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        spawn::pause(&self.child())
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it has ended.
    pub fn cont(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `limit`; the message holds the end of its stderr.
    pub async fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child().try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} still runs after {limit:?}; the end of its stderr:\n{}", self.name, tail(&self.err, 20));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What this process has written to stderr so far.
    pub fn stderr(&self) -> String {
        let bytes = fs::read(&self.err).unwrap_or_default();
        let own = usize::try_from(self.from).ok().and_then(|from| bytes.get(from..));
        String::from_utf8_lossy(own.unwrap_or_default()).into_owned()
    }

    /// What all processes of this name have written to stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// The most memory that it has held resident so far, in bytes; `None` once it has ended.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? * 1024)
    }

    /// The processor time that it has used so far (user and system); `None` once it has ended.
    pub fn cpu_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The program's name, in brackets, may hold spaces; utime and stime are the 12th and 13th fields after it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        // Linux reports both in hundredths of a second on every architecture (USER_HZ).
        Some(Duration::from_millis(ticks * 10))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        if child.try_wait()?.is_some() {
            bail!("{} has ended; the end of its stderr:\n{}", self.name, tail(&self.err, 20));
        }
        spawn::signal(&child, signal)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.outlive {
            let mut child = self.child();
            // Both fail only if it has ended and been waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

//! A service as a child process.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::exit::Exit;
use crate::part::Part;

/// The longest log line that is passed on, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// What comes from the children.
pub(super) enum Event {
    /// A line of a service's log.
    Line(String),
    /// A service has ended.
    Ended {
        /// Which one.
        index: usize,
        /// By its exit code; None if a signal ended it.
        exit: Option<Exit>,
        /// In words.
        how: String,
    },
}

/// A running service. The kernel ends it with us.
pub(super) struct Child {
    pid: Pid,
}

impl Child {
    /// Starts the program of this service, found beside our own.
    pub(super) fn start(
        index: usize,
        part: &Part,
        config: &Path,
        events: mpsc::Sender<Event>,
    ) -> anyhow::Result<Child> {
        let mut command = match part {
            Part::Reader => Command::new(program("logweir-reader")?),
            Part::Applier(name) => {
                let mut command = Command::new(program("logweir-applier")?);
                command.arg("--destination").arg(name);
                command
            }
        };
        command.arg("--config").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Ctrl-C in the terminal is for us; we tell them when to stop.
        command.process_group(0).kill_on_drop(true);
        die_with_us(&mut command);
        let mut child = command.spawn().with_context(|| format!("while starting the {part}"))?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).context("a process without an id")?;
        let stderr = child.stderr.take().context("a process without stderr")?;
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr);
            let mut line = Vec::new();
            loop {
                line.clear();
                match lines.read_until(b'\n', &mut line).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {
                        line.truncate(LINE_BYTES_MAX);
                        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                        if events.send(Event::Line(text)).await.is_err() {
                            break;
                        }
                    }
                }
            }
            let (exit, how) = describe(child.wait().await);
            // Nobody listens any more only if we are ending ourselves.
            let _ = events.send(Event::Ended { index, exit, how }).await;
        });
        Ok(Child { pid: Pid::from_raw(pid) })
    }

    /// Asks it to finish the transaction in hand and end.
    pub(super) fn terminate(&self) {
        // It has ended by itself if there is no such process; its event is on the way.
        let _ = kill(self.pid, Signal::SIGTERM);
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        let _ = kill(self.pid, Signal::SIGKILL);
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> (Option<Exit>, String) {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => (Some(Exit::from_code(code)), format!("exit code {code}")),
            (None, Some(signal)) => (None, format!("killed by signal {signal}")),
            (None, None) => (None, status.to_string()),
        },
        Err(error) => (None, error.to_string()),
    }
}

/// The path of another of our programs: they are installed side by side.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("while looking for our own program file")?;
    let path = own.with_file_name(name);
    anyhow::ensure!(path.is_file(), "{} is missing; the three programs belong into one folder", path.display());
    Ok(path)
}

/// The kernel kills the child when the thread that starts it ends: our main thread, which lasts as long as we do.
fn die_with_us(command: &mut Command) {
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec only prctl and getppid run, both async-signal-safe and without allocation.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
            // We may have died before the call above took effect.
            if nix::unistd::getppid() != parent {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}

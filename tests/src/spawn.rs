//! Child processes that never outlive us.

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

type Request = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts `command` in a process group of its own. Unless `outlive` is set, the kernel kills it when this process ends, even by kill -9.
///
/// The kernel ties that to the *thread* that made the child, so that all children come from one thread which lasts as long as we do.
pub(crate) fn spawn(mut command: Command, outlive: bool) -> Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    // A Ctrl-C in the terminal is for us alone; what becomes of the children is then our decision.
    command.process_group(0);
    if !outlive {
        let parent = std::process::id();
        // SAFETY: between fork and exec only prctl and getppid run, both async-signal-safe and without allocation.
        unsafe {
            command.pre_exec(move || {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                // We may have died before the call above took effect.
                if nix::unistd::getppid().as_raw().cast_unsigned() != parent {
                    return Err(std::io::ErrorKind::BrokenPipe.into());
                }
                Ok(())
            });
        }
    }
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            while let Ok((mut command, answer)) = receiver.recv() {
                // The asker waits for the answer; it cannot be gone.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let program = command.get_program().to_owned();
    let (sender, receiver) = mpsc::channel();
    spawner.send((command, sender)).map_err(|_| anyhow!("the thread that starts processes is gone"))?;
    let child = receiver.recv().context("the thread that starts processes is gone")?;
    child.with_context(|| format!("while starting {}", program.display()))
}

/// Sends `signal` to a child that has not been waited for yet.
pub(crate) fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(child.id()).context("process id out of range")?);
    kill(pid, signal).with_context(|| format!("while sending {signal} to process {pid}"))
}

/// Stops a child (SIGSTOP) and waits the moment until none of its threads runs any more; the signal alone returns before that.
pub(crate) fn pause(child: &Child) -> Result<()> {
    signal(child, Signal::SIGSTOP)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    let tasks = format!("/proc/{}/task", child.id());
    // A thread's state stands behind its name, which is in brackets.
    let stopped = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']));
    loop {
        let threads = std::fs::read_dir(&tasks).with_context(|| format!("while reading {tasks}"))?;
        // A thread that ends meanwhile cannot be read, and does not run.
        let mut stats = threads.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        if stats.all(stopped) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("process {} does not stop", child.id());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the child has ended, or the deadline has passed (`None`).
pub(crate) async fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().context("while waiting for a child process")? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The last `lines` lines of a log file, for an error message.
pub(crate) fn tail(path: &std::path::Path, lines: usize) -> String {
    let text = std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

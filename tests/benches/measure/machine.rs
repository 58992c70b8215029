//! The machine that measures: what it is, and which core a process runs on.

use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// Core for the server and for us, where a case separates the two sides.
pub(crate) const SERVER_CORE: usize = 0;
/// Core for the program that is measured.
pub(crate) const PROGRAM_CORE: usize = 1;

/// What the figures depend on.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        line.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    vec![
        ("cpu", field("/proc/cpuinfo", "model name")),
        ("cores", cores().to_string()),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        // Above the number of cores, something else is running and figures are too low.
        ("load before", read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned()),
    ]
}

/// Cores that we may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// `bench` in the target folder: stores and JSON go there, on a disk and not on a file system in memory.
pub(crate) fn output_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    // target/release/deps/measure-HASH
    exe.ancestors().nth(3).map_or_else(|| PathBuf::from("target"), PathBuf::from).join("bench")
}

/// Lays all threads of a process on one core; those that it starts later are born there. Does nothing on a machine with one core.
pub(crate) fn pin(pid: u32, core: usize) -> Result<()> {
    if core >= cores() {
        return Ok(());
    }
    // A thread that was started while we looked, by one that we had not reached yet, is found in the next round.
    for _ in 0..3 {
        let tasks = format!("/proc/{pid}/task");
        for task in fs::read_dir(&tasks).with_context(|| format!("while reading {tasks}"))? {
            let Some(thread) = task?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            set_affinity(thread, core);
        }
    }
    Ok(())
}

fn set_affinity(thread: i32, core: usize) {
    // SAFETY: cpu_set_t is a plain bit set for which all zeroes is the empty set; `core` is below the number of cores, which is far below
    // the set's size; the kernel only reads the set.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        // A thread that has ended meanwhile cannot be laid anywhere.
        libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// The processor time that any process of ours has used so far.
pub(crate) fn processor_time(pid: u32) -> Result<std::time::Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("while reading {path}"))?;
    // utime and stime are the 12th and 13th fields behind the name, which stands in brackets.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // Hundredths of a second on every architecture (USER_HZ).
    Ok(std::time::Duration::from_millis(ticks * 10))
}

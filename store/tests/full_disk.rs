//! A file system that is really full: a tmpfs of 1 MiB, mounted in a mount namespace of the test's own.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use store::{Consumer, FrameBuilder, Retention, Seq, StoreError, StoreOptions, Tail, Writer, WriterState, verify};

const DIR: &str = "LOGWEIR_FULL_DIR";

/// What runs on the small disk: fills it, is refused, is served to a reader, and goes on when retention has made room.
fn on_small_disk(dir: &Path) {
    let options = || StoreOptions { segment_bytes: 64 << 10, ..StoreOptions::default() };
    let (mut writer, _) = Writer::open(dir, options()).unwrap();
    let mut consumer = Consumer::register(dir, "replica").unwrap();
    let policy = Retention { keep_for: Duration::ZERO, ..Retention::default() };
    let (mut frame, mut seqs, mut refused) = (FrameBuilder::new(), 0u64, 0);
    let mut noise = 7u32;
    while refused < 5 {
        let step = if writer.segment_is_full() { writer.roll(b"") } else { Ok(()) };
        let step = step.and_then(|()| {
            if frame.is_empty() {
                frame.push_with(1, |buf| {
                    buf.extend((0..10_000).map(|_| {
                        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (noise >> 24) as u8
                    }));
                });
                frame.end_seq();
            }
            writer.append(&mut frame)
        });
        match step {
            Ok(()) => seqs += 1,
            Err(StoreError::Full { needed, free }) => {
                assert!(free < needed.max(8192), "{needed} bytes were refused with {free} free");
                refused += 1;
                assert!(seqs > 40, "full after {seqs} seqs");
                writer.sync().unwrap();
                let mut tail = Tail::open(dir).unwrap();
                assert_eq!(tail.watermark().state, WriterState::Blocked);
                assert_eq!(tail.last_seq(), Seq(seqs));
                while tail.next().unwrap().is_some() {}
                if refused == 3 {
                    // No byte is free: a restart still works.
                    drop(writer);
                    let found;
                    (writer, found) = Writer::open(dir, options()).unwrap();
                    assert_eq!(found.next_seq, Seq(seqs + 1));
                }
                consumer.advance(Seq(seqs)).unwrap();
                consumer.flush().unwrap();
                assert!(!writer.retain(&policy).unwrap().is_empty(), "nothing could be deleted");
            }
            Err(error) => panic!("{error}"),
        }
    }
    writer.close().unwrap();
    assert!(verify(dir).unwrap().is_sound());
    println!("small disk: {seqs} seqs, refused {refused} times");
}

/// Not a test of its own: what runs on the small disk.
#[test]
fn child() {
    if let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) {
        on_small_disk(&dir);
    }
}

#[test]
fn a_full_file_system_blocks_the_writer_and_it_goes_on_when_there_is_room() {
    let disk = tempfile::tempdir().unwrap();
    let script =
        "mount -t tmpfs -o size=1m none \"$LOGWEIR_FULL_DIR\" || exit 77; exec \"$0\" --exact child --nocapture";
    let mut command = Command::new("unshare");
    // A user namespace of its own lets an ordinary user mount there; root needs only the mount namespace.
    command.args(if nix::unistd::geteuid().is_root() { &["-m"][..] } else { &["-rm"][..] });
    let output =
        command.args(["sh", "-c", script]).arg(std::env::current_exe().unwrap()).env(DIR, disk.path()).output();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output {
        Ok(output) if output.status.success() => {
            assert!(text(&output.stdout).contains("refused 5 times"), "{}", text(&output.stdout));
        }
        Ok(output) if text(&output.stdout).contains("running 1 test") => {
            panic!("{}{}", text(&output.stdout), text(&output.stderr));
        }
        // This machine lets nobody mount: the in-memory file system (disk_errors) is then the only full disk.
        other => println!("no private mount here ({other:?}); the in-memory file system shows a full disk instead"),
    }
}

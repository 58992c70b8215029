//! A writer under a random load, and what a store must hold after anything that happened to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::Seq;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::vfs::mem::MemFs;
use crate::{
    Compression, Consumer, FrameBuilder, Recovered, Result, Retention, StoreError, StoreOptions, Tail, Writer,
};

/// The store's folder in the file system of the tests.
pub(crate) const DIR: &str = "/store";

pub(crate) fn dir() -> &'static Path {
    Path::new(DIR)
}

pub(crate) fn vfs(fs: &MemFs) -> Arc<dyn crate::vfs::Vfs> {
    Arc::new(fs.clone())
}

pub(crate) fn options() -> StoreOptions {
    StoreOptions { segment_bytes: 12 << 10, compression: Compression::Lz4, ..StoreOptions::default() }
}

/// The records of one seq.
pub(crate) type Content = Vec<(u8, Vec<u8>)>;

/// Random records: empty, small, compressible, larger than a frame that is compressed.
pub(crate) fn content(rng: &mut StdRng) -> Content {
    let records = rng.random_range(1..=4);
    (0..records)
        .map(|_| {
            let len = match rng.random_range(0..10) {
                0 => 0,
                1..=6 => rng.random_range(1..200),
                7 | 8 => rng.random_range(200..2000),
                _ => rng.random_range(2000..12_000),
            };
            let mut bytes = vec![0u8; len];
            if rng.random_bool(0.6) {
                rng.fill(bytes.as_mut_slice());
            }
            (rng.random(), bytes)
        })
        .collect()
}

/// Everything that was ever appended, and what is known of it.
#[derive(Default)]
pub(crate) struct Model {
    /// Content of seq 1, 2, …; the last may be unfinished.
    pub(crate) seqs: Vec<Content>,
    /// The highest seq that any reader may have seen.
    pub(crate) seen: u64,
    /// Position of the consumer.
    pub(crate) applied: u64,
}

/// A writer at work.
pub(crate) struct Load {
    pub(crate) fs: MemFs,
    pub(crate) model: Model,
    pub(crate) rng: StdRng,
}

impl Load {
    pub(crate) fn new(seed: u64) -> Load {
        Load { fs: MemFs::default(), model: Model::default(), rng: StdRng::seed_from_u64(seed) }
    }

    pub(crate) fn open(&mut self) -> Result<(Writer, Recovered)> {
        Writer::open_on(vfs(&self.fs), dir(), options())
    }

    /// Notes what readers can see now, even if the power is off: the page is memory.
    fn look(&mut self, tail: Option<&Tail>) {
        if let Some(tail) = tail {
            self.model.seen = self.model.seen.max(tail.last_seq().0);
        }
    }

    /// Opens, checks what is there and goes on writing for `steps` steps or until something fails.
    pub(crate) fn run(&mut self, steps: usize) -> Result<()> {
        let (mut writer, found) = self.open()?;
        self.check_end(found.next_seq.0 - 1);
        let tail = Tail::open_on(vfs(&self.fs), dir()).ok();
        // Before any retention: it may take everything while nobody is registered.
        drop(Consumer::register_on(&self.fs, dir(), "c")?);
        let result = self.steps(&mut writer, steps, tail.as_ref());
        self.look(tail.as_ref());
        result
    }

    fn steps(&mut self, writer: &mut Writer, steps: usize, tail: Option<&Tail>) -> Result<()> {
        let mut frame = FrameBuilder::new();
        for _ in 0..steps {
            if writer.segment_is_full() || self.rng.random_bool(0.02) {
                writer.roll(b"blob")?;
            }
            match self.rng.random_range(0..20) {
                0..=9 => {
                    for _ in 0..self.rng.random_range(1..4) {
                        self.seq(writer, &mut frame)?;
                    }
                    writer.append(&mut frame)?;
                }
                10..=16 => {
                    writer.append(&mut frame)?;
                    let durable = writer.sync()?;
                    assert!(durable.seq.0 <= self.model.seqs.len() as u64);
                }
                17 => {
                    let mut consumer = Consumer::register_on(&self.fs, dir(), "c")?;
                    self.look(tail);
                    let to = self.rng.random_range(self.model.applied..=self.model.seen.max(self.model.applied));
                    self.model.applied = to;
                    if to > 0 {
                        consumer.advance(Seq(to))?;
                        consumer.flush()?;
                    }
                }
                18 => {
                    let policy = Retention { keep_for: Duration::ZERO, ..Retention::default() };
                    for gone in writer.retain(&policy)? {
                        assert!(gone.last_seq.0 <= self.model.applied, "took what is needed");
                    }
                }
                _ => {
                    self.look(tail);
                }
            }
        }
        Ok(())
    }

    /// One seq, now and then in several frames.
    fn seq(&mut self, writer: &mut Writer, frame: &mut FrameBuilder) -> Result<()> {
        let content = content(&mut self.rng);
        let pieces = self.rng.random_bool(0.1);
        self.model.seqs.push(content.clone());
        for (kind, payload) in &content {
            frame.push(*kind, payload);
            if pieces && self.rng.random_bool(0.5) {
                writer.append(frame)?;
                if self.rng.random_bool(0.3) {
                    writer.sync()?;
                }
                if self.rng.random_bool(0.2) {
                    writer.roll(b"inside")?;
                }
            }
        }
        if frame.is_empty() {
            // The whole seq went out in pieces; one more record ends it.
            frame.push(0, b"end");
            self.model.seqs.last_mut().unwrap().push((0, b"end".to_vec()));
        }
        frame.end_seq();
        Ok(())
    }

    /// The recovered end is between what was seen and what was written; what lies beyond never happened.
    pub(crate) fn check_end(&mut self, last: u64) {
        assert!(last >= self.model.seen, "seq {} was visible, the log ends at {last}", self.model.seen);
        assert!(last <= self.model.seqs.len() as u64, "log ends at {last}, which nobody wrote");
        self.model.seqs.truncate(last as usize);
        self.model.seen = last;
    }

    /// Reads all that is visible and compares it with what was written.
    pub(crate) fn check_content(&self) -> Result<u64> {
        let mut tail = Tail::open_on(vfs(&self.fs), dir())?;
        let (first, last) = (tail.first_seq().0, tail.last_seq().0);
        assert!(first <= self.model.applied + 1, "seq {first} is the first kept");
        let mut records: Content = Vec::new();
        let mut next = first;
        while let Some(frame) = tail.next()? {
            for record in frame.records() {
                if record.seq.0 < first {
                    continue;
                }
                assert_eq!(record.seq.0, next, "a seq is missing or doubled");
                assert_eq!(record.first_in_seq, records.is_empty());
                records.push((record.kind, record.payload.to_vec()));
                if record.ends_seq {
                    assert_eq!(records, self.model.seqs[next as usize - 1], "content of seq {next} changed");
                    records.clear();
                    next += 1;
                }
            }
        }
        assert!(records.is_empty(), "a part of seq {next} is visible");
        assert_eq!(next, last + 1, "the visible end and what can be read differ");
        Ok(last)
    }
}

/// Runs `run` and tells whether it found a violation: a panic of an assertion, or damage reported where none was done.
pub(crate) fn violates(run: impl FnOnce() -> Result<()>) -> bool {
    match catch_unwind(AssertUnwindSafe(run)) {
        Err(_) => true,
        Ok(Err(error)) => error.is_damage() || matches!(error, StoreError::Gone { .. }),
        Ok(Ok(())) => false,
    }
}

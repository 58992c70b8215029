//! What the writer publishes to readers: one shared page, the file `watermark`. See the byte table below.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic and version |
//! | 8 | 8 | futex word (low half), bumped and woken at each publication |
//! | 16 | 16 | store uuid |
//! | 32 | 8 | writer epoch |
//! | 40 | 8 | state |
//! | 48 | 8 | durable position: segment number << 32 \| offset. One word, so that it is never seen half |
//! | 56 | 8 | durable seq: the last complete one before that position |
//! | 64 | 8 | first seq that is kept completely (low-water mark) |
//! | 72 | 8 | heartbeat of the writer, microseconds since 1970 UTC |
//! | 80 | 8 | process id of the writer |
//!
//! It is a hint, in the byte order of the machine, and rebuilt at every open: readers check all bytes anyway. But it never runs ahead of
//! the disk, so recovery may take it as evidence that bytes below it were durable.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::Seq;

use crate::bytes::now_us;
use crate::error::{Result, StoreError};
use crate::vfs::{Page, Vfs};

/// "LWWM", version 1.
const MAGIC: u64 = 0x0001_4d57_574c_0000;
const W_MAGIC: usize = 0;
const W_FUTEX: usize = 1;
const W_UUID: usize = 2;
const W_EPOCH: usize = 4;
const W_STATE: usize = 5;
const W_POSITION: usize = 6;
const W_SEQ: usize = 7;
const W_LOW: usize = 8;
const W_HEARTBEAT: usize = 9;
const W_PID: usize = 10;

/// What the writer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterState {
    /// A writer has the store open (or died with it open: look at the heartbeat).
    Open,
    /// The disk or the store's size limit is full; the writer waits for space.
    Blocked,
    /// The writer stopped after an error of the disk.
    Poisoned,
    /// The writer closed the store properly.
    Closed,
    /// No writer has published anything.
    Unknown,
}

impl WriterState {
    fn code(self) -> u64 {
        match self {
            WriterState::Unknown => 0,
            WriterState::Open => 1,
            WriterState::Blocked => 2,
            WriterState::Poisoned => 3,
            WriterState::Closed => 4,
        }
    }

    fn from_code(code: u64) -> WriterState {
        match code {
            1 => WriterState::Open,
            2 => WriterState::Blocked,
            3 => WriterState::Poisoned,
            4 => WriterState::Closed,
            _ => WriterState::Unknown,
        }
    }
}

/// A place between two frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    /// Segment number, 0 where there is no segment.
    pub segment: u64,
    /// Offset in it, in bytes.
    pub offset: u64,
}

impl LogEnd {
    fn pack(self) -> u64 {
        // Segments end below 4 GiB and numbers below 2^32 (at 64 MiB each that is 256 PiB of log); both are checked at the roll.
        (self.segment << 32) | (self.offset & 0xffff_ffff)
    }

    fn unpack(word: u64) -> LogEnd {
        LogEnd { segment: word >> 32, offset: word & 0xffff_ffff }
    }
}

/// What the page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Last seq that is durable, complete and visible; 0 where there is none.
    pub durable_seq: Seq,
    /// Where the visible log ends.
    pub end: LogEnd,
    /// State of the writer.
    pub state: WriterState,
    /// When the writer last published or beat.
    pub heartbeat: SystemTime,
    /// Process id of the writer.
    pub writer_pid: u32,
    /// Grows with each writer that opens the store.
    pub writer_epoch: u64,
    /// First seq that is kept completely.
    pub low_water: Seq,
}

/// The mapped page.
pub(crate) struct WatermarkPage {
    page: Page,
}

impl WatermarkPage {
    pub(crate) fn open(vfs: &dyn Vfs, store: &Path, write: bool) -> Result<WatermarkPage> {
        let path = store.join("watermark");
        match vfs.map_page(&path, write) {
            Ok(page) => Ok(WatermarkPage { page }),
            Err(e)
                if !write && matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof) =>
            {
                Err(StoreError::NotYet { dir: store.to_path_buf() })
            }
            Err(e) => Err(StoreError::io("map", &path, 0, e)),
        }
    }

    pub(crate) fn new(page: Page) -> WatermarkPage {
        WatermarkPage { page }
    }

    pub(crate) fn uuid(&self) -> Option<[u8; 16]> {
        (self.page.load(W_MAGIC) == MAGIC).then(|| {
            let mut uuid = [0; 16];
            uuid[..8].copy_from_slice(&self.page.load(W_UUID).to_le_bytes());
            uuid[8..].copy_from_slice(&self.page.load(W_UUID + 1).to_le_bytes());
            uuid
        })
    }

    pub(crate) fn end(&self) -> LogEnd {
        LogEnd::unpack(self.page.load(W_POSITION))
    }

    pub(crate) fn seq(&self) -> u64 {
        self.page.load(W_SEQ)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.page.load(W_EPOCH)
    }

    pub(crate) fn low_water(&self) -> u64 {
        self.page.load(W_LOW)
    }

    pub(crate) fn read(&self) -> Watermark {
        // The seq is loaded before the position, and stored after it: the position covers at least that seq.
        let durable_seq = Seq(self.seq());
        Watermark {
            durable_seq,
            end: self.end(),
            state: WriterState::from_code(self.page.load(W_STATE)),
            heartbeat: UNIX_EPOCH + Duration::from_micros(self.page.load(W_HEARTBEAT)),
            writer_pid: u32::try_from(self.page.load(W_PID)).unwrap_or(0),
            writer_epoch: self.epoch(),
            low_water: Seq(self.low_water()),
        }
    }

    /// Takes the page over for a new writer, after its recovery. The magic comes last: a reader takes nothing before.
    pub(crate) fn begin(&self, uuid: &[u8; 16], epoch: u64, end: LogEnd, seq: u64, low: u64) {
        if self.uuid() != Some(*uuid) {
            self.page.store(W_MAGIC, 0);
        }
        let [a, b] = [0, 8].map(|at| crate::bytes::u64_at(uuid, at));
        self.page.store(W_UUID, a);
        self.page.store(W_UUID + 1, b);
        self.page.store(W_PID, u64::from(std::process::id()));
        self.page.store(W_LOW, low);
        self.page.store(W_POSITION, end.pack());
        self.page.store(W_SEQ, seq);
        self.page.store(W_EPOCH, epoch);
        self.page.store(W_HEARTBEAT, now_us());
        self.page.store(W_STATE, WriterState::Open.code());
        self.page.store(W_MAGIC, MAGIC);
        self.page.wake(W_FUTEX);
    }

    pub(crate) fn publish(&self, end: LogEnd, seq: u64) {
        self.page.store(W_POSITION, end.pack());
        self.page.store(W_SEQ, seq);
        self.page.store(W_HEARTBEAT, now_us());
        self.page.wake(W_FUTEX);
    }

    pub(crate) fn set_state(&self, state: WriterState) {
        if self.page.load(W_STATE) != state.code() {
            self.page.store(W_STATE, state.code());
            self.page.wake(W_FUTEX);
        }
    }

    pub(crate) fn set_low_water(&self, low: u64) {
        self.page.store(W_LOW, low);
    }

    pub(crate) fn beat(&self) {
        self.page.store(W_HEARTBEAT, now_us());
    }

    pub(crate) fn flush(&self) -> std::io::Result<()> {
        self.page.flush()
    }

    pub(crate) fn futex_value(&self) -> u32 {
        self.page.futex_value(W_FUTEX)
    }

    /// Sleeps until the next publication or state change after `seen`. Falls back to a short sleep where there is no futex.
    pub(crate) fn sleep(&self, seen: u32, timeout: Duration) {
        if !self.page.sleep(W_FUTEX, seen, timeout) {
            std::thread::sleep(timeout.min(Duration::from_millis(2)));
        }
    }
}

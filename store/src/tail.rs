//! The reading side: frames in order, as soon as they are durable and complete. Any number of processes, no lock, nothing written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Seq;

use crate::error::{Damage, Result, StoreError};
use crate::frame::{FrameHeader, STARTS_INSIDE};
use crate::header::SegmentHeader;
use crate::record::Records;
use crate::scan::{ScanError, Scanned, Scanner};
use crate::segment::{SegmentId, list_ids, open_segment};
use crate::vfs::{RealFs, Vfs};
use crate::watermark::{LogEnd, Watermark, WatermarkPage};

/// How long an asynchronous wait blocks one thread at most, so that a dropped future and a runtime's end are not held up.
const WAIT_SLICE: Duration = Duration::from_millis(100);

/// A reader of a store, at a place between two frames.
pub struct Tail {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    uuid: [u8; 16],
    page: Arc<WatermarkPage>,
    /// The segment being read; `None` until there is one.
    scanner: Option<Scanner>,
    /// Where to start once there is a segment.
    wanted: Seq,
}

/// A frame that passed every check. It borrows the tail's buffer.
pub struct Frame<'a> {
    /// Seq of the first record.
    pub base_seq: Seq,
    /// The first record continues a seq that an earlier frame began.
    pub starts_inside: bool,
    /// First frame of its segment: schema records come before what needs them from here on.
    pub new_segment: bool,
    /// Number and base seq of the segment.
    pub segment: SegmentId,
    /// Where the frame starts in it, in bytes.
    pub offset: u64,
    /// Length of the frame in the file, in bytes.
    pub stored_len: u64,
    header: FrameHeader,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Its records, in order.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records::new(self.body, &self.header)
    }

    /// Number of records.
    #[must_use]
    pub fn len_records(&self) -> u32 {
        self.header.record_count
    }

    /// The body, uncompressed: record headers and payloads.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

impl Tail {
    /// Opens the store in `dir`, before its first frame. [`StoreError::NotYet`] where there is none.
    pub fn open(dir: &Path) -> Result<Tail> {
        Tail::open_on(Arc::new(RealFs), dir)
    }

    /// [`Tail::open`] on a given file system.
    pub fn open_on(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<Tail> {
        let not_yet = || StoreError::NotYet { dir: dir.to_path_buf() };
        let identity = crate::identity::read(&*vfs, dir)?.ok_or_else(not_yet)?;
        let page = WatermarkPage::open(&*vfs, dir, false)?;
        match page.uuid() {
            Some(uuid) if uuid == identity.uuid => {}
            _ => return Err(not_yet()),
        }
        Ok(Tail::with_page(vfs, dir, identity.uuid, page))
    }

    pub(crate) fn with_page(vfs: Arc<dyn Vfs>, dir: &Path, uuid: [u8; 16], page: WatermarkPage) -> Tail {
        Tail { vfs, dir: dir.to_path_buf(), uuid, page: Arc::new(page), scanner: None, wanted: Seq(0) }
    }

    /// What the writer publishes now.
    #[must_use]
    pub fn watermark(&self) -> Watermark {
        self.page.read()
    }

    /// First seq that is there completely. One more than [`Tail::last_seq`] where the store is empty.
    #[must_use]
    pub fn first_seq(&self) -> Seq {
        Seq(self.page.low_water())
    }

    /// Last seq that is durable and complete; 0 where there is none.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        Seq(self.page.seq())
    }

    /// Number of the store's identity, as in its segment headers.
    #[must_use]
    pub fn store_uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// Header of the segment being read; `None` before the first frame of an empty store.
    #[must_use]
    pub fn segment_header(&self) -> Option<&SegmentHeader> {
        self.scanner.as_ref().map(|scanner| &scanner.header)
    }

    /// The seq that the next record belongs to; `None` before the first segment is open.
    #[must_use]
    pub fn next_seq(&self) -> Option<Seq> {
        self.scanner.as_ref().map(|scanner| Seq(scanner.at.next_seq))
    }

    /// Goes to the first frame of the segment in which `seq` begins, so that the caller meets the schema records before it. `seq` may be
    /// the one that comes next. A store that starts inside a seq (retention took its beginning) delivers the rest of that seq
    /// first; callers skip what lies before the seq that they want.
    pub fn seek_segment_of(&mut self, seq: Seq) -> Result<()> {
        let (first, last) = (self.first_seq(), self.last_seq());
        if seq < first {
            return Err(StoreError::Gone { asked: seq, first });
        }
        if seq > last.next() {
            return Err(StoreError::Beyond { asked: seq, last });
        }
        self.wanted = seq;
        self.scanner = None;
        self.position()
    }

    /// Goes to the first frame of the first segment.
    pub fn seek_start(&mut self) -> Result<()> {
        self.wanted = Seq(0);
        self.scanner = None;
        self.position()
    }

    /// Opens the segment in which `wanted` begins, if any segment is visible.
    fn position(&mut self) -> Result<()> {
        let end = self.page.end();
        if end.segment == 0 {
            return Ok(());
        }
        // Retention may take a segment between the listing and the opening; then the next listing is without it.
        for attempt in 0.. {
            match self.try_position(end) {
                Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound && attempt < 8 => {}
                other => return other,
            }
        }
        Ok(())
    }

    fn try_position(&mut self, end: LogEnd) -> Result<()> {
        let ids = list_ids(&*self.vfs, &self.dir)?;
        let visible = ids.partition_point(|id| id.number <= end.segment);
        let mut index = ids[..visible].partition_point(|id| id.base_seq <= self.wanted).saturating_sub(1);
        let mut best = None;
        while let Some(id) = ids.get(index).filter(|_| index < visible) {
            let (file, header, sum, len) = open_segment(&*self.vfs, &self.dir, *id, Some(&self.uuid))?;
            let begins_earlier = header.continued && id.base_seq == self.wanted;
            best = Some(Scanner::new(*id, file, header, sum, len));
            if !begins_earlier || index == 0 {
                break;
            }
            index -= 1;
        }
        self.scanner = best;
        Ok(())
    }

    /// The next frame that is durable and visible; `None` where there is none yet. Does not wait.
    #[allow(clippy::should_implement_trait, reason = "the frame borrows the tail, which an iterator cannot express")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>> {
        let Some(frame) = self.advance()? else { return Ok(None) };
        let Some(scanner) = &self.scanner else { return Ok(None) };
        Ok(Some(Frame {
            base_seq: Seq(frame.header.base_seq),
            starts_inside: frame.header.flags & STARTS_INSIDE != 0,
            new_segment: frame.first,
            segment: scanner.id,
            offset: frame.offset,
            stored_len: frame.header.frame_len(),
            header: frame.header,
            body: scanner.body(&frame),
        }))
    }

    fn advance(&mut self) -> Result<Option<Scanned>> {
        loop {
            let end = self.page.end();
            if self.scanner.is_none() {
                self.position()?;
            }
            let Some(scanner) = &mut self.scanner else { return Ok(None) };
            let (id, at) = (scanner.id, scanner.at);
            let here = LogEnd { segment: id.number, offset: at.offset };
            if here == end {
                return Ok(None);
            }
            if end < here {
                return Err(id.corrupt(at.offset, at.next_seq, Damage::TimeTravel));
            }
            if at.sealed {
                self.next_segment()?;
                continue;
            }
            let limit = if end.segment == id.number {
                end.offset
            } else {
                scanner.file.len().map_err(|e| StoreError::io("read", &id.path(&self.dir), at.offset, e))?
            };
            match read_frame(scanner, limit) {
                Ok(Some(frame)) if frame.seal.is_some() => {}
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => return Err(id.corrupt(at.offset, at.next_seq, Damage::NotSealed)),
                Err(ScanError::Io(offset, e)) => return Err(StoreError::io("read", &id.path(&self.dir), offset, e)),
                Err(ScanError::Damage(damage)) => return Err(id.corrupt(at.offset, at.next_seq, damage)),
            }
        }
    }

    /// Goes on to the segment after the sealed one. Its name follows from what was read.
    fn next_segment(&mut self) -> Result<()> {
        let Some(old) = self.scanner.take() else { return Ok(()) };
        let id = SegmentId { number: old.id.number + 1, base_seq: Seq(old.at.next_seq) };
        let opened = open_segment(&*self.vfs, &self.dir, id, Some(&self.uuid));
        let (file, header, sum, len) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let missing =
                    matches!(&error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
                let first = self.first_seq();
                let result = match error {
                    _ if missing && id.base_seq < first => Err(StoreError::Gone { asked: id.base_seq, first }),
                    _ if missing => Err(id.corrupt(0, id.base_seq.0, Damage::MissingSegment)),
                    error => Err(error),
                };
                self.scanner = Some(old);
                return result;
            }
        };
        if header.prev_chain != old.at.link {
            let kind = Damage::Chain { expected: old.at.link, found: header.prev_chain };
            self.scanner = Some(old);
            return Err(id.corrupt(0, id.base_seq.0, kind));
        }
        let mut scanner = Scanner::new(id, file, header, sum, len);
        scanner.reuse(old);
        self.scanner = Some(scanner);
        Ok(())
    }

    /// Whether `next` has something to deliver or to report.
    fn ready(&self) -> bool {
        let end = self.page.end();
        match &self.scanner {
            None => end.segment > 0,
            Some(scanner) => (LogEnd { segment: scanner.id.number, offset: scanner.at.offset }) != end,
        }
    }

    /// Sleeps until there is something to read, or the time has passed. Returns whether there is. Wakes within microseconds.
    pub fn wait(&self, timeout: Duration) -> bool {
        wait_on(&self.page, || self.ready(), timeout)
    }

    /// [`Tail::wait`] for asynchronous callers (inside a tokio runtime). It may be dropped at any time.
    pub async fn wait_async(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = self.page.futex_value();
            if self.ready() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let page = Arc::clone(&self.page);
            let slept = tokio::task::spawn_blocking(move || page.sleep(seen, left.min(WAIT_SLICE))).await;
            if slept.is_err() {
                // The runtime is ending.
                return self.ready();
            }
        }
    }
}

fn wait_on(page: &WatermarkPage, ready: impl Fn() -> bool, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        // The futex value first: a publication after the check changes it, and the sleep then returns at once.
        let seen = page.futex_value();
        if ready() {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        page.sleep(seen, left);
    }
}

/// Reads a frame below the published end. Damage there is read once more from the disk before it is believed.
fn read_frame(scanner: &mut Scanner, limit: u64) -> std::result::Result<Option<Scanned>, ScanError> {
    match scanner.next(limit) {
        Err(ScanError::Damage(_)) => {
            scanner.reread();
            scanner.next(limit)
        }
        other => other,
    }
}

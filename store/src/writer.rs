//! The one writer of a store: append, sync, publish, roll.
//!
//! What is appended is neither durable nor visible until [`Writer::sync`]. An append that finds no space leaves the log as it was; any other
//! error of the disk poisons the writer, because what the disk holds is then unknown: only a new recovery may say.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::Seq;

use crate::builder::FrameBuilder;
use crate::compress::Compressor;
use crate::error::{Result, StoreError, is_full};
use crate::frame::{BODY_MAX, ENDS_INSIDE, FRAME_HEADER, FrameHeader, STARTS_INSIDE, body_crc, padded};
use crate::identity::IdentityFile;
use crate::options::StoreOptions;
use crate::planted::{Bug, planted};
use crate::recovery::{Recovery, TornTail};
use crate::segment::{SegmentId, SegmentInfo, list_ids, segments_dir};
use crate::vfs::{Open, RealFs, Vfs, VfsFile, write_full};
use crate::watermark::{LogEnd, WatermarkPage, WriterState};

/// What opening a store found.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Seq of the next append.
    pub next_seq: Seq,
    /// All segments; the last one is open unless it carries a seal.
    pub segments: Vec<SegmentInfo>,
    /// What was cut off the end, if anything was.
    pub cut: Option<TornTail>,
    /// Blob of the last segment's header; empty in a new store.
    pub last_segment_header_blob: Vec<u8>,
    /// The store is new.
    pub created: bool,
    /// There is no open segment: call [`Writer::roll`] before the first append.
    pub needs_roll: bool,
    /// Epoch of this writer.
    pub epoch: u64,
    /// The identity kept in the store; the caller compares it with its own.
    pub identity: Vec<u8>,
}

/// A durable, published end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Last complete seq.
    pub seq: Seq,
    /// Base seq of the segment in which it ends.
    pub segment_base: Seq,
    /// End of its frame there, in bytes.
    pub offset: u64,
}

/// Counts since the writer was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Frames appended.
    pub frames: u64,
    /// Records appended.
    pub records: u64,
    /// Seqs completed.
    pub seqs: u64,
    /// Bytes of bodies before compression.
    pub raw_bytes: u64,
    /// Bytes written, headers and padding included.
    pub stored_bytes: u64,
    /// Calls of `fdatasync`.
    pub syncs: u64,
    /// Segments begun.
    pub segments: u64,
    /// Appends refused because of a full disk or store.
    pub refused: u64,
    /// Bytes of all segments now.
    pub store_bytes: u64,
}

pub(crate) struct Active {
    pub(crate) id: SegmentId,
    pub(crate) file: Arc<dyn VfsFile>,
    pub(crate) path: PathBuf,
    pub(crate) salt: u32,
    pub(crate) len: u64,
    pub(crate) synced: u64,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    pub(crate) raw_bytes: u64,
    pub(crate) created_us: u64,
    pub(crate) continued: bool,
}

/// The writer of a store. There is one at a time, held by a lock on the file `LOCK`.
pub struct Writer {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) dir: PathBuf,
    options: StoreOptions,
    pub(crate) identity: IdentityFile,
    pub(crate) page: WatermarkPage,
    pub(crate) sealed: Vec<SegmentInfo>,
    pub(crate) active: Option<Active>,
    /// Header checksum of the last frame, which the next one carries.
    pub(crate) link: u32,
    pub(crate) next_seq: u64,
    /// `next_seq` is begun.
    pub(crate) inside: bool,
    /// Last place at which no seq was open, and the last seq before it.
    pub(crate) complete: (LogEnd, u64),
    compressor: Compressor,
    scratch: Vec<u8>,
    pub(crate) poisoned: Option<&'static str>,
    pub(crate) stats: WriterStats,
    _lock: Box<dyn Send + Sync>,
}

impl Writer {
    /// Opens the store in `dir`, creating it if there is none, takes its lock and runs recovery.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("logweir-doc-{}", std::process::id()));
    /// use store::{FrameBuilder, StoreOptions, Tail, Writer};
    /// let (mut writer, found) = Writer::open(&dir, StoreOptions::default())?;
    /// if found.needs_roll {
    ///     writer.roll(b"where the source stands")?;
    /// }
    /// let mut frame = FrameBuilder::new();
    /// frame.push(1, b"hello");
    /// frame.end_seq();
    /// writer.append(&mut frame)?;
    /// writer.sync()?;
    ///
    /// let mut tail = Tail::open(&dir)?;
    /// let frame = tail.next()?.expect("one frame is visible");
    /// assert_eq!(frame.records().next().map(|record| record.payload), Some(b"hello".as_slice()));
    /// # std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), store::StoreError>(())
    /// ```
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(Writer, Recovered)> {
        Writer::open_on(Arc::new(RealFs), dir, options)
    }

    /// [`Writer::open`] on a given file system.
    pub fn open_on(vfs: Arc<dyn Vfs>, dir: &Path, options: StoreOptions) -> Result<(Writer, Recovered)> {
        for folder in [dir.to_path_buf(), segments_dir(dir), dir.join("consumers")] {
            vfs.create_dir_all(&folder).map_err(|e| StoreError::io("mkdir", &folder, 0, e))?;
        }
        let lock = take_lock(&*vfs, dir)?;
        if crate::identity::read(&*vfs, dir)?.is_none() && !list_ids(&*vfs, dir)?.is_empty() {
            let why = "the file is missing although there are segments; restore it from a copy of the store".to_owned();
            return Err(StoreError::BadFile { path: dir.join("STORE"), why });
        }
        let (mut identity, created) = IdentityFile::open(&*vfs, dir, &options.identity)?;
        vfs.sync_dir(dir).map_err(|e| StoreError::io("fsync", dir, 0, e))?;
        identity.update(|identity| identity.writer_epoch += 1)?;
        let page = WatermarkPage::open(&*vfs, dir, true)?;
        let published = Recovery::published(&page, &identity.identity);
        let recovery = Recovery { vfs: &*vfs, store: dir, identity: &identity.identity, published };
        let found = recovery.run()?;

        let mut sealed = found.segments.clone();
        let mut active = None;
        if let Some((scanner, cursor)) = found.open {
            let info = sealed.pop();
            let path = scanner.id.path(dir);
            let file = vfs.open(&path, Open::Write).map_err(|e| StoreError::io("open", &path, 0, e))?;
            active = Some(Active {
                id: scanner.id,
                file,
                path,
                salt: scanner.header.salt,
                len: cursor.offset,
                synced: cursor.offset,
                frames: cursor.frames,
                records: cursor.records,
                raw_bytes: cursor.raw_bytes,
                created_us: info.map_or(scanner.header.created_us, |info| info.created_us),
                continued: scanner.header.continued,
            });
        }
        let needs_roll = active.is_none();
        let stats =
            WriterStats { store_bytes: found.segments.iter().map(|info| info.bytes).sum(), ..WriterStats::default() };
        let epoch = identity.identity.writer_epoch;
        let recovered = Recovered {
            next_seq: Seq(found.next_seq),
            segments: found.segments,
            cut: found.cut,
            last_segment_header_blob: found.blob,
            created,
            needs_roll,
            epoch,
            identity: identity.identity.source.clone(),
        };
        page.begin(&identity.identity.uuid, epoch, found.end, found.next_seq - 1, identity.identity.low_seq);
        let writer = Writer {
            vfs,
            dir: dir.to_path_buf(),
            compressor: Compressor::new(options.compression),
            options,
            identity,
            page,
            sealed,
            active,
            link: found.link,
            next_seq: found.next_seq,
            inside: false,
            complete: (found.end, found.next_seq - 1),
            scratch: Vec::new(),
            poisoned: None,
            stats,
            _lock: lock,
        };
        Ok((writer, recovered))
    }

    /// Seq that the next record begins or continues.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        Seq(self.next_seq)
    }

    /// A seq is begun and not ended.
    #[must_use]
    pub fn inside_seq(&self) -> bool {
        self.inside
    }

    /// Base seq of the open segment, or what it would be.
    #[must_use]
    pub fn segment_base(&self) -> Seq {
        self.active.as_ref().map_or(Seq(self.next_seq), |active| active.id.base_seq)
    }

    /// Length of the open segment in bytes, its header included; 0 where there is none.
    #[must_use]
    pub fn segment_len(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.len)
    }

    /// Whether the caller should roll before the next frame: the segment has its length, or there is none.
    #[must_use]
    pub fn segment_is_full(&self) -> bool {
        self.active.as_ref().is_none_or(|active| active.len >= self.options.segment_bytes)
    }

    /// Epoch of this writer.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.identity.identity.writer_epoch
    }

    /// Counts since the open.
    #[must_use]
    pub fn stats(&self) -> &WriterStats {
        &self.stats
    }

    /// All segments now, the open one last.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let open = self.active.as_ref().map(|active| SegmentInfo {
            id: active.id,
            continued: active.continued,
            bytes: active.len,
            created_us: active.created_us,
            seal: None,
        });
        self.sealed.iter().cloned().chain(open).collect()
    }

    /// Replaces the caller's identity bytes in `STORE`, durably.
    pub fn set_identity(&mut self, source: &[u8]) -> Result<()> {
        self.check_usable()?;
        let limit = crate::identity::IDENTITY_MAX;
        if source.len() > limit {
            return Err(StoreError::TooLarge { what: "store identity", len: source.len() as u64, limit: limit as u64 });
        }
        let result = self.identity.update(|identity| identity.source = source.to_vec());
        self.poison_on_error("writing STORE", result)
    }

    /// Shows readers that the writer lives although there is nothing to publish. Call it about once a second.
    pub fn heartbeat(&self) {
        self.page.beat();
    }

    /// Shows readers that the writer waits for space ([`StoreError::Full`] does so too), or that it goes on.
    pub fn set_blocked(&self, blocked: bool) {
        if self.poisoned.is_none() {
            self.page.set_state(if blocked { WriterState::Blocked } else { WriterState::Open });
        }
    }

    /// Appends the builder's records and clears it (its memory stays). Not durable and not visible before [`Writer::sync`].
    ///
    /// A builder with whole seqs and the beginning of another becomes two frames, so that the whole ones can be published.
    /// On [`StoreError::Full`] nothing is written and the builder keeps what is not appended: try again later.
    pub fn append(&mut self, frame: &mut FrameBuilder) -> Result<()> {
        self.check_usable()?;
        if frame.is_empty() {
            return Ok(());
        }
        let (complete_end, complete_records) = frame.complete;
        if frame.pending() && complete_records > 0 {
            let rest = frame.buf.split_off(complete_end);
            let whole = self.append_part(&mut frame.buf, complete_records, frame.ends, false);
            frame.buf.extend_from_slice(&rest);
            whole?;
            frame.keep_pending();
        }
        let (records, ends, pending) = (frame.records, frame.ends, frame.pending());
        self.append_part(&mut frame.buf, records, ends, pending)?;
        frame.clear();
        Ok(())
    }

    /// Writes one frame from `buf` (48 bytes of room, then the body). `buf` is left as it was, but for the room.
    fn append_part(&mut self, buf: &mut Vec<u8>, records: u32, ends: u32, ends_inside: bool) -> Result<()> {
        let raw_len = buf.len() - FRAME_HEADER;
        if raw_len > BODY_MAX {
            return Err(StoreError::TooLarge { what: "frame body", len: raw_len as u64, limit: BODY_MAX as u64 });
        }
        let Some(active) = &mut self.active else { return Err(StoreError::NoSegment) };
        self.scratch.clear();
        self.scratch.resize(FRAME_HEADER, 0);
        let codec = self.compressor.compress(&buf[FRAME_HEADER..], &mut self.scratch);
        let frame = if codec == 0 { &mut *buf } else { &mut self.scratch };
        let body_len = frame.len() - FRAME_HEADER;
        frame.resize(FRAME_HEADER + padded(body_len), 0);
        let mut flags = codec;
        flags |= if self.inside { STARTS_INSIDE } else { 0 };
        flags |= if ends_inside { ENDS_INSIDE } else { 0 };
        let header = FrameHeader {
            base_seq: self.next_seq,
            durable_to: if planted(Bug::NoPromise) { 0 } else { active.synced },
            record_count: records,
            body_len: body_len as u32,
            raw_len: raw_len as u32,
            body_crc: body_crc(active.salt, self.next_seq, &frame[FRAME_HEADER..]),
            link: self.link,
            flags,
        };
        let sum = header.encode(active.salt, frame);
        let total = frame.len() as u64;
        let result = write_frame(&*self.vfs, &self.dir, active, frame, self.stats.store_bytes, self.options.max_size);
        if codec == 0 {
            buf.truncate(FRAME_HEADER + raw_len);
        }
        self.settle(result)?;
        let Some(active) = &mut self.active else { return Err(StoreError::NoSegment) };
        active.len += total;
        active.frames += 1;
        active.records += u64::from(records);
        active.raw_bytes += raw_len as u64;
        let end = LogEnd { segment: active.id.number, offset: active.len };
        self.link = sum;
        self.next_seq += u64::from(ends);
        self.inside = ends_inside;
        if !ends_inside {
            self.complete = (end, self.next_seq - 1);
        }
        self.stats.frames += 1;
        self.stats.records += u64::from(records);
        self.stats.seqs += u64::from(ends);
        self.stats.raw_bytes += raw_len as u64;
        self.stats.stored_bytes += total;
        self.stats.store_bytes += total;
        Ok(())
    }

    /// A full disk shows as blocked and passes; everything else that is the disk's fault poisons.
    pub(crate) fn settle(&mut self, result: Result<()>) -> Result<()> {
        match &result {
            Ok(()) => self.page.set_state(WriterState::Open),
            Err(StoreError::Full { .. }) => {
                self.stats.refused += 1;
                self.page.set_state(WriterState::Blocked);
            }
            Err(StoreError::Io { op, .. }) => self.poison(op),
            Err(_) => {}
        }
        result
    }

    /// Makes everything appended durable, then publishes it up to the last complete seq. Inside a seq it bounds the dirty pages
    /// and publishes nothing new. An error of the sync poisons the writer: the kernel may have dropped the pages.
    pub fn sync(&mut self) -> Result<Durable> {
        self.check_usable()?;
        if planted(Bug::PublishFirst) {
            self.page.publish(self.complete.0, self.complete.1);
        }
        self.sync_active()?;
        let (end, seq) = self.complete;
        if end != self.page.end() || seq != self.page.seq() {
            self.page.publish(end, seq);
        }
        Ok(self.durable())
    }

    /// What is durable and published now.
    #[must_use]
    pub fn durable(&self) -> Durable {
        let end = self.page.end();
        let active =
            self.active.as_ref().filter(|active| active.id.number == end.segment).map(|active| active.id.base_seq);
        let base = active
            .or_else(|| self.sealed.iter().rev().find(|info| info.id.number == end.segment).map(|i| i.id.base_seq));
        Durable { seq: Seq(self.page.seq()), segment_base: base.unwrap_or(Seq(self.next_seq)), offset: end.offset }
    }

    pub(crate) fn sync_active(&mut self) -> Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        if active.len == active.synced {
            return Ok(());
        }
        if !planted(Bug::SkipSync) {
            let mut synced = active.file.sync_data();
            if synced.is_err() && planted(Bug::RetrySync) {
                synced = active.file.sync_data();
            }
            if let Err(e) = synced {
                let error = StoreError::io("fdatasync", &active.path, active.synced, e);
                self.poison("fdatasync");
                return Err(error);
            }
        }
        active.synced = active.len;
        self.stats.syncs += 1;
        Ok(())
    }

    /// Syncs, publishes, and leaves a durable note of how far the log was written, so that the next recovery can tell any damage from a
    /// torn tail. A seq that is not ended is cut at the next open.
    pub fn close(mut self) -> Result<()> {
        self.sync()?;
        self.page.set_state(WriterState::Closed);
        self.page.flush().map_err(|e| StoreError::io("msync", &self.dir.join("watermark"), 0, e))
    }

    pub(crate) fn check_usable(&self) -> Result<()> {
        self.poisoned.map_or(Ok(()), |stage| Err(StoreError::Poisoned { stage }))
    }

    pub(crate) fn poison(&mut self, stage: &'static str) {
        if self.poisoned.is_none() {
            tracing::error!(stage, store = %self.dir.display(), "the disk failed; the writer stops for good");
            self.poisoned = Some(stage);
        }
        self.page.set_state(WriterState::Poisoned);
    }

    pub(crate) fn poison_on_error<T>(&mut self, stage: &'static str, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.poison(stage);
        }
        result
    }
}

/// Writes a frame at the end of the open segment. Where there is no space, the file is cut back to what it was.
pub(crate) fn write_frame(
    vfs: &dyn Vfs,
    dir: &Path,
    active: &mut Active,
    frame: &[u8],
    store_bytes: u64,
    max_size: Option<u64>,
) -> Result<()> {
    let needed = frame.len() as u64;
    if active.len + needed > u64::from(u32::MAX) {
        return Err(StoreError::TooLarge { what: "segment", len: active.len + needed, limit: u64::from(u32::MAX) });
    }
    if let Some(max) = max_size
        && store_bytes + needed > max
        // Where the open segment is all there is, nothing can be deleted to make room: it grows until it is sealed. (So a frame larger than the
        // limit itself can be written, too.)
        && store_bytes > active.len
    {
        return Err(StoreError::Full { needed, free: max.saturating_sub(store_bytes) });
    }
    let Err(e) = write_full(&*active.file, frame, active.len) else { return Ok(()) };
    if planted(Bug::HoleAfterError) && is_full(&e) {
        active.len += needed;
        return Err(StoreError::Full { needed, free: 0 });
    }
    // Part of the frame may be in the file. Nothing may follow a hole, so that goes first.
    active.file.set_len(active.len).map_err(|e| StoreError::io("ftruncate", &active.path, active.len, e))?;
    if is_full(&e) {
        return Err(StoreError::Full { needed, free: vfs.free_bytes(dir).unwrap_or(0) });
    }
    Err(StoreError::io("write", &active.path, active.len, e))
}

fn take_lock(vfs: &dyn Vfs, dir: &Path) -> Result<Box<dyn Send + Sync>> {
    let path = dir.join("LOCK");
    match vfs.try_lock(&path).map_err(|e| StoreError::io("lock", &path, 0, e))? {
        Some(lock) => Ok(lock),
        None => {
            // The owner's process id is in its watermark page.
            let pid = WatermarkPage::open(vfs, dir, false).map_or(0, |page| page.read().writer_pid);
            Err(StoreError::Locked { dir: dir.to_path_buf(), pid })
        }
    }
}

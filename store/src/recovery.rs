//! What the writer does before it writes: find the end of the log, tell a torn tail from damage, and cut only what nobody can have seen.
//!
//! A tail is torn, and may be cut, only if nothing says that it was durable: no later frame's `durable_to`, no later segment, no published
//! watermark, no consumer's position. Everything else that is invalid is damage, is reported and stays as it is. Every step can be repeated:
//! a crash in the middle leaves a state from which the same steps lead to the same end.

use std::path::Path;

use common::Seq;

use crate::bytes::{now_us, u32_at};
use crate::consumer;
use crate::error::{Damage, Result, StoreError, is_full};
use crate::frame::{FRAME_HEADER, FRAME_MAGIC, FrameHeader};
use crate::identity::Identity;
use crate::planted::{Bug, planted};
use crate::scan::{Cursor, ScanError, Scanner};
use crate::segment::{Seal, SegmentId, SegmentInfo, list_ids, open_segment, segments_dir};
use crate::vfs::{Open, Vfs, read_full, write_full};
use crate::watermark::{LogEnd, WatermarkPage};

/// Bytes of a torn tail that are kept in `quarantine/`.
const QUARANTINE_MAX: u64 = 16 << 20;
/// Bytes looked through at a time behind an invalid frame.
const SEARCH_BYTES: usize = 1 << 20;

/// What recovery cut off the end of the log: bytes that were never published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Segment that was cut.
    pub segment: SegmentId,
    /// Its new length.
    pub offset: u64,
    /// Bytes cut from it.
    pub bytes: u64,
    /// Later segments removed, because they held only the rest of an unfinished seq.
    pub segments_removed: usize,
    /// Why the first invalid frame is invalid; `None` where all frames were whole and only a seq was unfinished.
    pub reason: Option<Damage>,
}

/// State of the log after recovery.
pub(crate) struct Found {
    /// All segments, the last one included.
    pub(crate) segments: Vec<SegmentInfo>,
    /// The last segment where it is not sealed, and where to go on in it.
    pub(crate) open: Option<(Scanner, Cursor)>,
    /// Header checksum of the last frame: what the next segment's header carries on.
    pub(crate) link: u32,
    pub(crate) next_seq: u64,
    pub(crate) end: LogEnd,
    pub(crate) cut: Option<TornTail>,
    pub(crate) blob: Vec<u8>,
}

pub(crate) struct Recovery<'a> {
    pub(crate) vfs: &'a dyn Vfs,
    pub(crate) store: &'a Path,
    pub(crate) identity: &'a Identity,
    /// The published end of the last writer, where its page survived.
    pub(crate) published: Option<(LogEnd, u64)>,
}

impl Recovery<'_> {
    pub(crate) fn published(page: &WatermarkPage, identity: &Identity) -> Option<(LogEnd, u64)> {
        (page.uuid() == Some(identity.uuid)).then(|| (page.end(), page.seq()))
    }

    pub(crate) fn run(&self) -> Result<Found> {
        self.remove_leftovers()?;
        let ids = list_ids(self.vfs, self.store)?;
        self.check_contiguous(&ids)?;
        let mut chain = self.check_sealed(&ids)?;
        let Some(last) = chain.pop() else {
            self.check_evidence(LogEnd::default(), 0)?;
            return Ok(Found {
                segments: Vec::new(),
                open: None,
                link: 0,
                next_seq: self.identity.low_seq,
                end: LogEnd::default(),
                cut: None,
                blob: Vec::new(),
            });
        };
        self.recover_tail(chain, last)
    }

    /// Temporary files, and segments that retention had given up: their removal was already durable in `STORE`.
    fn remove_leftovers(&self) -> Result<()> {
        let dir = segments_dir(self.store);
        let names = self.vfs.list(&dir).map_err(|e| StoreError::io("list", &dir, 0, e))?;
        for name in names {
            let below = SegmentId::parse(&name).is_some_and(|id| id.number < self.identity.low_segment);
            if below || name.ends_with(".tmp") || name.ends_with(".deleted") {
                let path = dir.join(&name);
                self.vfs.remove(&path).map_err(|e| StoreError::io("unlink", &path, 0, e))?;
            }
        }
        // Also where nothing was removed: the last writer may have died between giving a segment its name and making that durable.
        self.vfs.sync_dir(&dir).map_err(|e| StoreError::io("fsync", &dir, 0, e))
    }

    fn check_contiguous(&self, ids: &[SegmentId]) -> Result<()> {
        for (expected, id) in (self.identity.low_segment..).zip(ids) {
            if id.number != expected {
                let missing = SegmentId { number: expected, base_seq: id.base_seq };
                return Err(missing.corrupt(0, id.base_seq.0, Damage::MissingSegment));
            }
        }
        if ids.is_empty() && self.identity.low_segment > 1 {
            let missing = SegmentId { number: self.identity.low_segment, base_seq: Seq(self.identity.low_seq) };
            return Err(missing.corrupt(0, missing.base_seq.0, Damage::MissingSegment));
        }
        Ok(())
    }

    /// Headers, seals and links of all segments. Every one but the last must be sealed: the next is created only after the seal is durable.
    fn check_sealed(&self, ids: &[SegmentId]) -> Result<Vec<(SegmentInfo, u32)>> {
        let mut out: Vec<(SegmentInfo, u32)> = Vec::with_capacity(ids.len());
        for (i, id) in ids.iter().enumerate() {
            let (file, header, sum, _) = open_segment(self.vfs, self.store, *id, Some(&self.identity.uuid))?;
            let io = |e| StoreError::io("read", &id.path(self.store), 0, e);
            let bytes = file.len().map_err(io)?;
            let seal = Seal::at_end(&*file, header.salt).map_err(io)?;
            if let Some((before, link)) = out.last() {
                let seal = before.seal.unwrap_or_default();
                if header.prev_chain != *link {
                    let kind = Damage::Chain { expected: *link, found: header.prev_chain };
                    return Err(id.corrupt(0, id.base_seq.0, kind));
                }
                if (header.base_seq, header.continued) != (seal.next_seq, seal.inside) {
                    let kind = Damage::Sequence { expected: seal.next_seq, found: header.base_seq };
                    return Err(id.corrupt(0, id.base_seq.0, kind));
                }
            }
            if seal.is_none() && i + 1 < ids.len() && !planted(Bug::CutSealed) {
                return Err(id.corrupt(bytes, id.base_seq.0, Damage::NotSealed));
            }
            let link = seal.map_or(sum, |(_, link)| link);
            let info = SegmentInfo {
                id: *id,
                continued: header.continued,
                bytes,
                created_us: header.created_us,
                seal: seal.map(|(seal, _)| seal),
            };
            let stop = info.seal.is_none();
            out.push((info, link));
            if stop {
                break;
            }
        }
        Ok(out)
    }

    fn scanner(&self, id: SegmentId) -> Result<Scanner> {
        let (file, header, sum, len) = open_segment(self.vfs, self.store, id, Some(&self.identity.uuid))?;
        Ok(Scanner::new(id, file, header, sum, len))
    }

    /// Finds the last complete seq, going back over segments that hold only an unfinished one, and cuts what follows.
    fn recover_tail(&self, mut before: Vec<(SegmentInfo, u32)>, last: (SegmentInfo, u32)) -> Result<Found> {
        let (mut info, mut link) = last;
        let mut later: Vec<SegmentInfo> = Vec::new();
        let mut reason = None;
        let path = info.id.path(self.store);
        let file = self.vfs.open(&path, Open::Write).map_err(|e| StoreError::io("open", &path, 0, e))?;
        // What is read below may still be only in memory of the kernel; what is decided from it must not be.
        file.sync_all().map_err(|e| StoreError::io("fsync", &path, 0, e))?;
        loop {
            let mut scanner = self.scanner(info.id)?;
            let file_len = scanner.file.len().map_err(|e| StoreError::io("read", &info.id.path(self.store), 0, e))?;
            let is_last = later.is_empty();
            let (complete, whole, durable) = self.scan(&mut scanner, file_len, is_last, &mut reason)?;
            let Some(complete) = complete else {
                // Not one seq ends in here and the first one began earlier: the whole segment belongs to an unfinished seq.
                let Some((previous, previous_link)) = before.pop() else {
                    let kind = Damage::SegmentHeader(
                        "the first segment kept starts inside a seq that nothing ends".to_owned(),
                    );
                    return Err(info.id.corrupt(0, info.id.base_seq.0, kind));
                };
                later.push(std::mem::replace(&mut info, previous));
                link = previous_link;
                continue;
            };
            let end = LogEnd { segment: info.id.number, offset: complete.offset };
            self.check_evidence(end, complete.next_seq - 1)?;
            let nothing_to_cut = later.is_empty() && complete.offset == file_len;
            let sealed_and_whole = nothing_to_cut && whole && complete.sealed;
            let mut cut = None;
            if !nothing_to_cut {
                cut = Some(self.cut(&info, &complete, file_len, &later, reason.take())?);
                info.seal = None;
                info.bytes = complete.offset;
            }
            self.rewrite_unproven(&scanner, &complete, durable)?;
            if !sealed_and_whole {
                link = complete.link;
            }
            let blob = scanner.header.blob.clone();
            let mut segments: Vec<SegmentInfo> = before.into_iter().map(|(info, _)| info).collect();
            segments.push(info);
            let open = (!sealed_and_whole).then_some((scanner, complete));
            return Ok(Found { segments, open, link, next_seq: complete.next_seq, end, cut, blob });
        }
    }

    /// Scans a segment; returns the last place at which no seq is open, if there is one, whether every byte is valid, and the highest
    /// `durable_to` of the valid frames.
    fn scan(
        &self,
        scanner: &mut Scanner,
        file_len: u64,
        is_last: bool,
        reason: &mut Option<Damage>,
    ) -> Result<(Option<Cursor>, bool, u64)> {
        let mut complete = (!scanner.header.continued).then_some(scanner.at);
        let mut durable = scanner.header_len;
        loop {
            match scanner.next(file_len) {
                Ok(Some(frame)) => {
                    durable = durable.max(frame.header.durable_to);
                    if !scanner.at.inside || planted(Bug::CutInsideSeq) {
                        complete = Some(scanner.at);
                    }
                }
                Ok(None) => return Ok((complete, true, durable)),
                Err(ScanError::Io(offset, e)) => {
                    return Err(StoreError::io("read", &scanner.id.path(self.store), offset, e));
                }
                Err(ScanError::Damage(damage)) => {
                    let at = scanner.at;
                    if !is_last {
                        return Err(scanner.id.corrupt(at.offset, at.next_seq, damage));
                    }
                    let promise =
                        durable.max(self.published_in(scanner.id.number)).max(promised(self.store, scanner, file_len)?);
                    if promise > at.offset {
                        let kind = Damage::BelowDurable { durable: promise, cause: Box::new(damage) };
                        return Err(scanner.id.corrupt(at.offset, at.next_seq, kind));
                    }
                    *reason = Some(damage);
                    return Ok((complete, false, durable));
                }
            }
        }
    }

    /// Offset up to which the last writer's page says that this segment was durable.
    fn published_in(&self, number: u64) -> u64 {
        match self.published {
            Some((end, _)) if end.segment == number => end.offset,
            Some((end, _)) if end.segment > number => u64::MAX,
            _ => 0,
        }
    }

    /// Nothing that was published or applied may lie behind the end.
    fn check_evidence(&self, end: LogEnd, last_seq: u64) -> Result<()> {
        if let Some((published, seq)) = self.published
            && (published > end || seq > last_seq)
        {
            let id = SegmentId { number: published.segment, base_seq: Seq(last_seq + 1) };
            let kind = if published.segment > end.segment {
                Damage::MissingSegment
            } else {
                let cause = Damage::Truncated { needed: published.offset, available: end.offset };
                Damage::BelowDurable { durable: published.offset, cause: Box::new(cause) }
            };
            return Err(id.corrupt(end.offset, last_seq + 1, kind));
        }
        for entry in consumer::list_on(self.vfs, self.store)? {
            if let Some(pos) = entry.position.filter(|pos| pos.0 > last_seq) {
                return Err(StoreError::BehindConsumer { name: entry.name, pos, end: Seq(last_seq) });
            }
        }
        Ok(())
    }

    /// Cuts the log to `complete`: later segments first, from the back, so that a crash in between leaves the same picture.
    fn cut(
        &self,
        info: &SegmentInfo,
        complete: &Cursor,
        file_len: u64,
        later: &[SegmentInfo],
        reason: Option<Damage>,
    ) -> Result<TornTail> {
        let dir = segments_dir(self.store);
        if reason.is_some() {
            self.quarantine(
                later.first().map_or(info.id, |last| last.id),
                later.first().map_or(complete.offset, |_| 0),
            );
        }
        for segment in later {
            let path = segment.id.path(self.store);
            self.vfs.remove(&path).map_err(|e| StoreError::io("unlink", &path, 0, e))?;
            self.vfs.sync_dir(&dir).map_err(|e| StoreError::io("fsync", &dir, 0, e))?;
        }
        let path = info.id.path(self.store);
        let file = self.vfs.open(&path, Open::Write).map_err(|e| StoreError::io("open", &path, 0, e))?;
        file.set_len(complete.offset).map_err(|e| StoreError::io("ftruncate", &path, complete.offset, e))?;
        file.sync_all().map_err(|e| StoreError::io("fsync", &path, 0, e))?;
        let bytes = file_len - complete.offset;
        tracing::warn!(
            segment = info.id.file_name(),
            offset = complete.offset,
            bytes,
            segments_removed = later.len(),
            reason = reason.as_ref().map_or("a seq was not finished".to_owned(), ToString::to_string),
            "cut the unpublished end of the log"
        );
        Ok(TornTail { segment: info.id, offset: complete.offset, bytes, segments_removed: later.len(), reason })
    }

    /// Keeps a copy of what is cut, for people who want to know why. A full disk must not stop recovery.
    fn quarantine(&self, id: SegmentId, offset: u64) {
        let dir = self.store.join("quarantine");
        let to = dir.join(format!("{}.{offset}.{}", id.file_name(), now_us()));
        let copy = || -> std::io::Result<()> {
            let from = self.vfs.open(&id.path(self.store), Open::Read)?;
            let len = from.len()?.saturating_sub(offset).min(QUARANTINE_MAX);
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
            let got = read_full(&*from, &mut bytes, offset)?;
            if bytes.iter().take(got).all(|byte| *byte == 0) {
                return Ok(());
            }
            self.vfs.create_dir_all(&dir)?;
            write_full(&*self.vfs.open(&to, Open::Create)?, bytes.get(..got).unwrap_or_default(), 0)
        };
        if let Err(e) = copy() {
            let why = if is_full(&e) { "the disk is full".to_owned() } else { e.to_string() };
            tracing::warn!(path = %to.display(), why, "kept no copy of the cut bytes");
            // A partial copy would only take space that is needed.
            let _ = self.vfs.remove(&to);
        }
    }

    /// Writes the part of the tail that no frame proves durable once more, from what was read and verified. A sync that failed in the
    /// last writer's life may have left pages that look clean and were never written; only new writes make them dirty again.
    fn rewrite_unproven(&self, scanner: &Scanner, complete: &Cursor, durable: u64) -> Result<()> {
        let path = scanner.id.path(self.store);
        let file = self.vfs.open(&path, Open::Write).map_err(|e| StoreError::io("open", &path, 0, e))?;
        let mut at = durable;
        let mut buf = vec![0; SEARCH_BYTES];
        while at < complete.offset {
            let want = usize::try_from(complete.offset - at).unwrap_or(SEARCH_BYTES).min(SEARCH_BYTES);
            let part = buf.get_mut(..want).unwrap_or_default();
            let got = read_full(&*file, part, at).map_err(|e| StoreError::io("read", &path, at, e))?;
            if got < want {
                return Err(StoreError::io("read", &path, at, std::io::ErrorKind::UnexpectedEof.into()));
            }
            write_full(&*file, part, at).map_err(|e| StoreError::io("write", &path, at, e))?;
            at += want as u64;
        }
        file.sync_data().map_err(|e| StoreError::io("fdatasync", &path, complete.offset, e))
    }
}

/// Looks behind an invalid frame for valid frame headers of this segment, and returns the highest promise among them.
/// The salt keeps bytes inside rows from passing for a frame.
pub(crate) fn promised(store: &Path, scanner: &Scanner, file_len: u64) -> Result<u64> {
    let mut promise = 0;
    let mut at = scanner.at.offset;
    let mut buf = vec![0; SEARCH_BYTES + FRAME_HEADER];
    while at < file_len {
        let got = read_full(&*scanner.file, &mut buf, at)
            .map_err(|e| StoreError::io("read", &scanner.id.path(store), at, e))?;
        let mut i = 0;
        while i + FRAME_HEADER <= got {
            let place = &buf[i..i + FRAME_HEADER];
            if u32_at(place, 0) == FRAME_MAGIC
                && let Ok((header, _)) = FrameHeader::decode(place, scanner.header.salt)
            {
                promise = promise.max(header.durable_to);
            }
            i += 8;
        }
        at += SEARCH_BYTES as u64;
    }
    Ok(promise)
}

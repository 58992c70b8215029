//! Looking into a store without its lock and without changing it: the list of segments, and a check of every byte.

use std::path::Path;
use std::sync::Arc;

use common::Seq;

use crate::error::{Damage, Result, StoreError};
use crate::header::SegmentHeader;
use crate::identity;
use crate::recovery::promised;
use crate::scan::{ScanError, Scanner};
use crate::segment::{Seal, SegmentId, SegmentInfo, list_ids, open_segment};
use crate::vfs::{RealFs, Vfs};
use crate::watermark::WatermarkPage;

/// A damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPlace {
    /// The segment.
    pub segment: SegmentId,
    /// Offset of the damaged frame, in bytes.
    pub offset: u64,
    /// The seq that was expected there.
    pub seq: Seq,
    /// What is wrong.
    pub reason: Damage,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segments looked at.
    pub segments: u64,
    /// Valid frames, without seals.
    pub frames: u64,
    /// Valid records.
    pub records: u64,
    /// Bytes checked.
    pub bytes: u64,
    /// Uncompressed bytes of the bodies.
    pub raw_bytes: u64,
    /// First complete seq kept and last complete seq found.
    pub seqs: Option<(Seq, Seq)>,
    /// Every damaged place; behind one, the rest of its segment cannot be checked.
    pub damage: Vec<DamagedPlace>,
    /// Bytes at the end that are not published: in flight, unfinished or torn. Recovery settles them; they are no damage.
    pub unpublished: u64,
    /// Why the first invalid frame of those bytes is invalid, where one is.
    pub torn: Option<Damage>,
}

/// The segments of a store, oldest first, from their headers and seals. Needs no writer and no watermark.
pub fn list_segments(store: &Path) -> Result<Vec<SegmentInfo>> {
    Ok(read_headers(&RealFs, store)?.into_iter().map(|(info, _)| info).collect())
}

/// [`list_segments`] with the headers and their blobs: where each segment stands in the source.
pub fn list_segment_headers(store: &Path) -> Result<Vec<(SegmentInfo, SegmentHeader)>> {
    read_headers(&RealFs, store)
}

fn read_headers(vfs: &dyn Vfs, store: &Path) -> Result<Vec<(SegmentInfo, SegmentHeader)>> {
    if identity::read(vfs, store)?.is_none() {
        return Err(StoreError::NotYet { dir: store.to_path_buf() });
    }
    let mut out = Vec::new();
    for id in list_ids(vfs, store)? {
        let (file, header, _, _) = match open_segment(vfs, store, id, None) {
            Ok(opened) => opened,
            // Retention took it since it was listed.
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let io = |e| StoreError::io("read", &id.path(store), 0, e);
        let seal = Seal::at_end(&*file, header.salt).map_err(io)?.map(|(seal, _)| seal);
        let bytes = file.len().map_err(io)?;
        let info = SegmentInfo { id, continued: header.continued, bytes, created_us: header.created_us, seal };
        out.push((info, header));
    }
    Ok(out)
}

/// Reads every byte of the store and checks it. A running writer is no obstacle: what it has not published is left out.
pub fn verify(store: &Path) -> Result<VerifyReport> {
    verify_on(&(Arc::new(RealFs) as Arc<dyn Vfs>), store)
}

/// [`verify`] on a given file system.
pub fn verify_on(vfs: &Arc<dyn Vfs>, store: &Path) -> Result<VerifyReport> {
    let vfs = &**vfs;
    let identity = identity::read(vfs, store)?.ok_or_else(|| StoreError::NotYet { dir: store.to_path_buf() })?;
    let page = WatermarkPage::open(vfs, store, false).ok().filter(|page| page.uuid() == Some(identity.uuid));
    let published = page.map(|page| (page.end(), page.seq()));
    let ids: Vec<SegmentId> =
        list_ids(vfs, store)?.into_iter().filter(|id| id.number >= identity.low_segment).collect();
    let mut report = VerifyReport::default();
    let mut link: Option<(u32, u64, bool)> = None;
    let mut expected = identity.low_segment;
    for id in &ids {
        while expected < id.number {
            let missing = SegmentId { number: expected, base_seq: id.base_seq };
            report.found(missing, 0, id.base_seq.0, Damage::MissingSegment);
            (link, expected) = (None, expected + 1);
        }
        expected = id.number + 1;
        let last = ids.last() == Some(id);
        link = report.segment(vfs, store, *id, &identity.uuid, link, last, published.map(|(end, _)| end))?;
    }
    if let Some((end, seq)) = published {
        for number in expected..=end.segment {
            let missing = SegmentId { number, base_seq: Seq(seq) };
            report.found(missing, 0, seq, Damage::MissingSegment);
        }
    }
    let last = published.map(|(_, seq)| seq).or(link.map(|(_, next, _)| next - 1));
    report.seqs = last.filter(|last| *last >= identity.low_seq).map(|last| (Seq(identity.low_seq), Seq(last)));
    Ok(report)
}

impl VerifyReport {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }

    fn found(&mut self, segment: SegmentId, offset: u64, seq: u64, reason: Damage) {
        self.damage.push(DamagedPlace { segment, offset, seq: Seq(seq), reason });
    }

    /// Checks one segment. `link`: checksum, next seq and openness at the end of the one before. Returns its own, if it could be read.
    #[allow(clippy::too_many_arguments, reason = "one call; a struct would only rename them")]
    fn segment(
        &mut self,
        vfs: &dyn Vfs,
        store: &Path,
        id: SegmentId,
        uuid: &[u8; 16],
        link: Option<(u32, u64, bool)>,
        last: bool,
        published: Option<crate::watermark::LogEnd>,
    ) -> Result<Option<(u32, u64, bool)>> {
        self.segments += 1;
        let (file, header, sum, len) = match open_segment(vfs, store, id, Some(uuid)) {
            Ok(opened) => opened,
            Err(StoreError::Corrupt { offset, seq, kind, .. }) => {
                self.found(id, offset, seq.0, kind);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if let Some((expected, next_seq, inside)) = link {
            if header.prev_chain != expected {
                self.found(id, 0, header.base_seq, Damage::Chain { expected, found: header.prev_chain });
            } else if (header.base_seq, header.continued) != (next_seq, inside) {
                self.found(id, 0, header.base_seq, Damage::Sequence { expected: next_seq, found: header.base_seq });
            }
        }
        let io = |e| StoreError::io("read", &id.path(store), 0, e);
        let file_len = file.len().map_err(io)?;
        let published_to = match published {
            Some(end) if end.segment == id.number => end.offset,
            Some(end) if end.segment > id.number => file_len,
            _ => 0,
        };
        let mut scanner = Scanner::new(id, file, header, sum, len);
        let mut durable = if last { published_to } else { file_len };
        let result = loop {
            match scanner.next(file_len) {
                Ok(Some(frame)) => durable = durable.max(frame.header.durable_to),
                Ok(None) => break None,
                Err(ScanError::Io(offset, e)) => return Err(StoreError::io("read", &id.path(store), offset, e)),
                Err(ScanError::Damage(damage)) => break Some(damage),
            }
        };
        let at = scanner.at;
        self.frames += at.frames;
        self.records += at.records;
        self.raw_bytes += at.raw_bytes;
        self.bytes += at.offset;
        match result {
            Some(damage) => {
                if durable.max(promised(store, &scanner, file_len)?) > at.offset {
                    self.found(id, at.offset, at.next_seq, damage);
                } else {
                    self.unpublished += file_len - at.offset;
                    self.torn = Some(damage);
                }
                return Ok(None);
            }
            None if !last && !at.sealed => self.found(id, at.offset, at.next_seq, Damage::NotSealed),
            None if published_to > file_len => {
                let cause = Damage::Truncated { needed: published_to, available: file_len };
                self.found(
                    id,
                    at.offset,
                    at.next_seq,
                    Damage::BelowDurable { durable: published_to, cause: Box::new(cause) },
                );
            }
            None if last && published.is_some() => self.unpublished += file_len.saturating_sub(published_to),
            None => {}
        }
        Ok(Some((at.link, at.next_seq, at.inside)))
    }
}

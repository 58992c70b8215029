//! Segments as files: their names, their folder, and the frame that seals them.

use std::path::{Path, PathBuf};

use common::Seq;

use crate::bytes::{put, u64_at};
use crate::error::{Damage, Result, StoreError};
use crate::frame::{FRAME_HEADER, FrameHeader, SEAL, STARTS_INSIDE, body_crc};
use crate::header::SegmentHeader;
use crate::vfs::{Open, Vfs, VfsFile, read_full};

/// Length of a seal frame: its header and 40 bytes.
pub(crate) const SEAL_LEN: usize = FRAME_HEADER + SEAL_BODY;
const SEAL_BODY: usize = 40;

/// Folder of the segments.
pub(crate) fn segments_dir(store: &Path) -> PathBuf {
    store.join("segments")
}

/// Place of a segment: dense number and base seq, both in its file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// Dense from 1.
    pub number: u64,
    /// Seq of the first record. Several segments share it when one seq fills them.
    pub base_seq: Seq,
}

impl SegmentId {
    /// `{base_seq:020}-{number:010}.log`: sorts by seq in every tool, and stays unique when a seq spans segments.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{:020}-{:010}.log", self.base_seq.0, self.number)
    }

    /// Parses a file name; `None` for files that are no segments.
    #[must_use]
    pub fn parse(name: &str) -> Option<SegmentId> {
        let (base, number) = name.strip_suffix(".log")?.split_once('-')?;
        let id = SegmentId { number: number.parse().ok()?, base_seq: Seq(base.parse().ok()?) };
        (id.file_name() == name).then_some(id)
    }

    pub(crate) fn path(&self, store: &Path) -> PathBuf {
        segments_dir(store).join(self.file_name())
    }

    pub(crate) fn corrupt(&self, offset: u64, seq: u64, kind: Damage) -> StoreError {
        StoreError::Corrupt { segment: self.file_name(), offset, seq: Seq(seq), kind }
    }
}

/// The segments in a store's folder, by number.
pub(crate) fn list_ids(vfs: &dyn Vfs, store: &Path) -> Result<Vec<SegmentId>> {
    let dir = segments_dir(store);
    let names = vfs.list(&dir).map_err(|e| StoreError::io("list", &dir, 0, e))?;
    let mut ids: Vec<SegmentId> = names.iter().filter_map(|name| SegmentId::parse(name)).collect();
    ids.sort();
    Ok(ids)
}

/// Opens a segment and checks that its header belongs to its name (and to `store_uuid`, where given).
pub(crate) fn open_segment(
    vfs: &dyn Vfs,
    store: &Path,
    id: SegmentId,
    store_uuid: Option<&[u8; 16]>,
) -> Result<(std::sync::Arc<dyn VfsFile>, SegmentHeader, u32, u64)> {
    let path = id.path(store);
    let file = vfs.open(&path, Open::Read).map_err(|e| StoreError::io("open", &path, 0, e))?;
    let read = SegmentHeader::read(&*file).map_err(|e| StoreError::io("read", &path, 0, e))?;
    let (header, sum, len) = read.map_err(|damage| id.corrupt(0, id.base_seq.0, damage))?;
    let bad = |why: &str| Err(id.corrupt(0, id.base_seq.0, Damage::SegmentHeader(why.to_owned())));
    if header.number != id.number || header.base_seq != id.base_seq.0 {
        return bad("number or base seq differ from the file name");
    }
    if store_uuid.is_some_and(|uuid| *uuid != header.store) {
        return bad("segment belongs to another store");
    }
    Ok((file, header, sum, len))
}

/// What a seal says about its segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seal {
    /// The seq that the next record belongs to.
    pub next_seq: u64,
    /// That seq is already begun.
    pub inside: bool,
    /// Frames before the seal.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes, uncompressed.
    pub raw_bytes: u64,
    /// When it was sealed, microseconds since 1970 UTC.
    pub closed_us: u64,
}

impl Seal {
    /// The seal as a frame, with its header checksum.
    pub(crate) fn encode(&self, salt: u32, link: u32, durable_to: u64) -> ([u8; SEAL_LEN], u32) {
        let mut out = [0; SEAL_LEN];
        let fields = [self.next_seq, self.frames, self.records, self.raw_bytes, self.closed_us];
        for (i, field) in fields.iter().enumerate() {
            put(&mut out, FRAME_HEADER + i * 8, &field.to_le_bytes());
        }
        let header = FrameHeader {
            base_seq: self.next_seq,
            durable_to,
            record_count: 0,
            body_len: SEAL_BODY as u32,
            raw_len: SEAL_BODY as u32,
            body_crc: body_crc(salt, self.next_seq, &out[FRAME_HEADER..]),
            link,
            flags: SEAL | if self.inside { STARTS_INSIDE } else { 0 },
        };
        let sum = header.encode(salt, &mut out);
        (out, sum)
    }

    /// Reads a seal out of a frame whose checksums hold.
    pub(crate) fn decode(header: &FrameHeader, body: &[u8]) -> std::result::Result<Seal, Damage> {
        if body.len() != SEAL_BODY || header.record_count != 0 || header.flags & !(SEAL | STARTS_INSIDE) != 0 {
            return Err(Damage::Field("seal has the wrong form"));
        }
        if u64_at(body, 0) != header.base_seq {
            return Err(Damage::Field("seal has two next seqs"));
        }
        Ok(Seal {
            next_seq: header.base_seq,
            inside: header.flags & STARTS_INSIDE != 0,
            frames: u64_at(body, 8),
            records: u64_at(body, 16),
            raw_bytes: u64_at(body, 24),
            closed_us: u64_at(body, 32),
        })
    }

    /// The seal at the very end of a file, with its header checksum; `None` where the file does not end with a valid one.
    pub(crate) fn at_end(file: &dyn VfsFile, salt: u32) -> std::io::Result<Option<(Seal, u32)>> {
        let len = file.len()?;
        let Some(at) = len.checked_sub(SEAL_LEN as u64) else { return Ok(None) };
        let mut bytes = [0; SEAL_LEN];
        if read_full(file, &mut bytes, at)? < SEAL_LEN {
            return Ok(None);
        }
        let body = &bytes[FRAME_HEADER..];
        Ok(FrameHeader::decode(&bytes, salt).ok().and_then(|(header, sum)| {
            let whole = header.is_seal() && body_crc(salt, header.base_seq, body) == header.body_crc;
            let seal = Seal::decode(&header, body).ok().filter(|_| whole)?;
            Some((seal, sum))
        }))
    }
}

/// What the folder, the header and the seal say about a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Number and base seq.
    pub id: SegmentId,
    /// The segment starts inside its base seq.
    pub continued: bool,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Created, microseconds since 1970 UTC.
    pub created_us: u64,
    /// The seal; `None` in the segment that is being written.
    pub seal: Option<Seal>,
}

impl SegmentInfo {
    /// Last seq with a record in the segment; for the unsealed segment it is not known here.
    #[must_use]
    pub fn last_seq(&self) -> Option<Seq> {
        self.seal.map(|seal| Seq(if seal.inside { seal.next_seq } else { seal.next_seq - 1 }))
    }
}

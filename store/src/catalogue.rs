//! The writer's own catalogue of sealed segments, in `catalog.sled`: it spares a store of many segments reading all their headers and
//! seals to answer "which segments are there". Private to the process that holds the writer's lock, and rebuilt from the segments whenever it
//! is missing, damaged or disagrees: nothing depends on it.

use std::path::Path;

use common::Seq;

use crate::bytes::{u32_at, u64_at};
use crate::segment::{Seal, SegmentId, SegmentInfo};

const ENTRY: usize = 76;

/// The open catalogue. Every failure is logged and ends in "not there".
pub struct Catalogue {
    db: Option<sled::Db>,
}

fn encode(info: &SegmentInfo) -> Option<Vec<u8>> {
    let seal = info.seal?;
    let mut out = Vec::with_capacity(ENTRY);
    let fields = [
        info.id.base_seq.0,
        info.bytes,
        info.created_us,
        seal.next_seq,
        seal.frames,
        seal.records,
        seal.raw_bytes,
        seal.closed_us,
        u64::from(info.continued) | u64::from(seal.inside) << 1,
    ];
    fields.iter().for_each(|field| out.extend_from_slice(&field.to_le_bytes()));
    out.extend_from_slice(&crate::bytes::crc(&[&out]).to_le_bytes());
    Some(out)
}

fn decode(key: &[u8], value: &[u8]) -> Option<SegmentInfo> {
    let number = u64::from_be_bytes(key.try_into().ok()?);
    let (fields, sum) = value.split_at_checked(ENTRY - 4)?;
    if sum.len() != 4 || u32_at(sum, 0) != crate::bytes::crc(&[fields]) {
        return None;
    }
    let field = |i: usize| u64_at(fields, i * 8);
    let seal = Seal {
        next_seq: field(3),
        inside: field(8) & 2 != 0,
        frames: field(4),
        records: field(5),
        raw_bytes: field(6),
        closed_us: field(7),
    };
    Some(SegmentInfo {
        id: SegmentId { number, base_seq: Seq(field(0)) },
        continued: field(8) & 1 != 0,
        bytes: field(1),
        created_us: field(2),
        seal: Some(seal),
    })
}

impl Catalogue {
    /// Opens the catalogue of the store in `dir` and makes it equal to `segments`, the truth that recovery found. Only the process that
    /// holds the writer may call this. Returns with it how many entries were missing or wrong.
    #[must_use]
    pub fn open(dir: &Path, segments: &[SegmentInfo]) -> (Catalogue, usize) {
        let path = dir.join("catalog.sled");
        let open = || sled::Config::new().path(&path).cache_capacity(1 << 20).flush_every_ms(None).open();
        let db = open().or_else(|error| {
            tracing::warn!(%error, path = %path.display(), "catalogue is unreadable and is built anew");
            std::fs::remove_dir_all(&path).map_err(sled::Error::from)?;
            open()
        });
        let db = db.map_err(|error| tracing::warn!(%error, "store goes on without its catalogue")).ok();
        let catalogue = Catalogue { db };
        let sealed: Vec<&SegmentInfo> = segments.iter().filter(|info| info.seal.is_some()).collect();
        let known = catalogue.list();
        let wrong = sealed.iter().filter(|info| !known.contains(info)).count();
        if wrong > 0 || known.len() != sealed.len() {
            if let Some(db) = &catalogue.db {
                let _ = db.clear();
            }
            sealed.into_iter().for_each(|info| catalogue.put(info));
        }
        (catalogue, wrong)
    }

    /// Notes a sealed segment.
    pub fn put(&self, info: &SegmentInfo) {
        let Some((db, value)) = self.db.as_ref().zip(encode(info)) else { return };
        if let Err(error) = db.insert(info.id.number.to_be_bytes(), value) {
            tracing::warn!(%error, "catalogue takes no entry");
        }
    }

    /// Forgets a segment that retention deleted.
    pub fn remove(&self, id: SegmentId) {
        if let Some(Err(error)) = self.db.as_ref().map(|db| db.remove(id.number.to_be_bytes())) {
            tracing::warn!(%error, "catalogue keeps a deleted entry");
        }
    }

    /// The sealed segments it knows, oldest first. Entries that fail their checksum are left out.
    #[must_use]
    pub fn list(&self) -> Vec<SegmentInfo> {
        let entries = self.db.iter().flat_map(|db| db.iter()).filter_map(Result::ok);
        entries.filter_map(|(key, value)| decode(&key, &value)).collect()
    }
}

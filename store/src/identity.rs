//! The file `STORE`: what makes a folder a store. Two slots of 4096 bytes, written in turn in place, so that it can be updated on a full
//! disk and a torn write leaves the other slot.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 10 | magic `"LWSTO" 1A 0A A9 0D 0A` |
//! | 10 | 2 | format version, 1 |
//! | 12 | 4 | identity length |
//! | 16 | 8 | generation; the slot with the higher one holds |
//! | 24 | 16 | store uuid |
//! | 40 | 8 | writer epoch |
//! | 48 | 8 | lowest segment number that is kept |
//! | 56 | 8 | lowest seq that is kept completely |
//! | 64 | 8 | time of creation, microseconds since 1970 UTC |
//! | 72 | n | identity: the caller's, up to 4000 bytes |
//! | … | | zeros |
//! | 4092 | 4 | CRC-32 of everything before |

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bytes::{crc, now_us, put, u16_at, u32_at, u64_at};
use crate::error::{Result, StoreError};
use crate::vfs::{Open, Vfs, VfsFile, read_full, write_full};

const MAGIC: [u8; 10] = *b"LWSTO\x1a\x0a\xa9\x0d\x0a";
const FORMAT: u16 = 1;
const SLOT: usize = 4096;
const FIXED: usize = 72;
/// Longest identity, in bytes.
pub(crate) const IDENTITY_MAX: usize = 4000;

/// The content of `STORE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Random, in every segment header.
    pub(crate) uuid: [u8; 16],
    /// Grows with each writer that opens the store.
    pub(crate) writer_epoch: u64,
    /// Lowest segment number that is kept.
    pub(crate) low_segment: u64,
    /// Lowest seq that is kept completely.
    pub(crate) low_seq: u64,
    /// Microseconds since 1970 UTC.
    pub(crate) created_us: u64,
    /// The caller's bytes: which source this is a log of.
    pub(crate) source: Vec<u8>,
    generation: u64,
}

impl Identity {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; SLOT];
        put(&mut out, 0, &MAGIC);
        put(&mut out, 10, &FORMAT.to_le_bytes());
        put(&mut out, 12, &u32::try_from(self.source.len()).unwrap_or(0).to_le_bytes());
        put(&mut out, 16, &self.generation.to_le_bytes());
        put(&mut out, 24, &self.uuid);
        put(&mut out, 40, &self.writer_epoch.to_le_bytes());
        put(&mut out, 48, &self.low_segment.to_le_bytes());
        put(&mut out, 56, &self.low_seq.to_le_bytes());
        put(&mut out, 64, &self.created_us.to_le_bytes());
        put(&mut out, FIXED, &self.source);
        let sum = crc(&[&out[..SLOT - 4]]);
        put(&mut out, SLOT - 4, &sum.to_le_bytes());
        out
    }

    /// `Ok(None)`: the slot is torn or was never written.
    fn decode(slot: &[u8], path: &Path) -> Result<Option<Identity>> {
        if slot.len() < SLOT || !slot.starts_with(&MAGIC) || u32_at(slot, SLOT - 4) != crc(&[&slot[..SLOT - 4]]) {
            return Ok(None);
        }
        let found = u16_at(slot, 10);
        if found != FORMAT {
            return Err(StoreError::Version {
                path: path.to_path_buf(),
                found: found.into(),
                supported: FORMAT.into(),
            });
        }
        let Some(source) =
            slot.get(FIXED..FIXED + (u32_at(slot, 12) as usize).min(SLOT)).filter(|s| s.len() <= IDENTITY_MAX)
        else {
            return Ok(None);
        };
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&slot[24..40]);
        Ok(Some(Identity {
            uuid,
            writer_epoch: u64_at(slot, 40),
            low_segment: u64_at(slot, 48),
            low_seq: u64_at(slot, 56),
            created_us: u64_at(slot, 64),
            source: source.to_vec(),
            generation: u64_at(slot, 16),
        }))
    }
}

fn path_of(store: &Path) -> PathBuf {
    store.join("STORE")
}

/// Reads the identity without a lock; `None` where there is no store.
pub(crate) fn read(vfs: &dyn Vfs, store: &Path) -> Result<Option<Identity>> {
    let path = path_of(store);
    let file = match vfs.open(&path, Open::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::io("open", &path, 0, e)),
    };
    load(&*file, &path).map(Some)
}

fn load(file: &dyn VfsFile, path: &Path) -> Result<Identity> {
    let mut bytes = vec![0; SLOT * 2];
    let got = read_full(file, &mut bytes, 0).map_err(|e| StoreError::io("read", path, 0, e))?;
    bytes.truncate(got);
    let first = Identity::decode(bytes.get(..SLOT).unwrap_or_default(), path)?;
    let second = Identity::decode(bytes.get(SLOT..).unwrap_or_default(), path)?;
    [first, second].into_iter().flatten().max_by_key(|identity| identity.generation).ok_or_else(|| {
        StoreError::BadFile {
            path: path.to_path_buf(),
            why: "both copies of the store's identity are damaged; restore this file from a copy of the store"
                .to_owned(),
        }
    })
}

/// `STORE` as its writer holds it.
pub(crate) struct IdentityFile {
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    pub(crate) identity: Identity,
}

impl IdentityFile {
    /// Opens the identity, or creates it. Returns whether it was created.
    pub(crate) fn open(vfs: &dyn Vfs, store: &Path, source: &[u8]) -> Result<(IdentityFile, bool)> {
        let path = path_of(store);
        match vfs.open(&path, Open::Write) {
            Ok(file) => {
                let identity = load(&*file, &path)?;
                return Ok((IdentityFile { path, file, identity }, false));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(StoreError::io("open", &path, 0, e)),
        }
        if source.len() > IDENTITY_MAX {
            return Err(StoreError::TooLarge {
                what: "store identity",
                len: source.len() as u64,
                limit: IDENTITY_MAX as u64,
            });
        }
        let identity = Identity {
            uuid: *uuid::Uuid::new_v4().as_bytes(),
            writer_epoch: 0,
            low_segment: 1,
            low_seq: 1,
            created_us: now_us(),
            source: source.to_vec(),
            generation: 0,
        };
        let tmp = store.join("STORE.tmp");
        let file = vfs.open(&tmp, Open::Create).map_err(|e| StoreError::io("create", &tmp, 0, e))?;
        let mut bytes = identity.encode();
        bytes.resize(SLOT * 2, 0);
        write_full(&*file, &bytes, 0).map_err(|e| StoreError::io("write", &tmp, 0, e))?;
        file.sync_all().map_err(|e| StoreError::io("fsync", &tmp, 0, e))?;
        vfs.rename(&tmp, &path).map_err(|e| StoreError::io("rename", &tmp, 0, e))?;
        vfs.sync_dir(store).map_err(|e| StoreError::io("fsync", store, 0, e))?;
        Ok((IdentityFile { path, file, identity }, true))
    }

    /// Changes the identity durably: the other slot is written and synced.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Identity)) -> Result<()> {
        let mut next = self.identity.clone();
        change(&mut next);
        next.generation += 1;
        let offset = (next.generation % 2) * SLOT as u64;
        write_full(&*self.file, &next.encode(), offset).map_err(|e| StoreError::io("write", &self.path, offset, e))?;
        self.file.sync_data().map_err(|e| StoreError::io("fdatasync", &self.path, offset, e))?;
        self.identity = next;
        Ok(())
    }
}

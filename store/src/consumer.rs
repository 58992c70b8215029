//! Consumers: who still needs what. One small file per consumer in `consumers/`, written only by it.
//!
//! A registered consumer without a position holds everything. The position is a hint for retention (the truth is in the destination); a stale
//! one only delays a deletion. Two slots of 512 bytes are written in turn in place, so that a full disk or a torn write cannot lose both:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `"LWCON" 1A 0A 01` |
//! | 8 | 8 | generation; the slot with the higher one holds |
//! | 16 | 8 | position: every seq up to it is applied; 0 = none yet |
//! | 24 | 8 | time, microseconds since 1970 UTC |
//! | 32 | 8 | flags: bit 0 = lost: retention took segments that this consumer needed |
//! | … | | zeros |
//! | 508 | 4 | CRC-32 of everything before |

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::Seq;

use crate::bytes::{crc, now_us, put, u32_at, u64_at};
use crate::error::{Result, StoreError};
use crate::vfs::{Open, RealFs, Vfs, VfsFile, read_full, write_full};

const MAGIC: [u8; 8] = *b"LWCON\x1a\x0a\x01";
const SLOT: usize = 512;
/// How often a position is written at most, where nobody asks for more.
const WRITE_EVERY: Duration = Duration::from_millis(200);

/// A consumer as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// Its name.
    pub name: String,
    /// Every seq up to this one is applied; `None`: no position yet (or an unreadable file): it holds everything.
    pub position: Option<Seq>,
    /// When it last said so.
    pub updated: Option<SystemTime>,
    /// Retention took segments that it still needed (`evict`): it needs a new snapshot.
    pub lost: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    generation: u64,
    position: u64,
    updated_us: u64,
    lost: bool,
}

impl Slot {
    fn encode(&self) -> [u8; SLOT] {
        let mut out = [0; SLOT];
        put(&mut out, 0, &MAGIC);
        put(&mut out, 8, &self.generation.to_le_bytes());
        put(&mut out, 16, &self.position.to_le_bytes());
        put(&mut out, 24, &self.updated_us.to_le_bytes());
        put(&mut out, 32, &u64::from(self.lost).to_le_bytes());
        let sum = crc(&[&out[..SLOT - 4]]);
        put(&mut out, SLOT - 4, &sum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Slot> {
        let bytes = bytes.get(..SLOT)?;
        (bytes.starts_with(&MAGIC) && u32_at(bytes, SLOT - 4) == crc(&[&bytes[..SLOT - 4]])).then(|| Slot {
            generation: u64_at(bytes, 8),
            position: u64_at(bytes, 16),
            updated_us: u64_at(bytes, 24),
            lost: u64_at(bytes, 32) & 1 != 0,
        })
    }

    /// The valid slot with the higher generation of a file's 1024 bytes.
    fn latest(bytes: &[u8]) -> Option<Slot> {
        let slots = [bytes.get(..SLOT), bytes.get(SLOT..)];
        slots.into_iter().flatten().filter_map(Slot::decode).max_by_key(|slot| slot.generation)
    }
}

fn path_of(store: &Path, name: &str) -> Result<PathBuf> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(fine) {
        return Err(StoreError::BadName { name: name.to_owned() });
    }
    Ok(store.join("consumers").join(format!("{name}.pos")))
}

/// A registration, held by the process that consumes.
pub struct Consumer {
    path: PathBuf,
    name: String,
    file: Arc<dyn VfsFile>,
    slot: Slot,
    /// Position not written yet.
    ahead: Option<Seq>,
    written: Instant,
}

impl Consumer {
    /// Registers `name`, durably, or opens its registration. From now on retention keeps what it needs.
    pub fn register(store: &Path, name: &str) -> Result<Consumer> {
        Consumer::register_on(&RealFs, store, name)
    }

    /// [`Consumer::register`] on a given file system.
    pub fn register_on(vfs: &dyn Vfs, store: &Path, name: &str) -> Result<Consumer> {
        let path = path_of(store, name)?;
        let dir = store.join("consumers");
        let io = |op: &'static str, e| StoreError::io(op, &path, 0, e);
        let written = Instant::now();
        match vfs.open(&path, Open::Write) {
            Ok(file) => {
                let mut bytes = [0; SLOT * 2];
                read_full(&*file, &mut bytes, 0).map_err(|e| io("read", e))?;
                // Both slots unreadable: it holds everything until it says more.
                let slot = Slot::latest(&bytes).unwrap_or_default();
                return Ok(Consumer { path, name: name.to_owned(), file, slot, ahead: None, written });
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(io("open", e)),
        }
        vfs.create_dir_all(&dir).map_err(|e| StoreError::io("mkdir", &dir, 0, e))?;
        let slot = Slot { generation: 1, position: 0, updated_us: now_us(), lost: false };
        let tmp = dir.join(format!("{name}.tmp"));
        let file = vfs.open(&tmp, Open::Create).map_err(|e| io("create", e))?;
        // The second slot first: generation 1 is odd.
        let mut bytes = vec![0; SLOT];
        bytes.extend_from_slice(&slot.encode());
        write_full(&*file, &bytes, 0).map_err(|e| io("write", e))?;
        file.sync_all().map_err(|e| io("fsync", e))?;
        vfs.rename(&tmp, &path).map_err(|e| io("rename", e))?;
        for dir in [dir.as_path(), store] {
            vfs.sync_dir(dir).map_err(|e| StoreError::io("fsync", dir, 0, e))?;
        }
        Ok(Consumer { path, name: name.to_owned(), file, slot, ahead: None, written })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The position as last said.
    #[must_use]
    pub fn position(&self) -> Option<Seq> {
        self.ahead.or((self.slot.position > 0).then_some(Seq(self.slot.position)))
    }

    /// Every seq up to `seq` is applied. Cheap: writes at most five times a second, without a sync.
    pub fn advance(&mut self, seq: Seq) -> Result<()> {
        self.ahead = Some(seq);
        if self.written.elapsed() < WRITE_EVERY { Ok(()) } else { self.write() }
    }

    /// Whether [`Consumer::advance`] said something that is not written yet. Who falls silent now must write it a little later: the store's writer
    /// may be waiting for just that.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Writes the position now, durably.
    pub fn flush(&mut self) -> Result<()> {
        self.write()?;
        self.file.sync_data().map_err(|e| StoreError::io("fdatasync", &self.path, 0, e))
    }

    fn write(&mut self) -> Result<()> {
        self.written = Instant::now();
        let Some(seq) = self.ahead.take() else { return Ok(()) };
        self.put(Slot { generation: self.slot.generation + 1, position: seq.0, updated_us: now_us(), lost: false })
    }

    fn put(&mut self, slot: Slot) -> Result<()> {
        let offset = (slot.generation % 2) * SLOT as u64;
        write_full(&*self.file, &slot.encode(), offset).map_err(|e| StoreError::io("write", &self.path, offset, e))?;
        self.slot = slot;
        Ok(())
    }

    /// Marks the registration as lost, durably: called by retention before it takes a segment that is still needed.
    pub(crate) fn mark_lost(&mut self) -> Result<()> {
        self.put(Slot { generation: self.slot.generation + 1, lost: true, ..self.slot })?;
        self.file.sync_data().map_err(|e| StoreError::io("fdatasync", &self.path, 0, e))
    }

    /// All registered consumers, by name.
    pub fn list(store: &Path) -> Result<Vec<ConsumerInfo>> {
        list_on(&RealFs, store)
    }

    /// Forgets a consumer: retention no longer waits for it.
    pub fn remove(store: &Path, name: &str) -> Result<()> {
        let path = path_of(store, name)?;
        RealFs.remove(&path).map_err(|e| StoreError::io("unlink", &path, 0, e))?;
        let dir = store.join("consumers");
        RealFs.sync_dir(&dir).map_err(|e| StoreError::io("fsync", &dir, 0, e))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Only a hint; a stale one delays deletion and nothing else.
        if let Err(error) = self.write() {
            tracing::debug!(%error, "consumer position was not written at the end");
        }
    }
}

/// [`Consumer::list`] on a given file system.
pub(crate) fn list_on(vfs: &dyn Vfs, store: &Path) -> Result<Vec<ConsumerInfo>> {
    let dir = store.join("consumers");
    let mut names = match vfs.list(&dir) {
        Ok(names) => names,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(StoreError::io("list", &dir, 0, e)),
    };
    names.sort();
    let mut out = Vec::new();
    for file_name in names {
        let Some(name) = file_name.strip_suffix(".pos") else { continue };
        let path = dir.join(&file_name);
        let file = match vfs.open(&path, Open::Read) {
            Ok(file) => file,
            // Removed since it was listed.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(StoreError::io("open", &path, 0, e)),
        };
        let mut bytes = [0; SLOT * 2];
        read_full(&*file, &mut bytes, 0).map_err(|e| StoreError::io("read", &path, 0, e))?;
        let slot = Slot::latest(&bytes);
        if slot.is_none() {
            tracing::warn!(path = %path.display(), "consumer position is unreadable; nothing is deleted until it is written again");
        }
        out.push(ConsumerInfo {
            name: name.to_owned(),
            position: slot.filter(|slot| slot.position > 0).map(|slot| Seq(slot.position)),
            updated: slot.map(|slot| UNIX_EPOCH + Duration::from_micros(slot.updated_us)),
            lost: slot.is_some_and(|slot| slot.lost),
        });
    }
    Ok(out)
}

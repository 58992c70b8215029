//! From one segment to the next: the seal, and the new segment, which is used only when its header and its name are durable.

use std::sync::Arc;

use common::Seq;

use crate::bytes::now_us;
use crate::error::{Result, StoreError, is_full};
use crate::header::{BLOB_MAX, SegmentHeader};
use crate::planted::{Bug, planted};
use crate::segment::{SEAL_LEN, Seal, SegmentId, SegmentInfo, segments_dir};
use crate::vfs::{Open, VfsFile, write_full};
use crate::watermark::LogEnd;
use crate::writer::{Active, Writer, write_frame};

impl Writer {
    /// Seals the open segment, if there is one, and begins the next, whose header carries `header_blob`. Everything appended is durable
    /// then. May be called inside a seq. On [`StoreError::Full`] call it again later: it goes on where it stopped.
    pub fn roll(&mut self, header_blob: &[u8]) -> Result<()> {
        self.check_usable()?;
        if header_blob.len() > BLOB_MAX {
            return Err(StoreError::TooLarge {
                what: "segment header blob",
                len: header_blob.len() as u64,
                limit: BLOB_MAX as u64,
            });
        }
        if self.active.is_some() {
            self.seal()?;
        }
        let result = self.create_segment(header_blob);
        self.settle(result)?;
        self.page.publish(self.complete.0, self.complete.1);
        Ok(())
    }

    fn seal(&mut self) -> Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let seal = Seal {
            next_seq: self.next_seq,
            inside: self.inside,
            frames: active.frames,
            records: active.records,
            raw_bytes: active.raw_bytes,
            closed_us: now_us(),
        };
        let durable_to = if planted(Bug::NoPromise) { 0 } else { active.synced };
        let (frame, sum) = seal.encode(active.salt, self.link, durable_to);
        // The seal may pass max_size: without it the store could not even make room.
        let result = write_frame(&*self.vfs, &self.dir, active, &frame, 0, None);
        self.settle(result)?;
        if let Some(active) = &mut self.active {
            active.len += SEAL_LEN as u64;
            self.stats.store_bytes += SEAL_LEN as u64;
        }
        self.sync_active()?;
        self.link = sum;
        if let Some(active) = self.active.take() {
            let info = SegmentInfo {
                id: active.id,
                continued: active.continued,
                bytes: active.len,
                created_us: active.created_us,
                seal: Some(seal),
            };
            if !self.inside {
                self.complete.0 = LogEnd { segment: active.id.number, offset: active.len };
            }
            self.sealed.push(info);
            self.page.publish(self.complete.0, self.complete.1);
        }
        Ok(())
    }

    /// Writes the header to a temporary file, syncs it, gives it its name and syncs the folder; only then is it used.
    fn create_segment(&mut self, blob: &[u8]) -> Result<()> {
        let number = self.sealed.last().map_or(self.identity.identity.low_segment, |info| info.id.number + 1);
        if number > u64::from(u32::MAX) {
            return Err(StoreError::TooLarge { what: "segment number", len: number, limit: u64::from(u32::MAX) });
        }
        let id = SegmentId { number, base_seq: Seq(self.next_seq) };
        let header = SegmentHeader {
            store: self.identity.identity.uuid,
            writer_epoch: self.epoch(),
            number,
            base_seq: self.next_seq,
            prev_chain: self.link,
            salt: (uuid::Uuid::new_v4().as_u128() >> 96) as u32,
            created_us: now_us(),
            continued: self.inside,
            blob: blob.to_vec(),
        };
        let (bytes, sum) = header.encode();
        let dir = segments_dir(&self.dir);
        let path = id.path(&self.dir);
        let tmp = path.with_extension("tmp");
        let create = || -> std::io::Result<Arc<dyn VfsFile>> {
            let file = self.vfs.open(&tmp, Open::Create)?;
            write_full(&*file, &bytes, 0)?;
            Ok(file)
        };
        let file = match create() {
            Ok(file) => file,
            Err(e) if is_full(&e) => {
                // Left behind it would only take space; recovery removes it otherwise.
                let _ = self.vfs.remove(&tmp);
                let free = self.vfs.free_bytes(&self.dir).unwrap_or(0);
                return Err(StoreError::Full { needed: bytes.len() as u64, free });
            }
            Err(e) => return Err(StoreError::io("create", &tmp, 0, e)),
        };
        file.sync_all().map_err(|e| StoreError::io("fsync", &tmp, 0, e))?;
        self.vfs.rename(&tmp, &path).map_err(|e| StoreError::io("rename", &tmp, 0, e))?;
        if !planted(Bug::NoDirSync) {
            self.vfs.sync_dir(&dir).map_err(|e| StoreError::io("fsync", &dir, 0, e))?;
        }
        let header_len = bytes.len() as u64;
        if !self.inside {
            self.complete.0 = LogEnd { segment: number, offset: header_len };
        }
        self.link = sum;
        self.active = Some(Active {
            id,
            file,
            path,
            salt: header.salt,
            len: header_len,
            synced: header_len,
            frames: 0,
            records: 0,
            raw_bytes: 0,
            created_us: header.created_us,
            continued: header.continued,
        });
        self.stats.segments += 1;
        self.stats.store_bytes += header_len;
        Ok(())
    }
}

//! Reading a store whose watermark page is missing: a copy of the folder, or a machine that lost power and has no writer yet.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::error::{Result, StoreError};
use crate::identity;
use crate::scan::{ScanError, Scanner};
use crate::segment::{list_ids, open_segment};
use crate::tail::Tail;
use crate::vfs::{Page, RealFs, Vfs};
use crate::watermark::{LogEnd, WatermarkPage};

impl Tail {
    /// Opens a store without its watermark page. The end is the last complete seq on disk now, found by reading the last segment;
    /// it does not move. For looking into a store at rest: an applier uses [`Tail::open`].
    pub fn open_at_rest(dir: &Path) -> Result<Tail> {
        Tail::open_at_rest_on(Arc::new(RealFs), dir)
    }

    pub(crate) fn open_at_rest_on(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<Tail> {
        let identity = identity::read(&*vfs, dir)?.ok_or_else(|| StoreError::NotYet { dir: dir.to_path_buf() })?;
        let (end, seq) = find_end(&*vfs, dir, &identity.uuid)?.unwrap_or((LogEnd::default(), identity.low_seq - 1));
        let page = WatermarkPage::new(Page::heap(Arc::new(std::array::from_fn(|_| AtomicU64::new(0)))));
        page.begin(&identity.uuid, identity.writer_epoch, end, seq, identity.low_seq);
        Ok(Tail::with_page(vfs, dir, identity.uuid, page))
    }
}

/// The last place at which no seq is open, and the last seq before it. Invalid bytes end the log; whether they are damage is for `verify`.
fn find_end(vfs: &dyn Vfs, dir: &Path, uuid: &[u8; 16]) -> Result<Option<(LogEnd, u64)>> {
    for id in list_ids(vfs, dir)?.into_iter().rev() {
        let (file, header, sum, len) = open_segment(vfs, dir, id, Some(uuid))?;
        let file_len = file.len().map_err(|e| StoreError::io("read", &id.path(dir), 0, e))?;
        let mut complete = (!header.continued).then_some((len, header.base_seq - 1));
        let mut scanner = Scanner::new(id, file, header, sum, len);
        loop {
            match scanner.next(file_len) {
                Ok(Some(_)) if scanner.at.inside => {}
                Ok(Some(_)) => complete = Some((scanner.at.offset, scanner.at.next_seq - 1)),
                Ok(None) | Err(ScanError::Damage(_)) => break,
                Err(ScanError::Io(offset, e)) => return Err(StoreError::io("read", &id.path(dir), offset, e)),
            }
        }
        if let Some((offset, seq)) = complete {
            return Ok(Some((LogEnd { segment: id.number, offset }, seq)));
        }
    }
    Ok(None)
}

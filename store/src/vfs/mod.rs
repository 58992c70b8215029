//! The file system as the store sees it: few operations, each of which a test can make fail.
//!
//! [`RealFs`] is the machine's; the in-memory one of the tests loses unsynced data at a simulated power cut.

#[cfg(test)]
pub(crate) mod mem;
mod page;
mod real;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use page::{PAGE_BYTES, Page};
pub use real::RealFs;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Existing file, for reading.
    Read,
    /// Existing file, for reading and writing in place.
    Write,
    /// New and empty, replacing what is there.
    Create,
}

/// A folder tree with files.
pub trait Vfs: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn VfsFile>>;
    /// Creates a folder and its parents, readable by the owner only.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a folder, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Renames a file, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Maps a file of one page, shared between processes. Creates or extends it when `write`.
    fn map_page(&self, path: &Path, write: bool) -> io::Result<Page>;
    /// Takes the exclusive lock on a file (created if missing) until the guard is dropped. `None`: someone else has it.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
    /// Bytes that an unprivileged process may still write.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file.
#[allow(clippy::len_without_is_empty, reason = "a file's length is asked for, never whether it is empty")]
pub trait VfsFile: Send + Sync {
    /// Reads some bytes at an offset; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some bytes at an offset.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// `fdatasync`: data, and the metadata needed to read it back.
    fn sync_data(&self) -> io::Result<()>;
    /// `fsync`.
    fn sync_all(&self) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Asks the system to forget cached pages, so that the next read comes from the disk.
    fn drop_cache(&self) {}
}

/// Fills `buf` as far as the file goes; returns the bytes read.
pub(crate) fn read_full(file: &dyn VfsFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Writes all of `buf`, through short writes and interruptions.
pub(crate) fn write_full(file: &dyn VfsFile, buf: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = buf.get(done..).filter(|rest| !rest.is_empty()) {
        match file.write_at(rest, offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

//! One page of memory shared between the writer and the readers: the only `unsafe` of the crate, with the futex that wakes readers.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Size of the page and of its file.
pub const PAGE_BYTES: usize = 4096;

enum Memory {
    Read(memmap2::Mmap),
    Write(memmap2::MmapMut),
    Heap(Arc<[AtomicU64; PAGE_BYTES / 8]>),
}

/// 512 words of 64 bits, each read and written atomically, in the byte order of the machine.
pub struct Page {
    memory: Memory,
}

impl Page {
    /// Maps the first page of `file`, which must be at least [`PAGE_BYTES`] long and must never be cut.
    pub fn map(file: &File, write: bool) -> io::Result<Page> {
        if file.metadata()?.len() < PAGE_BYTES as u64 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "file is shorter than one page"));
        }
        let mut options = memmap2::MmapOptions::new();
        options.len(PAGE_BYTES);
        // SAFETY: the mapping stays valid as long as the file keeps its length. Nobody cuts the file: the writer only ever
        // extends it to one page, and the length was checked above. Concurrent changes by another process are what it is for;
        // all accesses go through the atomics of `word` and `half`.
        let memory =
            unsafe { if write { Memory::Write(options.map_mut(file)?) } else { Memory::Read(options.map(file)?) } };
        Ok(Page { memory })
    }

    /// A page in this process's memory, for file systems of tests.
    #[must_use]
    pub fn heap(words: Arc<[AtomicU64; PAGE_BYTES / 8]>) -> Page {
        Page { memory: Memory::Heap(words) }
    }

    fn base(&self) -> *const u8 {
        match &self.memory {
            Memory::Read(map) => map.as_ptr(),
            Memory::Write(map) => map.as_ptr(),
            Memory::Heap(words) => words.as_ptr().cast(),
        }
    }

    fn writable(&self) -> bool {
        !matches!(self.memory, Memory::Read(_))
    }

    /// Reads the 8 bytes at `index * 8`.
    #[must_use]
    pub fn load(&self, index: usize) -> u64 {
        self.word(index).load(Ordering::Acquire)
    }

    /// Writes the 8 bytes at `index * 8`; no effect on a page mapped for reading.
    pub fn store(&self, index: usize, value: u64) {
        debug_assert!(self.writable(), "page is mapped for reading");
        if self.writable() {
            self.word(index).store(value, Ordering::Release);
        }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < PAGE_BYTES / 8, "word lies outside the page");
        // SAFETY: the pointer is inside the page (checked above), 8-aligned because pages are page-aligned and the heap form is
        // made of AtomicU64, and lives as long as `self`. A read-only mapping is only ever loaded from (see `store`).
        unsafe { &*self.base().add(index * 8).cast::<AtomicU64>() }
    }

    fn futex(&self, index: usize) -> *const AtomicU32 {
        (std::ptr::from_ref(self.word(index))).cast()
    }

    /// The low half of a word, the futex value: bumped by [`Page::wake`].
    #[must_use]
    pub fn futex_value(&self, index: usize) -> u32 {
        // SAFETY: as in `word`; 4 bytes at an 8-aligned place inside it.
        unsafe { (*self.futex(index)).load(Ordering::Acquire) }
    }

    /// Changes the futex value and wakes every waiter in every process.
    pub fn wake(&self, index: usize) {
        if !self.writable() {
            return;
        }
        // SAFETY: as in `word`, and the page is writable.
        unsafe { (*self.futex(index)).fetch_add(1, Ordering::AcqRel) };
        // SAFETY: FUTEX_WAKE only uses the address as a key; it is mapped for as long as `self` lives.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.futex(index),
                libc::FUTEX_WAKE,
                i32::MAX,
                std::ptr::null::<libc::timespec>(),
                0,
                0,
            )
        };
    }

    /// Sleeps until the futex value differs from `seen`, someone wakes it, or the time has passed.
    /// Returns false where the kernel offers no futex on this mapping; the caller then polls.
    #[must_use]
    pub fn sleep(&self, index: usize, seen: u32, timeout: Duration) -> bool {
        let time = libc::timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        // SAFETY: the address stays mapped during the call because `self` is borrowed; `time` outlives the call. The operation
        // without FUTEX_PRIVATE_FLAG works between processes.
        let result =
            unsafe { libc::syscall(libc::SYS_futex, self.futex(index), libc::FUTEX_WAIT, seen, &raw const time, 0, 0) };
        if result == 0 {
            return true;
        }
        matches!(io::Error::last_os_error().raw_os_error(), Some(libc::EAGAIN | libc::EINTR | libc::ETIMEDOUT))
    }

    /// Makes the page durable, as evidence for the next recovery. Without it the page is only a hint.
    pub fn flush(&self) -> io::Result<()> {
        match &self.memory {
            Memory::Write(map) => map.flush(),
            Memory::Read(_) | Memory::Heap(_) => Ok(()),
        }
    }
}

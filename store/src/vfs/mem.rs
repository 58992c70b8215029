//! A file system in memory that can lose power: what was not synced is kept, dropped or torn, sector by sector and name by name. It also
//! fails a chosen operation, runs full, and forgets the pages of a failed sync, as Linux does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::Rng;
use rand::rngs::StdRng;

use super::{Open, PAGE_BYTES, Page, Vfs, VfsFile};

const SECTOR: usize = 512;

/// Operations that can be counted, made to fail, and cut by a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Open,
    Create,
    Read,
    Write,
    Sync,
    SetLen,
    Rename,
    Remove,
    SyncDir,
    List,
}

impl Op {
    pub(crate) const ALL: [Op; 10] = [
        Op::Open,
        Op::Create,
        Op::Read,
        Op::Write,
        Op::Sync,
        Op::SetLen,
        Op::Rename,
        Op::Remove,
        Op::SyncDir,
        Op::List,
    ];

    fn changes(self) -> bool {
        !matches!(self, Op::Open | Op::Read | Op::List)
    }
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

impl Change {
    fn apply(&self, data: &mut Vec<u8>) {
        match self {
            Change::Write(offset, bytes) => {
                let end = *offset as usize + bytes.len();
                data.resize(data.len().max(end), 0);
                data[*offset as usize..end].copy_from_slice(bytes);
            }
            Change::SetLen(len) => data.resize(*len as usize, 0),
        }
    }
}

type Words = Arc<[AtomicU64; PAGE_BYTES / 8]>;

#[derive(Default)]
struct Inode {
    data: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    page: Option<Words>,
    /// The page as it was some time ago.
    page_before: Vec<u64>,
}

enum NameChange {
    Add(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            NameChange::Add(path, _) | NameChange::Remove(path) | NameChange::Rename(_, path, _) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Add(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
            NameChange::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

#[derive(Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    unsynced_names: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    changes: u64,
    power_off_at: Option<u64>,
    off: bool,
    counts: BTreeMap<Op, u64>,
    fault: Option<(Op, u64)>,
    faults_hit: u64,
    capacity: Option<u64>,
}

/// The file system. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct MemFs {
    state: Arc<Mutex<State>>,
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    /// Counts an operation; fails it where the test wants that.
    fn begin(&mut self, op: Op) -> io::Result<()> {
        if self.off {
            return Err(io::Error::other("power is off"));
        }
        if op.changes() {
            self.changes += 1;
            if self.power_off_at == Some(self.changes) {
                self.off = true;
            }
        }
        let count = self.counts.entry(op).or_default();
        *count += 1;
        if self.fault == Some((op, *count)) {
            self.faults_hit += 1;
            return Err(eio());
        }
        Ok(())
    }

    fn ended(&self) -> io::Result<()> {
        if self.off { Err(io::Error::other("power is off")) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|inode| self.inodes.get(inode)).map(|inode| inode.data.len() as u64).sum()
    }
}

impl MemFs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changing operations so far.
    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Power goes off at the `nth` changing operation from the start.
    pub(crate) fn power_off_at(&self, nth: u64) {
        self.lock().power_off_at = Some(nth);
    }

    /// Operations of a kind so far.
    pub(crate) fn count(&self, op: Op) -> u64 {
        self.lock().counts.get(&op).copied().unwrap_or(0)
    }

    /// The `nth` operation of a kind from the start fails with EIO.
    pub(crate) fn fail(&self, op: Op, nth: u64) {
        self.lock().fault = Some((op, nth));
    }

    /// How many operations were made to fail.
    pub(crate) fn faults_hit(&self) -> u64 {
        self.lock().faults_hit
    }

    /// Limits the bytes of all files.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Bytes of all files.
    pub(crate) fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Replaces a file's bytes, durably: damage.
    pub(crate) fn damage(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.lock();
        let inode = state.names.get(path).copied();
        if let Some(inode) = inode.and_then(|inode| state.inodes.get_mut(&inode)) {
            inode.data = bytes.to_vec();
            inode.durable = bytes.to_vec();
            inode.unsynced.clear();
        }
    }

    /// Removes a file, durably.
    pub(crate) fn lose(&self, path: &Path) {
        let mut state = self.lock();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    /// All files under a folder with their bytes.
    pub(crate) fn files(&self, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.lock();
        let inside = state.names.iter().filter(|(path, _)| path.starts_with(dir));
        inside.filter_map(|(path, inode)| Some((path.clone(), state.inodes.get(inode)?.data.clone()))).collect()
    }

    /// What the disk holds after the power went off now. The old file system stays off.
    pub(crate) fn after_power_cut(&self, rng: &mut StdRng) -> MemFs {
        let mut state = self.lock();
        state.off = true;
        // Sometimes nothing unsynced survives, sometimes nearly everything.
        let keep = [0.0, 0.3, 0.7, 0.95, 1.0][rng.random_range(0..5)];
        let mut names = state.durable_names.clone();
        for change in &state.unsynced_names {
            if rng.random_bool(keep) {
                change.apply(&mut names);
            }
        }
        let mut inodes = BTreeMap::new();
        for (number, inode) in &state.inodes {
            let mut data = inode.durable.clone();
            for change in &inode.unsynced {
                match change {
                    Change::SetLen(_) => {
                        if rng.random_bool(keep) {
                            change.apply(&mut data);
                        }
                    }
                    Change::Write(offset, bytes) => tear(*offset, bytes, &mut data, keep, rng),
                }
            }
            let mut page = None;
            if let Some(words) = &inode.page {
                let now: Vec<u64> = words.iter().map(|word| word.load(Ordering::Acquire)).collect();
                let kept = match rng.random_range(0..3) {
                    0 => vec![0; PAGE_BYTES / 8],
                    1 if !inode.page_before.is_empty() => inode.page_before.clone(),
                    _ => now,
                };
                page = Some(Arc::new(std::array::from_fn(|i| AtomicU64::new(kept[i]))));
            }
            let durable = data.clone();
            inodes.insert(*number, Inode { data, durable, unsynced: Vec::new(), page, page_before: Vec::new() });
        }
        let next = State {
            inodes,
            next_inode: state.next_inode,
            durable_names: names.clone(),
            names,
            dirs: state.dirs.clone(),
            capacity: state.capacity,
            ..State::default()
        };
        MemFs { state: Arc::new(Mutex::new(next)) }
    }
}

/// Applies the sectors of a write that reached the disk.
fn tear(offset: u64, bytes: &[u8], data: &mut Vec<u8>, keep: f64, rng: &mut StdRng) {
    let grown = offset as usize + bytes.len();
    if rng.random_bool(keep / 2.0) {
        // The length reached the disk whether the bytes did or not.
        data.resize(data.len().max(grown), 0);
    }
    let mut at = 0;
    while at < bytes.len() {
        let sector = SECTOR - (offset as usize + at) % SECTOR;
        let end = (at + sector).min(bytes.len());
        if rng.random_bool(keep) {
            let torn = if rng.random_bool(0.05) { rng.random_range(at..=end) } else { end };
            Change::Write(offset + at as u64, bytes[at..torn].to_vec()).apply(data);
        }
        at = end;
    }
}

struct MemFile {
    fs: MemFs,
    inode: u64,
}

struct MemLock(MemFs, PathBuf);

impl Drop for MemLock {
    fn drop(&mut self) {
        self.0.lock().locks.remove(&self.1);
    }
}

impl Vfs for MemFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn VfsFile>> {
        let mut state = self.lock();
        state.begin(if how == Open::Create { Op::Create } else { Op::Open })?;
        let inode = match (state.names.get(path).copied(), how) {
            (Some(inode), Open::Read | Open::Write) => inode,
            (None, Open::Read | Open::Write) => return Err(not_found()),
            (_, Open::Create) => {
                let inode = state.next_inode;
                state.next_inode += 1;
                state.inodes.insert(inode, Inode::default());
                state.names.insert(path.to_path_buf(), inode);
                state.unsynced_names.push(NameChange::Add(path.to_path_buf(), inode));
                inode
            }
        };
        state.ended()?;
        Ok(Arc::new(MemFile { fs: self.clone(), inode }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.lock().dirs.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.begin(Op::List)?;
        if !state.dirs.contains(dir) {
            return Err(not_found());
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(Op::Rename)?;
        let inode = state.names.get(from).copied().ok_or_else(not_found)?;
        let change = NameChange::Rename(from.to_path_buf(), to.to_path_buf(), inode);
        change.apply(&mut state.names);
        state.unsynced_names.push(change);
        state.ended()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(Op::Remove)?;
        state.names.remove(path).ok_or_else(not_found)?;
        state.unsynced_names.push(NameChange::Remove(path.to_path_buf()));
        state.ended()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(Op::SyncDir)?;
        state.ended()?;
        let State { unsynced_names, durable_names, .. } = &mut *state;
        unsynced_names.retain(|change| {
            let here = change.dir() == Some(dir);
            if here {
                change.apply(durable_names);
            }
            !here
        });
        Ok(())
    }

    fn map_page(&self, path: &Path, write: bool) -> io::Result<Page> {
        let mut state = self.lock();
        let inode = match state.names.get(path).copied() {
            Some(inode) => inode,
            None if !write => return Err(not_found()),
            None => {
                let inode = state.next_inode;
                state.next_inode += 1;
                state.inodes.insert(inode, Inode::default());
                state.names.insert(path.to_path_buf(), inode);
                state.unsynced_names.push(NameChange::Add(path.to_path_buf(), inode));
                inode
            }
        };
        let inode = state.inodes.get_mut(&inode).ok_or_else(not_found)?;
        let words = inode.page.get_or_insert_with(|| Arc::new(std::array::from_fn(|_| AtomicU64::new(0))));
        Ok(Page::heap(Arc::clone(words)))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let taken = !self.lock().locks.insert(path.to_path_buf());
        Ok((!taken).then(|| Box::new(MemLock(self.clone(), path.to_path_buf())) as Box<dyn Send + Sync>))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.lock();
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }
}

impl MemFile {
    fn with<R>(&self, op: Op, run: impl FnOnce(&mut State, u64) -> io::Result<R>) -> io::Result<R> {
        let mut state = self.fs.lock();
        state.begin(op)?;
        run(&mut state, self.inode)
    }
}

impl VfsFile for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(Op::Read, |state, inode| {
            let data = &state.inodes.get(&inode).ok_or_else(not_found)?.data;
            let from = data.get(offset as usize..).unwrap_or_default();
            // Short reads now and then: the caller must cope.
            let most = if offset % 3 == 1 { 700 } else { usize::MAX };
            let n = from.len().min(buf.len()).min(most);
            buf[..n].copy_from_slice(&from[..n]);
            Ok(n)
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.with(Op::Write, |state, inode| {
            let used = state.used();
            let file = state.inodes.get(&inode).ok_or_else(not_found)?;
            let grown = (offset + buf.len() as u64).saturating_sub(file.data.len() as u64);
            let free = state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used));
            let n = buf.len() - usize::try_from(grown.saturating_sub(free)).unwrap_or(0);
            if n == 0 && !buf.is_empty() {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            let change = Change::Write(offset, buf[..n].to_vec());
            let file = state.inodes.get_mut(&inode).ok_or_else(not_found)?;
            change.apply(&mut file.data);
            file.unsynced.push(change);
            state.ended()?;
            Ok(n)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.fs.lock();
        if let Err(e) = state.begin(Op::Sync) {
            if let Some(file) = state.inodes.get_mut(&self.inode).filter(|_| e.raw_os_error() == Some(libc::EIO)) {
                // As Linux does: the pages count as clean now, whatever the disk has.
                file.unsynced.clear();
            }
            return Err(e);
        }
        // Power may go off before anything is on the disk.
        state.ended()?;
        let file = state.inodes.get_mut(&self.inode).ok_or_else(not_found)?;
        for change in std::mem::take(&mut file.unsynced) {
            change.apply(&mut file.durable);
        }
        for inode in state.inodes.values_mut() {
            if let Some(words) = &inode.page {
                inode.page_before = words.iter().map(|word| word.load(Ordering::Acquire)).collect();
            }
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(Op::SetLen, |state, inode| {
            let file = state.inodes.get_mut(&inode).ok_or_else(not_found)?;
            let change = Change::SetLen(len);
            change.apply(&mut file.data);
            file.unsynced.push(change);
            state.ended()
        })
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.fs.lock();
        Ok(state.inodes.get(&self.inode).ok_or_else(not_found)?.data.len() as u64)
    }
}

//! Where the threads that copy and the thread that follows meet.
//!
//! A copying thread asks and waits; the follower looks at the desk between two transactions and answers there. Nothing here does I/O at the source.
//!
//! - [`Desk::open`] opens a [`Window`]: from its place on the follower remembers which rows of the tables change. What was read meanwhile goes into the
//!   log with [`Window::append`], without the rows that changed: their changes are in the log already.
//! - [`Desk::hold`] makes the follower stand still, for tables that must be read at one place ([`Hold`]).
//! - [`Desk::append`] puts a step into the log that holds nothing of the source.

mod hold;
mod window;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::config::Server;
use common::record::{DdlKind, DdlObject};
use common::snapshot::{SnapshotChunk, SnapshotState, SnapshotStep, TableName};
use common::{BinlogPosition, TableSchema};

pub use hold::Hold;
pub use window::Window;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::ReaderError;
use crate::follow::Place;

/// DDL that nobody takes is forgotten beyond this; every open window has seen it anyway.
const DDL_KEPT_MAX: usize = 100_000;

/// The reader is stopping, or has failed. Nothing more is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reader is stopping")]
pub struct Stopped;

/// Why what was read cannot be appended: it must be read again, with a fresh definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Again {
    /// DDL touched the table since the window was opened.
    #[error("the table was altered meanwhile")]
    Ddl,
    /// The binlog does not hold whole rows of the table (`binlog_row_image` is not FULL in some session, or `binlog_row_value_options` is
    /// PARTIAL_JSON): a row that changed could not be put in place from its change.
    #[error("a row of the table was changed and its image in the binlog is not whole")]
    Partial,
    /// More rows changed than are remembered.
    #[error("too many rows of the table changed meanwhile")]
    TooMany,
    /// The binlog connection was lost; it may be another server that is followed next.
    #[error("the binlog connection was lost meanwhile")]
    Lost,
}

/// A chunk that is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Rows of it.
    pub rows: u64,
    /// Bytes of their images.
    pub bytes: u64,
    /// Rows that were left out, because the log already holds a change of them.
    pub dropped: u64,
}

/// Rows that were read.
#[derive(Debug)]
pub struct ChunkRows {
    /// The step; `rows`, `bytes` and `at` are filled in when it is appended.
    pub step: SnapshotChunk,
    /// The layout of the images.
    pub schema: Arc<TableSchema>,
    /// After images with all columns, one after the other: the NULL bitmap and the packed values.
    pub images: Vec<u8>,
    /// Where each row ends in `images`.
    pub ends: Vec<u32>,
}

/// DDL that the follower has met while a run was unfinished, and that names one of its objects or makes a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DdlEvent {
    /// What it is.
    pub kind: DdlKind,
    /// What it names, in its order: a [`common::record::DdlRole::NewName`] is the new name of the object before it.
    pub objects: Vec<DdlObject>,
    /// Its end in the binlog.
    pub at: BinlogPosition,
}

/// The selection that is noted in the store, and the destinations that need no whole run any more; see [`SnapshotState`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// `include` and `exclude`; None leaves what is noted.
    pub selection: Option<(Vec<String>, Vec<String>)>,
    /// Destinations to add.
    pub destinations: Vec<String>,
}

/// What is put into the log.
#[derive(Debug)]
pub(crate) enum What {
    Chunk(Box<ChunkRows>),
    Step(Box<SnapshotStep>),
    Scope(Scope),
}

/// What a copying thread asks of the follower. An answer that cannot be sent is not wanted any more.
#[derive(Debug)]
pub(crate) enum Ask {
    Open { tables: Vec<(TableName, Vec<String>)>, answer: SyncSender<Opened> },
    Append { window: u64, what: What, high: BinlogPosition, answer: SyncSender<Result<Appended, Again>> },
    Close { window: u64 },
    Hold { tables: Vec<TableName>, answer: SyncSender<Opened> },
    GoTo { hold: u64, to: BinlogPosition, answer: SyncSender<Result<Stand, Again>> },
    Put { hold: Option<u64>, what: What, answer: SyncSender<Result<Appended, Again>> },
    Release { hold: u64 },
}

/// A window or a hold that is opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: u64,
    pub(crate) place: Place,
}

/// Where the follower stands after it went on in a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The place.
    pub place: Place,
    /// Rows of the tables changed, or DDL touched them, since the hold began.
    pub touched: bool,
}

/// The desk. Clones are the same desk.
#[derive(Clone, Debug)]
pub struct Desk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Something lies in the queue.
    asked: AtomicBool,
    inner: Mutex<Inner>,
    /// The server became known, DDL came, or the desk was closed.
    changed: Condvar,
    state: Mutex<SnapshotState>,
    bell: Option<(UnixStream, UnixStream)>,
    first_run: AtomicBool,
    rows: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    queue: Vec<Ask>,
    closed: bool,
    server: Option<Arc<Server>>,
    ddl: VecDeque<DdlEvent>,
    failure: Option<ReaderError>,
}

/// For the threads that copy.
impl Desk {
    /// A desk at which this state is known: what the log says so far.
    #[must_use]
    pub fn new(state: SnapshotState) -> Self {
        let bell = UnixStream::pair().and_then(|(a, b)| {
            a.set_nonblocking(true)?;
            b.set_nonblocking(true)?;
            Ok((a, b))
        });
        Self {
            shared: Arc::new(Shared {
                asked: AtomicBool::new(false),
                inner: Mutex::default(),
                changed: Condvar::new(),
                first_run: AtomicBool::new(is_first_run(&state)),
                state: Mutex::new(state),
                // Without it the follower looks at the desk when its wait for the source ends.
                bell: bell.ok(),
                rows: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
            }),
        }
    }

    /// Opens a window for tables (or other objects, whose definition is read: by their name). Of each table the columns of the key by which its rows are
    /// told apart are given; none where only the definition is read.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn open(&self, tables: &[(TableName, Vec<String>)]) -> Result<Window, Stopped> {
        let opened = self.exchange(|answer| Ask::Open { tables: tables.to_vec(), answer })?;
        Ok(Window::new(self.clone(), opened))
    }

    /// Makes the follower stand still between two transactions. There is one hold at a time; others wait for it.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn hold(&self, tables: &[TableName]) -> Result<Hold, Stopped> {
        let opened = self.exchange(|answer| Ask::Hold { tables: tables.to_vec(), answer })?;
        Ok(Hold::new(self.clone(), opened))
    }

    /// Appends a step that is true wherever it stands: Begin, TableEnd, TableAgain, End. Its place is filled in.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn append(&self, step: SnapshotStep) -> Result<(), Stopped> {
        self.put(None, What::Step(Box::new(step))).map(|_| ())
    }

    /// Notes in the store what the configuration selects, or that destinations need no whole run. Begins a new segment, whose header has it.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn note(&self, scope: Scope) -> Result<(), Stopped> {
        self.put(None, What::Scope(scope)).map(|_| ())
    }

    /// What was appended so far, as it will be found after a restart.
    #[must_use]
    pub fn state(&self) -> SnapshotState {
        self.lock_state().clone()
    }

    /// The server that is followed now; waits for the first connection. Positions are those of this server.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn server(&self) -> Result<Arc<Server>, Stopped> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return Err(Stopped);
            }
            if let Some(server) = &inner.server {
                return Ok(server.clone());
            }
            inner = self.shared.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The DDL that came since the last call; waits for some until `timeout` has passed. After a restart what stands in the log's last segment comes
    /// again, because nobody can know what was done about it.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn ddl_events(&self, timeout: Duration) -> Result<Vec<DdlEvent>, Stopped> {
        let until = Instant::now() + timeout;
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return Err(Stopped);
            }
            let left = until.saturating_duration_since(Instant::now());
            if !inner.ddl.is_empty() || left.is_zero() {
                return Ok(inner.ddl.drain(..).collect());
            }
            (inner, _) = self.shared.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the reader stops: nothing more will be answered.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.lock().closed
    }

    /// Ends the reader with this error.
    pub fn fail(&self, error: ReaderError) {
        let mut inner = self.lock();
        if inner.failure.is_none() {
            inner.failure = Some(error);
        }
        drop(inner);
        self.ring();
    }

    /// Rows and bytes of chunks that were appended since the start.
    #[must_use]
    pub fn appended(&self) -> (u64, u64) {
        (self.shared.rows.load(Ordering::Relaxed), self.shared.bytes.load(Ordering::Relaxed))
    }

    fn put(&self, hold: Option<u64>, what: What) -> Result<Result<Appended, Again>, Stopped> {
        self.exchange(|answer| Ask::Put { hold, what, answer })
    }

    /// Asks and waits for the answer.
    fn exchange<T>(&self, ask: impl FnOnce(SyncSender<T>) -> Ask) -> Result<T, Stopped> {
        let (to, answer) = std::sync::mpsc::sync_channel(1);
        self.ask(ask(to))?;
        answer.recv().map_err(|_| Stopped)
    }

    fn ask(&self, ask: Ask) -> Result<(), Stopped> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Stopped);
        }
        inner.queue.push(ask);
        drop(inner);
        self.ring();
        Ok(())
    }

    fn ring(&self) {
        if !self.shared.asked.swap(true, Ordering::AcqRel)
            && let Some((bell, _)) = &self.shared.bell
        {
            // A bell that is full has rung.
            let _ = (&*bell).write(&[1]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_state(&self) -> MutexGuard<'_, SnapshotState> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the thread that follows.
impl Desk {
    /// Whether something lies there.
    #[inline]
    pub(crate) fn asked(&self) -> bool {
        self.shared.asked.load(Ordering::Acquire)
    }

    /// What lies there.
    pub(crate) fn take(&self) -> Vec<Ask> {
        if let Some((_, bell)) = &self.shared.bell {
            let mut bytes = [0; 64];
            while matches!((&*bell).read(&mut bytes), Ok(count) if count == bytes.len()) {}
        }
        // First this, then the queue: what is put there in between rings again.
        self.shared.asked.store(false, Ordering::Release);
        std::mem::take(&mut self.lock().queue)
    }

    /// Whether the other side wants us to end.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().failure.is_some()
    }

    /// The error with which the other side wants us to end.
    pub(crate) fn failure(&self) -> Option<ReaderError> {
        self.lock().failure.take()
    }

    /// Readable once something lies there.
    pub(crate) fn bell(&self) -> Option<BorrowedFd<'_>> {
        self.shared.bell.as_ref().map(|(_, bell)| bell.as_fd())
    }

    /// Waits until something lies there.
    pub(crate) fn wait(&self, timeout: Duration) {
        match self.bell() {
            Some(bell) => {
                let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
                // Whatever ends it, the caller looks.
                let _ = poll(&mut [PollFd::new(bell, PollFlags::POLLIN)], timeout);
            }
            None => std::thread::sleep(timeout.min(Duration::from_millis(1))),
        }
    }

    /// Which server is followed, or that none is.
    pub(crate) fn set_server(&self, server: Option<Arc<Server>>) {
        self.lock().server = server;
        self.shared.changed.notify_all();
    }

    /// DDL came.
    pub(crate) fn push_ddl(&self, event: DdlEvent) {
        let mut inner = self.lock();
        if inner.ddl.len() >= DDL_KEPT_MAX {
            inner.ddl.pop_front();
        }
        inner.ddl.push_back(event);
        drop(inner);
        self.shared.changed.notify_all();
    }

    /// A step stands in the log.
    pub(crate) fn took(&self, step: &SnapshotStep) {
        let mut state = self.lock_state();
        state.take(step);
        self.shared.first_run.store(is_first_run(&state), Ordering::Relaxed);
    }

    /// Whether the first whole run of the store is unfinished: nobody can be behind it yet.
    pub(crate) fn first_run(&self) -> bool {
        self.shared.first_run.load(Ordering::Relaxed)
    }

    /// The state, to look at or change.
    pub(crate) fn with_state<T>(&self, look: impl FnOnce(&mut SnapshotState) -> T) -> T {
        look(&mut self.lock_state())
    }

    /// Counts what was appended.
    pub(crate) fn count(&self, appended: &Appended) {
        self.shared.rows.fetch_add(appended.rows, Ordering::Relaxed);
        self.shared.bytes.fetch_add(appended.bytes, Ordering::Relaxed);
    }

    /// Nothing is answered any more.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.queue.clear();
        drop(inner);
        self.shared.changed.notify_all();
    }
}

/// A run that brings everything, and before which no destination had anything.
fn is_first_run(state: &SnapshotState) -> bool {
    state.runs.iter().map(|run| &run.begin).any(|begin| {
        let named = |name: &String| begin.destinations.is_empty() || begin.destinations.contains(name);
        begin.whole && !begin.again && state.destinations.iter().all(named)
    })
}

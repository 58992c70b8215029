//! Several loaders at a time: each chunk is one transaction of one of them, with that loader's position row.
//!
//! The service hands chunks over in the order of the log and waits for those that a later step concerns; between chunks loaders know nothing of each
//! other. Memory is bounded by their number: a loader holds one chunk.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use common::Seq;
use common::config::Snapshot;
use common::snapshot::TableName;
use tokio::task::JoinSet;

use super::load::Loader;
use crate::counters::Counters;
use crate::error::{ApplyError, Result, Verdict};
use crate::plan::ChunkStep;
use crate::target::{Connector, Identity, LoaderMove, LoaderRow, PositionStore};
use crate::worker::{Outcome, Worker};

/// How often a chunk is tried by its loader before all is begun again from the positions.
const TRIES: u32 = 5;

/// A chunk is committed.
#[derive(Debug)]
pub(crate) struct Landed {
    /// Its seq.
    pub(crate) seq: Seq,
    /// Its table.
    pub(crate) table: TableName,
    /// Its rows.
    pub(crate) rows: u64,
    /// Bytes of their images.
    pub(crate) bytes: u64,
    /// The table was skipped instead.
    pub(crate) skipped: bool,
}

/// A loader that is not busy.
#[derive(Debug)]
struct Slot {
    positions: PositionStore,
    life: u64,
    row: LoaderRow,
    /// None after an error, until the next chunk.
    loader: Option<Loader>,
}

struct Done {
    slot: Slot,
    step: Box<ChunkStep>,
    result: Result<Outcome>,
}

/// What loaders need.
#[derive(Clone, Debug)]
pub(crate) struct LoaderOptions {
    pub(crate) connector: Connector,
    pub(crate) identity: Identity,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) counters: Arc<Counters>,
}

/// See the module's documentation.
pub(crate) struct Loaders {
    options: LoaderOptions,
    idle: Vec<Slot>,
    opened: u32,
    busy: JoinSet<Done>,
    flight: BTreeSet<u64>,
    tables: HashMap<TableName, usize>,
}

impl std::fmt::Debug for Loaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaders").field("opened", &self.opened).field("flight", &self.flight).finish_non_exhaustive()
    }
}

impl Loaders {
    /// None is open before the first chunk.
    pub(crate) fn new(options: LoaderOptions) -> Self {
        Self {
            options,
            idle: Vec::new(),
            opened: 0,
            busy: JoinSet::new(),
            flight: BTreeSet::new(),
            tables: HashMap::new(),
        }
    }

    /// Chunks are under way.
    pub(crate) fn any(&self) -> bool {
        !self.flight.is_empty()
    }

    /// No loader is free.
    pub(crate) fn all_busy(&self) -> bool {
        self.flight.len() as u64 >= self.options.snapshot.threads
    }

    /// Chunks of this table are under way.
    pub(crate) fn busy_with(&self, database: &str, table: &str) -> bool {
        self.tables.keys().any(|name| name.database == database && name.table == table)
    }

    /// Definitions at the destination may have changed.
    pub(crate) fn forget_definitions(&mut self) {
        for slot in &mut self.idle {
            if let Some(loader) = &mut slot.loader {
                loader.forget();
            }
        }
    }

    /// Hands a chunk to a free loader. There must be one.
    ///
    /// # Errors
    /// When a loader cannot begin at the destination.
    pub(crate) async fn hand(&mut self, step: Box<ChunkStep>, worker: &mut Worker) -> Result<()> {
        let slot = match self.idle.pop() {
            Some(slot) => slot,
            None => {
                self.opened += 1;
                let positions = PositionStore { identity: self.options.identity.clone(), worker: self.opened };
                let life = common::control::now_us();
                // On worker 0's session, which holds the owner's lock.
                positions.begin_loader(worker.session(), life).await?;
                Slot { positions, life, row: LoaderRow::default(), loader: None }
            }
        };
        let (seq, table) = (step.progress.seq, step.chunk.table.clone());
        let ranges = slot.row.with(seq, worker.ledger());
        let to = slot.positions.loader_move(slot.life, slot.row.written(), &ranges);
        worker.ledger_mut().depart(&step.progress);
        let options = self.options.clone();
        self.busy.spawn(async move {
            let mut slot = slot;
            let result = load(&mut slot, &step, &to, &options).await;
            if result.is_ok() {
                slot.row.wrote(ranges);
            }
            Done { slot, step, result }
        });
        *self.tables.entry(table).or_default() += 1;
        self.flight.insert(seq.0);
        Ok(())
    }

    /// Waits until one of them has ended; pends for ever if none is under way. May be dropped and called again.
    ///
    /// # Errors
    /// What stopped it. The others are still under way: see [`Loaders::settle`].
    pub(crate) async fn landed(&mut self, worker: &mut Worker) -> Result<Landed> {
        let done = match self.busy.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => {
                return Err(ApplyError::refused(format!("a loader ended by itself: {error}"), "report this"));
            }
            None => std::future::pending().await,
        };
        let (seq, table) = (done.step.progress.seq, done.step.chunk.table.clone());
        self.flight.remove(&seq.0);
        if let Some(count) = self.tables.get_mut(&table) {
            *count -= 1;
            if *count == 0 {
                self.tables.remove(&table);
            }
        }
        self.idle.push(done.slot);
        let outcome = done.result.map_err(|error| about(&done.step, error))?;
        worker.ledger_mut().land(seq);
        let skipped = outcome != Outcome::Done;
        Ok(Landed { seq, table, rows: done.step.rows, bytes: done.step.bytes, skipped })
    }

    /// Waits until nothing is under way, whatever comes of it: after an error, so that nothing of ours still writes.
    pub(crate) async fn settle(&mut self) {
        while self.busy.join_next().await.is_some() {}
        self.flight.clear();
        self.tables.clear();
        self.close().await;
    }

    /// Ends the connections of loaders that are not busy.
    pub(crate) async fn close(&mut self) {
        for slot in &mut self.idle {
            if let Some(loader) = slot.loader.take() {
                loader.close().await;
            }
        }
    }
}

/// Loads one chunk; a deadlock or a lost connection is overcome here.
async fn load(slot: &mut Slot, step: &ChunkStep, to: &LoaderMove, options: &LoaderOptions) -> Result<Outcome> {
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match once(slot, step, to, options, tries > 1).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        // Its transaction may be open: the connection goes, and with it the transaction.
        if let Some(loader) = slot.loader.take() {
            loader.close().await;
        }
        if error.verdict() != Verdict::Retry || tries >= TRIES {
            return Err(error);
        }
        Counters::add(&options.counters.retries, 1);
        tracing::warn!(%error, table = %step.chunk.table, seq = step.progress.seq.0, "loading a chunk again");
        tokio::time::sleep(Duration::from_millis(50 << tries)).await;
    }
}

async fn once(
    slot: &mut Slot,
    step: &ChunkStep,
    to: &LoaderMove,
    options: &LoaderOptions,
    again: bool,
) -> Result<Outcome> {
    if slot.loader.is_none() {
        let (identity, snapshot) = (options.identity.clone(), options.snapshot.clone());
        slot.loader = Some(Loader::open(&options.connector, identity, snapshot).await?);
    }
    let Some(loader) = slot.loader.as_mut() else {
        return Err(ApplyError::refused("a loader without a connection", "report this"));
    };
    // An answer to COMMIT may have been lost.
    if again && slot.positions.loader_holds(loader.session(), step.progress.seq).await? {
        return Ok(Outcome::Done);
    }
    loader.load(step, to).await
}

/// The error with all that names the chunk.
fn about(step: &ChunkStep, error: ApplyError) -> ApplyError {
    let key = |key: &[Vec<u8>]| {
        let parts: Vec<_> = key.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        format!("({})", parts.join(", "))
    };
    let chunk = &step.chunk;
    tracing::error!(
        table = %chunk.table, seq = step.progress.seq.0, rows = step.rows, up_to_key = %key(&chunk.reached), "a chunk could not be loaded"
    );
    error.at(&step.place)
}

//! Begins of runs in the store: where a new destination starts, and which tables a later run brings in any case.

use std::path::Path;
use std::time::{Duration, Instant};

use common::config::SnapshotMode;
use common::record::RecordKind;
use common::snapshot::{SnapshotBegin, SnapshotStep, TableName};
use common::{Seq, codec};
use store::{Consumer, Tail};

use super::run::{ConsumerHold, Service};
use crate::error::{ApplyError, Result};
use crate::snapshot::Copies;
use crate::target::{Position, Session};
use crate::worker::Worker;

/// How long to wait for the store to grow before looking whether all else is well.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A connection that waits is kept alive so often.
const ALIVE_EVERY: Duration = Duration::from_secs(60);

/// Reads Begins from a store, on and on.
struct Begins {
    tail: Tail,
    from: Seq,
}

impl Begins {
    /// Those from `from` on.
    fn open(dir: &Path, from: Seq) -> Result<Self> {
        let mut tail = Tail::open(dir)?;
        let from = from.max(tail.first_seq());
        tail.seek_segment_of(from)?;
        Ok(Self { tail, from })
    }

    /// All that there are now and were not given yet, with their seqs. Reads the whole log in between: call it on a thread that may block.
    fn read(&mut self) -> Result<Vec<(Seq, SnapshotBegin)>> {
        let mut found = Vec::new();
        while let Some(frame) = self.tail.next()? {
            let steps = frame.records().filter(|r| r.seq >= self.from && r.kind == RecordKind::Snapshot as u8);
            for record in steps {
                if let SnapshotStep::Begin(begin) = codec::decode(record.payload)? {
                    found.push((record.seq, *begin));
                }
            }
        }
        Ok(found)
    }
}

/// Runs something that reads much of the store where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ApplyError::refused(format!("reading the store ended: {error}"), "report this")))
}

impl Service {
    /// The position before the last whole run that is for this destination: where one without a position begins. Waits for the reader to begin one. None if
    /// told to stop meanwhile.
    pub(super) async fn await_run(&mut self, session: &mut Session) -> Result<Option<Position>> {
        // From now on the store keeps what we need.
        if self.consumer.is_none() {
            self.consumer = Some(ConsumerHold(Consumer::register(&self.pipeline.store.dir, &self.destination.name)?));
        }
        let copies = Copies::new(&self.destination.name, &Default::default());
        let dir = self.pipeline.store.dir.clone();
        let mut begins = blocking(move || Begins::open(&dir, Seq::FIRST)).await?;
        let mut wish = self.wish.subscribe();
        let (mut said, mut alive) = (false, Instant::now());
        loop {
            let found;
            (begins, found) = blocking(move || {
                let found = begins.read()?;
                Ok((begins, found))
            })
            .await?;
            let ours = found.iter().rev().find(|(_, begin)| begin.whole && copies.is_for_us(begin));
            if let Some((seq, begin)) = ours {
                tracing::info!(
                    seq = seq.0,
                    run = begin.run,
                    tables = begin.tables.len(),
                    "beginning with the snapshot"
                );
                return Ok(Some(Position { seq: Seq(seq.0.saturating_sub(1)), ..Position::default() }));
            }
            if !std::mem::replace(&mut said, true) {
                tracing::info!(
                    "this destination has no position: waiting for the reader to begin a snapshot for it (is it running, and does its configuration name this \
                     destination?)"
                );
            }
            if alive.elapsed() > ALIVE_EVERY {
                session.run("DO 0", || "looking whether the destination is there".into()).await?;
                alive = Instant::now();
            }
            if wish.borrow_and_update().stop {
                return Ok(None);
            }
            tokio::select! {
                _ = begins.tail.wait_async(LOOK_EVERY) => {}
                _ = wish.changed() => {}
            }
        }
    }

    /// Whether a destination without a position begins with a snapshot.
    pub(super) fn begins_with_snapshot(&self) -> bool {
        self.pipeline.snapshot.mode != SnapshotMode::None && self.options.from.is_none()
    }

    /// Runs further on in the log that bring a table in any case: an operator asked for it again, or it is not here at all. What comes before such a copy is not
    /// needed, and may not be possible. Looked for once, at the start.
    pub(super) async fn expect_later_runs(
        &mut self,
        worker: &mut Worker,
        copies: &mut Copies,
        position: &Position,
    ) -> Result<()> {
        if self.later.is_none() {
            let (dir, from) = (self.pipeline.store.dir.clone(), position.seq.next());
            self.later = Some(blocking(move || Begins::open(&dir, from)?.read()).await?);
        }
        let selection = self.selection()?;
        let mut expected: Vec<TableName> = Vec::new();
        let later = self.later.take().unwrap_or_default();
        for (_, begin) in later.iter().filter(|(seq, _)| !position.holds(*seq)) {
            if !copies.is_for_us(begin) {
                continue;
            }
            let tables = begin.tables.iter().filter(|table| selection.selects(&table.database, &table.table));
            let present = if begin.again { Vec::new() } else { present(worker.session()).await? };
            for table in tables {
                if begin.again || !present.contains(table) {
                    copies.expect(begin.run, table);
                    expected.push(table.clone());
                }
            }
        }
        self.later = Some(later);
        if let Some(first) = expected.first() {
            tracing::info!(
                tables = expected.len(), first = %first, "tables that a later snapshot in the store brings: their changes before it are passed over"
            );
        }
        Ok(())
    }
}

/// The tables of the destination.
async fn present(session: &mut Session) -> Result<Vec<TableName>> {
    let sql = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type='BASE TABLE'";
    let rows: Vec<(String, String)> = session.rows(sql, || "listing the destination's tables".into()).await?;
    Ok(rows.into_iter().map(|(database, table)| TableName { database, table }).collect())
}

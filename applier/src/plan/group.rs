//! Small source transactions gather to one destination transaction.

use std::sync::Arc;

use common::Seq;
use common::record::SourceInfo;

use super::step::{Action, Close, Piece};
use crate::error::Place;
use crate::target::Progress;

/// How much one destination transaction gathers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Rows.
    pub rows: u64,
    /// Bytes of images. A single source transaction beyond it is streamed.
    pub bytes: u64,
    /// Source transactions.
    pub transactions: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { rows: 5000, bytes: 4 << 20, transactions: 5000 }
    }
}

/// Whole source transactions that wait for their destination transaction to be full.
#[derive(Debug, Default)]
pub(super) struct Group {
    first: Option<Arc<Place>>,
    source: Option<Arc<SourceInfo>>,
    actions: Vec<Action>,
    progress: Progress,
    transactions: u64,
    rows: u64,
    bytes: u64,
}

impl Group {
    /// Nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.transactions == 0
    }

    /// Whether the position may not jump from what is in it to this seq: between them is a gap that an earlier, parallel run has filled.
    pub(super) fn ends_before(&self, seq: Seq) -> bool {
        !self.is_empty() && seq.0 > self.progress.seq.0 + 1
    }

    /// Adds a whole source transaction.
    pub(super) fn add(
        &mut self,
        place: Arc<Place>,
        source: &Arc<SourceInfo>,
        mut actions: Vec<Action>,
        progress: Progress,
        (rows, bytes): (u64, u64),
    ) {
        self.source.get_or_insert_with(|| source.clone());
        self.first.get_or_insert(place);
        self.actions.append(&mut actions);
        self.progress = progress;
        self.transactions += 1;
        self.rows += rows;
        self.bytes += bytes;
    }

    /// It has its size, or ends with this seq.
    pub(super) fn is_full(&self, budget: Budget, until: Option<Seq>) -> bool {
        until == Some(self.progress.seq)
            || self.rows >= budget.rows
            || self.bytes >= budget.bytes
            || self.transactions >= budget.transactions
    }

    /// All of it as one piece; None if there is nothing. It is empty then.
    pub(super) fn take(&mut self) -> Option<Piece> {
        let group = std::mem::take(self);
        Some(Piece {
            opens: true,
            actions: group.actions,
            close: Close::Commit(group.progress),
            first: group.first?,
            source: group.source?,
            transactions: group.transactions,
            rows: group.rows,
            bytes: group.bytes,
            clears_intent: false,
        })
    }
}

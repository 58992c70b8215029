//! What is left of a run, and who does it: the tables' spans, handed out to threads.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::snapshot::{RunState, Span, TableName, TableState};

/// A piece of work for one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A table from its beginning: its definition if the log does not hold it, its spans, its first chunk.
    Table(usize),
    /// A span of a table. The number tells how often the table was begun anew before.
    Span(usize, u32, u32),
    /// Tables that are read whole, together, at one place.
    Together(Vec<usize>),
}

/// A table's place in the run.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The table.
    pub name: TableName,
    /// Its definition is in the log.
    pub made: bool,
    /// Done, gone or skipped.
    pub over: bool,
    /// Its spans, as far as they are copied; empty before the first chunk.
    pub spans: Vec<Span>,
    /// Rows in its chunks.
    pub rows: u64,
    /// How often it was begun anew.
    pub turn: u32,
    /// DDL statements on it that the follower has decoded.
    pub ddl: u64,
    /// Another table has its name since it was begun: it must be begun anew.
    pub other: bool,
    /// Rows and bytes by estimate.
    pub estimate: (u64, u64),
}

#[derive(Debug)]
struct Inner {
    tables: Vec<Entry>,
    /// Groups of tables that are read whole,
    together: VecDeque<Vec<usize>>,
    /// whose turn has come, for only one thread may stop the follower at a time.
    holding: bool,
    /// Tables that nobody has begun,
    fresh: VecDeque<usize>,
    /// and spans of begun ones that nobody has in hand.
    spans: VecDeque<(usize, u32, u32)>,
    /// Pieces that are in hand.
    busy: usize,
    /// No more is handed out.
    closed: bool,
}

/// The work of a run.
#[derive(Debug)]
pub struct Plan {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Plan {
    /// What is left. `estimates` as in the state's order; `together` are the groups that are read whole, by index.
    #[must_use]
    pub fn new(state: &RunState, estimates: &[(u64, u64)], together: &[Vec<usize>]) -> Self {
        let mut tables = Vec::with_capacity(state.begin.tables.len());
        let mut spans = VecDeque::new();
        let mut fresh = Vec::new();
        for (index, name) in state.begin.tables.iter().enumerate() {
            let known = state.tables.get(index).cloned().unwrap_or_default();
            let mut entry = Entry {
                name: name.clone(),
                made: !matches!(known, TableState::Pending),
                over: matches!(known, TableState::Done | TableState::Gone),
                spans: Vec::new(),
                rows: state.rows.get(index).copied().unwrap_or(0),
                turn: 0,
                ddl: 0,
                other: false,
                estimate: estimates.get(index).copied().unwrap_or_default(),
            };
            let whole = together.iter().any(|group| group.contains(&index));
            match known {
                TableState::Copying(left) if !whole && left.iter().any(|span| !span.done) => {
                    for number in (0_u32..).zip(&left).filter(|(_, span)| !span.done).map(|(number, _)| number) {
                        spans.push_back((index, number, 0));
                    }
                    entry.spans = left;
                }
                _ if entry.over || whole => {}
                TableState::Copying(left) => {
                    // All is copied; only its end is missing.
                    entry.spans = left;
                    fresh.push(index);
                }
                _ => fresh.push(index),
            }
            tables.push(entry);
        }
        // The largest first, so that threads end together.
        fresh.sort_by_key(|&index| std::cmp::Reverse(tables.get(index).map_or(0, |entry| entry.estimate.1)));
        let together = together
            .iter()
            .map(|group| {
                group.iter().copied().filter(|&i| tables.get(i).is_some_and(|entry| !entry.over)).collect::<Vec<_>>()
            })
            .filter(|group| !group.is_empty())
            .collect();
        let inner = Inner { tables, together, holding: false, fresh: fresh.into(), spans, busy: 0, closed: false };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece, waiting for one while others may still bring some; None at the end. Hand it back with [`Plan::finished`].
    #[must_use]
    pub fn take(&self) -> Option<Piece> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return None;
            }
            let piece = if !inner.holding
                && let Some(group) = inner.together.pop_front()
            {
                inner.holding = true;
                Some(Piece::Together(group))
            } else if let Some((table, span, turn)) = inner.spans.pop_front() {
                Some(Piece::Span(table, span, turn))
            } else {
                inner.fresh.pop_front().map(Piece::Table)
            };
            if piece.is_some() {
                inner.busy += 1;
                return piece;
            }
            if inner.busy == 0 {
                return None;
            }
            inner =
                self.changed.wait_timeout(inner, Duration::from_millis(200)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A piece is done, or is not to be done any more.
    pub fn finished(&self, piece: &Piece) {
        let mut inner = self.lock();
        inner.busy = inner.busy.saturating_sub(1);
        if matches!(piece, Piece::Together(_)) {
            inner.holding = false;
        }
        self.changed.notify_all();
    }

    /// Hands out no more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether all tables are over.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.lock().tables.iter().all(|entry| entry.over)
    }

    /// Pieces that are there to be taken now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let inner = self.lock();
        inner.spans.len() + inner.fresh.len() + inner.together.len()
    }

    /// A table's entry as it is now.
    #[must_use]
    pub fn entry(&self, table: usize) -> Option<Entry> {
        self.lock().tables.get(table).cloned()
    }

    /// How often DDL was seen on a table, how often it was begun anew, and whether it is over.
    #[must_use]
    pub fn mark(&self, table: usize) -> (u64, u32, bool) {
        self.lock().tables.get(table).map_or((0, 0, true), |entry| (entry.ddl, entry.turn, entry.over))
    }

    /// One span of a table, if the table was not begun anew since `turn`.
    #[must_use]
    pub fn span(&self, table: usize, span: u32, turn: u32) -> Option<Span> {
        let inner = self.lock();
        let entry = inner.tables.get(table).filter(|entry| entry.turn == turn && !entry.over)?;
        entry.spans.get(span as usize).cloned()
    }

    /// Changes a table's entry.
    pub fn change<T>(&self, table: usize, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.lock().tables.get_mut(table).map(change)
    }

    /// Where a table of this name stands.
    #[must_use]
    pub fn index(&self, name: &TableName) -> Option<usize> {
        self.lock().tables.iter().position(|entry| entry.name == *name)
    }

    /// DDL was decoded that touched this table; `other`: another one has its name now, or none. Says whether the run has it and still wants it.
    pub fn ddl(&self, name: &TableName, other: bool) -> Option<usize> {
        let mut inner = self.lock();
        let index = inner.tables.iter().position(|entry| entry.name == *name && !entry.over)?;
        if let Some(entry) = inner.tables.get_mut(index) {
            entry.ddl += 1;
            entry.other |= other;
        }
        Some(index)
    }

    /// A database was dropped.
    pub fn ddl_in(&self, database: &str) {
        for entry in self.lock().tables.iter_mut().filter(|entry| entry.name.database == database) {
            entry.ddl += 1;
            entry.other = true;
        }
    }

    /// Whether no more is handed out.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.lock().closed
    }

    /// The table's definition is in the log.
    pub fn made(&self, table: usize) {
        self.change(table, |entry| entry.made = true);
    }

    /// The first chunk of a table made its spans known: all but the one in hand are free for others.
    pub fn spans(&self, table: usize, spans: Vec<Span>, in_hand: u32) {
        let mut inner = self.lock();
        let Some(entry) = inner.tables.get_mut(table) else { return };
        let turn = entry.turn;
        let count = u32::try_from(spans.len()).unwrap_or(u32::MAX);
        entry.spans = spans;
        for number in (0..count).filter(|&number| number != in_hand) {
            inner.spans.push_back((table, number, turn));
        }
        self.changed.notify_all();
    }

    /// A chunk is in the log. Says whether all spans of the table are done with it.
    pub fn chunk(&self, table: usize, span: u32, reached: &[Vec<u8>], ends_span: bool, rows: u64) -> bool {
        let mut inner = self.lock();
        let Some(entry) = inner.tables.get_mut(table) else { return false };
        entry.rows += rows;
        if let Some(span) = entry.spans.get_mut(span as usize) {
            if !reached.is_empty() {
                span.after = reached.to_vec();
            }
            span.done |= ends_span;
        }
        !entry.over && entry.spans.iter().all(|span| span.done)
    }

    /// The table is over.
    pub fn over(&self, table: usize) {
        self.change(table, |entry| entry.over = true);
        self.lock().spans.retain(|&(index, ..)| index != table);
    }

    /// The table is begun anew: its pieces in hand are void. `whole`: it is read whole from now on.
    pub fn again(&self, table: usize, whole: bool) {
        let mut inner = self.lock();
        let Some(entry) = inner.tables.get_mut(table) else { return };
        entry.turn += 1;
        entry.other = false;
        entry.rows = 0;
        entry.spans.clear();
        inner.spans.retain(|&(index, ..)| index != table);
        if whole {
            inner.together.push_back(vec![table]);
        } else {
            inner.fresh.push_front(table);
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::snapshot::SnapshotBegin;

    fn state(tables: Vec<TableState>) -> RunState {
        let name = |i: usize| TableName { database: "d".into(), table: format!("t{i}") };
        let count = tables.len();
        let begin = SnapshotBegin { run: 1, tables: (0..count).map(name).collect(), ..SnapshotBegin::default() };
        RunState {
            begin,
            tables,
            rows: vec![0; count],
            bytes: vec![0; count],
            estimates: vec![(0, 0); count],
            others_done: 0,
        }
    }

    fn span(after: &str, until: &str, done: bool) -> Span {
        let place = |text: &str| if text.is_empty() { vec![] } else { vec![text.into()] };
        Span { after: place(after), until: place(until), done }
    }

    #[test]
    fn pieces_are_what_is_left_the_largest_table_first() {
        let left = vec![span("", "5", true), span("7", "9", false), span("9", "", false)];
        let state = state(vec![
            TableState::Pending,
            TableState::Done,
            TableState::Made,
            TableState::Copying(left),
            TableState::Pending,
        ]);
        let plan = Plan::new(&state, &[(1, 10), (1, 1000), (1, 20), (0, 0), (1, 5)], &[vec![4]]);
        let pieces: Vec<_> = std::iter::from_fn(|| (plan.waiting() > 0).then(|| plan.take()).flatten()).collect();
        assert_eq!(
            pieces,
            [Piece::Together(vec![4]), Piece::Span(3, 1, 0), Piece::Span(3, 2, 0), Piece::Table(2), Piece::Table(0)]
        );
        assert_eq!(plan.span(3, 1, 0).unwrap().after, [b"7"]);
        assert!(plan.entry(2).unwrap().made && !plan.entry(0).unwrap().made);
        for piece in &pieces {
            plan.finished(piece);
        }
        assert_eq!(plan.take(), None);
    }

    #[test]
    fn the_last_span_ends_the_table_and_a_table_begun_anew_voids_what_is_in_hand() {
        let plan = Plan::new(&state(vec![TableState::Made]), &[(0, 0)], &[]);
        assert_eq!(plan.take(), Some(Piece::Table(0)));
        plan.spans(0, vec![span("", "5", false), span("5", "", false)], 0);
        assert!(!plan.chunk(0, 0, &[b"5".to_vec()], true, 10));
        assert_eq!(plan.take(), Some(Piece::Span(0, 1, 0)));
        plan.again(0, false);
        assert_eq!(plan.span(0, 1, 0), None);
        plan.finished(&Piece::Span(0, 1, 0));
        plan.finished(&Piece::Table(0));
        assert_eq!(plan.take(), Some(Piece::Table(0)));
        plan.spans(0, vec![span("", "", false)], 0);
        assert!(plan.chunk(0, 0, &[], true, 3));
        assert_eq!(plan.entry(0).unwrap().rows, 3);
        plan.over(0);
        plan.finished(&Piece::Table(0));
        assert!(plan.take().is_none() && plan.complete());
    }

    #[test]
    fn a_group_is_read_by_one_thread_at_a_time_and_others_go_on_with_the_rest() {
        let plan = Plan::new(&state(vec![TableState::Pending; 3]), &[(0, 0); 3], &[vec![0], vec![1]]);
        let first = plan.take().unwrap();
        assert_eq!((&first, plan.take()), (&Piece::Together(vec![0]), Some(Piece::Table(2))));
        plan.over(0);
        plan.finished(&first);
        assert_eq!(plan.take(), Some(Piece::Together(vec![1])));
    }

    #[test]
    fn what_is_copied_but_not_ended_is_ended_after_a_restart() {
        let plan = Plan::new(&state(vec![TableState::Copying(vec![span("9", "", true)])]), &[(0, 0)], &[]);
        assert_eq!(plan.take(), Some(Piece::Table(0)));
        assert!(plan.entry(0).unwrap().spans[0].done);
    }
}

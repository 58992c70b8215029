//! Positions of several workers: what worker 0's row says while loaders have chunks in flight, and what a loader's row says.
//!
//! Worker 0 executes steps in the order of the log and hands chunks to loaders on its way. Its row is the *low water* (everything up to it is applied) and
//! ranges above it: all up to the last step but the chunks in flight. A loader's row claims nothing in `seq`; it lists the chunks that it has committed and
//! that worker 0's row, as it is committed, does not hold. So a chunk is in a row from its own COMMIT on, and is never in none.

use std::collections::{BTreeMap, BTreeSet};

use common::Seq;

use super::position::{Position, Progress};

/// What worker 0 has written down, and what it will write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Our row, as committed.
    seq: Seq,
    beyond: Vec<(u64, u64)>,
    /// Chunks under way, each with the end of what is before it.
    flight: BTreeMap<u64, Progress>,
    /// The last step that was executed or handed over.
    top: Progress,
}

impl Ledger {
    /// From the joined position.
    pub(crate) fn new(position: &Position) -> Self {
        Self { seq: position.seq, beyond: position.beyond.clone(), flight: BTreeMap::new(), top: position.progress() }
    }

    /// The low water as it is written: everything up to it is applied.
    pub(crate) fn low(&self) -> Seq {
        self.seq
    }

    /// The ranges above it as they are written.
    pub(crate) fn beyond(&self) -> &[(u64, u64)] {
        &self.beyond
    }

    /// The last step that was executed or handed over.
    pub(crate) fn top(&self) -> &Progress {
        &self.top
    }

    /// Everything up to there brought nothing to write.
    pub(crate) fn reach(&mut self, to: Progress) {
        self.top = to;
    }

    /// The low water now, written or not.
    pub(crate) fn present(&self) -> Progress {
        self.target(&self.top).0
    }

    /// A chunk is handed to a loader.
    pub(crate) fn depart(&mut self, chunk: &Progress) {
        let before = std::mem::replace(&mut self.top, chunk.clone());
        self.flight.insert(chunk.seq.0, Progress { seq: Seq(chunk.seq.0.saturating_sub(1)), ..before });
    }

    /// A loader has committed it.
    pub(crate) fn land(&mut self, chunk: Seq) {
        self.flight.remove(&chunk.0);
    }

    /// Everything up to `to` is executed or in flight: what our row is to say.
    pub(crate) fn target(&self, to: &Progress) -> (Progress, Vec<(u64, u64)>) {
        let low = self.flight.values().next().cloned().unwrap_or_else(|| to.clone());
        let mut ranges = Vec::new();
        let mut next = low.seq.0 + 1;
        for &hole in self.flight.keys() {
            if next < hole {
                ranges.push((next, hole - 1));
            }
            next = hole + 1;
        }
        if next <= to.seq.0 {
            ranges.push((next, to.seq.0));
        }
        // What an earlier life has applied further on.
        let further = self.beyond.iter().filter(|(_, end)| *end > to.seq.0);
        for &(start, end) in further {
            let start = start.max(to.seq.0 + 1);
            match ranges.last_mut() {
                Some(last) if start <= last.1 + 1 => last.1 = last.1.max(end),
                _ => ranges.push((start, end)),
            }
        }
        (low, ranges)
    }

    /// Whether our row says less than it could.
    pub(crate) fn is_ahead(&self) -> bool {
        let (low, ranges) = self.target(&self.top);
        low.seq != self.seq || ranges != self.beyond
    }

    /// Our row is committed with what [`Ledger::target`] said.
    pub(crate) fn moved(&mut self, to: &Progress) {
        let (low, ranges) = self.target(to);
        self.seq = low.seq;
        self.beyond = ranges;
        if to.seq >= self.top.seq {
            self.top = to.clone();
        }
    }

    /// Whether our row, as committed, holds this seq.
    fn holds(&self, seq: u64) -> bool {
        seq <= self.seq.0 || self.beyond.iter().any(|&(start, end)| start <= seq && seq <= end)
    }
}

/// What a loader has written down.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoaderRow {
    /// Its row, as committed.
    written: Vec<(u64, u64)>,
}

impl LoaderRow {
    /// Its row as committed.
    pub(crate) fn written(&self) -> &[(u64, u64)] {
        &self.written
    }

    /// What it is to say with this chunk: what worker 0's row holds is pruned.
    pub(crate) fn with(&self, chunk: Seq, ledger: &Ledger) -> Vec<(u64, u64)> {
        let own = self.written.iter().flat_map(|&(start, end)| start..=end);
        let mut seqs: BTreeSet<u64> = own.filter(|seq| !ledger.holds(*seq)).collect();
        seqs.insert(chunk.0);
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for seq in seqs {
            match ranges.last_mut() {
                Some(last) if last.1 + 1 == seq => last.1 = seq,
                _ => ranges.push((seq, seq)),
            }
        }
        ranges
    }

    /// It is committed so.
    pub(crate) fn wrote(&mut self, ranges: Vec<(u64, u64)>) {
        self.written = ranges;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end(seq: u64) -> Progress {
        Progress { seq: Seq(seq), committed_us: seq, ..Progress::default() }
    }

    /// The rows of the destination, and what is really applied there.
    struct Model {
        ledger: Ledger,
        loaders: Vec<LoaderRow>,
        flight: Vec<(u64, usize)>,
        rows: Vec<Position>,
        applied: BTreeSet<u64>,
    }

    impl Model {
        fn check(&self) -> std::result::Result<(), TestCaseError> {
            let joined = Position::join(&self.rows).unwrap();
            for seq in 1..200 {
                prop_assert_eq!(joined.holds(Seq(seq)), self.applied.contains(&seq), "seq {} of {:?}", seq, &self.rows);
            }
            prop_assert!(self.ledger.low() <= joined.seq, "what the store is told is applied");
            if joined.seq == self.rows[0].seq {
                prop_assert_eq!(joined.committed_us, self.rows[0].committed_us);
            }
            Ok(())
        }

        /// Worker 0 commits everything up to `to` that is not in flight, with our row.
        fn commit(&mut self, to: u64) {
            let to = end(to);
            let (low, beyond) = self.ledger.target(&to);
            for seq in 1..=to.seq.0 {
                if !self.flight.iter().any(|(chunk, _)| *chunk == seq) {
                    self.applied.insert(seq);
                }
            }
            self.rows[0] = Position { seq: low.seq, committed_us: low.committed_us, beyond, ..Position::default() };
            self.ledger.moved(&to);
        }

        fn land(&mut self, which: usize) {
            let (chunk, loader) = self.flight.remove(which % self.flight.len());
            let ranges = self.loaders[loader].with(Seq(chunk), &self.ledger);
            self.rows[loader + 1].beyond = ranges.clone();
            self.loaders[loader].wrote(ranges);
            self.applied.insert(chunk);
            self.ledger.land(Seq(chunk));
        }

        /// A crash: what is in flight is lost; the rows are joined into that of worker 0.
        fn restart(&mut self) {
            let joined = Position::join(&self.rows).unwrap();
            self.flight.clear();
            for (row, loader) in self.rows.iter_mut().skip(1).zip(&mut self.loaders) {
                *row = Position::default();
                *loader = LoaderRow::default();
            }
            self.ledger = Ledger::new(&joined);
            self.rows[0] = joined;
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        Group(u64),
        Chunk,
        Land(usize),
        Idle,
        Crash,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => (1u64..4).prop_map(Event::Group),
            5 => Just(Event::Chunk),
            4 => (0usize..8).prop_map(Event::Land),
            1 => Just(Event::Idle),
            1 => Just(Event::Crash),
        ]
    }

    proptest! {
        #[test]
        fn the_joined_rows_hold_exactly_what_is_applied_whenever_it_crashes(events in prop::collection::vec(event(), 1..60)) {
            const LOADERS: usize = 3;
            let mut model = Model {
                ledger: Ledger::new(&Position::default()),
                loaders: vec![LoaderRow::default(); LOADERS],
                flight: Vec::new(),
                rows: vec![Position::default(); LOADERS + 1],
                applied: BTreeSet::new(),
            };
            // The next seq in the log that is not applied: held ones are passed over, as the planner does.
            let mut next = 1;
            for event in events {
                match event {
                    Event::Group(length) => {
                        for _ in 0..length {
                            while model.applied.contains(&next) {
                                next += 1;
                            }
                            next += 1;
                        }
                        model.commit(next - 1);
                    }
                    Event::Chunk => {
                        while model.applied.contains(&next) {
                            next += 1;
                        }
                        let busy: Vec<usize> = model.flight.iter().map(|(_, loader)| *loader).collect();
                        if let Some(free) = (0..LOADERS).find(|loader| !busy.contains(loader)) {
                            model.ledger.depart(&end(next));
                            model.flight.push((next, free));
                            next += 1;
                        }
                    }
                    Event::Land(which) if !model.flight.is_empty() => model.land(which),
                    Event::Land(_) => {}
                    Event::Idle => {
                        let top = model.ledger.top().seq.0;
                        model.commit(top);
                        prop_assert!(!model.ledger.is_ahead());
                    }
                    Event::Crash => {
                        model.restart();
                        next = model.ledger.low().0 + 1;
                    }
                }
                model.check()?;
            }
            while !model.flight.is_empty() {
                model.land(0);
            }
            let top = model.ledger.top().seq.0;
            model.commit(top);
            model.check()?;
            prop_assert_eq!(model.ledger.low().0, top.max(model.ledger.low().0), "nothing in flight: the plain form");
        }
    }
}

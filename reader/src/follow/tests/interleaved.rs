//! Transactions, windows and chunks in random order, against a model.

use common::snapshot::{SnapshotBegin, SnapshotStep};
use proptest::prelude::*;

use super::source::{Change, Source, chunk, table};
use crate::snapshot::desk::Window;

#[derive(Clone, Debug)]
enum Act {
    Transact(Vec<Change>),
    Ddl,
    /// The follower gets so many events.
    Feed(usize),
    /// One of two spans opens a window, or hands in what it reads now.
    Copy {
        span: usize,
        limit: usize,
    },
    Reconnect(bool),
}

fn change() -> impl Strategy<Value = Change> {
    let key = || 0..30i32;
    prop_oneof![
        4 => (key(), 0..1000i32).prop_map(|(key, value)| Change::Put(key, value)),
        2 => key().prop_map(Change::Delete),
        2 => (key(), key()).prop_map(|(from, to)| Change::Move(from, to)),
        1 => (key(), key()).prop_map(|(a, b)| Change::Swap(a, b)),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => prop::collection::vec(change(), 1..4).prop_map(Act::Transact),
        1 => Just(Act::Ddl),
        6 => (1..12usize).prop_map(Act::Feed),
        8 => (0..2usize, 1..6usize).prop_map(|(span, limit)| Act::Copy { span, limit }),
        1 => any::<bool>().prop_map(Act::Reconnect),
    ]
}

/// A half of the key space: from behind `after`, up to and with `until`.
struct Half {
    after: i32,
    until: i32,
    window: Option<Window>,
    done: bool,
}

fn copy(source: &mut Source, half: &mut Half, limit: usize, later: &[Change]) {
    let Some(window) = half.window.take() else {
        half.window = (!half.done).then(|| source.open());
        return;
    };
    let mut read = source.read(half.after, limit);
    let found = read.len();
    read.retain(|(key, _)| *key <= half.until);
    let ends = read.len() < found || found < limit;
    let high = source.high();
    // The source goes on before it is handed in.
    source.transact(later);
    let reached = read.last().map_or(half.after, |(key, _)| *key);
    if source.append(window, chunk(&read, reached, ends), high).is_ok() {
        (half.after, half.done) = (reached, ends);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_log_replayed_is_a_part_of_the_source_at_every_place_and_all_of_it_in_the_end(
        first in prop::collection::btree_map(0..30i32, 0..1000i32, 0..25),
        acts in prop::collection::vec(act(), 1..60),
        later in prop::collection::vec(change(), 0..3),
    ) {
        let mut source = Source::new(first);
        let begin = SnapshotBegin { run: 1, tables: vec![table()], ..SnapshotBegin::default() };
        source.step(SnapshotStep::Begin(Box::new(begin)));
        let mut halves = [(-2, 14), (14, i32::MAX - 1)].map(|(after, until)| Half { after, until, window: None, done: false });
        for act in acts {
            match act {
                Act::Transact(changes) => source.transact(&changes),
                Act::Ddl => source.statement("ALTER TABLE k COMMENT 'x'"),
                Act::Feed(count) => source.feed_some(count),
                Act::Copy { span, limit } => copy(&mut source, &mut halves[span], limit, &later),
                Act::Reconnect(by_gtid) => source.reconnect(by_gtid),
            }
        }
        for half in &mut halves {
            while !half.done {
                copy(&mut source, half, 3, &[]);
            }
        }
        source.table_end();
        source.transact(&[Change::Put(3, 1), Change::Delete(4)]);
        let expected = source.rows.clone();
        prop_assert_eq!(source.replay().0, expected);
    }
}

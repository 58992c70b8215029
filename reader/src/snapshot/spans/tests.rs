//! The splitting against a simulated key space of 50 million rows.

use std::convert::Infallible;

use super::*;

/// 50 million keys in blocks of (first key, count), rising and apart.
struct Space {
    blocks: Vec<(i128, i128)>,
}

impl Space {
    fn upto(&self, key: i128) -> u64 {
        self.blocks.iter().map(|&(first, count)| (key - first + 1).clamp(0, count) as u64).sum()
    }

    fn count(&self, after: Option<i128>, until: Option<i128>) -> u64 {
        let upper = until.map_or_else(|| self.upto(i128::MAX / 2), |key| self.upto(key));
        upper.saturating_sub(after.map_or(0, |key| self.upto(key)))
    }

    /// As SELECT … ORDER BY key LIMIT n: how many, and the last.
    fn chunk(&self, after: Option<i128>, until: Option<i128>, limit: u64) -> (u64, Option<i128>) {
        let start = after.map_or(0, |key| self.upto(key));
        let end = until.map_or_else(|| self.upto(i128::MAX / 2), |key| self.upto(key));
        let count = limit.min(end.saturating_sub(start));
        (count, (count > 0).then(|| self.nth(start + count - 1)))
    }

    fn nth(&self, mut index: u64) -> i128 {
        for &(first, count) in &self.blocks {
            if index < count as u64 {
                return first + i128::from(index);
            }
            index -= count as u64;
        }
        panic!("no such row");
    }
}

fn spaces() -> Vec<(&'static str, Space)> {
    let millions = 1_000_000_i128;
    vec![
        ("dense", Space { blocks: vec![(1, 50 * millions)] }),
        ("one stray row far away", Space { blocks: vec![(1, 50 * millions - 1), (i128::from(i64::MAX), 1)] }),
        (
            "the ends of BIGINT",
            Space {
                blocks: vec![
                    (i128::from(i64::MIN), 25 * millions),
                    (i128::from(i64::MAX) - 25 * millions + 1, 25 * millions),
                ],
            },
        ),
        ("unsigned", Space { blocks: vec![(0, millions), (i128::from(u64::MAX) - 49 * millions + 1, 49 * millions)] }),
        ("a thousand blocks", Space { blocks: (0..1000).map(|i| (i * i * i * 1_000_003, 50_000)).collect() }),
    ]
}

fn exact(space: &Space) -> impl FnMut(Option<i128>, Option<i128>) -> Result<u64, Infallible> + '_ {
    |after, until| Ok(space.count(after, until))
}

fn split(space: &Space, want: u64) -> Vec<i128> {
    let (least, greatest) = (space.blocks[0].0, space.blocks.last().map(|&(first, count)| first + count - 1).unwrap());
    integers(least, greatest, want, &mut exact(space)).unwrap()
}

#[test]
fn every_key_of_fifty_million_is_in_exactly_one_span_and_spans_are_even() {
    for (what, space) in spaces() {
        let cuts = split(&space, 16);
        assert!(cuts.windows(2).all(|pair| pair[0] < pair[1]), "{what}: {cuts:?}");
        let spans = between(cuts.iter().map(|cut| vec![cut.to_string().into_bytes()]).collect());
        assert_eq!(spans.len(), cuts.len() + 1);
        assert!(spans[0].after.is_empty() && spans.last().unwrap().until.is_empty());
        // Each begins where the one before it ends.
        assert!(spans.windows(2).all(|pair| pair[0].until == pair[1].after));
        let number =
            |place: &[Vec<u8>]| place.first().map(|text| String::from_utf8(text.clone()).unwrap().parse().unwrap());
        let counts: Vec<u64> = spans.iter().map(|span| space.count(number(&span.after), number(&span.until))).collect();
        assert_eq!(counts.iter().sum::<u64>(), 50_000_000, "{what}");
        assert!(spans.len() >= 8, "{what}: {counts:?}");
        assert!(counts.iter().all(|&count| count <= 50_000_000 / 16 * 3), "{what}: {counts:?}");
    }
}

#[test]
fn chunks_go_on_at_any_point_of_interruption_and_hold_no_more_than_their_size() {
    // The last chunk's key is all that is kept; whatever was in hand is lost.
    for (what, space) in spaces() {
        let limit = 7919;
        let mut seen = 0;
        let mut from = None;
        for until in split(&space, 8).into_iter().map(Some).chain([None]) {
            let mut after = from;
            let mut turn = 0_u64;
            loop {
                turn += 1;
                let (count, last) = space.chunk(after, until, limit);
                assert!(count <= limit);
                if turn.is_multiple_of(3) && count > 0 {
                    continue; // killed before it was appended: read again from the same place
                }
                seen += count;
                if count < limit {
                    break;
                }
                assert!(last > after, "{what}: no progress behind {after:?}");
                after = last;
            }
            from = until;
        }
        assert_eq!(seen, 50_000_000, "{what}");
    }
}

#[test]
fn nonsense_estimates_only_make_parts_uneven() {
    for answer in [0_u64, 1, u64::MAX] {
        let cuts = integers(-5, 1000, 8, &mut |_, _| Ok::<_, Infallible>(answer)).unwrap();
        assert!(cuts.windows(2).all(|pair| pair[0] < pair[1]), "{cuts:?}");
        assert!(cuts.iter().all(|&cut| (-5..1000).contains(&cut)), "{cuts:?}");
        assert!(cuts.len() < 600);
    }
    let fails = integers(0, 1000, 8, &mut |_, _| Err("gone"));
    assert_eq!(fails, Err("gone"));
}

#[test]
fn small_spaces_are_cut_no_further_than_they_go() {
    for greatest in 0..5 {
        let cuts = integers(0, greatest, 8, &mut |_, _| Ok::<_, Infallible>(1)).unwrap();
        assert!(cuts.iter().all(|&cut| (0..greatest).contains(&cut)) && cuts.windows(2).all(|pair| pair[0] < pair[1]));
    }
    assert_eq!(wanted(4, 1000, 1 << 20), 1);
    assert_eq!(wanted(4, 1_000_000, 200 << 20), 16);
    assert_eq!(wanted(1, 300_000, 1 << 20), 4);
    assert_eq!(wanted(64, 50_000_000, 10 << 30), 64);
    assert_eq!(wanted(4, 100, 1 << 30), 16);
}

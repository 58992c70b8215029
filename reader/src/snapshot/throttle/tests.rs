use super::*;
use proptest::prelude::*;

use super::gate::Seen;

const MS: Duration = Duration::from_millis(1);

fn gate(rows: Option<u64>, bytes: Option<u64>) -> Gate {
    Gate::new(Limits { rows, bytes, ..Limits::default() })
}

/// Threads that read chunks of so many rows, each taking so long, for ten seconds of a clock of our own: when how many rows were read.
fn simulate(gate: &mut Gate, threads: usize, chunks: &[(u64, u64)]) -> Vec<(Duration, u64)> {
    let mut chunks = chunks.iter().cycle();
    // Until when a thread reads, and how much; None: it waits.
    let mut reading: Vec<Option<(Duration, u64)>> = vec![None; threads];
    let mut read = Vec::new();
    for now in (0..10_000).map(|n| MS * n) {
        for thread in &mut reading {
            if let Some((until, rows)) = *thread
                && now >= until
            {
                gate.spent(now, rows, rows * 10);
                read.push((now, rows));
                *thread = None;
            }
            if thread.is_none() && gate.enter(now, now) == Answer::Go {
                let (rows, ms) = chunks.next().copied().unwrap_or((1, 1));
                *thread = Some((now + MS * u32::try_from(ms).unwrap_or(1), rows));
            }
        }
    }
    read
}

/// The most rows in any window of two seconds.
fn most_in_two_seconds(read: &[(Duration, u64)]) -> u64 {
    let sum = |from: Duration| -> u64 {
        read.iter().filter(|(at, _)| *at >= from && *at < from + MS * 2000).map(|(_, rows)| rows).sum()
    };
    read.iter().map(|(at, _)| sum(*at)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn one_thread_never_reads_more_than_the_rate_and_one_chunk(
        rate in 10_u64..20_000,
        chunks in prop::collection::vec((1_u64..5_000, 1_u64..2), 1..20),
    ) {
        let read = simulate(&mut gate(Some(rate), None), 1, &chunks);
        let largest = chunks.iter().map(|(rows, _)| *rows).max().unwrap_or(0);
        prop_assert!(most_in_two_seconds(&read) <= 2 * rate + largest);
    }

    #[test]
    fn several_threads_with_equal_chunks_never_read_more_than_the_rate_and_one_chunk(
        rate in 10_u64..20_000, rows in 1_u64..5_000, ms in 1_u64..300, threads in 2_usize..8,
    ) {
        let read = simulate(&mut gate(Some(rate), None), threads, &[(rows, ms)]);
        // Chunks charged before the window may end in it while they are read: that is what the time of one adds.
        let most = 2 * rate + rate * ms / 1000 + rows;
        prop_assert!(most_in_two_seconds(&read) <= most, "{} > {}", most_in_two_seconds(&read), most);
    }

    #[test]
    fn bytes_hold_as_rows_do(rate in 100_u64..100_000, rows in 1_u64..5_000) {
        let read = simulate(&mut gate(None, Some(rate)), 4, &[(rows, 1)]);
        prop_assert!(most_in_two_seconds(&read) * 10 <= 2 * rate + rate / 1000 + rows * 10 + 10);
    }

    #[test]
    fn the_rate_is_used_where_chunks_are_small(rate in 1_000_u64..20_000, threads in 1_usize..5) {
        let read = simulate(&mut gate(Some(rate), None), threads, &[(rate / 100, 1)]);
        let total: u64 = read.iter().map(|(_, rows)| rows).sum();
        // The clock of the test goes in steps of a tenth of a chunk's time.
        prop_assert!(total >= rate * 8, "{total} of {}", rate * 10);
    }
}

#[test]
fn without_limits_nothing_waits() {
    let mut gate = gate(None, None);
    for _ in 0..1000 {
        assert_eq!(gate.enter(MS, MS), Answer::Go);
        gate.spent(MS, u64::MAX / 2, u64::MAX / 2);
    }
    assert!(gate.held_by(MS).is_none() && gate.held_seconds().is_empty());
}

#[test]
fn what_holds_is_told_with_since_when_and_counted_once_for_all_threads() {
    let limits = Limits { threads_running: Some(30), ..Limits::default() };
    let mut gate = Gate::new(limits.clone());
    let at = |seconds| Duration::from_secs(seconds);
    assert!(matches!(gate.enter(at(1), at(1)), Answer::Wait(_)), "it is not known yet how many are running");
    assert!(gate.wants_watching(at(1)));
    let hold = Some((limits::THREADS, "max_threads_running: 41 are running, 30 are allowed".to_owned()));
    for second in 1..=5 {
        gate.saw(&limits, Seen { at: at(second), hold: hold.clone() });
        for _ in 0..3 {
            assert!(matches!(gate.enter(at(second), at(1)), Answer::Wait(_)));
        }
    }
    let (text, since) = gate.held_by(at(5)).unwrap();
    assert_eq!((text.as_str(), since), ("max_threads_running: 41 are running, 30 are allowed", at(1)));
    gate.saw(&limits, Seen { at: at(6), hold: None });
    assert_eq!(gate.enter(at(6), at(1)), Answer::Go);
    assert_eq!(gate.held_seconds(), BTreeMap::from([("max_threads_running".to_owned(), 5.0)]));
    assert!(gate.held_by(at(60)).is_none());
    // What was seen long ago says nothing.
    assert!(matches!(gate.enter(at(60), at(60)), Answer::Wait(_)));
}

#[test]
fn time_between_two_holds_does_not_count() {
    let mut gate = gate(Some(10), None);
    let at = |seconds| Duration::from_secs(seconds);
    assert_eq!(gate.enter(at(0), at(0)), Answer::Go);
    gate.spent(at(0), 20, 0);
    assert!(matches!(gate.enter(at(1), at(1)), Answer::Wait(_)));
    assert_eq!(gate.enter(at(2), at(1)), Answer::Go);
    gate.spent(at(2), 10, 0);
    assert_eq!(gate.enter(at(100), at(100)), Answer::Go);
    assert_eq!(gate.held_seconds(), BTreeMap::from([("max_rows_per_second".to_owned(), 1.0)]));
}

#[test]
fn limits_are_changed_while_running_by_the_words_of_the_file() {
    let none = Limits::default();
    let tuned = |key: &str, value: &str| none.tuned(key, value, true);
    assert_eq!(tuned("max_rows_per_second", "50_000").unwrap().rows, Some(50_000));
    assert_eq!(tuned("max_bytes_per_second", "20MiB").unwrap().bytes, Some(20 << 20));
    assert_eq!(tuned("max_replica_lag", "30s").unwrap().replica_lag, Some(Duration::from_secs(30)));
    assert_eq!(tuned("pause_query", "SELECT 1").unwrap().pause_query.as_deref(), Some("SELECT 1"));
    let some = tuned("max_threads_running", "30").unwrap();
    assert_eq!(some.threads_running, Some(30));
    assert_eq!(some.tuned("max_threads_running", " ", true).unwrap(), none);
    for (key, value) in [
        ("max_rows_per_second", "many"),
        ("max_rows_per_second", "0"),
        ("max_bytes_per_second", "20 apples"),
        ("max_replica_lag", "30"),
        ("threads", "8"),
    ] {
        assert!(tuned(key, value).unwrap_err().contains(key), "{key} {value}");
    }
    assert!(none.tuned("max_replica_lag", "1s", false).unwrap_err().contains("replicas"));
}

#[test]
fn a_lower_rate_does_not_inherit_the_debts_of_a_higher_one() {
    let mut gate = gate(Some(1_000_000), None);
    assert_eq!(gate.enter(MS, MS), Answer::Go);
    gate.spent(MS, 4_000_000, 0);
    let limits = Limits { rows: Some(10), ..Limits::default() };
    gate.set(limits, MS * 2);
    assert_eq!(gate.enter(MS * 2, MS * 2), Answer::Go);
}

//! 2,000 power cuts at random operations, a third of them during recovery.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::model::{Load, dir};
use crate::Result;
use crate::segment::segments_dir;

/// Power cuts survived with one seed: cut during work, then possibly during recovery, then everything is checked.
pub(crate) fn survive(seed: u64, rounds: usize) -> Result<u64> {
    let mut load = Load::new(seed);
    let mut cuts = 0;
    let mut dice = StdRng::seed_from_u64(seed ^ 0x5eed);
    for _ in 0..rounds {
        let at = load.fs.changes() + dice.random_range(1..160);
        load.fs.power_off_at(at);
        let result = load.run(60);
        if let Err(error) = result {
            // Only the power may fail here.
            assert!(error.to_string().contains("power is off") || error.to_string().contains("stopped"), "{error}");
        }
        load.fs = load.fs.after_power_cut(&mut dice);
        cuts += 1;
        // Recovery itself loses power, up to three times.
        for _ in 0..dice.random_range(0..3) {
            load.fs.power_off_at(dice.random_range(1..12));
            match load.open() {
                Ok((writer, found)) => {
                    load.check_end(found.next_seq.0 - 1);
                    drop(writer);
                }
                Err(error) => assert!(error.to_string().contains("power is off"), "{error}"),
            }
            load.fs = load.fs.after_power_cut(&mut dice);
            cuts += 1;
        }
        let (writer, found) = load.open()?;
        load.check_end(found.next_seq.0 - 1);
        load.check_content()?;
        drop(writer);
        let before = load.fs.files(&segments_dir(dir()));
        let (writer, again) = load.open()?;
        assert_eq!(again.next_seq, found.next_seq);
        assert!(again.cut.is_none(), "a second recovery cut again");
        drop(writer);
        assert_eq!(before, load.fs.files(&segments_dir(dir())), "a second recovery changed bytes");
    }
    Ok(cuts)
}

#[test]
fn two_thousand_power_cuts_lose_nothing_that_was_visible() {
    let mut cuts = 0;
    for seed in 0.. {
        println!("seed {seed}");
        cuts += survive(seed, 4).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        if cuts >= 2000 {
            println!("{cuts} power cuts, {} seeds", seed + 1);
            break;
        }
    }
}

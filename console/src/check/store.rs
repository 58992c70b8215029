//! Checks of the store's folder.

use std::path::Path;

use common::config::{Pipeline, about_size};
use nix::unistd::{AccessFlags, access};

use super::{Item, Items, Verdict};

/// Less free than this is soon full: a few open segments and the files beside them.
const SEGMENTS_MIN: u64 = 4;
/// What a store without `max_size` should find at least.
const COMFORTABLE_BYTES: u64 = 4 << 30;

pub(super) fn check(pipeline: &Pipeline) -> Vec<Item> {
    let mut items = Items::of("store");
    let dir = &pipeline.store.dir;
    // The store itself is made by the reader; its nearest folder that exists has to let it.
    let existing = dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let mend = "create the folder for the user that the services run as, or change [store] dir";
    match access(existing, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => items.add("store-folder", Verdict::Pass, format!("{} can be written", dir.display()), mend),
        Err(error) => items.add("store-folder", Verdict::Fail, format!("{}: {error}", existing.display()), mend),
    }
    match nix::sys::statvfs::statvfs(existing) {
        Ok(stat) => {
            let free = stat.blocks_available().saturating_mul(stat.fragment_size());
            let used = ::store::list_segments(dir).map_or(0, |all| all.iter().map(|s| s.bytes).sum());
            space(pipeline.store.segment_bytes, pipeline.store.max_size, used, free, &mut items);
        }
        Err(error) => {
            items.add("store-space", Verdict::Warn, format!("{}: {error}", existing.display()), "look at it by hand");
        }
    }
    items.items
}

fn space(segment: u64, max_size: Option<u64>, used: u64, free: u64, items: &mut Items) {
    let wanted = max_size.map_or(COMFORTABLE_BYTES, |max| max.saturating_sub(used));
    let least = segment.saturating_mul(SEGMENTS_MIN).saturating_sub(used);
    let verdict = match free {
        free if free < least => Verdict::Fail,
        free if free < wanted => Verdict::Warn,
        _ => Verdict::Pass,
    };
    let limit = match max_size {
        Some(max) => format!("max_size allows {} more", about_size(max.saturating_sub(used))),
        None => "there is no max_size".to_owned(),
    };
    let found = format!("{} free, {limit}", about_size(free));
    let mend = format!(
        "free {} at least, or set a smaller [store] max_size (and segment_size): at a full disk the reader waits, and the source keeps its binlogs",
        about_size(wanted.saturating_sub(free))
    );
    items.add("store-space", verdict, found, mend);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_needs_room_for_a_few_segments_and_wants_all_that_it_may_grow_to() {
        let verdict = |max, used, free| {
            let mut items = Items::of("store");
            space(64 << 20, max, used, free, &mut items);
            items.items[0].verdict
        };
        assert_eq!(verdict(None, 0, 5 << 30), Verdict::Pass);
        assert_eq!(verdict(None, 0, 1 << 30), Verdict::Warn);
        assert_eq!(verdict(None, 0, 100 << 20), Verdict::Fail);
        assert_eq!(verdict(Some(1 << 30), 0, (1 << 30) - 1), Verdict::Warn);
        assert_eq!(verdict(Some(1 << 30), 1 << 30, 0), Verdict::Pass, "it has all that it may take");
    }
}

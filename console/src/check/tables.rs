//! What of the source's tables needs a word: without keys, without transactions, none at all.

use super::item::named;
use super::{Inventory, Items, Session, Verdict};

/// Names that are shown.
const SHOWN_MAX: usize = 8;

pub(super) fn check(session: &Session, inventory: &Inventory, items: &mut Items) {
    let count = inventory.bases().count();
    let found = format!("{count} tables in {} databases are selected", inventory.databases.len());
    let mend = "if that is not meant, mend [source] include and exclude; names are compared with their case";
    items.is("selection", count > 0, Verdict::Warn, found, mend);

    let keyless: Vec<String> = inventory.bases().filter(|t| !t.keyed).map(ToString::to_string).collect();
    let found = match keyless.len() {
        0 => "all tables have a key".to_owned(),
        n => format!("{n} without a key: {}", named(&keyless, SHOWN_MAX)),
    };
    let mend = "add a primary key, or a unique one of NOT NULL columns: without, a table is read whole at one point, a restart begins it anew, and each changed row is searched by all its columns";
    items.is("keyless-tables", keyless.is_empty(), Verdict::Warn, found, mend);

    let plain: Vec<String> = inventory
        .bases()
        .filter(|t| !transactional(&t.engine))
        .map(|t| format!("{t} ({})", if t.engine.is_empty() { "no engine" } else { &t.engine }))
        .collect();
    let found = match plain.len() {
        0 => "all tables are of engines with transactions".to_owned(),
        n => format!("{n} of engines without transactions: {}", named(&plain, SHOWN_MAX)),
    };
    let mend = "ALTER TABLE … ENGINE=InnoDB, at the source or at the destination: their rows cannot be committed together with the position (errors 1785, 1178), and copying them locks them";
    items.is("transactions", plain.is_empty(), Verdict::Warn, found, mend);

    let triggers = inventory.of_kind("trigger").len();
    let found = format!("{triggers} triggers; at destinations they carry a guard and do not fire on what we write");
    items.add("triggers", Verdict::Pass, found, "");
    let events = inventory.of_kind("event").len();
    let scheduler = session.variable("event_scheduler");
    items.add(
        "events",
        Verdict::Pass,
        format!("{events} events (event_scheduler={scheduler}); they arrive disabled at destinations"),
        "",
    );
}

/// Engines whose rows commit with the position.
pub(super) fn transactional(engine: &str) -> bool {
    ["innodb", "rocksdb", "tokudb", "ndbcluster", "partition"].contains(&engine.to_ascii_lowercase().as_str())
}

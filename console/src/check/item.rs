//! What a check says: items with a stable id and a verdict.

use std::collections::BTreeSet;

use serde::Serialize;

/// Every id with the parts that have it. docs/OPERATIONS.md says for each what it means and how to mend it.
pub(super) const IDS: &[&str] = &[
    "accounts",
    "binary-log",
    "binlog-expiry",
    "binlog-filter",
    "binlog-format",
    "checksum",
    "collations",
    "column-types",
    "connect",
    "create-functions",
    "destination-space",
    "engines",
    "events",
    "existing-objects",
    "gtid",
    "index-size",
    "keyless-tables",
    "load-data",
    "may-lock-tables",
    "may-replicate",
    "may-see-objects",
    "may-see-position",
    "may-see-tables",
    "may-write",
    "name-case",
    "other-server",
    "packet-size",
    "page-size",
    "partial-json",
    "position-database",
    "read-variables",
    "replica-source",
    "row-events",
    "row-image",
    "row-metadata",
    "selection",
    "sequences",
    "server-id",
    "store-folder",
    "store-space",
    "tls",
    "transactions",
    "triggers",
    "version",
    "writable",
];

/// What was found of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Pass,
    /// A warning that an operator chose to ignore.
    Note,
    /// Odd, slow or risky; it works.
    Warn,
    /// It cannot work.
    Fail,
}

impl Verdict {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Note => "note",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        }
    }
}

/// One item. Its id is stable, for scripts.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Item {
    /// `source` or the destination's name, or `store`.
    pub(crate) part: String,
    pub(crate) id: &'static str,
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) found: String,
    /// How to mend it; empty if it passed.
    pub(crate) mend: String,
}

/// The items of one part.
pub(super) struct Items {
    part: String,
    pub(super) items: Vec<Item>,
}

impl Items {
    pub(super) fn of(part: &str) -> Items {
        Items { part: part.to_owned(), items: Vec::new() }
    }

    pub(super) fn add(
        &mut self,
        id: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) {
        debug_assert!(IDS.contains(&id), "{id} is not in the list");
        let mend = if verdict == Verdict::Pass { String::new() } else { mend.into() };
        self.items.push(Item { part: self.part.clone(), id, verdict, found: found.into(), mend });
    }

    /// Passes if `fine`, else `otherwise`.
    pub(super) fn is(
        &mut self,
        id: &'static str,
        fine: bool,
        otherwise: Verdict,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(id, if fine { Verdict::Pass } else { otherwise }, found, mend);
    }

    /// A question that the server did not answer.
    pub(super) fn unanswered(&mut self, id: &'static str, error: &mysql_async::Error) {
        self.add(id, Verdict::Fail, error.to_string(), "mend what the server says, then run the check again");
    }
}

/// Makes notes of the warnings with these ids.
pub(super) fn ignore(items: &mut [Item], ids: &[String]) {
    for item in items {
        if item.verdict == Verdict::Warn && ids.iter().any(|id| id == item.id) {
            item.verdict = Verdict::Note;
        }
    }
}

/// Ids of `ids` that there are not, each with the nearest that there is.
pub(super) fn unknown(ids: &[String]) -> Vec<String> {
    let known: BTreeSet<&str> = IDS.iter().copied().collect();
    let unknown = ids.iter().filter(|id| !known.contains(id.as_str()));
    unknown.map(|id| format!("there is no item '{id}'; the ids are: {}", IDS.join(", "))).collect()
}

/// The first few names of many, as `a, b and 5 more`.
pub(super) fn named<T: std::fmt::Display>(all: &[T], shown_max: usize) -> String {
    let mut text = all.iter().take(shown_max).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if all.len() > shown_max {
        text.push_str(&format!(" and {} more", all.len() - shown_max));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_warnings_can_be_ignored() {
        let mut items = Items::of("source");
        items.add("gtid", Verdict::Warn, "", "");
        items.add("connect", Verdict::Fail, "", "");
        items.add("version", Verdict::Pass, "", "");
        let all = ["gtid", "connect", "version"].map(str::to_owned);
        ignore(&mut items.items, &all);
        let verdicts: Vec<Verdict> = items.items.iter().map(|i| i.verdict).collect();
        assert_eq!(verdicts, [Verdict::Note, Verdict::Fail, Verdict::Pass]);
        assert!(unknown(&all).is_empty());
        assert!(unknown(&["gtids".to_owned()])[0].starts_with("there is no item 'gtids'; the ids are: accounts, "));
    }

    #[test]
    fn the_manual_lists_every_id_and_no_other() {
        let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md")).unwrap();
        let section = manual.split("## Check").nth(1).expect("a section 'Check'").split("\n## ").next().unwrap();
        let listed: BTreeSet<&str> =
            section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(listed, IDS.iter().copied().collect());
        assert!(IDS.is_sorted());
    }

    #[test]
    fn long_lists_of_names_are_cut() {
        assert_eq!(named(&["a", "b"], 2), "a, b");
        assert_eq!(named(&["a", "b", "c", "d"], 2), "a, b and 2 more");
    }
}

//! Which runs are due, from what the log holds and what the configuration says.

use common::config::{Pipeline, SnapshotMode};
use common::selection::{PatternError, Selection};
use common::snapshot::{RunId, SnapshotState, TableName};

/// A run that is to be begun.
#[derive(Debug)]
pub(super) struct Wanted {
    /// See [`common::snapshot::SnapshotBegin::destinations`].
    pub destinations: Vec<String>,
    /// See there.
    pub whole: bool,
    /// See there.
    pub schema_only: bool,
    /// See there.
    pub again: bool,
    /// Which of the source's tables.
    pub tables: Which,
    /// For the log.
    pub reason: String,
}

/// Which of the tables that the source has and that are selected.
#[derive(Debug)]
pub(super) enum Which {
    /// All of them.
    All,
    /// Those that this earlier selection did not have.
    Beyond(Box<Selection>),
    /// Those that it has.
    Matching(Box<Selection>),
}

impl Which {
    /// Whether this table is among them.
    #[must_use]
    pub(super) fn has(&self, table: &TableName) -> bool {
        match self {
            Which::All => true,
            Which::Beyond(before) => !before.selects(&table.database, &table.table),
            Which::Matching(patterns) => patterns.selects(&table.database, &table.table),
        }
    }
}

/// What the configuration selects at the source.
///
/// # Errors
/// A pattern that is none.
pub(super) fn selection(pipeline: &Pipeline) -> Result<Selection, PatternError> {
    Ok(Selection::new(&pipeline.source.include, &pipeline.source.exclude)?
        .without_databases(pipeline.position_databases()))
}

/// The next run that nobody has asked for, if no run is under way.
///
/// # Errors
/// A pattern in the log that is none (it was written by a version that knew more).
pub(super) fn next(state: &SnapshotState, pipeline: &Pipeline) -> Result<Option<Wanted>, PatternError> {
    let mode = pipeline.snapshot.mode;
    if mode == SnapshotMode::None || !state.runs.is_empty() {
        return Ok(None);
    }
    let schema_only = mode == SnapshotMode::Schema;
    let names: Vec<String> = pipeline.destinations.iter().map(|destination| destination.name.clone()).collect();
    let Some((include, exclude)) = &state.selection else {
        let reason = "the store is new".to_owned();
        return Ok(Some(Wanted {
            destinations: names,
            whole: true,
            schema_only,
            again: false,
            tables: Which::All,
            reason,
        }));
    };
    if (include, exclude) != (&pipeline.source.include, &pipeline.source.exclude) {
        let before = Selection::new(include, exclude)?;
        let reason = "the source's include or exclude selects more than before".to_owned();
        let tables = Which::Beyond(Box::new(before));
        return Ok(Some(Wanted { destinations: Vec::new(), whole: false, schema_only, again: false, tables, reason }));
    }
    let new: Vec<String> = names.into_iter().filter(|name| !state.destinations.contains(name)).collect();
    if new.is_empty() {
        return Ok(None);
    }
    let reason = format!("new destinations: {}", new.join(", "));
    Ok(Some(Wanted { destinations: new, whole: true, schema_only, again: false, tables: Which::All, reason }))
}

/// A name for a new run: the time, made unique.
#[must_use]
pub(super) fn name(state: &SnapshotState, now_us: u64) -> RunId {
    state.runs.iter().map(|run| run.begin.run + 1).max().unwrap_or(0).max(now_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::snapshot::{RunState, SnapshotBegin};

    fn pipeline(mode: &str, include: &str, destinations: &[&str]) -> Pipeline {
        let mut text = format!(
            "name = \"shop\"\n[source]\nurl = \"mysql://a@b\"\ninclude = [{include}]\n[snapshot]\nmode = \"{mode}\"\n[store]\ndir = \"/tmp/x\"\n"
        );
        for name in destinations {
            text.push_str(&format!("[[destination]]\nname = \"{name}\"\nurl = \"mysql://a@c/\"\n"));
        }
        Pipeline::parse(&text, std::path::Path::new("shop.toml"), &|_| None).unwrap()
    }

    fn state(destinations: &[&str]) -> SnapshotState {
        SnapshotState {
            selection: Some((vec!["shop.*".into()], vec![])),
            destinations: destinations.iter().map(|name| (*name).to_owned()).collect(),
            runs: vec![],
        }
    }

    #[test]
    fn a_new_store_a_new_destination_and_new_patterns_want_runs_and_nothing_else_does() {
        let shop = "\"shop.*\"";
        let first = next(&SnapshotState::default(), &pipeline("full", shop, &["a", "b"])).unwrap().unwrap();
        assert!(first.whole && !first.schema_only && !first.again);
        assert_eq!(first.destinations, ["a", "b"]);
        assert!(next(&SnapshotState::default(), &pipeline("schema", shop, &["a"])).unwrap().unwrap().schema_only);
        assert!(next(&SnapshotState::default(), &pipeline("none", shop, &["a"])).unwrap().is_none());

        assert!(next(&state(&["a", "b"]), &pipeline("full", shop, &["a"])).unwrap().is_none());
        let late = next(&state(&["a"]), &pipeline("full", shop, &["a", "b"])).unwrap().unwrap();
        assert!(late.whole && late.destinations == ["b"]);

        let wider = next(&state(&["a"]), &pipeline("full", "\"shop.*\", \"crm.users\"", &["a", "b"])).unwrap().unwrap();
        assert!(!wider.whole && wider.destinations.is_empty());
        let name = |database: &str, table: &str| TableName { database: database.into(), table: table.into() };
        assert!(wider.tables.has(&name("crm", "users")) && !wider.tables.has(&name("shop", "orders")));

        let mut busy = state(&[]);
        busy.runs.push(RunState { begin: SnapshotBegin { run: 9, ..SnapshotBegin::default() }, ..RunState::default() });
        assert!(next(&busy, &pipeline("full", shop, &["a"])).unwrap().is_none());
        assert_eq!((super::name(&busy, 5), super::name(&busy, 50)), (10, 50));
    }
}

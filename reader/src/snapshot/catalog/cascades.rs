//! Tables that foreign keys tie together, so that a change of one changes rows of another.

use std::collections::{BTreeMap, HashMap};

use common::snapshot::TableName;

use super::SYSTEM;
use crate::error::ReaderError;
use crate::source::{Session, text};

/// A foreign key whose rules change rows of the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForeignKey {
    pub(super) child: TableName,
    pub(super) parent: TableName,
}

/// Foreign keys with the rules CASCADE, SET NULL or SET DEFAULT.
pub(super) fn read(session: &mut Session) -> Result<Vec<ForeignKey>, ReaderError> {
    let query = format!(
        "SELECT constraint_schema, table_name, unique_constraint_schema, referenced_table_name \
         FROM information_schema.referential_constraints WHERE constraint_schema NOT IN {SYSTEM} \
         AND (delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') OR update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT'))"
    );
    let rows = session.rows("listing its foreign keys", &query)?;
    let name = |row, database, table| Some(TableName { database: text(row, database)?, table: text(row, table)? });
    Ok(rows.iter().filter_map(|row| Some(ForeignKey { child: name(row, 0, 1)?, parent: name(row, 2, 3)? })).collect())
}

/// Those of `tables` that are tied together, each group in the order of `tables`, and the groups by their first table. Ties through a table that is not among them do not
/// count: its changes are not in the log.
pub(super) fn groups<'t>(tables: impl Iterator<Item = &'t TableName>, keys: &[ForeignKey]) -> Vec<Vec<TableName>> {
    let tables: Vec<&TableName> = tables.collect();
    let places: HashMap<&TableName, usize> = tables.iter().enumerate().map(|(place, name)| (*name, place)).collect();
    // Each table points to another of its group with a lower place, the first one to itself.
    let mut group: Vec<usize> = (0..tables.len()).collect();
    let mut tied = vec![false; tables.len()];
    for key in keys {
        let (Some(&child), Some(&parent)) = (places.get(&key.child), places.get(&key.parent)) else { continue };
        let (a, b) = (first(&group, child), first(&group, parent));
        if let Some(place) = group.get_mut(a.max(b)) {
            *place = a.min(b);
        }
        for place in [child, parent] {
            if let Some(tied) = tied.get_mut(place) {
                *tied = true;
            }
        }
    }
    let mut found: BTreeMap<usize, Vec<TableName>> = BTreeMap::new();
    for (place, name) in tables.into_iter().enumerate().filter(|(place, _)| tied.get(*place) == Some(&true)) {
        found.entry(first(&group, place)).or_default().push(name.clone());
    }
    found.into_values().collect()
}

fn first(group: &[usize], mut place: usize) -> usize {
    while let Some(&next) = group.get(place)
        && next != place
    {
        place = next;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(table: &str) -> TableName {
        TableName { database: "d".into(), table: table.into() }
    }

    #[test]
    fn tables_that_foreign_keys_connect_are_one_group() {
        let tables: Vec<TableName> = "abcdefgh".chars().map(|c| name(&c.to_string())).collect();
        let keys: Vec<ForeignKey> = [("b", "a"), ("h", "g"), ("c", "h"), ("e", "e"), ("g", "b"), ("f", "elsewhere")]
            .map(|(child, parent)| ForeignKey { child: name(child), parent: name(parent) })
            .to_vec();
        let found = groups(tables.iter(), &keys);
        let found: Vec<String> =
            found.iter().map(|group| group.iter().map(|table| table.table.as_str()).collect()).collect();
        assert_eq!(found, ["abcgh", "e"]);
        assert!(groups(tables.iter(), &[]).is_empty());
    }

    #[test]
    fn a_chain_of_ten_thousand_tables_is_one_group() {
        let tables: Vec<TableName> = (0..10_000).map(|n| name(&n.to_string())).collect();
        let keys: Vec<ForeignKey> = (1..10_000)
            .rev()
            .map(|n| ForeignKey { child: name(&n.to_string()), parent: name(&(n - 1).to_string()) })
            .collect();
        let found = groups(tables.iter(), &keys);
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [10_000]);
    }
}

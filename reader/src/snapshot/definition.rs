//! A table as its chunks need it: its layout, what to SELECT, and the key that they follow.

use std::sync::Arc;

use common::pack::{self, ColumnDefinition};
use common::schema::{KeyPart, LayoutOrigin};
use common::snapshot::TableName;
use common::{Flavor, TableSchema};

use crate::error::ReaderError;
use crate::source::table::{self, Key, PRIMARY, TableInfo};
use crate::source::{Facts, Session};

/// A table that can be copied.
#[derive(Clone, Debug)]
pub struct TableDefinition {
    /// Its layout: as its row images in the binlog, invisible and generated columns included.
    pub schema: Arc<TableSchema>,
    /// What to SELECT: one expression for each of `schema.columns`, in their order.
    pub select_list: String,
    /// The key whose order chunks follow; None = no key serves.
    pub key: Option<CopyKey>,
    /// Bytes of a row, as the statistics say; 0 = not known.
    pub average_row: u64,
    /// Rows, as the statistics say.
    pub rows: u64,
}

/// A key of whole columns that are NOT NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyKey {
    /// Name of its index.
    pub index: String,
    /// Its columns in key order, as indexes into [`TableSchema::columns`].
    pub columns: Vec<usize>,
    /// Whether the index holds the column from the largest to the smallest (`DESC`, MySQL 8.0 and MariaDB 10.8); one for each of `columns`.
    pub descending: Vec<bool>,
}

/// ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR
const DENIED: [u16; 2] = [1142, 1143];

/// Asks for a table's definition, waiting for DDL on it that has not ended; None if there is no such table (any more). The session was
/// [prepared](super::objects::prepare).
///
/// # Errors
/// Failed queries; a table that may not be read or cannot be copied, with the next step.
pub fn read(session: &mut Session, facts: &Facts, table: &TableName) -> Result<Option<TableDefinition>, ReaderError> {
    // All columns, so that one that we may not read is noticed: information_schema would leave it out in silence.
    match table::open(session, &table.database, &table.table, "*") {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) if error.code().is_some_and(|code| DENIED.contains(&code)) => {
            return Err(ReaderError::Source(format!(
                "the source's user may not read all of {table} ({}); grant it SELECT on the table, or exclude it",
                error.detail()
            )));
        }
        Err(error) if error.is_transient() || error.code().is_none() => return Err(error),
        Err(error) => {
            return Err(ReaderError::Source(format!(
                "the source cannot open {table} ({}); repair it there (CHECK TABLE), or exclude it",
                error.detail()
            )));
        }
    }
    let Some(info) = TableInfo::read(session, &table.database, &table.table)? else { return Ok(None) };
    if info.versioned {
        return Err(ReaderError::Source(super::objects::versioned(&table.database, &table.table)));
    }
    build(info, facts.flavor, table).map(Some)
}

fn build(info: TableInfo, flavor: Flavor, table: &TableName) -> Result<TableDefinition, ReaderError> {
    let columns = info.columns.iter().map(|definition| pack::column(definition, flavor)).collect::<Result<Vec<_>, _>>();
    let columns =
        columns.map_err(|error| ReaderError::Source(format!("{table} cannot be copied: {error}; exclude it")))?;
    let select: Vec<String> =
        info.columns.iter().map(|definition| pack::select_expression(definition, flavor)).collect();
    let primary = info.keys.iter().find(|key| key.name == PRIMARY);
    let part = |part: &table::Part| {
        let column = place(&info.columns, part.column.as_deref()?)?;
        Some(KeyPart { column: u16::try_from(column).ok()?, prefix: part.prefix })
    };
    let primary_key = primary.into_iter().flat_map(|key| &key.parts).map(part).collect::<Option<Vec<_>>>();
    let primary_key = primary_key.ok_or_else(|| {
        ReaderError::Source(format!("the source names a primary key of {table} over a column that it does not name"))
    })?;
    let schema = TableSchema {
        database: table.database.clone(),
        table: table.table.clone(),
        flavor,
        columns,
        primary_key,
        origin: LayoutOrigin::InformationSchema,
    };
    Ok(TableDefinition {
        schema: Arc::new(schema),
        select_list: select.join(", "),
        key: best(&info.keys, &info.columns),
        average_row: info.average_row,
        rows: info.rows,
    })
}

fn place(columns: &[ColumnDefinition], name: &str) -> Option<usize> {
    columns.iter().position(|column| column.name == name)
}

/// The primary key, if it serves; else of the unique keys that do the one that is cheapest to follow.
fn best(keys: &[Key], columns: &[ColumnDefinition]) -> Option<CopyKey> {
    let serving = keys.iter().filter_map(|key| serves(key, columns));
    serving.min_by_key(|key| {
        let mut types =
            key.columns.iter().filter_map(|&place| columns.get(place)).map(|column| column.data_type.as_str());
        let integers = types.all(|kind| matches!(kind, "tinyint" | "smallint" | "mediumint" | "int" | "bigint"));
        (key.index != PRIMARY, !integers, key.columns.len())
    })
}

/// The key, if each row has its own place in its order and the server can find that place by its values.
fn serves(key: &Key, columns: &[ColumnDefinition]) -> Option<CopyKey> {
    // FORCE INDEX fails for an index that is INVISIBLE or IGNORED. Hash indexes have no order (MEMORY; MariaDB's unique BLOBs).
    if !key.unique || !key.visible || matches!(key.kind.as_str(), "HASH" | "FULLTEXT" | "SPATIAL" | "RTREE") {
        return None;
    }
    let mut found = CopyKey { index: key.name.clone(), columns: Vec::new(), descending: Vec::new() };
    for part in &key.parts {
        let place = place(columns, part.column.as_deref()?)?;
        let column = columns.get(place)?;
        // A FLOAT is not found again by any literal: it is compared as DOUBLE. MariaDB's UUID has no order: its versions are laid out differently in
        // an index, and where they meet, `>` and ORDER BY contradict each other (11.8.9), so that a range leaves rows out.
        let unordered = matches!(column.data_type.as_str(), "float" | "uuid");
        if part.prefix != 0 || part.nullable || column.nullable || unordered {
            return None;
        }
        found.columns.push(place);
        found.descending.push(part.descending);
    }
    (!found.columns.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests;

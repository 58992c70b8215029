//! A table as the destination has it. Its columns are found by name, its keys are its own: what conflicts here is decided here.

use std::collections::HashMap;
use std::sync::Arc;

use super::session::{Session, ident, quote};
use crate::ddl::guard;
use crate::error::{ApplyError, Result};

/// A column of the destination's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetColumn {
    /// Name.
    pub name: String,
    /// `DATA_TYPE`, lower case: `int`, `varchar`, …
    pub data_type: String,
    /// `COLUMN_TYPE`: `int unsigned`, `varchar(20)`, …
    pub column_type: String,
    /// Whether it takes NULL.
    pub nullable: bool,
    /// Whether it is generated: the server computes it, nobody may write it.
    pub generated: bool,
    /// Whether the server sets it to the time whenever its row is changed and nobody names it.
    pub on_update_now: bool,
    /// Its character set; None for columns that are no text.
    pub charset: Option<String>,
}

/// A unique key without NULLs: at most one row has a given value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name, `PRIMARY` for the primary key.
    pub name: String,
    /// Indexes into the table's columns.
    pub columns: Vec<usize>,
}

/// A table of the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTable {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// All columns in their order, the invisible ones included.
    pub columns: Vec<TargetColumn>,
    /// Keys by which one row can be found, the primary key first.
    pub keys: Vec<Key>,
    /// Unique keys with columns that may be NULL: no row can be found by them, but a new one may meet another there.
    pub nullable_keys: Vec<Key>,
    /// How many unique keys it has, those on prefixes or expressions included.
    pub uniques: usize,
    /// Names of its triggers that would fire on what we write: those that we have made do not.
    pub triggers: Vec<String>,
    /// Storage engine.
    pub engine: String,
}

impl TargetTable {
    /// Its qualified name for a statement.
    #[must_use]
    pub fn sql_name(&self) -> String {
        format!("{}.{}", ident(&self.database), ident(&self.name))
    }

    /// `database.table`, for messages.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }

    /// The place of a column; names of columns ignore case in both families.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|c| c.name == name)
            .or_else(|| self.columns.iter().position(|c| c.name.to_lowercase() == name.to_lowercase()))
    }

    /// Whether it has a primary key.
    #[must_use]
    pub fn has_primary_key(&self) -> bool {
        self.keys.first().is_some_and(|key| key.name == "PRIMARY")
    }
}

/// The destination's tables, asked when first needed and forgotten after DDL.
#[derive(Debug, Default)]
pub struct Tables {
    known: HashMap<(String, String), Arc<TargetTable>>,
}

impl Tables {
    /// Forgets all tables: a definition may have changed.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// The table.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] when the destination has no such table.
    pub async fn get(&mut self, session: &mut Session, database: &str, name: &str) -> Result<Arc<TargetTable>> {
        let key = (database.to_owned(), name.to_owned());
        if let Some(table) = self.known.get(&key) {
            return Ok(table.clone());
        }
        let table = Arc::new(read(session, database, name).await?);
        self.known.insert(key, table.clone());
        Ok(table)
    }
}

async fn read(session: &mut Session, database: &str, name: &str) -> Result<TargetTable> {
    type ColumnRow = (String, String, String, String, String, Option<String>);
    let asking = || format!("reading the definition of {database}.{name} at the destination");
    let place = format!("table_schema={} AND table_name={}", quote(database), quote(name));
    let engine: Option<Option<String>> =
        session.first(format!("SELECT engine FROM information_schema.tables WHERE {place}"), asking).await?;
    let Some(engine) = engine else {
        return Err(ApplyError::refused(
            format!("table {database}.{name} is not at the destination"),
            "create it there as it is at the source (or exclude it), then start the applier again",
        ));
    };
    let columns: Vec<ColumnRow> = session
        .rows(
            format!(
                "SELECT column_name, data_type, column_type, is_nullable, extra, character_set_name FROM information_schema.columns \
                 WHERE {place} ORDER BY ordinal_position"
            ),
            asking,
        )
        .await?;
    let columns: Vec<TargetColumn> = columns
        .into_iter()
        .map(|(name, data_type, column_type, nullable, extra, charset)| {
            // Not DEFAULT_GENERATED: that is an expression as default.
            let extra = extra.to_ascii_uppercase();
            let generated = ["VIRTUAL", "STORED GENERATED", "PERSISTENT"].iter().any(|word| extra.contains(word));
            TargetColumn {
                name,
                data_type: data_type.to_ascii_lowercase(),
                column_type: column_type.to_ascii_lowercase(),
                nullable: nullable.eq_ignore_ascii_case("YES"),
                generated,
                on_update_now: extra.contains("ON UPDATE CURRENT_TIMESTAMP"),
                charset: charset.map(|c| c.to_ascii_lowercase()),
            }
        })
        .collect();
    let parts: Vec<(String, Option<String>, Option<u64>)> = session
        .rows(
            format!(
                "SELECT index_name, column_name, sub_part FROM information_schema.statistics WHERE {place} AND non_unique=0 \
                 ORDER BY index_name='PRIMARY' DESC, index_name, seq_in_index"
            ),
            asking,
        )
        .await?;
    let triggers: Vec<String> = session
        .rows(
            format!(
                "SELECT trigger_name FROM information_schema.triggers WHERE event_object_schema={} AND event_object_table={} \
                 AND LEFT(action_statement, {})<>{}",
                quote(database),
                quote(name),
                guard::BEFORE.len(),
                quote(guard::BEFORE)
            ),
            asking,
        )
        .await?;
    let mut table = TargetTable {
        database: database.to_owned(),
        name: name.to_owned(),
        columns,
        keys: Vec::new(),
        nullable_keys: Vec::new(),
        uniques: 0,
        triggers,
        engine: engine.unwrap_or_default(),
    };
    let mut grouped: Vec<(String, Option<Vec<usize>>)> = Vec::new();
    for (index, column, sub_part) in parts {
        // A prefix or an expression does not name one row.
        let column = column.and_then(|c| table.column(&c)).filter(|_| sub_part.is_none());
        match grouped.last_mut() {
            Some((last, columns)) if *last == index => match (columns.as_mut(), column) {
                (Some(columns), Some(column)) => columns.push(column),
                _ => *columns = None,
            },
            _ => grouped.push((index, column.map(|c| vec![c]))),
        }
    }
    table.uniques = grouped.len();
    let keys = grouped.into_iter().filter_map(|(name, columns)| Some(Key { name, columns: columns? }));
    let nullable = |key: &Key| key.columns.iter().any(|&c| table.columns.get(c).is_none_or(|c| c.nullable));
    (table.nullable_keys, table.keys) = keys.partition(nullable);
    Ok(table)
}

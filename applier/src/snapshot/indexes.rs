//! Secondary indexes that are built after the rows: in one pass over the table and sorted, which is faster than row by row, and denser.
//!
//! The table is made as it is at the source; while it is empty its plain secondary indexes are dropped again, and their definitions remembered as the
//! destination itself prints them. They are added in one ALTER TABLE when the rows are in, or before a statement of the source that changes
//! the table. What the server does not let go (a foreign key needs it, or an AUTO_INCREMENT column) stays.

use std::collections::HashSet;

use common::config::DeferIndexes;
use common::record::{Ddl, DdlKind, DdlRole};
use common::snapshot::{SnapshotObject, TableName};

use super::states;
use crate::error::{Result, passes};
use crate::target::{Session, ident, quote};
use crate::worker::Worker;

/// `defer_indexes = "auto"`: from so many rows on, by the source's statistics.
const LARGE_ROWS: u64 = 100_000;

/// Whether a table's indexes are to be built after its rows.
pub(super) fn worth(policy: DeferIndexes, object: &SnapshotObject) -> bool {
    match policy {
        DeferIndexes::Always => true,
        DeferIndexes::Never => false,
        DeferIndexes::Auto => object.rows_estimate > LARGE_ROWS,
    }
}

/// The plain, not unique secondary indexes in SHOW CREATE TABLE (each stands on a line of its own), without those that a foreign key
/// of the table itself may need: name and definition.
pub(super) fn plain_indexes(create: &str) -> Vec<(String, String)> {
    let lines = || create.lines().map(|line| line.trim_end_matches(','));
    // The columns of each foreign key, as they are printed.
    let foreign: Vec<&str> = lines()
        .filter_map(|line| line.trim_start().strip_prefix("CONSTRAINT "))
        .filter_map(|line| line.split_once(" FOREIGN KEY ("))
        .filter_map(|(_, rest)| rest.split_once(") REFERENCES "))
        .map(|(columns, _)| columns)
        .collect();
    lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("KEY `"))
        .filter_map(|line| {
            let (name, columns) = name_and_columns(line)?;
            let needed = foreign.iter().any(|key| {
                let key: HashSet<&str> = key.split(", ").collect();
                let lead: HashSet<&str> = columns.split(',').take(key.len()).collect();
                key == lead
            });
            (!needed).then(|| (name, line.to_owned()))
        })
        .collect()
}

/// The name (unquoted) and the text in the brackets of ``KEY `name` (…) …``.
fn name_and_columns(line: &str) -> Option<(String, &str)> {
    let rest = line.strip_prefix("KEY `")?;
    let mut at = 0;
    loop {
        at += rest.get(at..)?.find('`')?;
        if rest.get(at + 1..)?.starts_with('`') {
            at += 2;
            continue;
        }
        break;
    }
    let name = rest.get(..at)?.replace("``", "`");
    let rest = rest.get(at + 1..)?.strip_prefix(" (")?;
    Some((name, rest.split(')').next()?))
}

/// SHOW CREATE TABLE of the destination, with names in backticks.
pub(super) async fn show_create(session: &mut Session, table: &TableName) -> Result<String> {
    let asking = || format!("reading the definition of {table} at the destination");
    session.run("SET SESSION sql_mode='', sql_quote_show_create=1, character_set_results=utf8mb4", asking).await?;
    let sql = format!("SHOW CREATE TABLE {}.{}", ident(&table.database), ident(&table.table));
    let row: Option<(String, String)> = session.first(sql, asking).await?;
    Ok(row.map(|(_, text)| text).unwrap_or_default())
}

/// Takes indexes out of an empty table. False if the server does not let them go.
pub(super) async fn take_out(session: &mut Session, table: &TableName, indexes: &[(String, String)]) -> Result<bool> {
    let drops: Vec<String> = indexes.iter().map(|(name, _)| format!("DROP INDEX {}", ident(name))).collect();
    let sql = format!("ALTER TABLE {}.{} {}", ident(&table.database), ident(&table.table), drops.join(", "));
    match session.run(sql, || format!("taking the indexes out of the empty {table}")).await {
        Ok(_) => Ok(true),
        Err(error) if error.server_code().is_some_and(|code| !passes(code)) => {
            tracing::debug!(%table, %error, "its indexes are built with the rows");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

impl Worker {
    /// Builds the indexes of this table that are not there yet, and forgets that they were to be built.
    pub(super) async fn build_indexes(&mut self, table: &TableName) -> Result<()> {
        let id = self.positions().identity;
        let object = states::table_object(table);
        let Some(state) = states::find(self.session(), &id, &object).await? else { return Ok(()) };
        if state.indexes.is_empty() || state.making {
            return Ok(());
        }
        let mut session = self.ddl_session().await?;
        let result = add(&mut session, table, &state.indexes).await;
        match &result {
            Ok(()) => self.keep_ddl_session(session),
            Err(_) => session.close().await,
        }
        result?;
        let sql = states::update_sql(&id, &object, "indexes=''");
        self.session().run(sql, || format!("remembering that the indexes of {table} are built")).await?;
        if let Some(deferred) = self.deferred_mut() {
            deferred.remove(table);
        }
        self.forget_definitions();
        Ok(())
    }

    /// Builds what a statement of the source may need to be there.
    pub(crate) async fn build_indexes_of(&mut self, ddl: &Ddl<'_>) -> Result<()> {
        if self.deferred_mut().is_none() {
            let id = self.positions().identity;
            let tables = states::deferred(self.session(), &id).await?;
            *self.deferred_mut() = Some(tables.into_iter().collect());
        }
        let known = self.deferred_mut().clone().unwrap_or_default();
        if known.is_empty() || matches!(ddl.kind, DdlKind::DropTable | DdlKind::DropDatabase) {
            return Ok(());
        }
        for object in ddl.objects.iter().filter(|object| object.role != DdlRole::NewName) {
            let table = TableName { database: object.database.clone(), table: object.name.clone() };
            if known.contains(&table) {
                tracing::info!(%table, "its indexes are built before a statement of the source changes it");
                self.build_indexes(&table).await?;
            }
        }
        Ok(())
    }
}

async fn add(session: &mut Session, table: &TableName, indexes: &[String]) -> Result<()> {
    let sql = format!(
        "SELECT DISTINCT index_name FROM information_schema.statistics WHERE table_schema={} AND table_name={}",
        quote(&table.database),
        quote(&table.table)
    );
    let doing = || format!("building the indexes of {table}");
    let there: Vec<String> = session.rows(sql, doing).await?;
    let missing = |line: &&String| name_and_columns(line).is_some_and(|(name, _)| !there.contains(&name));
    let adds: Vec<String> = indexes.iter().filter(missing).map(|line| format!("ADD {line}")).collect();
    if adds.is_empty() {
        return Ok(());
    }
    // As the definitions were printed. An index may take hours: the session must not be cut meanwhile.
    let mut set = "SET SESSION sql_mode='', character_set_client=utf8mb4, foreign_key_checks=0, lock_wait_timeout=3600"
        .to_owned();
    if session.facts.flavor == common::Flavor::MariaDb {
        set.push_str(", max_statement_time=0");
    }
    session.run(set, doing).await?;
    let sql = format!("ALTER TABLE {}.{} {}", ident(&table.database), ident(&table.table), adds.join(", "));
    session.run(sql, doing).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "CREATE TABLE `t` (
  `id` int NOT NULL AUTO_INCREMENT,
  `a` int DEFAULT NULL COMMENT 'KEY `x` (`a`),',
  `b` varchar(9) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `u` (`b`),
  KEY `a` (`a`),
  KEY `wei``rd` (`b`(3),`a`) COMMENT 'with, comma' /*!80000 INVISIBLE */,
  KEY `f` (`b`,`id`),
  KEY `e` ((lower(`b`))),
  FULLTEXT KEY `ft` (`b`),
  CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `p` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB";

    #[test]
    fn plain_secondary_indexes_are_found_and_those_of_foreign_keys_stay() {
        let found = plain_indexes(TABLE);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["wei`rd", "f", "e"]);
        assert_eq!(found[0].1, "KEY `wei``rd` (`b`(3),`a`) COMMENT 'with, comma' /*!80000 INVISIBLE */");
    }
}

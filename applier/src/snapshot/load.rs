//! Loads the rows of a chunk: one destination transaction that also moves the loader's position row.
//!
//! Where the server allows it, rows go as the text of LOAD DATA LOCAL INFILE, made in memory. LOCAL gives warnings where INSERT gives errors, so only an
//! answer without any is believed (a row that is there already is one: it is the same row). Anything else is rolled back and done again with
//! strict multi-row INSERTs, and where one of these fails row by row, so that the row that is refused can be named.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use common::SchemaId;
use common::config::{OnExisting, OnObjectError, Snapshot, Write};
use common::row::{Cell, RowImages};
use common::snapshot::TableName;

use super::{Stand, states};
use crate::error::{ApplyError, Result, passes};
use crate::plan::ChunkStep;
use crate::target::{Connector, Identity, LoaderMove, PositionStore, Session, Tables, TargetTable};
use crate::worker::Outcome;
use crate::write::sql::{Adding, Statement, TableWriter};
use crate::write::{Route, Routes};

/// Size of a piece of LOAD DATA's text, in bytes; a server takes it as one packet.
const PIECE_BYTES: usize = 256 << 10;
/// Size of an INSERT, in bytes.
const STATEMENT_BYTES: usize = 1 << 20;
/// Warnings that the server is to keep (the most that it can).
const WARNINGS: u64 = 65_535;
/// LOCAL is not allowed: ER_NOT_ALLOWED_COMMAND, ER_CLIENT_LOCAL_FILES_DISABLED, ER_LOAD_INFILE_CAPABILITY_DISABLED (MariaDB).
const NO_LOCAL: &[u16] = &[1148, 3948, 4166];
const DUPLICATE: &[u16] = &[1062, 1022, 1586];

/// A connection that loads chunks, one at a time.
#[derive(Debug)]
pub struct Loader {
    session: Session,
    identity: Identity,
    options: Arc<Snapshot>,
    /// The server takes LOAD DATA LOCAL.
    local: bool,
    /// Tables whose rows gave warnings as text although they fit.
    by_insert: HashSet<TableName>,
    tables: Tables,
    routes: Routes,
    writers: HashMap<SchemaId, (Arc<Route>, Arc<TableWriter>)>,
}

/// The rows of a chunk and where they go.
struct Load<'a> {
    writer: Arc<TableWriter>,
    target: Arc<TargetTable>,
    rows: Vec<RowImages<'a>>,
    doing: String,
    replace: bool,
}

impl Loader {
    /// A loader on a connection of its own.
    ///
    /// # Errors
    /// When the destination cannot be reached or refuses.
    pub async fn open(connector: &Connector, identity: Identity, options: Arc<Snapshot>) -> Result<Self> {
        let mut session = connector.open().await?;
        // Parents may come after their children; what is unique at the source is checked all the same.
        let set = format!("SET SESSION foreign_key_checks=0, unique_checks=1, max_error_count={WARNINGS}");
        session.run(set, || "setting up a loader's session".into()).await?;
        let local: Option<u8> = session
            .first("SELECT @@global.local_infile", || "asking whether LOAD DATA LOCAL is allowed".into())
            .await?;
        Ok(Self {
            session,
            identity,
            options,
            local: local == Some(1),
            by_insert: HashSet::new(),
            tables: Tables::default(),
            routes: Routes::new(Write::Sql),
            writers: HashMap::new(),
        })
    }

    /// The session, to keep it alive.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// How it writes rows, for people: `LOAD DATA` or `INSERT`.
    #[must_use]
    pub fn way(&self) -> &'static str {
        if self.local { "LOAD DATA" } else { "INSERT" }
    }

    /// Tables whose rows go as INSERT although LOAD DATA is allowed, because the server warned of values that were fine.
    #[must_use]
    pub fn given_up(&self) -> &HashSet<TableName> {
        &self.by_insert
    }

    /// Writes by INSERT even where LOAD DATA is allowed.
    pub fn use_insert(&mut self) {
        self.local = false;
    }

    /// Definitions at the destination may have changed.
    pub fn forget(&mut self) {
        self.tables.forget();
        self.routes.forget(true);
        self.writers.clear();
    }

    /// Ends the connection.
    pub async fn close(self) {
        self.session.close().await;
    }

    /// Loads a chunk: position, rows, COMMIT. [`Outcome::Again`] if the destination refuses one of its rows and `on_error` says skip: the table is
    /// skipped then, in the same transaction in which the position moves.
    ///
    /// # Errors
    /// What the destination refuses, with the row. The transaction is open or gone then: the caller opens a new loader.
    pub async fn load(&mut self, step: &ChunkStep, to: &LoaderMove) -> Result<Outcome> {
        let result = self.try_load(step, to).await;
        let Err(error) = result else { return result };
        let refused = matches!(error, ApplyError::Refused { .. })
            || error.server_code().is_some_and(|code| !passes(code) && !NO_TROUBLE_OF_ROWS.contains(&code));
        if self.options.on_error != OnObjectError::Skip || !refused {
            return Err(error.at(&step.place));
        }
        self.skip(step, to, &error).await.map_err(|e| e.at(&step.place))?;
        Ok(Outcome::Again(None))
    }

    async fn try_load(&mut self, step: &ChunkStep, to: &LoaderMove) -> Result<Outcome> {
        let (route, writer) = self.writer(step).await?;
        let table = &step.chunk.table;
        let doing = format!("copying rows of {table} to {}", route.target.full_name());
        if !route.target.triggers.is_empty() {
            return Err(ApplyError::refused(
                format!("{doing}: it has triggers that would fire ({})", route.target.triggers.join(", ")),
                "drop them there, then start the applier again",
            ));
        }
        let mut images = Vec::with_capacity(step.changes.len());
        for change in &step.changes {
            images.push((change.rows()?, change.images()?));
        }
        let wrong = |source| ApplyError::Row { table: table.to_string(), source };
        let mut rows = Vec::with_capacity(usize::try_from(step.rows).unwrap_or(0));
        for (record, images) in &images {
            let cut = step.table.layout.rows(record.op, record.columns_before, record.columns_after, images);
            for row in cut.map_err(wrong)? {
                rows.push(row.map_err(wrong)?);
            }
        }
        let replace = self.options.on_existing == OnExisting::Append;
        let load = Load { writer, target: route.target.clone(), rows, doing, replace };
        self.begin(to).await?;
        let by_text = self.local && !self.by_insert.contains(table);
        if !(by_text && self.text(&load).await?) {
            if by_text {
                self.session.run("ROLLBACK", || "rolling back a chunk".into()).await?;
                self.begin(to).await?;
            }
            self.insert(&load, &load.rows).await?;
            if by_text && self.local {
                tracing::info!(table = %table, "its rows go as INSERT, because LOAD DATA warns of values that are fine");
                self.by_insert.insert(table.clone());
            }
        }
        let brought = states::brought_sql(&self.identity, step.chunk.run, table, to.worker, step.rows, step.bytes);
        let ending = || "ending a chunk".to_owned();
        let (_, refused) = self.session.run_many(format!("{brought};COMMIT").into_bytes(), ending).await?;
        match refused {
            Some(error) => Err(error),
            None => Ok(Outcome::Done),
        }
    }

    async fn begin(&mut self, to: &LoaderMove) -> Result<()> {
        let found = self.session.run(format!("BEGIN; {}", to.sql), || "moving a loader's position".into()).await?;
        to.check(found)
    }

    async fn writer(&mut self, step: &ChunkStep) -> Result<(Arc<Route>, Arc<TableWriter>)> {
        if let Some(known) = self.writers.get(&step.table.id) {
            return Ok(known.clone());
        }
        self.forget();
        let route = self.routes.find(&mut self.session, &mut self.tables, &step.source, &step.table).await?;
        let writer = Arc::new(TableWriter::new(&step.table, &route, self.session.facts.flavor)?);
        self.writers.insert(step.table.id, (route.clone(), writer.clone()));
        Ok((route, writer))
    }

    /// Writes the rows as text; false if the server's answer leaves a doubt, and everything is to be done again otherwise.
    async fn text(&mut self, load: &Load<'_>) -> Result<bool> {
        let Some(columns) = load.rows.first().and_then(|row| load.writer.load_columns(&cells(row))) else {
            return Ok(false);
        };
        let mut pieces = Vec::new();
        let mut piece = Vec::with_capacity(PIECE_BYTES + (PIECE_BYTES >> 2));
        let (mut cells, mut aside, mut count) = (Vec::new(), Vec::new(), 0u64);
        for row in &load.rows {
            if let Some(image) = row.after {
                image.read_into(&mut cells);
            }
            if load.writer.load_columns(&cells).as_ref() == Some(&columns)
                && load.writer.load_row(&columns, &cells, &mut piece)?
            {
                count += 1;
            } else {
                aside.push(row.clone());
            }
            if piece.len() >= PIECE_BYTES {
                let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE_BYTES + (PIECE_BYTES >> 2)));
                self.cut(full, &mut pieces);
            }
        }
        self.cut(piece, &mut pieces);
        if count > 0 {
            let sql = load.writer.load_statement(&columns, load.replace);
            let counts = match self.session.load(sql, pieces, || load.doing.clone()).await {
                Ok(counts) => counts,
                Err(error) if error.server_code().is_some_and(|code| NO_LOCAL.contains(&code)) => {
                    tracing::info!(reason = %error, "rows are copied as INSERT");
                    self.local = false;
                    return Ok(false);
                }
                // What a server refuses as text it may say more clearly of an INSERT.
                Err(error) if error.server_code().is_some_and(|code| !passes(code)) => {
                    tracing::debug!(%error, "LOAD DATA was refused");
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
            let clean = counts.records == count && counts.skipped == 0 && counts.warnings == 0;
            let believed =
                clean || counts.records == count && self.only_duplicates(load, counts.skipped, counts.warnings).await?;
            if !believed {
                tracing::debug!(?counts, count, "LOAD DATA warns");
                return Ok(false);
            }
        }
        self.insert(load, &aside).await?;
        Ok(true)
    }

    /// Cuts a piece to what the server takes as a packet.
    fn cut(&self, piece: Vec<u8>, pieces: &mut Vec<Bytes>) {
        let room = self.session.facts.max_allowed_packet.saturating_sub(64).clamp(1024, 8 << 20);
        let mut rest = Bytes::from(piece);
        while rest.len() > room {
            pieces.push(rest.split_to(room));
        }
        if !rest.is_empty() {
            pieces.push(rest);
        }
    }

    /// Whether the warnings of the last statement say only that rows are there already. By the key that finds them: a row that meets another one at a
    /// further key is none that was copied before.
    async fn only_duplicates(&mut self, load: &Load<'_>, skipped: u64, warnings: u64) -> Result<bool> {
        if skipped != warnings || warnings >= WARNINGS {
            return Ok(false);
        }
        let rows: Vec<(String, u16, String)> =
            self.session.rows("SHOW WARNINGS", || "reading the warnings of a chunk".into()).await?;
        let fine = |(_, code, text): &(String, u16, String)| DUPLICATE.contains(code) && own_key(&load.target, text);
        Ok(u64::try_from(rows.len()) == Ok(warnings) && rows.iter().all(fine))
    }

    /// Writes rows as strict multi-row INSERTs.
    async fn insert(&mut self, load: &Load<'_>, rows: &[RowImages<'_>]) -> Result<()> {
        let how = if load.replace { Adding::Replace } else { Adding::Insert };
        let room = (self.session.facts.max_allowed_packet / 2).min(STATEMENT_BYTES);
        // Some rows at a time, so that not all text is in memory at once.
        let mut rest = rows;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |row: &&RowImages<'_>| {
                bytes += row.range.len();
                bytes <= 2 * room
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (now, later) = rest.split_at(count);
            for statement in load.writer.adding(how, now, room, false)? {
                self.fits(load, &statement)?;
                let some = now.get(statement.range.clone()).unwrap_or_default();
                match self.session.run(statement.sql, || load.doing.clone()).await {
                    Ok(_) => {}
                    Err(error) if error.server_code().is_none_or(passes) => return Err(error),
                    Err(error) => {
                        let duplicate = error.server_code().is_some_and(|code| DUPLICATE.contains(&code));
                        if !(duplicate && self.ignoring(load, some).await?) {
                            self.one_by_one(load, how, some).await?;
                        }
                    }
                }
            }
            rest = later;
        }
        Ok(())
    }

    fn fits(&self, load: &Load<'_>, statement: &Statement) -> Result<()> {
        let most = self.session.facts.max_allowed_packet;
        if statement.sql.len() + 64 <= most {
            return Ok(());
        }
        Err(ApplyError::refused(
            format!(
                "{}: a row needs a statement of {} bytes, the destination takes {most}",
                load.doing,
                statement.sql.len()
            ),
            "raise max_allowed_packet at the destination (1G is the most), then start the applier again",
        ))
    }

    /// Writes rows of which some are there already; false, and nothing written, if the server warns of anything else.
    async fn ignoring(&mut self, load: &Load<'_>, rows: &[RowImages<'_>]) -> Result<bool> {
        self.session.run("SAVEPOINT logweir", || load.doing.clone()).await?;
        for statement in load.writer.adding(Adding::Ignore, rows, usize::MAX, false)? {
            let added = self.session.run(statement.sql, || load.doing.clone()).await?;
            let warnings = u64::from(self.session.warnings());
            let skipped = statement.rows.saturating_sub(added);
            if warnings > 0 && !self.only_duplicates(load, skipped, warnings).await? {
                self.session.run("ROLLBACK TO SAVEPOINT logweir", || load.doing.clone()).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes rows one by one, and names the one that is refused.
    async fn one_by_one(&mut self, load: &Load<'_>, how: Adding, rows: &[RowImages<'_>]) -> Result<()> {
        for row in rows {
            for statement in load.writer.adding(how, std::slice::from_ref(row), usize::MAX, true)? {
                let Err(error) = self.session.run(statement.sql, || load.doing.clone()).await else { continue };
                let Some(code) = error.server_code().filter(|&code| !passes(code)) else { return Err(error) };
                if DUPLICATE.contains(&code) && own_key(&load.target, &error.to_string()) {
                    continue;
                }
                if NO_TROUBLE_OF_ROWS.contains(&code) {
                    return Err(error);
                }
                let mut key = Vec::new();
                let cells = cells(row);
                let key = match load.writer.condition(&cells, &mut key) {
                    Ok(true) => String::from_utf8_lossy(&key).into_owned(),
                    _ => load.writer.describe(&cells),
                };
                return Err(ApplyError::refused(
                    format!("the destination refuses the row {key} of {}: {error}", load.target.full_name()),
                    "change the column or key at the destination or the row at the source, exclude the table, or set [snapshot] on_error = \"skip\" to go on without it",
                ));
            }
        }
        Ok(())
    }

    async fn skip(&mut self, step: &ChunkStep, to: &LoaderMove, why: &ApplyError) -> Result<()> {
        let why = why.to_string();
        let table = &step.chunk.table;
        tracing::warn!(%table, %why, "the table is left out (on_error = skip)");
        self.session.run("ROLLBACK", || "rolling back a chunk".into()).await?;
        self.begin(to).await?;
        let set = format!("state='{}', why={}", Stand::Skipped.name(), crate::target::quote(&why));
        let object = states::table_object(table);
        let sql = states::update_sql(&self.identity, &object, &set);
        self.session.run(sql, || format!("leaving {table} out")).await?;
        let positions = PositionStore { identity: self.identity.clone(), worker: to.worker };
        positions.record(&mut self.session, step.place.seq, "table skipped", &table.to_string(), &why).await?;
        self.session.run("COMMIT", || format!("leaving {table} out")).await?;
        Ok(())
    }
}

/// Refusals that no row is to blame for: missing privileges, no such database.
const NO_TROUBLE_OF_ROWS: &[u16] = &[1044, 1045, 1142, 1143, 1227, 1049];

fn cells<'a>(row: &RowImages<'a>) -> Vec<Cell<'a>> {
    row.after.map(|image| image.cells().collect()).unwrap_or_default()
}

/// Whether a message about a duplicate names the key by which the table's rows are found: the primary key, else one that takes no NULL.
fn own_key(target: &TargetTable, message: &str) -> bool {
    let Some((_, name)) = message.rsplit_once(" for key '") else { return false };
    let name = name.split('\'').next().unwrap_or_default();
    let is = |key: &str| name == key || name.strip_suffix(key).is_some_and(|table| table.ends_with('.'));
    if target.has_primary_key() {
        return is("PRIMARY");
    }
    target.keys.iter().any(|key| is(&key.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Key, LoadCounts};

    fn table(keys: &[&str]) -> TargetTable {
        let keys = keys.iter().map(|name| Key { name: (*name).into(), columns: vec![0] }).collect();
        TargetTable {
            database: "d".into(),
            name: "t".into(),
            columns: vec![],
            keys,
            nullable_keys: vec![],
            uniques: 1,
            triggers: vec![],
            engine: "InnoDB".into(),
        }
    }

    #[test]
    fn a_duplicate_counts_as_there_already_only_at_the_key_that_finds_the_row() {
        let primary = table(&["PRIMARY", "u"]);
        assert!(own_key(&primary, "Duplicate entry '5' for key 't.PRIMARY'"));
        assert!(own_key(&primary, "Duplicate entry 'a for key 'x'' for key 'PRIMARY'"));
        assert!(!own_key(&primary, "Duplicate entry '5' for key 't.u'"));
        assert!(!own_key(&primary, "Duplicate entry '5' for key 'notPRIMARY'"));
        assert!(own_key(&table(&["u"]), "ERROR 1062: Duplicate entry '5' for key 't.u'; stop"));
        assert!(!own_key(&primary, "Data too long for column 'a' at row 1"));
    }

    #[test]
    fn counts_are_read_from_the_servers_words() {
        let counts = LoadCounts { records: 3, deleted: 1, skipped: 2, warnings: 40 };
        assert_eq!(LoadCounts::parse("Records: 3  Deleted: 1  Skipped: 2  Warnings: 40"), Some(counts));
        assert_eq!(LoadCounts::parse(""), None);
    }
}

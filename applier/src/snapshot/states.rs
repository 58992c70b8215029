//! What the destination remembers of runs and copies: table `snapshot`, beside the position rows and written in the same transactions.
//!
//! A row is about one thing (`kind`, `of_database`, `name`) of one pipeline and destination:
//!
//! - `run`: a run that has begun and not ended; `name` is its number.
//! - `table`: where its copy stands ([`Stand`]); `existed` says what is to become of the table that stood there when the run began. While
//!   `making` is set its definition is being written, and what stands there without rows is ours. `indexes` are those that are built after the rows.
//! - `view`, `trigger` and so on: `definition` is the source's statement where ours differs from it (triggers, events), for the cut-over.
//!
//! `part` 0 is the row itself; the others hold what each loader has brought, so that loaders do not queue on one row.

use common::snapshot::{ObjectKind, ObjectName, RunId, TableName};

use super::{Remembered, Stand, TableStand};
use crate::error::Result;
use crate::plan::CopyMove;
use crate::target::{Identity, Session, hex, quote};

/// What stood at the destination when a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existed {
    /// Nothing.
    No,
    /// Something that is to be replaced.
    Replace,
    /// Something that is to be kept.
    Keep,
}

impl Existed {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Replace => "replace",
            Self::Keep => "keep",
        }
    }

    fn from_name(name: &str) -> Self {
        match name {
            "keep" => Self::Keep,
            "replace" => Self::Replace,
            _ => Self::No,
        }
    }
}

/// The row of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectState {
    /// The run that it was last part of.
    pub run: RunId,
    /// Where it stands. Objects other than tables are pending, done or skipped.
    pub stand: Stand,
    /// What stood there before.
    pub existed: Existed,
    /// Its definition is being written.
    pub making: bool,
    /// It has a key (tables).
    pub keyed: bool,
    /// Indexes that are built after the rows, each as `ALTER TABLE … ADD` takes it.
    pub indexes: Vec<String>,
}

pub(super) fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Database => "database",
        ObjectKind::Sequence => "sequence",
        ObjectKind::Table => "table",
        ObjectKind::Function => "function",
        ObjectKind::Procedure => "procedure",
        ObjectKind::View => "view",
        ObjectKind::Trigger => "trigger",
        ObjectKind::Event => "event",
    }
}

/// The object that a table is.
#[must_use]
pub fn table_object(table: &TableName) -> ObjectName {
    ObjectName { kind: ObjectKind::Table, database: table.database.clone(), name: table.table.clone() }
}

/// Makes the table if it is missing: a destination of a version before has none.
///
/// # Errors
/// When the destination refuses.
pub async fn create(session: &mut Session, id: &Identity) -> Result<()> {
    let exists = format!(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema={} AND table_name='snapshot'",
        quote(&id.database)
    );
    let doing = || format!("creating the table snapshot in {} (the user needs CREATE there)", id.database);
    if session.first::<u64>(exists, doing).await? == Some(1) {
        return Ok(());
    }
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {} (pipeline VARCHAR(64) NOT NULL, destination VARCHAR(64) NOT NULL, kind VARCHAR(16) NOT NULL, \
         of_database VARCHAR(64) NOT NULL, name VARCHAR(64) NOT NULL, part INT UNSIGNED NOT NULL, run BIGINT UNSIGNED NOT NULL, \
         state VARCHAR(16) NOT NULL, existed VARCHAR(16) NOT NULL, making TINYINT UNSIGNED NOT NULL, keyed TINYINT UNSIGNED NOT NULL, \
         row_count BIGINT UNSIGNED NOT NULL, byte_count BIGINT UNSIGNED NOT NULL, rows_estimate BIGINT UNSIGNED NOT NULL, \
         indexes LONGBLOB NOT NULL, definition LONGBLOB NOT NULL, why LONGTEXT NOT NULL, \
         changed_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), \
         PRIMARY KEY (pipeline, destination, kind, of_database, name, part)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
        id.table("snapshot")
    );
    session.run(sql, doing).await?;
    Ok(())
}

/// What planning needs of it.
///
/// # Errors
/// When it cannot be read.
pub async fn read(session: &mut Session, id: &Identity) -> Result<Remembered> {
    let doing = || "reading what is copied at the destination".to_owned();
    let table = id.table("snapshot");
    let sql = format!("SELECT run FROM {table} WHERE {} AND kind='run' AND part=0 ORDER BY run", id.condition());
    let runs: Vec<RunId> = session.rows(sql, doing).await?;
    type Row = (RunId, String, String, String, u64, u64, u64);
    let sql = format!(
        "SELECT t.run, t.of_database, t.name, t.state, t.rows_estimate, \
         (SELECT CAST(COALESCE(SUM(p.row_count), 0) AS UNSIGNED) FROM {table} p WHERE p.pipeline=t.pipeline AND p.destination=t.destination \
          AND p.kind=t.kind AND p.of_database=t.of_database AND p.name=t.name), \
         (SELECT CAST(COALESCE(SUM(p.byte_count), 0) AS UNSIGNED) FROM {table} p WHERE p.pipeline=t.pipeline AND p.destination=t.destination \
          AND p.kind=t.kind AND p.of_database=t.of_database AND p.name=t.name) \
         FROM {table} t WHERE t.pipeline={} AND t.destination={} AND t.kind='table' AND t.part=0 ORDER BY t.run, t.of_database, t.name",
        quote(&id.pipeline),
        quote(&id.destination)
    );
    let rows: Vec<Row> = session.rows(sql, doing).await?;
    let mut tables = Vec::with_capacity(rows.len());
    for (run, database, table, state, rows_estimate, rows, bytes) in rows {
        let stand = stand_of(&state)?;
        if stand != Stand::Done || runs.contains(&run) {
            tables.push(TableStand { run, table: TableName { database, table }, stand, rows, rows_estimate, bytes });
        }
    }
    Ok(Remembered { runs, tables })
}

fn stand_of(state: &str) -> Result<Stand> {
    Stand::from_name(state).ok_or_else(|| {
        crate::error::ApplyError::refused(
            format!("the destination's table snapshot holds the state '{state}', which this version does not know"),
            "use the version that wrote it, or a newer one",
        )
    })
}

/// The condition that finds all rows of an object; `part=0` for its own.
pub(super) fn place(id: &Identity, object: &ObjectName) -> String {
    format!(
        "{} AND kind='{}' AND of_database={} AND name={}",
        id.condition(),
        kind_name(object.kind),
        quote(&object.database),
        quote(&object.name)
    )
}

/// The row of an object.
///
/// # Errors
/// When it cannot be read.
pub async fn find(session: &mut Session, id: &Identity, object: &ObjectName) -> Result<Option<ObjectState>> {
    type Row = (RunId, String, String, u8, u8, Vec<u8>);
    let sql = format!(
        "SELECT run, state, existed, making, keyed, indexes FROM {} WHERE {} AND part=0",
        id.table("snapshot"),
        place(id, object)
    );
    let row: Option<Row> = session.first(sql, || "reading what is copied at the destination".into()).await?;
    let Some((run, state, existed, making, keyed, indexes)) = row else { return Ok(None) };
    Ok(Some(ObjectState {
        run,
        stand: stand_of(&state)?,
        existed: Existed::from_name(&existed),
        making: making != 0,
        keyed: keyed != 0,
        indexes: split(&indexes),
    }))
}

/// Tables whose secondary indexes are not built yet.
///
/// # Errors
/// When it cannot be read.
pub async fn deferred(session: &mut Session, id: &Identity) -> Result<Vec<TableName>> {
    let sql = format!(
        "SELECT of_database, name FROM {} WHERE {} AND kind='table' AND part=0 AND indexes<>''",
        id.table("snapshot"),
        id.condition()
    );
    let rows: Vec<(String, String)> =
        session.rows(sql, || "reading which indexes are still to be built".into()).await?;
    Ok(rows.into_iter().map(|(database, table)| TableName { database, table }).collect())
}

fn split(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text).split('\n').filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The value of column `indexes`. A definition in SHOW CREATE TABLE holds no line break.
pub(super) fn joined(indexes: &[String]) -> String {
    hex(indexes.join("\n").as_bytes())
}

/// A statement that writes the row of an object anew. `definition` and `why` may be empty.
pub(super) fn put_sql(
    id: &Identity,
    object: &ObjectName,
    state: &ObjectState,
    rows_estimate: u64,
    definition: &str,
    why: &str,
) -> String {
    format!(
        "REPLACE INTO {} (pipeline, destination, kind, of_database, name, part, run, state, existed, making, keyed, row_count, byte_count, \
         rows_estimate, indexes, definition, why) VALUES {}",
        id.table("snapshot"),
        values(id, object, state, rows_estimate, definition, why)
    )
}

fn values(
    id: &Identity,
    object: &ObjectName,
    state: &ObjectState,
    rows_estimate: u64,
    definition: &str,
    why: &str,
) -> String {
    format!(
        "({}, {}, '{}', {}, {}, 0, {}, '{}', '{}', {}, {}, 0, 0, {rows_estimate}, {}, {}, {})",
        quote(&id.pipeline),
        quote(&id.destination),
        kind_name(object.kind),
        quote(&object.database),
        quote(&object.name),
        state.run,
        state.stand.name(),
        state.existed.name(),
        u8::from(state.making),
        u8::from(state.keyed),
        joined(&state.indexes),
        hex(definition.as_bytes()),
        quote(why)
    )
}

/// Statements that write the rows of a run that begins, several rows each.
pub(super) fn begin_sql(id: &Identity, run: RunId, objects: &[(ObjectName, Existed)]) -> Vec<String> {
    const ROWS: usize = 200;
    let table = id.table("snapshot");
    let head = "(pipeline, destination, kind, of_database, name, part, run, state, existed, making, keyed, row_count, byte_count, \
                rows_estimate, indexes, definition, why)";
    let mut out = vec![format!(
        "REPLACE INTO {table} {head} VALUES ({}, {}, 'run', '', '{run}', 0, {run}, 'pending', 'no', 0, 0, 0, 0, 0, '', '', '')",
        quote(&id.pipeline),
        quote(&id.destination)
    )];
    for some in objects.chunks(ROWS) {
        let mut rows = Vec::with_capacity(some.len());
        let mut places = Vec::with_capacity(some.len());
        for (object, existed) in some {
            let state = ObjectState {
                run,
                stand: Stand::Pending,
                existed: *existed,
                making: false,
                keyed: true,
                indexes: Vec::new(),
            };
            rows.push(values(id, object, &state, 0, "", ""));
            places.push(format!("('{}',{},{})", kind_name(object.kind), quote(&object.database), quote(&object.name)));
        }
        out.push(format!(
            "DELETE FROM {table} WHERE {} AND (kind, of_database, name) IN ({})",
            id.condition(),
            places.join(",")
        ));
        out.push(format!("INSERT INTO {table} {head} VALUES {}", rows.join(",")));
    }
    out
}

/// A statement that adds what a loader has brought.
pub(super) fn brought_sql(id: &Identity, run: RunId, table: &TableName, worker: u32, rows: u64, bytes: u64) -> String {
    format!(
        "INSERT INTO {} (pipeline, destination, kind, of_database, name, part, run, state, existed, making, keyed, row_count, byte_count, \
         rows_estimate, indexes, definition, why) VALUES ({}, {}, 'table', {}, {}, {worker}, {run}, '', '', 0, 0, {rows}, {bytes}, 0, '', '', '') \
         ON DUPLICATE KEY UPDATE row_count=row_count+{rows}, byte_count=byte_count+{bytes}",
        id.table("snapshot"),
        quote(&id.pipeline),
        quote(&id.destination),
        quote(&table.database),
        quote(&table.table)
    )
}

/// A statement that forgets what loaders have brought to a table.
pub(super) fn nothing_brought_sql(id: &Identity, object: &ObjectName) -> String {
    format!("DELETE FROM {} WHERE {} AND part>0", id.table("snapshot"), place(id, object))
}

/// A statement that changes columns of an object's row; `set` is the text between SET and WHERE.
pub(super) fn update_sql(id: &Identity, object: &ObjectName, set: &str) -> String {
    format!("UPDATE {} SET {set} WHERE {} AND part=0", id.table("snapshot"), place(id, object))
}

/// Statements that take along what is remembered of tables that were renamed or dropped at the source.
pub(crate) fn moved_sql(id: &Identity, moves: &[CopyMove]) -> Vec<String> {
    let table = id.table("snapshot");
    let mut out = Vec::new();
    // By way of a kind of their own, for names may be exchanged.
    for (i, step) in moves.iter().enumerate() {
        let from = place(id, &table_object(&step.from));
        out.push(match step.to {
            Some(_) => format!("UPDATE {table} SET kind='moving {i}' WHERE {from}"),
            None => format!("DELETE FROM {table} WHERE {from}"),
        });
    }
    for (i, step) in moves.iter().enumerate() {
        let Some(to) = &step.to else { continue };
        out.push(format!("DELETE FROM {table} WHERE {}", place(id, &table_object(to))));
        out.push(format!(
            "UPDATE {table} SET kind='table', of_database={}, name={} WHERE {} AND kind='moving {i}'",
            quote(&to.database),
            quote(&to.table),
            id.condition()
        ));
    }
    out
}

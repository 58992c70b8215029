//! What the source has of what is selected: a handful of queries, however many tables there are.

use std::collections::{BTreeMap, HashMap, HashSet};

use common::config::{Destination, Pipeline};
use common::selection::Selection;
use mysql_async::Conn;

use super::rows::rows;

const NOT_SYSTEM: &str = "NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'ndbinfo')";

/// A table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) database: String,
    pub(super) name: String,
    /// Empty where the server cannot open it.
    pub(super) engine: String,
    /// By the server's statistics.
    pub(super) rows: u64,
    /// Of rows and indexes, by the server's statistics.
    pub(super) bytes: u64,
    pub(super) collation: String,
    /// `BASE TABLE`, `SYSTEM VERSIONED`, `SEQUENCE`
    pub(super) kind: String,
    /// It has a primary key, or a unique one of whole columns that are not NULL.
    pub(super) keyed: bool,
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.database, self.name)
    }
}

/// A view, routine, trigger or event.
#[derive(Clone, Debug)]
pub(super) struct Other {
    /// `view`, `function`, `procedure`, `trigger`, `event`
    pub(super) kind: String,
    pub(super) database: String,
    pub(super) name: String,
    /// `user@host`
    pub(super) definer: String,
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}.{}", self.kind, self.database, self.name)
    }
}

/// Columns of one table that have the same type and collation.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) database: String,
    pub(super) table: String,
    pub(super) data_type: String,
    /// Character set and collation; empty for types without.
    pub(super) character_set: String,
    pub(super) collation: String,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Inventory {
    pub(super) tables: Vec<Table>,
    pub(super) others: Vec<Other>,
    pub(super) columns: Vec<Columns>,
    /// Name, character set and collation.
    pub(super) databases: Vec<(String, String, String)>,
}

/// What of the source is captured.
pub(super) fn selection(pipeline: &Pipeline) -> Option<Selection> {
    let selection = Selection::new(&pipeline.source.include, &pipeline.source.exclude).ok()?;
    Some(selection.without_databases(pipeline.position_databases()))
}

impl Inventory {
    pub(super) async fn read(conn: &mut Conn, selection: &Selection) -> mysql_async::Result<Inventory> {
        let keyed = keyed(conn).await?;
        let sql = format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, TABLE_ROWS, COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0), TABLE_COLLATION, TABLE_TYPE \
             FROM information_schema.TABLES WHERE TABLE_SCHEMA {NOT_SYSTEM} \
             AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE') ORDER BY 1, 2"
        );
        let mut tables = Vec::new();
        for row in rows(conn, sql).await? {
            let (database, name) = (row.text(0), row.text(1));
            if !selection.selects(&database, &name) {
                continue;
            }
            let keyed = keyed.get(&database).is_some_and(|tables| tables.contains(&name));
            let (engine, collation, kind) = (row.text(2), row.text(5), row.text(6));
            tables.push(Table {
                database,
                name,
                engine,
                rows: row.number(3),
                bytes: row.number(4),
                collation,
                kind,
                keyed,
            });
        }
        let sql = format!(
            "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, DATA_TYPE, CHARACTER_SET_NAME, COLLATION_NAME \
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA {NOT_SYSTEM}"
        );
        let mut columns = Vec::new();
        for row in rows(conn, sql).await? {
            let (database, table) = (row.text(0), row.text(1));
            if selection.selects(&database, &table) {
                let data_type = row.text(2).to_ascii_lowercase();
                columns.push(Columns {
                    database,
                    table,
                    data_type,
                    character_set: row.text(3),
                    collation: row.text(4),
                });
            }
        }
        let sql = format!(
            "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME \
             FROM information_schema.SCHEMATA WHERE SCHEMA_NAME {NOT_SYSTEM} ORDER BY 1"
        );
        let databases =
            rows(conn, sql).await?.iter().map(|row| (row.text(0), row.text(1), row.text(2))).collect::<Vec<_>>();
        let databases = databases.into_iter().filter(|row| selection.selects_database(&row.0)).collect();
        let others = others(conn, selection).await?;
        Ok(Inventory { tables, others, columns, databases })
    }

    /// What a destination gets of it.
    pub(super) fn of(&self, destination: &Destination) -> Inventory {
        let Ok(selection) = Selection::new(&destination.include, &destination.exclude) else {
            return Inventory::default();
        };
        let mut all = self.clone();
        all.tables.retain(|t| selection.selects(&t.database, &t.name));
        all.columns.retain(|c| selection.selects(&c.database, &c.table));
        all.others.retain(|o| selection.selects(&o.database, &o.name));
        all.databases.retain(|d| selection.selects_database(&d.0));
        all
    }

    /// Tables that hold rows.
    pub(super) fn bases(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(|t| t.kind != "SEQUENCE")
    }

    /// Rows and bytes, by the server's statistics.
    pub(super) fn size(&self) -> (u64, u64) {
        self.bases().fold((0, 0), |(rows, bytes), t| (rows + t.rows, bytes + t.bytes))
    }

    /// Objects of a kind.
    pub(super) fn of_kind(&self, kind: &str) -> Vec<&Other> {
        self.others.iter().filter(|o| o.kind == kind).collect()
    }
}

/// Tables with a key by which a row can be found: database to names.
async fn keyed(conn: &mut Conn) -> mysql_async::Result<HashMap<String, HashSet<String>>> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART, NULLABLE FROM information_schema.STATISTICS \
         WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA {NOT_SYSTEM}"
    );
    let mut usable: BTreeMap<(String, String, String), bool> = BTreeMap::new();
    for row in rows(conn, sql).await? {
        let index = row.text(2);
        // A part without a column is an expression; a primary key may hold prefixes, and is a key all the same.
        let whole = !row.is_null(3) && row.text(5) != "YES" && (row.is_null(4) || index == "PRIMARY");
        *usable.entry((row.text(0), row.text(1), index)).or_insert(true) &= whole;
    }
    let mut out: HashMap<String, HashSet<String>> = HashMap::new();
    for ((database, table, _), _) in usable.into_iter().filter(|(_, usable)| *usable) {
        out.entry(database).or_default().insert(table);
    }
    Ok(out)
}

async fn others(conn: &mut Conn, selection: &Selection) -> mysql_async::Result<Vec<Other>> {
    let sql = format!(
        "SELECT 'view', TABLE_SCHEMA, TABLE_NAME, DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA {NOT_SYSTEM} \
         UNION ALL SELECT LOWER(ROUTINE_TYPE), ROUTINE_SCHEMA, ROUTINE_NAME, DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA {NOT_SYSTEM} \
         UNION ALL SELECT 'trigger', TRIGGER_SCHEMA, TRIGGER_NAME, DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA {NOT_SYSTEM} \
         UNION ALL SELECT 'event', EVENT_SCHEMA, EVENT_NAME, DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA {NOT_SYSTEM}"
    );
    let all = rows(conn, sql).await?;
    let all = all.iter().map(|row| Other {
        kind: row.text(0),
        database: row.text(1),
        name: row.text(2),
        definer: row.text(3),
    });
    let selected = all.filter(|other| match other.kind.as_str() {
        "view" => selection.selects(&other.database, &other.name),
        _ => selection.selects_database(&other.database),
    });
    Ok(selected.collect())
}

//! What exists at the source: databases, sequences, tables, and all that is built on them.
//!
//! A handful of queries for everything, however many tables there are: information_schema opens each table once per query on MySQL before 8.0 and on MariaDB.

mod cascades;
mod order;

use common::selection::Selection;
use common::snapshot::{ObjectKind, ObjectName, TableName};
use common::{Flavor, config::Server};

use crate::error::ReaderError;
use crate::source::{Facts, Session, number, text};
use cascades::ForeignKey;

/// What the selection selects of what exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Databases, by name.
    pub databases: Vec<Database>,
    /// MariaDB's sequences.
    pub sequences: Vec<ObjectName>,
    /// Base tables, by database and name.
    pub tables: Vec<Table>,
    /// Functions, procedures, views, triggers and events, in an order in which they can be made.
    pub others: Vec<ObjectName>,
    /// Foreign keys whose rules change rows of the child.
    cascades: Vec<ForeignKey>,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// `DEFAULT_CHARACTER_SET_NAME`
    pub character_set: String,
    /// `DEFAULT_COLLATION_NAME`
    pub collation: String,
}

/// A base table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// `ENGINE`; empty where the server cannot open the table.
    pub engine: String,
    /// Rows, as the statistics say.
    pub rows: u64,
    /// `DATA_LENGTH`, bytes, as the statistics say.
    pub bytes: u64,
    /// Seconds since 1970 of its creation or last rebuild; 0 where the engine does not tell.
    pub created: u64,
    /// MariaDB keeps older versions of its rows in it (`WITH SYSTEM VERSIONING`).
    pub versioned: bool,
}

/// Opens a session for [`Catalog::read`], the definitions of tables and those of other objects.
///
/// # Errors
/// Why the server cannot be reached, does not let us in, or refuses a setting.
pub fn open(server: &Server, facts: &Facts) -> Result<Session, ReaderError> {
    let mut session = Session::open(server)?;
    super::objects::prepare(&mut session, facts)?;
    Ok(session)
}

const SYSTEM: &str = "('mysql', 'sys', 'information_schema', 'performance_schema', 'ndbinfo')";

impl Catalog {
    /// Asks the source.
    ///
    /// # Errors
    /// Failed queries.
    pub fn read(session: &mut Session, facts: &Facts, selection: &Selection) -> Result<Self, ReaderError> {
        if facts.flavor == Flavor::MySql && number(&facts.version) >= (8, 0) {
            // Statistics as they are, and not as they were remembered up to a day ago, which for a new table is nothing.
            session.rows("reading its statistics", "SET SESSION information_schema_stats_expiry=0")?;
        }
        let mut catalog = Self { databases: databases(session, selection)?, ..Self::default() };
        catalog.read_tables(session, selection)?;
        catalog.others = routines(session, selection)?;
        catalog.others.extend(views(session, selection)?);
        catalog.others.extend(triggers(session, selection)?);
        catalog.others.extend(events(session, selection)?);
        catalog.cascades = cascades::read(session)?;
        Ok(catalog)
    }

    fn read_tables(&mut self, session: &mut Session, selection: &Selection) -> Result<(), ReaderError> {
        let query = format!(
            "SELECT table_schema, table_name, table_type, engine, table_rows, data_length, UNIX_TIMESTAMP(create_time) \
             FROM information_schema.tables WHERE table_schema NOT IN {SYSTEM} \
             AND table_type IN ('BASE TABLE', 'SEQUENCE', 'SYSTEM VERSIONED') ORDER BY table_schema, table_name"
        );
        for row in session.rows("listing its tables", &query)? {
            let word = |index| text(&row, index).unwrap_or_default();
            let number = |index| word(index).split('.').next().and_then(|text| text.parse().ok()).unwrap_or(0);
            let (database, table) = (word(0), word(1));
            if !selection.selects(&database, &table) {
                continue;
            }
            match word(2).as_str() {
                "SEQUENCE" => {
                    self.sequences.push(ObjectName { kind: ObjectKind::Sequence, database, name: table });
                }
                kind => self.tables.push(Table {
                    name: TableName { database, table },
                    engine: word(3),
                    rows: number(4),
                    bytes: number(5),
                    created: number(6),
                    versioned: kind == "SYSTEM VERSIONED",
                }),
            }
        }
        Ok(())
    }

    /// Tables that must be read at one point, because foreign keys change rows of one when another is changed (or of the same, where a table refers to
    /// itself) and the source does not log that. None where it does.
    #[must_use]
    pub fn groups(&self, logs_cascades: bool) -> Vec<Vec<TableName>> {
        if logs_cascades {
            return Vec::new();
        }
        cascades::groups(self.tables.iter().map(|table| &table.name), &self.cascades)
    }
}

/// Whether the source logs the rows that its foreign keys change: MySQL from 9.6 on, where the SQL layer does what the engine did before (release notes of
/// 9.6.0), unless `innodb_native_foreign_keys` gives that back to the engine.
#[must_use]
pub fn logs_cascades(facts: &Facts) -> bool {
    let native =
        facts.variables.get("innodb_native_foreign_keys").is_some_and(|value| value.eq_ignore_ascii_case("ON"));
    facts.flavor == Flavor::MySql && number(&facts.version) >= (9, 6) && !native
}

fn databases(session: &mut Session, selection: &Selection) -> Result<Vec<Database>, ReaderError> {
    let query = format!(
        "SELECT schema_name, default_character_set_name, default_collation_name FROM information_schema.schemata \
         WHERE schema_name NOT IN {SYSTEM} ORDER BY schema_name"
    );
    let rows = session.rows("listing its databases", &query)?;
    let word = |row, index| text(row, index).unwrap_or_default();
    let all =
        rows.iter().map(|row| Database { name: word(row, 0), character_set: word(row, 1), collation: word(row, 2) });
    Ok(all.filter(|database| selection.selects_database(&database.name)).collect())
}

/// The objects of a query for kind, database, name and, where they are selected by another's name, that one.
fn named(
    session: &mut Session,
    what: &'static str,
    query: &str,
    kind: impl Fn(&str) -> ObjectKind,
    selection: &Selection,
) -> Result<Vec<ObjectName>, ReaderError> {
    let mut found = Vec::new();
    for row in session.rows(what, query)? {
        let word = |index| text(&row, index).unwrap_or_default();
        let (database, name) = (word(1), word(2));
        let selected = match row.len() {
            3 => selection.selects(&database, &name),
            _ => selection.selects(&database, &word(3)),
        };
        if selected {
            found.push(ObjectName { kind: kind(&word(0)), database, name });
        }
    }
    Ok(found)
}

fn routines(session: &mut Session, selection: &Selection) -> Result<Vec<ObjectName>, ReaderError> {
    // MariaDB's packages are of the types PACKAGE and PACKAGE BODY: they go as a procedure, of which the definition then says what it is.
    let query = format!(
        "SELECT routine_type, routine_schema, routine_name FROM information_schema.routines WHERE routine_schema NOT IN {SYSTEM} \
         AND routine_type <> 'PACKAGE BODY' ORDER BY routine_type <> 'FUNCTION', routine_schema, routine_name"
    );
    let kind = |word: &str| if word == "FUNCTION" { ObjectKind::Function } else { ObjectKind::Procedure };
    named(session, "listing its routines", &query, kind, selection)
}

fn views(session: &mut Session, selection: &Selection) -> Result<Vec<ObjectName>, ReaderError> {
    let query = format!(
        "SELECT table_schema, table_name, view_definition FROM information_schema.views WHERE table_schema NOT IN {SYSTEM} \
         ORDER BY table_schema, table_name"
    );
    let rows = session.rows("listing its views", &query)?;
    let word = |row, index| text(row, index).unwrap_or_default();
    let views = rows.iter().map(|row| (word(row, 0), word(row, 1), word(row, 2)));
    let views = order::views(views.filter(|(database, name, _)| selection.selects(database, name)).collect());
    Ok(views.into_iter().map(|(database, name)| ObjectName { kind: ObjectKind::View, database, name }).collect())
}

fn triggers(session: &mut Session, selection: &Selection) -> Result<Vec<ObjectName>, ReaderError> {
    // Of several triggers for the same moment the one that is made first fires first. Older servers have one for each, and 0 here.
    let query = format!(
        "SELECT 'TRIGGER', trigger_schema, trigger_name, event_object_table FROM information_schema.triggers \
         WHERE trigger_schema NOT IN {SYSTEM} \
         ORDER BY trigger_schema, event_object_table, event_manipulation, action_timing, action_order, trigger_name"
    );
    named(session, "listing its triggers", &query, |_| ObjectKind::Trigger, selection)
}

fn events(session: &mut Session, selection: &Selection) -> Result<Vec<ObjectName>, ReaderError> {
    let query = format!(
        "SELECT 'EVENT', event_schema, event_name FROM information_schema.events WHERE event_schema NOT IN {SYSTEM} \
         ORDER BY event_schema, event_name"
    );
    named(session, "listing its events", &query, |_| ObjectKind::Event, selection)
}

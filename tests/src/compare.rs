//! Exact comparison of the tables of two servers, of whatever kinds they are.
//!
//! Every column is turned into text by the server in a form that loses nothing (see [`columns`]): bytes as hex, floats with all their
//! digits, ENUM by index and text, times in UTC. A table's rows are compared as a multiset, so that neither collations nor tables
//! without a key matter: first by row count and a sum of SHA-256 values, and row by row only where those differ.

mod columns;
mod rows;

use crate::server::{Server, text_rows};
use anyhow::{Context, Result};
use columns::{Form, Table};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Differences reported per table; further ones are counted in one last entry.
const REPORT_MAX: usize = 20;

/// What kind of difference it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// A table or view stands on one side only.
    Table,
    /// Names, order or types of the columns differ, or the definition as the server shows it (between servers of one version).
    Columns,
    /// A row stands on one side only, or more often than on the other.
    Row,
    /// A value differs in a row with the same primary key.
    Value,
    /// More differences than are listed.
    More,
}

/// One difference between two servers.
#[derive(Clone, Debug)]
pub struct Difference {
    /// `database.table`.
    pub table: String,
    /// Its kind.
    pub what: What,
    /// The row's primary key as `column=value`, or the whole row where there is none; empty for tables.
    pub key: String,
    /// The column, for [`What::Value`].
    pub column: String,
    /// What the first server has; `None` if nothing.
    pub left: Option<String>,
    /// What the second server has; `None` if nothing.
    pub right: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{} {:?} {} {}", self.table, self.what, self.key, self.column)?;
        write!(f, ": {} against {}", side(&self.left), side(&self.right))
    }
}

/// Row count and checksum of one table. Equal tables have equal summaries on every kind of server: JSON counts
/// as its text, and -0 as 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// `database.table`.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// The sum of 60 bits of each row's SHA-256.
    pub checksum: String,
}

/// Compares all tables of these databases (`[]`: all but the servers' own and `logweir`). An empty answer means that they are equal.
///
/// # Errors
/// When a server does not answer or refuses a query.
pub async fn databases(left: &Server, right: &Server, names: &[&str]) -> Result<Vec<Difference>> {
    let (mut a, mut b) = (session(left).await?, session(right).await?);
    let names = database_names(&mut a, &mut b, names).await?;
    let likeness = Likeness::of(left, right);
    let mut found = Vec::new();
    for database in &names {
        let ours = columns::tables(&mut a, database).await?;
        let theirs = columns::tables(&mut b, database).await?;
        let all: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        for name in all {
            match (ours.get(name), theirs.get(name)) {
                (Some(x), Some(y)) => found.extend(pair((&mut a, x), (&mut b, y), likeness).await?),
                (x, y) => found.push(Difference {
                    table: format!("{database}.{name}"),
                    what: What::Table,
                    key: String::new(),
                    column: String::new(),
                    left: x.map(|t| t.kind.clone()),
                    right: y.map(|t| t.kind.clone()),
                }),
            }
        }
    }
    a.disconnect().await?;
    b.disconnect().await?;
    Ok(found)
}

/// Compares one table with another that may be called otherwise. Columns are paired by name; both sides must have the same ones.
///
/// # Errors
/// When a table is missing, a server does not answer or refuses a query.
pub async fn table(left: (&Server, &str, &str), right: (&Server, &str, &str)) -> Result<Vec<Difference>> {
    let (mut a, mut b) = (session(left.0).await?, session(right.0).await?);
    let ours = columns::tables(&mut a, left.1).await?;
    let theirs = columns::tables(&mut b, right.1).await?;
    let ours = ours.get(left.2).with_context(|| format!("{} has no table {}.{}", left.0.name(), left.1, left.2))?;
    let theirs =
        theirs.get(right.2).with_context(|| format!("{} has no table {}.{}", right.0.name(), right.1, right.2))?;
    let found =
        pair((&mut a, ours), (&mut b, theirs), Likeness { version: false, ..Likeness::of(left.0, right.0) }).await?;
    a.disconnect().await?;
    b.disconnect().await?;
    Ok(found)
}

/// An error that lists the differences, unless there are none.
///
/// # Errors
/// When the servers differ, or do not answer.
pub async fn must_be_equal(left: &Server, right: &Server, names: &[&str]) -> Result<()> {
    let found = databases(left, right, names).await?;
    if found.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = found.iter().take(50).map(|d| format!("  {d}")).collect();
    anyhow::bail!("{} and {} differ in {} places:\n{}", left.name(), right.name(), found.len(), list.join("\n"))
}

/// Row counts and checksums of all tables in these databases (`[]`: all but the server's own and `logweir`), by name.
///
/// # Errors
/// When the server does not answer or refuses a query.
pub async fn summaries(server: &Server, names: &[&str]) -> Result<Vec<Summary>> {
    let mut conn = session(server).await?;
    let mut found = Vec::new();
    for database in database_names_of(&mut conn, names).await? {
        for table in columns::tables(&mut conn, &database).await?.values().filter(|t| t.has_rows()) {
            let forms: Vec<Form> = table.columns.iter().map(|c| c.form(None, false)).collect();
            let order: Vec<usize> = (0..forms.len()).collect();
            let (rows, sum) = rows::checksum(&mut conn, table, &forms, &order).await?;
            let checksum =
                sum.with_context(|| format!("{database}.{} has a row too long for a checksum", table.name))?;
            found.push(Summary { table: format!("{database}.{}", table.name), rows, checksum });
        }
    }
    conn.disconnect().await?;
    Ok(found)
}

/// How far two servers can be expected to store and show the same.
#[derive(Clone, Copy)]
struct Likeness {
    /// Both are MySQL, or both MariaDB.
    family: bool,
    /// They are of one version, so that a table's definition reads the same.
    version: bool,
}

impl Likeness {
    fn of(left: &Server, right: &Server) -> Likeness {
        let family = left.kind().is_mariadb() == right.kind().is_mariadb();
        Likeness { family, version: left.version() == right.version() }
    }
}

/// Compares two tables: their columns, then their rows.
async fn pair(left: (&mut Conn, &Table), right: (&mut Conn, &Table), like: Likeness) -> Result<Vec<Difference>> {
    let ((a, ours), (b, theirs)) = (left, right);
    let of = |what, left: String, right: String| Difference {
        table: format!("{}.{}", ours.database, ours.name),
        what,
        key: String::new(),
        column: String::new(),
        left: Some(left),
        right: Some(right),
    };
    if ours.kind != theirs.kind {
        return Ok(vec![of(What::Table, ours.kind.clone(), theirs.kind.clone())]);
    }
    let mut found = Vec::new();
    if ours.shape() != theirs.shape() {
        found.push(of(What::Columns, ours.shape().join(", "), theirs.shape().join(", ")));
    } else if like.version {
        let (x, y) = (ours.definition(a).await?, theirs.definition(b).await?);
        if x != y {
            found.push(of(What::Columns, x, y));
        }
    }
    let names = |t: &Table| t.columns.iter().map(|c| c.name.to_lowercase()).collect::<BTreeSet<_>>();
    if ours.has_rows() && names(ours) == names(theirs) {
        found.extend(rows::compare((a, ours), (b, theirs), like.family).await?);
    }
    Ok(found)
}

/// A connection on which values come as they are: no character set conversion, UTC, no padding, no limit on long values.
async fn session(server: &Server) -> Result<Conn> {
    let mut conn = server.conn().await?;
    conn.query_drop("SET NAMES binary; SET time_zone = '+00:00', sql_mode = ''").await?;
    Ok(conn)
}

async fn database_names(a: &mut Conn, b: &mut Conn, given: &[&str]) -> Result<BTreeSet<String>> {
    let mut names = database_names_of(a, given).await?;
    names.extend(database_names_of(b, given).await?);
    Ok(names)
}

async fn database_names_of(conn: &mut Conn, given: &[&str]) -> Result<BTreeSet<String>> {
    if !given.is_empty() {
        return Ok(given.iter().map(|&n| n.to_owned()).collect());
    }
    let own = ["mysql", "information_schema", "performance_schema", "sys", "test", "logweir"];
    let rows = text_rows(conn, "SELECT schema_name FROM information_schema.schemata").await?;
    let names = rows.into_iter().flatten().flatten().map(|n| String::from_utf8_lossy(&n).into_owned());
    Ok(names.filter(|n| !own.contains(&n.as_str())).collect())
}

type Tables = BTreeMap<String, Table>;

//! What exists at a source, and its definitions: all made anew on a second server of the same kind by these alone, they are the same.

#[path = "support/objects.rs"]
mod objects_of_every_kind;

use anyhow::{Context, Result, bail, ensure};
use common::config::{Server as Address, ServerUrl, Tls};
use common::selection::Selection;
use common::snapshot::{ObjectKind, ObjectName, SnapshotObject, TableName};
use common::sql_mode::{MARIADB, MYSQL, OLD, SHARED};
use harness::{Server, ServerKind, TextRow};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use reader::snapshot::catalog::{self, Catalog};
use reader::snapshot::definition::{self, TableDefinition};
use reader::snapshot::objects;
use reader::source::{Facts, Session};

use ServerKind::{Mariadb10, Mariadb11, Mysql9, Mysql56};

/// Runs `work` with a session at the server, on a thread that may wait.
async fn with_session<T: Send + 'static>(
    server: &Server,
    user: &str,
    work: impl FnOnce(&mut Session, &Facts) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (url, _) = ServerUrl::parse(&server.url(user)).map_err(anyhow::Error::msg)?;
    let address = Address { url, password: None, tls: Tls::default() };
    let root = ServerUrl::parse(&server.url("root")).map_err(anyhow::Error::msg)?.0;
    let for_facts = Address { url: root, ..address.clone() };
    let run = move || {
        let facts = Session::open(&for_facts)?.facts()?;
        let mut session = catalog::open(&address, &facts)?;
        work(&mut session, &facts)
    };
    tokio::task::spawn_blocking(run).await?
}

async fn filled(kind: ServerKind) -> Result<Server> {
    let source = Server::builder(kind).name("source").start().await?;
    let mut conn = source.conn().await?;
    for statement in objects_of_every_kind::statements(kind) {
        conn.query_drop(statement).await.with_context(|| format!("{}: {statement}", kind.name()))?;
    }
    for statement in objects_of_every_kind::latin1() {
        let text = String::from_utf8_lossy(&statement).into_owned();
        conn.query_drop(statement).await.with_context(|| format!("{}: {text}", kind.name()))?;
    }
    conn.disconnect().await?;
    Ok(source)
}

fn selection() -> Result<Selection> {
    Ok(Selection::new(&["*.*"], &["elsewhere.*"])?)
}

/// All that there is, in the order in which it is made.
fn everything(catalog: &Catalog) -> Vec<ObjectName> {
    let database = |database: &catalog::Database| ObjectName {
        kind: ObjectKind::Database,
        database: database.name.clone(),
        name: String::new(),
    };
    let table = |table: &catalog::Table| ObjectName {
        kind: ObjectKind::Table,
        database: table.name.database.clone(),
        name: table.name.table.clone(),
    };
    let mut all: Vec<ObjectName> = catalog.databases.iter().map(database).collect();
    all.extend(catalog.sequences.iter().cloned());
    all.extend(catalog.tables.iter().map(table));
    all.extend(catalog.others.iter().cloned());
    all
}

async fn read_all(server: &Server) -> Result<(Catalog, Vec<SnapshotObject>)> {
    with_session(server, "root", |session, facts| {
        let catalog = Catalog::read(session, facts, &selection()?)?;
        let mut found = Vec::new();
        for object in everything(&catalog) {
            found.push(objects::read(session, facts, &object)?.with_context(|| format!("{object:?} is gone"))?);
        }
        Ok((catalog, found))
    })
    .await
}

/// Runs an object's statements as its context says.
async fn make(conn: &mut Conn, object: &SnapshotObject, kind: ServerKind) -> Result<()> {
    let context = &object.context;
    let bits = context.sql_mode.context("no sql_mode")?;
    let own = if kind.is_mariadb() { MARIADB } else { MYSQL };
    let modes: Vec<&str> = SHARED
        .iter()
        .chain(if kind == Mysql9 { &[] } else { OLD })
        .chain(own)
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, name)| *name)
        .collect();
    let (client, connection, _) = context.charsets.context("no character sets")?;
    let zone = context.time_zone.as_deref().unwrap_or("SYSTEM");
    conn.query_drop(format!(
        "SET SESSION sql_mode='{}', character_set_client={client}, collation_connection={connection}, time_zone='{zone}', timestamp={}, \
         foreign_key_checks=0",
        modes.join(","),
        context.timestamp
    ))
    .await?;
    if object.object.kind != ObjectKind::Database {
        conn.query_drop(format!("USE `{}`", object.object.database.replace('`', "``"))).await?;
    }
    for statement in std::iter::once(&object.statement).chain(&object.more) {
        conn.query_drop(statement.as_bytes().to_vec())
            .await
            .with_context(|| format!("{:?}: {statement} ({context:?})", object.object))?;
    }
    Ok(())
}

/// Whether its text holds strings in another character set than its own, which are written otherwise.
fn is_rewritten(object: &SnapshotObject) -> bool {
    matches!(object.object.name.as_str(), "lat" | "latin")
}

/// MySQL 8 shows the character set of a column beside its collation once a statement named the collation, as its own SHOW CREATE does: it stands there only the
/// second time.
fn without_plain_character_sets(mut object: SnapshotObject) -> SnapshotObject {
    let mut out = String::new();
    let mut rest = object.statement.as_str();
    while let Some((before, after)) = rest.split_once(" CHARACTER SET ") {
        out.push_str(before);
        let (word, behind) = after.split_once(' ').unwrap_or((after, ""));
        if !behind.starts_with("COLLATE ") {
            out.push_str(" CHARACTER SET ");
            out.push_str(word);
        }
        rest = after.get(word.len()..).unwrap_or_default();
    }
    out.push_str(rest);
    object.statement = out;
    object
}

fn readable(row: &TextRow) -> String {
    let text = |value: &Option<Vec<u8>>| value.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    format!("{:?}", row.iter().map(text).collect::<Vec<_>>())
}

async fn copied(kind: ServerKind) -> Result<()> {
    let source = filled(kind).await?;
    let (catalog, wanted) = read_all(&source).await?;
    let destination = Server::builder(kind).name("destination").start().await?;
    destination.exec("CREATE DATABASE elsewhere; CREATE TABLE elsewhere.t (a INT)").await?;
    let mut conn = destination.conn().await?;
    let (refused, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|object| object.problem.is_some());
    for object in &wanted {
        make(&mut conn, object, kind).await?;
    }
    let names: Vec<&str> = refused.iter().map(|object| object.object.name.as_str()).collect();
    let expected: &[&str] = if kind.is_mariadb() { &["history", "pack"] } else { &[] };
    ensure!(names == expected, "refused: {refused:#?}");

    let (made, found) = read_all(&destination).await?;
    ensure!(found.len() == wanted.len(), "{} objects instead of {}", found.len(), wanted.len());
    ensure!(made.others.len() + usize::from(kind.is_mariadb()) == catalog.others.len());
    for (wanted, found) in wanted.iter().zip(&found) {
        ensure!(wanted.object == found.object, "{:?} instead of {:?}", found.object, wanted.object);
        let same = match wanted.object.kind {
            ObjectKind::Table if kind == Mysql9 => {
                without_plain_character_sets(wanted.clone()) == without_plain_character_sets(found.clone())
            }
            _ => wanted == found,
        };
        ensure!(is_rewritten(wanted) || same, "source: {wanted:#?}\ndestination: {found:#?}");
    }
    for server in [&source, &destination] {
        server.exec("INSERT INTO shop.times (id) VALUES (1)").await?;
    }
    for query in [
        "SELECT UNIX_TIMESTAMP(t) FROM shop.times",
        "SELECT trigger_name, action_timing, action_statement FROM information_schema.triggers WHERE trigger_schema = 'shop' ORDER BY event_object_table, \
         action_order, trigger_name",
        "SELECT HEX(a), HEX(b) FROM shop.latin",
        "CALL shop.lat()",
        "CALL shop.simple()",
        "SELECT shop.ansi('a'), shop.slash()",
        "SELECT event_name, execute_at, starts, time_zone, status FROM information_schema.events ORDER BY event_name",
        "SELECT column_name, extra FROM information_schema.columns WHERE table_schema = 'shop' AND table_name <> 'history' \
         ORDER BY table_name, ordinal_position",
    ] {
        let (a, b) = (source.rows(query).await, destination.rows(query).await);
        let (a, b) = (a.context("source")?, b.context("destination")?);
        let differ = a.iter().zip(&b).find(|(a, b)| a != b).map(|(a, b)| format!("{}\n{}", readable(a), readable(b)));
        ensure!(!a.is_empty() && a == b, "{query}: {} and {} rows, {differ:?}", a.len(), b.len());
    }
    if kind.is_mariadb() {
        for sequence in ["`se q`", "down"] {
            let query = format!("SELECT next_not_cached_value, cycle_count FROM shop.{sequence}");
            ensure!(source.rows(&query).await? == destination.rows(&query).await?, "{sequence}");
        }
    }
    source.stop().await?;
    destination.stop().await
}

#[tokio::test]
async fn all_is_made_anew_by_its_definitions_alone_on_mysql_9() -> Result<()> {
    copied(Mysql9).await
}

#[tokio::test]
async fn all_is_made_anew_by_its_definitions_alone_on_mysql_5_6() -> Result<()> {
    copied(Mysql56).await
}

#[tokio::test]
async fn all_is_made_anew_by_its_definitions_alone_on_mariadb_10() -> Result<()> {
    copied(Mariadb10).await
}

#[tokio::test]
async fn all_is_made_anew_by_its_definitions_alone_on_mariadb_11() -> Result<()> {
    copied(Mariadb11).await
}

/// The key of a table: index, columns by name, which of them fall.
fn key(definition: &TableDefinition) -> Option<(String, Vec<(&str, bool)>)> {
    let key = definition.key.as_ref()?;
    let columns = key.columns.iter().zip(&key.descending);
    let name = |place: &usize| definition.schema.columns.get(*place).map_or("", |column| column.name.as_str());
    Some((key.index.clone(), columns.map(|(place, falls)| (name(place), *falls)).collect()))
}

#[tokio::test]
async fn tables_are_described_as_their_copy_needs_it() -> Result<()> {
    for kind in ServerKind::ALL {
        let source = filled(kind).await?;
        let work = move |session: &mut Session, facts: &Facts| {
            let mut read = |database: &str, table: &str| {
                definition::read(session, facts, &TableName { database: database.into(), table: table.into() })
            };
            let plain = read("shop", "plain")?.context("plain")?;
            ensure!(key(&plain) == Some(("PRIMARY".into(), vec![("id", false)])), "{plain:?}");
            ensure!(plain.schema.columns.len() == 8 && plain.schema.primary_key.len() == 1, "{plain:?}");
            let parts = read("shop", "parts")?.context("parts")?;
            ensure!(key(&parts) == Some(("PRIMARY".into(), vec![("id", false), ("y", false)])), "{parts:?}");
            ensure!(read("shop", "select")?.context("select")?.key.is_none(), "a nullable unique key serves");
            let odd = read("we`ird ünï", "t.t")?.context("t.t")?;
            ensure!(key(&odd) == Some(("PRIMARY".into(), vec![("x'y", false)])), "{odd:?}");
            ensure!(read("shop", "gone")?.is_none() && read("no_where", "gone")?.is_none());
            ensure!(read("shop", "z1")?.is_none(), "a view is no table");
            if kind == Mysql9 {
                let newer = read("shop", "newer")?.context("newer")?;
                ensure!(key(&newer) == Some(("PRIMARY".into(), vec![("id", true)])), "{newer:?}");
                let names: Vec<&str> = newer.schema.columns.iter().map(|column| column.name.as_str()).collect();
                ensure!(names == ["id", "a", "g", "j", "p"], "{names:?}");
                let gipk = read("shop", "gipk")?.context("gipk")?;
                ensure!(key(&gipk) == Some(("PRIMARY".into(), vec![("my_row_id", false)])), "{gipk:?}");
            }
            if kind.is_mariadb() {
                let history = read("shop", "history").err().context("history can be copied")?.to_string();
                ensure!(history.contains("`shop`.`history`") && history.contains("exclude"), "{history}");
            }
            let catalog = Catalog::read(session, facts, &selection()?)?;
            ensure!(catalog::logs_cascades(facts) == (kind == Mysql9), "{facts:?}");
            ensure!(catalog.groups(true).is_empty());
            let groups = catalog.groups(false);
            let groups: Vec<Vec<&str>> =
                groups.iter().map(|group| group.iter().map(|table| table.table.as_str()).collect()).collect();
            ensure!(groups == [["child", "grandchild", "parent"]], "{groups:?}");
            Ok(())
        };
        with_session(&source, "root", work).await.with_context(|| kind.name())?;
        source.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_user_may_not_see_is_named_with_the_grant_that_shows_it() -> Result<()> {
    for kind in ServerKind::ALL {
        let source = filled(kind).await?;
        source.exec("CREATE USER low@'%'; GRANT SELECT, EXECUTE ON shop.* TO low@'%'").await?;
        for (kind_of_object, name) in [
            (ObjectKind::Function, "slash"),
            (ObjectKind::View, "z1"),
            (ObjectKind::Trigger, "tr`ig"),
            (ObjectKind::Event, "once"),
        ] {
            let object = ObjectName { kind: kind_of_object, database: "shop".into(), name: name.into() };
            let read = || {
                let object = object.clone();
                with_session(&source, "low", move |session, facts| Ok(objects::read(session, facts, &object)?))
            };
            let hidden = read().await.with_context(|| format!("{} {name}", kind.name()))?;
            let hidden = hidden.with_context(|| format!("{} {name} is gone", kind.name()))?;
            ensure!(hidden.statement.is_empty(), "{hidden:?}");
            let problem = hidden.problem.with_context(|| format!("{} {name}: no problem", kind.name()))?;
            let Some(at) = problem.find("GRANT ") else { bail!("{}: no grant: {problem}", kind.name()) };
            source.exec(&problem[at..]).await?;
            let shown = read().await?.context("gone")?;
            ensure!(shown.problem.is_none() && !shown.statement.is_empty(), "{} {problem}: {shown:?}", kind.name());
        }
        source.stop().await?;
    }
    Ok(())
}

//! What the accounts may do, per role, with the statement that grants what is missing.

use std::collections::BTreeMap;

use common::config::{Destination, Pipeline, SnapshotMode, Write};

use super::inventory::Inventory;
use super::item::named;
use super::session::ident;
use super::{Items, Session, Verdict};

/// Statements that are shown; whoever lacks more had better be granted on everything.
const SHOWN_MAX: usize = 5;

/// The reader's account.
pub(super) fn of_source(pipeline: &Pipeline, session: &Session, inventory: &Inventory, items: &mut Items) {
    let (grants, account) = (&session.grants, &session.account);
    let said = |have| if have { "granted" } else { "not granted" };
    let have = grants.global(&["REPLICATION SLAVE", "REPLICATION REPLICA"]);
    let mend = format!("GRANT REPLICATION SLAVE ON *.* TO {account}");
    items.is("may-replicate", have, Verdict::Fail, format!("REPLICATION SLAVE is {}", said(have)), mend);
    let have = grants.global(&["REPLICATION CLIENT", "BINLOG MONITOR", "SUPER"]);
    // MariaDB renamed it in 10.5.2.
    let name =
        if session.is_mariadb() && session.version() >= (10, 5) { "BINLOG MONITOR" } else { "REPLICATION CLIENT" };
    let mend = format!("GRANT {name} ON *.* TO {account}");
    items.is("may-see-position", have, Verdict::Fail, format!("{name} is {}", said(have)), mend);
    may_see_tables(session, inventory, items);
    let copies = pipeline.snapshot.mode != SnapshotMode::None;
    if copies {
        may_see_objects(session, inventory, items);
        may_lock(session, inventory, items);
    }
}

fn may_see_tables(session: &Session, inventory: &Inventory, items: &mut Items) {
    let (grants, account) = (&session.grants, &session.account);
    // A table of which we have no privilege at all is not even listed: the databases tell.
    let mut missing: Vec<&str> = Vec::new();
    for (database, ..) in &inventory.databases {
        let mut tables = inventory.tables.iter().filter(|t| t.database == *database).peekable();
        let whole = grants.on_database("SELECT", database);
        if !whole && (tables.peek().is_none() || !tables.all(|t| grants.on_table("SELECT", database, &t.name))) {
            missing.push(database);
        }
    }
    let nothing = !grants.anywhere("SELECT");
    let found = match missing.as_slice() {
        _ if nothing => "SELECT is granted nowhere".to_owned(),
        [] => {
            format!("SELECT is granted on {} tables in {} databases", inventory.tables.len(), inventory.databases.len())
        }
        some => format!("SELECT is not granted on all of {}", named(some, SHOWN_MAX)),
    };
    let mut statements: Vec<String> =
        missing.iter().map(|database| format!("GRANT SELECT ON {}.* TO {account}", ident(database))).collect();
    if statements.is_empty() {
        statements.push(format!("GRANT SELECT ON *.* TO {account}"));
    }
    let mend = format!("{} (only tables that it may see can be followed and copied)", statements_text(&statements));
    items.is("may-see-tables", missing.is_empty() && !nothing, Verdict::Fail, found, mend);
}

/// Definitions of views, routines, triggers and events. What may not be seen is mostly not listed either, so that only the grants tell.
fn may_see_objects(session: &Session, inventory: &Inventory, items: &mut Items) {
    let (grants, account) = (&session.grants, &session.account);
    let mut statements = Vec::new();
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (database, ..) in &inventory.databases {
        for privilege in ["SHOW VIEW", "TRIGGER", "EVENT"] {
            if !grants.on_database(privilege, database) {
                missing.entry(database).or_default().push(privilege);
            }
        }
    }
    for (database, privileges) in &missing {
        statements.push(format!("GRANT {} ON {}.* TO {account}", privileges.join(", "), ident(database)));
    }
    // Bodies of routines of others: MySQL from 8.0.20 on has SHOW_ROUTINE, and takes a global SELECT as well; older ones and MariaDB look at mysql.proc.
    let routines = if session.is_mariadb() || session.version() < (8, 0) {
        grants.on_table("SELECT", "mysql", "proc") || grants.global(&["SHOW CREATE ROUTINE"])
    } else {
        grants.global(&["SHOW_ROUTINE", "SELECT"])
    };
    if !routines {
        let what = if session.is_mariadb() || session.version() < (8, 0) {
            "SELECT ON `mysql`.`proc`"
        } else {
            "SHOW_ROUTINE ON *.*"
        };
        statements.push(format!("GRANT {what} TO {account}"));
    }
    let found = match statements.as_slice() {
        [] => format!("{} views, routines, triggers and events can be seen", inventory.others.len()),
        _ => {
            let names: Vec<&str> = missing.keys().copied().collect();
            let place = if names.is_empty() { String::new() } else { format!(" in {}", named(&names, SHOWN_MAX)) };
            let bodies = if routines { "" } else { "; bodies of routines may not be seen" };
            format!("not all of views, triggers and events{place} can be seen{bodies}")
        }
    };
    let mend = format!("{} (what cannot be seen is missing at destinations in silence)", statements_text(&statements));
    items.is("may-see-objects", statements.is_empty(), Verdict::Warn, found, mend);
}

/// Tables that are read at one point may need a short lock.
fn may_lock(session: &Session, inventory: &Inventory, items: &mut Items) {
    let (grants, account) = (&session.grants, &session.account);
    let mut missing: Vec<&str> = inventory
        .bases()
        .filter(|t| !t.keyed && !grants.on_database("LOCK TABLES", &t.database))
        .map(|t| t.database.as_str())
        .collect();
    missing.dedup();
    let gtid = session.variable("gtid_mode") == "ON" || session.is_mariadb();
    let found = match missing.as_slice() {
        [] => "nothing needs a lock, or LOCK TABLES is granted".to_owned(),
        some => format!("tables without a key in {}, and LOCK TABLES is not granted there", named(some, SHOWN_MAX)),
    };
    let statements: Vec<String> =
        missing.iter().map(|database| format!("GRANT LOCK TABLES ON {}.* TO {account}", ident(database))).collect();
    let mend = format!(
        "{} (they are read at one point, which needs a lock of milliseconds where the table is never at rest)",
        statements_text(&statements)
    );
    // Without GTIDs there is no other way.
    items.is("may-lock-tables", missing.is_empty(), if gtid { Verdict::Warn } else { Verdict::Fail }, found, mend);
}

/// The applier's account: on each database that it writes.
pub(super) fn of_destination(
    pipeline: &Pipeline,
    destination: &Destination,
    session: &Session,
    inventory: Option<&Inventory>,
    items: &mut Items,
) {
    let (grants, account) = (&session.grants, &session.account);
    let database = &destination.position_database;
    let missing: Vec<&str> = ["CREATE", "SELECT", "INSERT", "UPDATE", "DELETE"]
        .into_iter()
        .filter(|privilege| !grants.on_database(privilege, database))
        .collect();
    let found = match missing.as_slice() {
        [] => format!("{database} can be written"),
        some => format!("{} on {database} not granted", some.join(", ")),
    };
    let mend = format!("GRANT ALL ON {}.* TO {account}: its position rows are kept there", ident(database));
    items.is("position-database", missing.is_empty(), Verdict::Fail, found, mend);

    let mut wanted = vec!["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "INDEX", "REFERENCES"];
    if pipeline.snapshot.mode != SnapshotMode::None {
        wanted.extend(["CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "TRIGGER", "EVENT"]);
    }
    let databases: Vec<&str> =
        inventory.map(|all| all.databases.iter().map(|d| d.0.as_str()).collect()).unwrap_or_default();
    let mut statements = Vec::new();
    let mut where_missing = Vec::new();
    for database in &databases {
        let missing: Vec<&str> = wanted.iter().copied().filter(|p| !grants.on_database(p, database)).collect();
        if !missing.is_empty() {
            statements.push(format!("GRANT {} ON {}.* TO {account}", missing.join(", "), ident(database)));
            where_missing.push(format!("{database} ({})", missing.join(", ")));
        }
    }
    let anywhere: Vec<&str> = wanted.iter().copied().filter(|privilege| !grants.anywhere(privilege)).collect();
    if databases.is_empty() && !anywhere.is_empty() {
        statements.push(format!("GRANT {} ON *.* TO {account}", anywhere.join(", ")));
        where_missing.push(anywhere.join(", "));
    }
    let found = match where_missing.as_slice() {
        [] => "granted".to_owned(),
        some => format!("not granted: {}", named(some, SHOWN_MAX)),
    };
    let mend = format!("{} (DDL is applied too)", statements_text(&statements));
    items.is("may-write", statements.is_empty(), Verdict::Fail, found, mend);
}

/// Row events, and the privilege that they need.
pub(super) fn row_events(destination: &Destination, source: &Session, session: &Session, items: &mut Items) {
    let same_family = source.is_mariadb() == session.is_mariadb();
    let granted = session.grants.global(&["BINLOG_ADMIN", "BINLOG REPLAY", "REPLICATION_APPLIER", "SUPER"]);
    let found = match (same_family, granted) {
        (true, true) => "row events can be used",
        (true, false) => "row events need a privilege",
        (false, _) => "another family than the source: rows are written as SQL",
    };
    let (fine, otherwise) = match destination.write {
        Write::Sql => (true, Verdict::Pass),
        Write::Auto => (granted || !same_family, Verdict::Warn),
        Write::RowEvents => (granted && same_family, Verdict::Fail),
    };
    let privilege = if session.is_mariadb() { "BINLOG REPLAY" } else { "REPLICATION_APPLIER" };
    let mend = match same_family {
        true => format!("GRANT {privilege} ON *.* TO {}; or write = \"sql\", which is slower", session.account),
        false => "set write = \"auto\" or \"sql\"".to_owned(),
    };
    items.is("row-events", fine, otherwise, found, mend);
}

fn statements_text(statements: &[String]) -> String {
    let mut text = statements.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join("; ");
    if statements.len() > SHOWN_MAX {
        text.push_str(&format!("; and so on for {} more databases", statements.len() - SHOWN_MAX));
    }
    text
}

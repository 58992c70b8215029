//! Whether the destination has what the source's tables are made of: engines, collations, types, page sizes, sequences.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::item::named;
use super::rows::rows;
use super::{Inventory, Items, Session, Verdict};

const SHOWN_MAX: usize = 8;

/// The first versions of MySQL and of MariaDB that have a type (None: none has), where not all that we support do.
/// Manuals: "The JSON Data Type", "The VECTOR Type"; MariaDB's "UUID", "INET4", "INET6", "XMLTYPE".
type Since = Option<(u32, u32)>;
const TYPES: [(&str, Since, Since); 6] = [
    ("json", Some((5, 7)), Some((10, 2))),
    ("vector", Some((9, 0)), Some((11, 7))),
    ("uuid", None, Some((10, 7))),
    ("inet4", None, Some((10, 10))),
    ("inet6", None, Some((10, 5))),
    ("xmltype", None, Some((12, 0))),
];

pub(super) async fn check(
    source: &Session,
    inventory: &Inventory,
    conn: &mut Conn,
    session: &Session,
    items: &mut Items,
) {
    engines(inventory, conn, items).await;
    collations(inventory, conn, items).await;
    types(inventory, session, items);
    sequences(inventory, session, items);
    sizes(source, session, items);
}

async fn engines(inventory: &Inventory, conn: &mut Conn, items: &mut Items) {
    let sql = "SELECT ENGINE FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')";
    let have: BTreeSet<String> = match rows(conn, sql).await {
        Ok(have) => have.iter().map(|row| row.text(0).to_ascii_lowercase()).collect(),
        Err(error) => return items.unanswered("engines", &error),
    };
    let mut lacking: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for table in inventory.bases().filter(|t| !t.engine.is_empty()) {
        if !have.contains(&table.engine.to_ascii_lowercase()) {
            lacking.entry(&table.engine).or_default().push(table.to_string());
        }
    }
    let found = match lacking.is_empty() {
        true => "all engines of the source's tables are there".to_owned(),
        false => listed(&lacking),
    };
    let mend =
        "switch the engine on at the destination, ALTER TABLE … ENGINE=InnoDB at the source, or exclude the tables";
    items.is("engines", lacking.is_empty(), Verdict::Fail, found, mend);
}

/// Collations of databases, tables and columns that the destination does not know. Those of UCA 9 (MySQL's 0900) and UCA 14 (MariaDB's uca1400) have a
/// nearest one in the other family, which the applier takes.
async fn collations(inventory: &Inventory, conn: &mut Conn, items: &mut Items) {
    // (character set, collation) to where it is used.
    let mut used: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for column in inventory.columns.iter().filter(|c| !c.collation.is_empty()) {
        let place = used.entry((column.character_set.clone(), column.collation.clone())).or_default();
        place.push(format!("{}.{}", column.database, column.table));
    }
    for (database, character_set, collation) in &inventory.databases {
        used.entry((character_set.clone(), collation.clone())).or_default().push(format!("database {database}"));
    }
    for table in inventory.bases().filter(|t| !t.collation.is_empty()) {
        let character_set = table.collation.split('_').next().unwrap_or_default().to_owned();
        let place = used.entry((character_set, table.collation.clone())).or_default();
        if place.is_empty() {
            place.push(table.to_string());
        }
    }
    let (mut replaced, mut lacking) = (BTreeMap::new(), BTreeMap::new());
    for ((character_set, collation), places) in &used {
        // Asked and not looked up: servers take names that they do not list (utf8 and utf8mb3, collations with and without their character set).
        let sql = format!("SELECT CONVERT('' USING {character_set}) COLLATE {collation}");
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let fine = plain(character_set) && plain(collation) && conn.query_drop(sql).await.is_ok();
        if !fine {
            let has_nearest = collation.contains("_0900_") || collation.contains("_uca1400_");
            let list = if has_nearest { &mut replaced } else { &mut lacking };
            list.insert(collation.as_str(), places.clone());
        }
    }
    if !lacking.is_empty() {
        let mend =
            "ALTER TABLE … CONVERT TO a collation that both have, at the source; or use a destination that has it";
        items.add("collations", Verdict::Fail, listed(&lacking), mend);
        return;
    }
    let found = match replaced.is_empty() {
        true => format!("all {} collations in use are there", used.len()),
        false => format!("replaced by the nearest of this family: {}", listed(&replaced)),
    };
    let mend = "nothing, if unique keys of text do not tell strings apart by what the two versions of Unicode sort differently; else use a collation that both have";
    items.is("collations", replaced.is_empty(), Verdict::Warn, found, mend);
}

fn types(inventory: &Inventory, session: &Session, items: &mut Items) {
    let mut lacking: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for column in &inventory.columns {
        if !has_type(&column.data_type, session.is_mariadb(), session.version()) {
            lacking.entry(&column.data_type).or_default().push(format!("{}.{}", column.database, column.table));
        }
    }
    let versioned: Vec<String> =
        inventory.tables.iter().filter(|t| t.kind == "SYSTEM VERSIONED").map(ToString::to_string).collect();
    if !versioned.is_empty() && !session.is_mariadb() {
        lacking.insert("system versioning", versioned);
    }
    let found = match lacking.is_empty() {
        true => "all column types are there".to_owned(),
        false => listed(&lacking),
    };
    let mend = "use a destination of the source's family and version, or exclude the tables";
    items.is("column-types", lacking.is_empty(), Verdict::Fail, found, mend);
}

fn has_type(name: &str, mariadb: bool, version: (u32, u32)) -> bool {
    let Some((_, mysql_since, mariadb_since)) = TYPES.iter().find(|(known, ..)| *known == name) else { return true };
    let since = if mariadb { mariadb_since } else { mysql_since };
    since.is_some_and(|since| version >= since)
}

fn sequences(inventory: &Inventory, session: &Session, items: &mut Items) {
    let all: Vec<String> = inventory.tables.iter().filter(|t| t.kind == "SEQUENCE").map(ToString::to_string).collect();
    if all.is_empty() {
        return;
    }
    let fine = session.is_mariadb() && session.version() >= (10, 3);
    let mend = "MySQL has no sequences: use a MariaDB destination, or exclude them";
    items.is("sequences", fine, Verdict::Fail, named(&all, SHOWN_MAX), mend);
}

fn sizes(source: &Session, session: &Session, items: &mut Items) {
    let (ours, theirs) = (session.number("innodb_page_size"), source.number("innodb_page_size"));
    let show = |n: Option<u64>| n.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    let found = format!("innodb_page_size={}, {} at the source", show(ours), show(theirs));
    let mend = "tables with long rows or keys may not fit at the destination; the page size is chosen when a server's data folder is made";
    items.is("page-size", ours >= theirs, Verdict::Warn, found, mend);
    let (ours, theirs) = (index_bytes(session), index_bytes(source));
    let found = format!("a column of an index may have {ours} bytes, {theirs} at the source");
    let mend = "SET GLOBAL innodb_large_prefix = ON, innodb_file_format = Barracuda at the destination, or use a newer server: long index columns may be refused (error 1071)";
    items.is("index-size", ours >= theirs, Verdict::Warn, found, mend);
}

/// Bytes of an InnoDB index column: 3072 with large prefixes and pages of 16 KiB, half and a quarter of that with smaller pages, else 767 (manual, "InnoDB Limits").
fn index_bytes(session: &Session) -> u64 {
    // The variable went away in MySQL 8.0 and MariaDB 10.6, and large prefixes stayed.
    let old = !session.variable("innodb_large_prefix").is_empty() && !session.is_on("innodb_large_prefix");
    let antelope = session.variable("innodb_file_format") == "Antelope";
    // Before MySQL 5.7 and MariaDB 10.2 tables were COMPACT unless they said otherwise, which keeps the old limit.
    let large = match session.number("innodb_page_size") {
        Some(4096) => 768,
        Some(8192) => 1536,
        _ => 3072,
    };
    if old || antelope { 767.min(large) } else { large }
}

/// `collation (where, where and 3 more), …`
fn listed(all: &BTreeMap<&str, Vec<String>>) -> String {
    let each: Vec<String> = all.iter().map(|(what, places)| format!("{what} ({})", named(places, 3))).collect();
    named(&each, SHOWN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_family_and_version() {
        assert!(has_type("int", true, (10, 2)) && has_type("int", false, (5, 6)));
        assert!(
            !has_type("json", false, (5, 6)) && has_type("json", false, (5, 7)) && has_type("json", true, (10, 11))
        );
        assert!(
            !has_type("uuid", false, (9, 7)) && has_type("uuid", true, (10, 11)) && !has_type("uuid", true, (10, 6))
        );
        assert!(has_type("vector", false, (9, 0)) && !has_type("vector", true, (10, 11)));
    }

    #[test]
    fn what_is_lacking_is_listed_with_a_few_of_its_places() {
        let all = [("uuid", vec!["a.b".to_owned()]), ("inet6", ["a", "b", "c", "d"].map(str::to_owned).to_vec())];
        assert_eq!(listed(&all.into()), "inet6 (a, b, c and 1 more), uuid (a.b)");
    }
}

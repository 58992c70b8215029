//! What a destination has already of what will be copied.

use std::collections::HashMap;

use common::config::{Destination, OnExisting, Pipeline};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, params};

use super::inventory::Table;
use super::item::named;
use super::rows::{first, rows};
use super::session::ident;
use super::{Inventory, Items, Verdict};

const SHOWN_MAX: usize = 20;
/// Rows that are counted exactly, by the server's estimate.
const COUNTED_ROWS: u64 = 200_000;

pub(super) async fn check(
    pipeline: &Pipeline,
    destination: &Destination,
    inventory: &Inventory,
    conn: &mut Conn,
    items: &mut Items,
) {
    if has_begun(pipeline, destination, conn).await {
        items.add("existing-objects", Verdict::Pass, "this destination has begun already", "");
        return;
    }
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS FROM information_schema.TABLES \
               WHERE TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')";
    let there: HashMap<(String, String), u64> = match rows(conn, sql).await {
        Ok(rows) => rows.iter().map(|row| ((row.text(0), row.text(1)), row.number(2))).collect(),
        Err(error) => return items.unanswered("existing-objects", &error),
    };
    let found: Vec<(&Table, u64)> =
        inventory.bases().filter_map(|t| Some((t, *there.get(&(t.database.clone(), t.name.clone()))?))).collect();
    if found.is_empty() {
        items.add("existing-objects", Verdict::Pass, "none of the tables exists yet", "");
        return;
    }
    let mut words = Vec::new();
    for (table, estimate) in &found {
        words.push(if words.len() < SHOWN_MAX { counted(conn, table, *estimate).await } else { table.to_string() });
    }
    let found = format!("{} of the tables exist: {}", found.len(), named(&words, SHOWN_MAX));
    let (verdict, mend) = match pipeline.snapshot.on_existing {
        OnExisting::Stop => (
            Verdict::Fail,
            "drop them, or set [snapshot] on_existing = \"overwrite\" (they are made anew) or \"append\" (their rows stay); or mode = \"none\" if they hold what the source has",
        ),
        OnExisting::Overwrite => (Verdict::Warn, "on_existing = \"overwrite\": they will be DROPPED and made anew"),
        OnExisting::Append => {
            (Verdict::Warn, "on_existing = \"append\": they stay, and a copied row replaces one of the same key")
        }
    };
    items.add("existing-objects", verdict, found, mend);
}

/// `shop.orders (5 rows)`; large ones by the server's estimate.
async fn counted(conn: &mut Conn, table: &Table, estimate: u64) -> String {
    if estimate <= COUNTED_ROWS {
        let sql = format!("SELECT COUNT(*) FROM {}.{}", ident(&table.database), ident(&table.name));
        if let Ok(Some(row)) = first(conn, sql).await {
            return format!("{table} ({} rows)", row.number(0));
        }
    }
    format!("{table} (about {estimate} rows)")
}

/// Whether this pipeline has a position here, or a copy that it began.
async fn has_begun(pipeline: &Pipeline, destination: &Destination, conn: &mut Conn) -> bool {
    for table in ["position", "snapshot"] {
        let sql = format!(
            "SELECT 1 FROM {}.{table} WHERE pipeline = :pipeline AND destination = :destination LIMIT 1",
            ident(&destination.position_database)
        );
        // There is no such table at a new destination.
        let names = params! { "pipeline" => &pipeline.name, "destination" => &destination.name };
        if matches!(conn.exec_first::<Row, _, _>(sql, names).await, Ok(Some(_))) {
            return true;
        }
    }
    false
}

//! The proof: row counts and checksums of every table on all servers, and the ledger of what was applied how often.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use harness::Server;
use harness::compare::{self, Summary};
use harness::load::{self, Ledger};

use super::DATABASE;
use super::parts::Servers;

/// What the comparison found.
pub(super) struct Proof {
    names: Vec<&'static str>,
    /// Per table, a summary for each server.
    tables: BTreeMap<String, Vec<Option<Summary>>>,
    /// Per destination.
    ledgers: Vec<(&'static str, Ledger)>,
    /// Views, routines, triggers and events of each server, by kind and name.
    objects: Vec<BTreeSet<String>>,
    /// Where they differ, row by row; only looked for where the checksums differ.
    differences: Vec<String>,
}

/// Differences that are shown of each destination.
const SHOWN_MAX: usize = 10;

/// Compares all three servers.
pub(super) async fn compare(servers: &Servers) -> Result<Proof> {
    let named = servers.named();
    let (a, b, c) = tokio::try_join!(
        compare::summaries(&servers.source, &[DATABASE]),
        compare::summaries(&servers.replica, &[DATABASE]),
        compare::summaries(&servers.maria, &[DATABASE]),
    )?;
    let mut tables: BTreeMap<String, Vec<Option<Summary>>> = BTreeMap::new();
    for (index, list) in [a, b, c].into_iter().enumerate() {
        for summary in list {
            let row = tables.entry(summary.table.clone()).or_insert_with(|| vec![None, None, None]);
            if let Some(place) = row.get_mut(index) {
                *place = Some(summary);
            }
        }
    }
    let mut ledgers = Vec::new();
    for (name, server) in named.into_iter().skip(1) {
        ledgers.push((name, load::check_ledger(&servers.source, server, DATABASE).await?));
    }
    let names = named.map(|(name, _)| name).to_vec();
    let mut objects = Vec::new();
    for (_, server) in named {
        objects.push(objects_of(server).await?);
    }
    let mut proof = Proof { names, tables, ledgers, objects, differences: Vec::new() };
    if !proof.equal() {
        for (name, server) in servers.named().into_iter().skip(1) {
            let found = compare::databases(&servers.source, server, &[DATABASE]).await?;
            let count = found.len();
            proof.differences.extend(found.iter().take(SHOWN_MAX).map(|d| format!("source against {name}: {d}")));
            if count > SHOWN_MAX {
                proof.differences.push(format!("source against {name}: {} more", count - SHOWN_MAX));
            }
        }
    }
    Ok(proof)
}

/// What stands on the tables.
async fn objects_of(server: &Server) -> Result<BTreeSet<String>> {
    let sql = format!(
        "SELECT CONCAT('view ', TABLE_NAME) FROM information_schema.VIEWS WHERE TABLE_SCHEMA = '{DATABASE}' \
         UNION ALL SELECT CONCAT(LOWER(ROUTINE_TYPE), ' ', ROUTINE_NAME) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{DATABASE}' \
         UNION ALL SELECT CONCAT('trigger ', TRIGGER_NAME) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{DATABASE}' \
         UNION ALL SELECT CONCAT('event ', EVENT_NAME) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{DATABASE}'"
    );
    let rows = server.rows(&sql).await?;
    let name =
        |row: harness::TextRow| row.into_iter().flatten().map(|b| String::from_utf8_lossy(&b).into_owned()).next();
    Ok(rows.into_iter().filter_map(name).collect())
}

impl Proof {
    /// Whether all servers hold the same, and nothing was lost or doubled.
    pub(super) fn equal(&self) -> bool {
        let ledgers = self.ledgers.iter().all(|(_, ledger)| ledger.lost == 0 && ledger.doubled == 0);
        let objects = self.objects.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
        !self.tables.is_empty() && ledgers && objects && self.tables.values().all(|row| same(row))
    }

    /// The table and the verdict.
    pub(super) fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        let counts = self.names.iter().map(|name| format!("rows {name}"));
        let sums = self.names.iter().map(|name| format!("checksum {name}"));
        let head: Vec<String> =
            std::iter::once("table".to_owned()).chain(counts).chain(sums).chain([String::new()]).collect();
        table.set_header(head);
        for (name, row) in &self.tables {
            let mut line = vec![name.clone()];
            line.extend(row.iter().map(|s| s.as_ref().map_or_else(|| "-".to_owned(), |s| s.rows.to_string())));
            line.extend(row.iter().map(|s| s.as_ref().map_or_else(|| "-".to_owned(), |s| s.checksum.clone())));
            line.push(if same(row) { "equal" } else { "DIFFERENT" }.to_owned());
            table.add_row(line);
        }
        for column in 1..=self.names.len() * 2 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.push(String::new());
        for (name, ledger) in &self.ledgers {
            let Ledger { written, lost, doubled } = ledger;
            lines.push(format!("{name}: of {written} statements in the ledger {lost} were lost and {doubled} doubled"));
        }
        for (name, objects) in self.names.iter().zip(&self.objects) {
            lines.push(format!("{name} has {}", objects.iter().cloned().collect::<Vec<_>>().join(", ")));
        }
        lines.extend(self.differences.iter().cloned());
        let verdict = if self.equal() { "all three servers hold the same" } else { "the servers are NOT equal" };
        lines.push(verdict.to_owned());
        lines.join("\n")
    }
}

fn same(row: &[Option<Summary>]) -> bool {
    let mut all = row.iter();
    let first = all.next();
    first.is_some_and(Option::is_some) && all.all(|other| Some(other) == first)
}

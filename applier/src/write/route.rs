//! Which destination table a source table's rows go to, and in which way.

use std::collections::HashMap;
use std::sync::Arc;

use common::config::Write;
use common::record::SourceInfo;
use common::{Flavor, SchemaId, charset};

use crate::error::{ApplyError, Result};
use crate::plan::SourceTable;
use crate::target::{Session, Tables, TargetTable};

/// How the rows of one table are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As row events in `BINLOG` statements.
    Events,
    /// As SQL.
    Sql,
}

/// Where the rows of one layout go.
#[derive(Debug)]
pub struct Route {
    /// The destination's table.
    pub target: Arc<TargetTable>,
    /// For each column of the source, the destination's column.
    pub columns: Vec<usize>,
    /// Character set of each source column that is text, where it is another than the destination's column has.
    pub convert: Vec<Option<String>>,
    /// Whether row events fit; if not, why.
    pub events_fit: std::result::Result<(), String>,
    /// Our table id in row events.
    pub table_id: u64,
}

/// The routes of all layouts that were met since the last DDL.
#[derive(Debug)]
pub struct Routes {
    /// What the destination's configuration says.
    write: Write,
    /// Why row events cannot be used at all; None while they can.
    no_events: Option<String>,
    known: HashMap<SchemaId, Arc<Route>>,
    /// Tables that the server refused as row events although they looked fit.
    refused: HashMap<String, String>,
    next_id: u64,
}

impl Routes {
    /// No route yet.
    #[must_use]
    pub fn new(write: Write) -> Self {
        Self { write, no_events: None, known: HashMap::new(), refused: HashMap::new(), next_id: 1 }
    }

    /// Row events cannot be used with this destination, or with this source.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] when the configuration wants nothing else.
    pub fn give_up_events(&mut self, why: &str) -> Result<()> {
        if self.write == Write::RowEvents {
            return Err(ApplyError::refused(
                format!("write = \"row-events\", but {why}"),
                "grant what is missing, or set write = \"auto\" for this destination",
            ));
        }
        if self.no_events.is_none() {
            tracing::info!(reason = why, "rows are written as SQL");
        }
        self.no_events = Some(why.to_owned());
        Ok(())
    }

    /// The server refused row events for this table.
    ///
    /// # Errors
    /// As [`Routes::give_up_events`].
    pub fn refuse_events(&mut self, table: &str, why: &str) -> Result<()> {
        if self.write == Write::RowEvents {
            return Err(ApplyError::refused(
                format!("write = \"row-events\", but {table}: {why}"),
                "make the table as it is at the source, or set write = \"auto\" for this destination",
            ));
        }
        tracing::warn!(table, reason = why, "rows of this table are written as SQL");
        self.refused.insert(table.to_owned(), why.to_owned());
        self.known.clear();
        Ok(())
    }

    /// Forgets the routes, after DDL or a new connection; with `reasons`, also what kept tables from row events.
    pub fn forget(&mut self, reasons: bool) {
        self.known.clear();
        if reasons {
            self.refused.clear();
            self.no_events = None;
        }
    }

    /// Whether row events may be tried at all.
    #[must_use]
    pub fn may_use_events(&self) -> bool {
        self.write != Write::Sql && self.no_events.is_none()
    }

    /// `row events`, `SQL`, or both, with the reason: for `status`.
    #[must_use]
    pub fn describe(&self) -> (Way, String) {
        if self.write == Write::Sql {
            return (Way::Sql, "chosen by the configuration".to_owned());
        }
        if let Some(why) = &self.no_events {
            return (Way::Sql, why.clone());
        }
        let unfit = |route: &Arc<Route>| Some((route.target.full_name(), route.events_fit.as_ref().err()?.clone()));
        let unfit: Vec<(String, String)> = self.known.values().filter_map(unfit).collect();
        let way = if unfit.is_empty() || unfit.len() < self.known.len() { Way::Events } else { Way::Sql };
        let mut reasons: Vec<&str> = unfit.iter().map(|(_, why)| why.as_str()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        match reasons.as_slice() {
            // The servers' families, say: the tables need not be named.
            [why] if way == Way::Sql => (way, (*why).to_owned()),
            _ => {
                let mut tables: Vec<String> = unfit.iter().map(|(table, why)| format!("{table}: {why}")).collect();
                tables.sort();
                tables.truncate(20);
                (way, tables.join("; "))
            }
        }
    }

    /// The way of this route.
    ///
    /// # Errors
    /// When only row events are allowed and they do not fit.
    pub fn way(&self, route: &Route) -> Result<Way> {
        if self.write == Write::Sql || self.no_events.is_some() {
            return Ok(Way::Sql);
        }
        match &route.events_fit {
            Ok(()) => Ok(Way::Events),
            Err(why) if self.write == Write::RowEvents => Err(ApplyError::refused(
                format!("write = \"row-events\", but {}: {why}", route.target.full_name()),
                "make the table as it is at the source, or set write = \"auto\" for this destination",
            )),
            Err(_) => Ok(Way::Sql),
        }
    }

    /// The route of this layout.
    ///
    /// # Errors
    /// When the destination has no such table, or lacks a column of it.
    pub async fn find(
        &mut self,
        session: &mut Session,
        tables: &mut Tables,
        source: &SourceInfo,
        table: &SourceTable,
    ) -> Result<Arc<Route>> {
        if let Some(route) = self.known.get(&table.id) {
            return Ok(route.clone());
        }
        let schema = &table.schema;
        let target = tables.get(session, &schema.database, &schema.table).await?;
        let mut columns = Vec::with_capacity(schema.columns.len());
        let mut convert = Vec::with_capacity(schema.columns.len());
        for column in &schema.columns {
            let Some(index) = target.column(&column.name) else {
                return Err(ApplyError::refused(
                    format!("{} at the destination has no column {}", target.full_name(), column.name),
                    "add the column there, then start the applier again",
                ));
            };
            let theirs = target.columns.get(index).and_then(|c| c.charset.clone());
            let ours = charset::of_collation(column.collation).filter(|_| column.collation != charset::BINARY);
            convert.push(match (ours, theirs) {
                (Some(ours), Some(theirs)) if !charset::same(ours, &theirs) => Some(ours.to_owned()),
                _ => None,
            });
            columns.push(index);
        }
        let events_fit = self.events_fit(session, source, table, &target, &columns, &convert);
        let route = Route { target, columns, convert, events_fit, table_id: self.next_id };
        self.next_id += 1;
        let route = Arc::new(route);
        self.known.insert(table.id, route.clone());
        Ok(route)
    }

    fn events_fit(
        &self,
        session: &Session,
        source: &SourceInfo,
        table: &SourceTable,
        target: &TargetTable,
        columns: &[usize],
        convert: &[Option<String>],
    ) -> std::result::Result<(), String> {
        let family = |flavor| if flavor == Flavor::MySql { "MySQL" } else { "MariaDB" };
        if source.flavor != session.facts.flavor {
            return Err(format!(
                "the source is {}, the destination {}",
                family(source.flavor),
                family(session.facts.flavor)
            ));
        }
        if let Some(why) = self.refused.get(&target.full_name()) {
            return Err(why.clone());
        }
        // A row event addresses columns by their place.
        if columns.len() != target.columns.len() || columns.iter().enumerate().any(|(i, &c)| i != c) {
            return Err("its columns are not the source's, in the source's order".to_owned());
        }
        if let Some(i) = convert.iter().position(Option::is_some) {
            let name = table.schema.columns.get(i).map(|c| c.name.as_str()).unwrap_or_default();
            return Err(format!("column {name} has another character set than at the source"));
        }
        Ok(())
    }
}

//! Asking the source where a large table can be cut into spans.

use common::snapshot::Span;

use super::{Copier, take};
use crate::snapshot::chunk::Shape;
use crate::snapshot::marks::quoted;
use crate::snapshot::run::trouble::{Trouble, judge};
use crate::snapshot::spans;
use common::literal::quote;
use std::sync::Arc;

impl Copier<'_> {
    /// A table's spans.
    pub(super) fn split(&mut self, table: usize, shape: &Arc<Shape>) -> Result<Vec<Span>, Trouble> {
        let estimate = self.run.plan.entry(table).map_or((0, 0), |entry| entry.estimate);
        let rows = estimate.0.max(shape.definition.rows);
        let bytes = estimate.1.max(shape.definition.rows.saturating_mul(shape.definition.average_row));
        let want = spans::wanted(self.run.shared.threads_now(), rows, bytes);
        if want <= 1 {
            return Ok(spans::between(Vec::new()));
        }
        let boundaries = match shape.leading_integer() {
            Some(column) => {
                let (name, descending) = (column.name.clone(), column.descending);
                let mut cuts = self.integers(table, shape, &name, want)?;
                if descending {
                    cuts.reverse();
                }
                cuts.iter().map(|cut| vec![cut.to_string().into_bytes()]).collect()
            }
            None => self.samples(table, shape, want, rows)?,
        };
        let spans = spans::between(boundaries);
        tracing::debug!(table = %shape.name, spans = spans.len(), rows, "split");
        Ok(spans)
    }

    fn integers(&mut self, table: usize, shape: &Shape, column: &str, want: u64) -> Result<Vec<i128>, Trouble> {
        let mut quoted_column = Vec::new();
        quote::name(column, &mut quoted_column);
        let column = String::from_utf8_lossy(&quoted_column).into_owned();
        let from = String::from_utf8_lossy(&quoted(&shape.name)).into_owned();
        let mut force = Vec::new();
        if let Some(order) = &shape.order {
            order.force(&mut force);
        }
        let force = String::from_utf8_lossy(&force).into_owned();
        let ends = self.ask(&format!("SELECT MIN({column}), MAX({column}) FROM {from}{force}"), table)?;
        let number = |index: usize| -> Option<i128> {
            let text = ends.first()?.get(index)?.as_deref()?;
            std::str::from_utf8(text).ok()?.parse().ok()
        };
        let (Some(least), Some(greatest)) = (number(0), number(1)) else { return Ok(Vec::new()) };
        spans::integers(least, greatest, want, &mut |after, until| {
            let mut conditions = Vec::new();
            if let Some(after) = after {
                conditions.push(format!("{column} > {after}"));
            }
            if let Some(until) = until {
                conditions.push(format!("{column} <= {until}"));
            }
            let conditions = if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") };
            self.explain(table, &format!("SELECT {column} FROM {from}{force} WHERE {conditions}"))
        })
    }

    /// Rows that the optimizer expects. Both families name the column `rows`; FORMAT=TRADITIONAL is the default of MySQL's up to 9.x, and MariaDB has no other.
    fn explain(&mut self, table: usize, query: &str) -> Result<u64, Trouble> {
        let traditional = if self.link()?.facts.flavor == common::Flavor::MySql { "FORMAT=TRADITIONAL " } else { "" };
        let rows = self.ask(&format!("EXPLAIN {traditional}{query}"), table)?;
        // id, select_type, table, [partitions,] type, possible_keys, key, key_len, ref, rows, [filtered,] Extra: from behind.
        let row = rows.first().map(Vec::as_slice).unwrap_or_default();
        let back = if row.len() >= 11 { 3 } else { 2 };
        let text = row.len().checked_sub(back).and_then(|index| row.get(index)).and_then(Option::as_deref);
        Ok(text.and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Every n-th key in the server's order, by one walk over the index.
    fn samples(
        &mut self,
        table: usize,
        shape: &Arc<Shape>,
        want: u64,
        rows: u64,
    ) -> Result<Vec<Vec<Vec<u8>>>, Trouble> {
        let Some(order) = &shape.order else { return Ok(Vec::new()) };
        let step = (rows / want).max(1);
        let mut boundaries: Vec<Vec<Vec<u8>>> = Vec::new();
        // One more step than rows are expected in all: the statistics may be short of them.
        while (boundaries.len() as u64) < want * 2 {
            self.wait()?;
            let after = boundaries.last().cloned().unwrap_or_default();
            let mut sql = shape.select();
            order.force(&mut sql);
            order.between(&after, &[], &mut sql);
            order.order_by(&mut sql);
            sql.extend_from_slice(format!(" LIMIT 1 OFFSET {}", step - 1).as_bytes());
            let link = self.link()?;
            let taken = take(link, shape, &sql, usize::MAX).map_err(|error| judge(error, Some(table)))?;
            let Some(row) = taken.rows.last() else { break };
            boundaries.push(shape.key_of(row).map_err(|error| judge(error, Some(table)))?);
        }
        Ok(boundaries)
    }
}

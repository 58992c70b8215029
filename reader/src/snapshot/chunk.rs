//! One chunk: the SELECT, and its rows taken into memory, packed as the binlog would hold them.

pub mod order;
pub mod size;

use std::sync::Arc;

use common::literal::ColumnWriter;
use common::literal::Matching;
use common::record::Op;
use common::row::{Cell, Layout};
use common::snapshot::TableName;
use common::{Flavor, TableSchema};

use super::definition::TableDefinition;
use super::marks::quoted;
use crate::error::ReaderError;
use order::{KeyColumn, Order};

/// A table as its copying needs it.
#[derive(Debug)]
pub struct Shape {
    /// The table.
    pub name: TableName,
    /// Its definition,
    pub definition: TableDefinition,
    /// as it was after so many DDL statements that the follower has decoded.
    pub ddl: u64,
    /// The key that chunks follow.
    pub order: Option<Order>,
    /// Names of its columns.
    pub key: Vec<String>,
    layout: Layout,
    writers: Vec<(usize, ColumnWriter)>,
    /// All columns are present.
    bitmap: Vec<u8>,
}

impl Shape {
    /// For this definition.
    ///
    /// # Errors
    /// A column that cannot be read.
    pub fn new(name: TableName, definition: TableDefinition, ddl: u64) -> Result<Self, ReaderError> {
        let fail = |error: &dyn std::fmt::Display| ReaderError::Source(format!("the source's table {error}"));
        let schema = &definition.schema;
        let layout = Layout::new(schema).map_err(|error| fail(&error))?;
        let mut writers = Vec::new();
        let mut columns = Vec::new();
        if let Some(key) = &definition.key {
            for (place, &index) in key.columns.iter().enumerate() {
                writers.push((index, ColumnWriter::same(schema, index, schema.flavor).map_err(|error| fail(&error))?));
                let name = schema.columns.get(index).map(|column| column.name.clone()).unwrap_or_default();
                columns.push(KeyColumn { name, descending: key.descending.get(place).copied().unwrap_or(false) });
            }
        }
        let key = columns.iter().map(|column| column.name.clone()).collect();
        let order = definition.key.as_ref().map(|key| Order { index: key.index.clone(), columns });
        let bitmap = full_bitmap(schema.columns.len());
        Ok(Self { name, ddl, order, key, layout, writers, bitmap, definition })
    }

    /// The layout.
    #[must_use]
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.definition.schema
    }

    /// The first column of the key, if it is an integer: its name, and whether it falls.
    #[must_use]
    pub fn leading_integer(&self) -> Option<&KeyColumn> {
        let index = *self.definition.key.as_ref()?.columns.first()?;
        // TINYINT, SMALLINT, INT, BIGINT, MEDIUMINT
        let integer = matches!(self.definition.schema.columns.get(index)?.type_code, 1 | 2 | 3 | 8 | 9);
        integer.then(|| self.order.as_ref()?.columns.first()).flatten()
    }

    /// Whether chunks can go on where those of `before` ended: the key is the same, with the same order.
    #[must_use]
    pub fn goes_on(&self, before: &Shape) -> bool {
        let kind = |shape: &Shape| -> Option<Vec<_>> {
            let key = shape.definition.key.as_ref()?;
            let columns = key.columns.iter().map(|&index| {
                let column = shape.definition.schema.columns.get(index)?;
                Some((
                    column.name.clone(),
                    column.type_code,
                    column.meta,
                    column.unsigned,
                    column.collation,
                    column.members.clone(),
                ))
            });
            columns.collect()
        };
        self.order.as_ref().map(|order| &order.columns) == before.order.as_ref().map(|order| &order.columns)
            && kind(self).is_some()
            && kind(self) == kind(before)
    }

    /// `SELECT list FROM table`
    #[must_use]
    pub fn select(&self) -> Vec<u8> {
        let mut sql = b"SELECT ".to_vec();
        sql.extend_from_slice(self.definition.select_list.as_bytes());
        sql.extend_from_slice(b" FROM ");
        sql.extend_from_slice(&quoted(&self.name));
        sql
    }

    /// The SELECT of a chunk.
    #[must_use]
    pub fn chunk_sql(&self, after: &[Vec<u8>], until: &[Vec<u8>], limit: u64, suffix: &str) -> Vec<u8> {
        let mut sql = self.select();
        if let Some(order) = &self.order {
            order.force(&mut sql);
            order.between(after, until, &mut sql);
            order.order_by(&mut sql);
        }
        sql.extend_from_slice(format!(" LIMIT {limit}{suffix}").as_bytes());
        sql
    }

    /// Everything, in the order of the key if there is one.
    #[must_use]
    pub fn whole_sql(&self) -> Vec<u8> {
        let mut sql = self.select();
        if let Some(order) = &self.order {
            order.force(&mut sql);
            order.order_by(&mut sql);
        }
        sql
    }

    /// The key of a row as SQL literals.
    ///
    /// # Errors
    /// Bytes that are no row; a value that cannot be written.
    pub fn key_of(&self, image: &[u8]) -> Result<Vec<Vec<u8>>, ReaderError> {
        let fail = |error: &dyn std::fmt::Display| {
            ReaderError::Source(format!("a row of the source's table {}: {error}", self.name))
        };
        let mut rows = self.layout.rows(Op::Insert, &[], &self.bitmap, image).map_err(|error| fail(&error))?;
        let row = rows.next().ok_or_else(|| fail(&"is missing"))?.map_err(|error| fail(&error))?;
        let Some(after) = row.after else { return Err(fail(&"has no image")) };
        let mut key = Vec::with_capacity(self.writers.len());
        for (index, writer) in &self.writers {
            key.push(literal(writer, after.column(*index)).map_err(|error| fail(&error))?);
        }
        Ok(key)
    }

    /// The source's family.
    #[must_use]
    pub fn flavor(&self) -> Flavor {
        self.definition.schema.flavor
    }
}

/// A literal that compares as the column's value does. As a condition has it: a BINARY's trailing zero bytes, which row images lack, are part of it.
fn literal(writer: &ColumnWriter, cell: Cell<'_>) -> Result<Vec<u8>, common::literal::LiteralError> {
    let mut condition = Vec::new();
    writer.condition(cell, Matching::Key, &mut condition)?;
    let mut start = writer.quoted_name().to_vec();
    start.extend_from_slice(b"<=>");
    match condition.strip_prefix(start.as_slice()) {
        Some(value) => Ok(value.to_vec()),
        None => {
            let mut value = Vec::new();
            writer.value(cell, &mut value)?;
            Ok(value)
        }
    }
}

/// A bit for each column, all set.
fn full_bitmap(columns: usize) -> Vec<u8> {
    let mut bitmap = vec![0xff; columns / 8];
    if !columns.is_multiple_of(8) {
        bitmap.push((1_u8 << (columns % 8)) - 1);
    }
    bitmap
}

/// Rows of one chunk.
#[derive(Debug, Default)]
pub struct Rows {
    /// Packed images.
    pub images: Vec<u8>,
    /// Where each ends.
    pub ends: Vec<u32>,
}

impl Rows {
    /// The last row.
    #[must_use]
    pub fn last(&self) -> Option<&[u8]> {
        let end = *self.ends.last()? as usize;
        let start =
            self.ends.len().checked_sub(2).and_then(|index| self.ends.get(index)).map_or(0, |&end| end as usize);
        self.images.get(start..end)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ends.len() as u64
    }
}

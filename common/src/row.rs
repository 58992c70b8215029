//! Packed rows: how the images of a row event are cut into rows and columns.
//!
//! A [`Layout`] is a [`TableSchema`] turned into what slicing needs. It is made once per schema and then cuts millions of rows
//! a second without an allocation. Bytes may be anything: a length is checked before it is believed, nothing panics, and
//! what does not fit is a [`RowError`] that says where. docs/FORMAT-values.md has the format for readers in other languages.
//!
//! ```
//! use common::row::{Cell, Layout};
//! use common::record::Op;
//! # use common::schema::*;
//! # let column = |name: &str, type_code, meta| Column { name: name.into(), type_code, meta, nullable: true, unsigned: false,
//! #     collation: 0, members: vec![], visible: true };
//! # let schema = TableSchema { database: "shop".into(), table: "t".into(), flavor: Flavor::MySql,
//! #     columns: vec![column("id", 3, 0), column("name", 15, 80)], primary_key: vec![], origin: LayoutOrigin::TableMap };
//! let layout = Layout::new(&schema)?;
//! let images = b"\x00\x07\x00\x00\x00\x02hi"; // NULL bitmap, INT 7, VARCHAR 'hi'
//! let row = layout.rows(Op::Insert, &[], &[0b11], images)?.next().unwrap()?;
//! assert_eq!(row.after.unwrap().column(1), Cell::Bytes(b"hi"));
//! # Ok::<(), common::row::RowError>(())
//! ```

mod image;
mod packed;
mod slice;

pub use image::{Cell, Cells, Image};
pub(crate) use packed::string_bytes;
pub use packed::{decimal_bytes, metadata_bytes};
pub use slice::{RowImages, RowIter};

use crate::schema::{Flavor, TableSchema};
use packed::Packed;

/// A row or a layout that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A column type that is not known, or that cannot stand in a row event.
    #[error(
        "{table}: column {column} has type {type_code} (metadata {meta:#06x}), which cannot be read from a row event"
    )]
    UnknownType {
        /// `database.table`.
        table: String,
        /// Name of the column.
        column: String,
        /// Its type byte.
        type_code: u8,
        /// Its metadata.
        meta: u16,
    },
    /// A temporal column of MariaDB's own old format, whose length the log does not tell.
    #[error(
        "{table}: column {column} is a {type_name} in MariaDB's old storage format, of which the log does not tell the \
         length; run on the source: SET GLOBAL mysql56_temporal_format=ON; ALTER TABLE {quoted} FORCE"
    )]
    OldTemporal {
        /// `database.table`.
        table: String,
        /// The same, quoted for SQL.
        quoted: String,
        /// Name of the column.
        column: String,
        /// TIME, DATETIME or TIMESTAMP.
        type_name: &'static str,
    },
    /// The images end within a row.
    #[error("{table}: row {row} ends within column {column} at byte {offset} of {len}")]
    Truncated {
        /// `database.table`.
        table: String,
        /// Which row of the record, from 0.
        row: u32,
        /// Name of the column, or what else was being read.
        column: String,
        /// Offset into the images.
        offset: usize,
        /// Length of the images.
        len: usize,
    },
    /// Bytes or a bitmap that do not belong to this operation and layout.
    #[error("{table}: {what}")]
    Malformed {
        /// `database.table`.
        table: String,
        /// What is wrong.
        what: String,
    },
}

/// What slicing needs to know of a table.
#[derive(Clone, Debug)]
pub struct Layout {
    database: String,
    table: String,
    names: Vec<String>,
    columns: Vec<Packed>,
    /// Columns of type JSON, which have a bit each in a partial update.
    json_columns: usize,
}

impl Layout {
    /// The layout of this schema.
    ///
    /// # Errors
    /// [`RowError::UnknownType`] and [`RowError::OldTemporal`] for columns that cannot be sliced.
    pub fn new(schema: &TableSchema) -> Result<Self, RowError> {
        let mut columns = Vec::with_capacity(schema.columns.len());
        for column in &schema.columns {
            let old = match column.type_code {
                7 => "TIMESTAMP",
                11 => "TIME",
                12 => "DATETIME",
                _ => "",
            };
            if schema.flavor == Flavor::MariaDb && !old.is_empty() {
                return Err(RowError::OldTemporal {
                    table: schema.full_name(),
                    quoted: quoted(&schema.database, &schema.table),
                    column: column.name.clone(),
                    type_name: old,
                });
            }
            columns.push(Packed::new(column.type_code, column.meta).ok_or_else(|| RowError::UnknownType {
                table: schema.full_name(),
                column: column.name.clone(),
                type_code: column.type_code,
                meta: column.meta,
            })?);
        }
        Ok(Self {
            database: schema.database.clone(),
            table: schema.table.clone(),
            names: schema.columns.iter().map(|c| c.name.clone()).collect(),
            json_columns: schema.columns.iter().filter(|c| c.type_code == packed::JSON).count(),
            columns,
        })
    }

    /// Number of columns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether the table has no columns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    fn full_name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }

    fn malformed(&self, what: String) -> RowError {
        RowError::Malformed { table: self.full_name(), what }
    }
}

fn quoted(database: &str, table: &str) -> String {
    format!("`{}`.`{}`", database.replace('`', "``"), table.replace('`', "``"))
}

#[cfg(test)]
mod tests;

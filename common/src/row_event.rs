//! Row events: a stored [`Rows`] record back into binlog events, for a `BINLOG` statement.
//!
//! The events carry no checksum. A server reads them after it was given a format description event whose checksum algorithm is
//! OFF; [`format_description`] makes one from the source's. MySQL gets version 2 events, MariaDB version 1, as each writes by itself.
//!
//! A group of transactions becomes one statement like this: for each record [`table_map`] (when the table was not mapped since the last event
//! with [`STMT_END`], which forgets all maps) and [`rows`], all into one buffer; then base64. Names in the TABLE_MAP decide which table
//! is written, so mapped names need no change of the rows.
//!
//! Layouts: libs/mysql/binlog/event/rows_event.h (MySQL), sql/log_event.h (MariaDB).

use crate::record::{Op, Rows};
use crate::row::metadata_bytes;
use crate::schema::{Flavor, TableSchema};

mod format;

pub use format::{FormatError, format_description};

/// Flag of a row event: last of its statement. The server closes its tables and forgets the table maps.
pub const STMT_END: u16 = 1;

/// Length of an event's header in bytes.
pub const HEADER_BYTES: usize = 19;

/// A record that no event can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A name of more than 255 bytes.
    #[error("the name {name} is too long for a table map event")]
    Name {
        /// The name.
        name: String,
    },
    /// An event cannot be larger than 4 GiB, and a server takes at most 1 GiB.
    #[error("{table}: a row event of {bytes} bytes is larger than a server accepts (1 GiB)")]
    TooLarge {
        /// `database.table`.
        table: String,
        /// Bytes of the event.
        bytes: usize,
    },
    /// MariaDB has no partial updates.
    #[error("{table}: a partial update cannot be written for MariaDB")]
    Partial {
        /// `database.table`.
        table: String,
    },
}

/// What the headers of all events of a statement say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventHeader {
    /// Seconds since 1970 UTC: what NOW() is for defaults of columns that the destination has on its own.
    pub timestamp: u32,
    /// `server_id` of the server that first committed the change.
    pub server_id: u32,
}

impl EventHeader {
    /// Appends a header whose size is filled in by [`finish`].
    fn begin(self, type_code: u8, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.extend_from_slice(&self.timestamp.to_le_bytes());
        out.push(type_code);
        out.extend_from_slice(&self.server_id.to_le_bytes());
        out.extend_from_slice(&[0; 10]); // size, log_pos and flags
        start
    }
}

/// Puts the size of the event that begins at `start` into its header.
fn finish(start: usize, out: &mut [u8]) {
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX).to_le_bytes();
    if let Some(field) = out.get_mut(start + 9..start + 13) {
        field.copy_from_slice(&size);
    }
}

fn lenenc(n: usize, out: &mut Vec<u8>) {
    match n {
        0..=250 => out.push(n as u8),
        251..=0xffff => {
            out.push(252);
            out.extend_from_slice(&(n as u16).to_le_bytes());
        }
        _ => {
            out.push(253);
            out.extend(n.to_le_bytes().iter().take(3));
        }
    }
}

/// Appends the TABLE_MAP event that says which table the row events with this `table_id` are for: `database`.`table` at the
/// destination, packed as `schema` says. `table_id` is any number from 1 to 2^48 - 1; the same id means the same table until the next
/// [`STMT_END`].
///
/// # Errors
/// [`EventError::Name`].
pub fn table_map(
    header: EventHeader,
    schema: &TableSchema,
    table_id: u64,
    database: &str,
    table: &str,
    out: &mut Vec<u8>,
) -> Result<(), EventError> {
    const TABLE_MAP_EVENT: u8 = 19;
    /// BIT metadata is exact: always so since 5.1.
    const BIT_LEN_EXACT: u16 = 1;
    /// The first column is a generated invisible primary key (8.0.30); a server drops its own from the comparison otherwise.
    const GENERATED_INVISIBLE_PK: u16 = 4;
    let name = |name: &str, out: &mut Vec<u8>| -> Result<(), EventError> {
        let len = u8::try_from(name.len()).map_err(|_| EventError::Name { name: name.to_owned() })?;
        out.push(len);
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        Ok(())
    };
    let begin = out.len();
    let start = header.begin(TABLE_MAP_EVENT, out);
    out.extend(table_id.to_le_bytes().iter().take(6));
    let mut flags = BIT_LEN_EXACT;
    if has_generated_invisible_key(schema) {
        flags |= GENERATED_INVISIBLE_PK;
    }
    out.extend_from_slice(&flags.to_le_bytes());
    if let Err(error) = name(database, out).and_then(|()| name(table, out)) {
        out.truncate(begin);
        return Err(error);
    }
    lenenc(schema.columns.len(), out);
    out.extend(schema.columns.iter().map(|c| c.type_code));
    lenenc(schema.columns.iter().map(|c| metadata_bytes(c.type_code)).sum(), out);
    for column in &schema.columns {
        out.extend(column.meta.to_le_bytes().iter().take(metadata_bytes(column.type_code)));
    }
    for eight in schema.columns.chunks(8) {
        let bits = eight.iter().enumerate().fold(0, |bits, (i, c)| bits | u8::from(c.nullable) << i);
        out.push(bits);
    }
    vector_dimensions(schema, out);
    finish(start, out);
    Ok(())
}

/// The only optional metadata that a server needs: it refuses a VECTOR column unless its dimensions are those of its own column.
fn vector_dimensions(schema: &TableSchema, out: &mut Vec<u8>) {
    const VECTOR: u8 = 242;
    const VECTOR_DIMENSIONALITY: u8 = 13;
    let vectors = || schema.columns.iter().filter(|c| c.type_code == VECTOR).map(|c| usize::from(c.collation));
    let len: usize = vectors().map(|n| if n < 251 { 1 } else { 3 }).sum();
    if len > 0 {
        out.push(VECTOR_DIMENSIONALITY);
        lenenc(len, out);
        vectors().for_each(|n| lenenc(n, out));
    }
}

/// Whether the first column is MySQL's generated invisible primary key (`sql_generate_invisible_primary_key`), whose name is reserved for it.
fn has_generated_invisible_key(schema: &TableSchema) -> bool {
    let first = schema.columns.first();
    schema.flavor == Flavor::MySql
        && first.is_some_and(|c| c.name == "my_row_id" && !c.visible && c.type_code == 8)
        && matches!(schema.primary_key.as_slice(), [part] if part.column == 0)
}

/// Appends the row event of a record. `more` are the images of the [`crate::record::RowsMore`] records that belong to it, or of further records
/// that may join it: same table, operation and columns. `flags` stands in for the record's (mostly with [`STMT_END`]).
///
/// # Errors
/// [`EventError::TooLarge`], [`EventError::Partial`].
pub fn rows(
    header: EventHeader,
    schema: &TableSchema,
    record: &Rows<'_>,
    more: &[&[u8]],
    flags: u16,
    table_id: u64,
    out: &mut Vec<u8>,
) -> Result<(), EventError> {
    const EVENT_BYTES_MAX: usize = 1 << 30;
    let images = record.images.len() + more.iter().map(|part| part.len()).sum::<usize>();
    let bytes = images + HEADER_BYTES + 32 + 2 * schema.columns.len().div_ceil(8);
    if bytes > EVENT_BYTES_MAX {
        return Err(EventError::TooLarge { table: schema.full_name(), bytes });
    }
    let type_code = match (schema.flavor, record.op) {
        (Flavor::MySql, Op::Insert) => 30,
        (Flavor::MySql, Op::Update) => 31,
        (Flavor::MySql, Op::Delete) => 32,
        (Flavor::MySql, Op::PartialUpdate) => 39,
        (Flavor::MariaDb, Op::Insert) => 23,
        (Flavor::MariaDb, Op::Update) => 24,
        (Flavor::MariaDb, Op::Delete) => 25,
        (Flavor::MariaDb, Op::PartialUpdate) => return Err(EventError::Partial { table: schema.full_name() }),
    };
    out.reserve(bytes);
    let start = header.begin(type_code, out);
    out.extend(table_id.to_le_bytes().iter().take(6));
    out.extend_from_slice(&flags.to_le_bytes());
    if schema.flavor == Flavor::MySql {
        out.extend_from_slice(&2u16.to_le_bytes()); // length of the extra data, itself included: none
    }
    lenenc(schema.columns.len(), out);
    if record.op != Op::Insert {
        out.extend_from_slice(record.columns_before);
    }
    if record.op != Op::Delete {
        out.extend_from_slice(record.columns_after);
    }
    out.extend_from_slice(record.images);
    for part in more {
        out.extend_from_slice(part);
    }
    finish(start, out);
    Ok(())
}

#[cfg(test)]
mod tests;

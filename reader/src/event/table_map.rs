//! TABLE_MAP: which table a row event means, and how its rows are packed (`Table_map_event` in rows_event.h).

mod metadata;

use std::borrow::Cow;

use common::schema::LayoutOrigin;
use common::{Column, Flavor, TableSchema};

use super::EventError;
use super::input::Input;
pub use metadata::Metadata;

/// The table id of a TABLE_MAP or row event that ends a statement without rows.
pub const DUMMY_TABLE_ID: u64 = 0x00ff_ffff;

/// A TABLE_MAP event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMap<'a> {
    /// Database name, UTF-8 by the server's rules.
    pub database: &'a str,
    /// Table name.
    pub table: &'a str,
    /// Type byte of each column.
    pub types: &'a [u8],
    /// Type metadata of each column, as in [`Column::meta`].
    pub metas: Vec<u16>,
    /// One bit per column, lowest first: NULL is allowed.
    nullable: &'a [u8],
    /// Names, signs, character sets, members and keys, as far as the source logs them.
    pub metadata: Metadata<'a>,
}

/// Takes the table id off the front of a TABLE_MAP or row event.
///
/// # Errors
/// [`EventError::Short`]
#[inline]
pub fn split_table_id(body: &[u8], id_bytes: usize) -> Result<(u64, &[u8]), EventError> {
    let mut input = Input::new(body, "the table id");
    let id = input.uint(id_bytes)?;
    Ok((id, input.rest()))
}

impl<'a> TableMap<'a> {
    /// Reads what follows the table id. The same bytes always mean the same layout, so callers may remember results by them.
    ///
    /// # Errors
    /// Missing bytes, lengths that disagree, a type that is not known.
    pub fn parse(after_id: &'a [u8]) -> Result<Self, EventError> {
        let mut input = Input::new(after_id, "the table map");
        input.u16()?; // flags
        let database = name(&mut input)?;
        let table = name(&mut input)?;
        let columns = input.length()?;
        let types = input.take(columns)?;
        let mut meta = Input::new(input.lenenc_bytes()?, "the table map's type metadata");
        let metas = types.iter().map(|&code| column_meta(code, &mut meta)).collect::<Result<Vec<u16>, _>>()?;
        if !meta.is_empty() {
            return Err(EventError::invalid("the table map's type metadata", format!("{} bytes too many", meta.len())));
        }
        let nullable = input.take(columns.div_ceil(8))?;
        let metadata = Metadata::parse(input.rest())?;
        Ok(Self { database, table, types, metas, nullable, metadata })
    }

    /// Whether column `index` allows NULL.
    #[must_use]
    pub fn is_nullable(&self, index: usize) -> bool {
        self.nullable.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// The layout, if the source logs column names (`binlog_row_metadata=FULL`); else None.
    ///
    /// # Errors
    /// Metadata that does not fit the columns.
    pub fn schema(&self, flavor: Flavor) -> Result<Option<TableSchema>, EventError> {
        let Some(names) = self.metadata.names()? else { return Ok(None) };
        if names.len() != self.types.len() {
            return Err(EventError::invalid(
                "the table map",
                format!("{} names, {} columns", names.len(), self.types.len()),
            ));
        }
        let mut columns = self.columns(flavor)?;
        for (column, name) in columns.iter_mut().zip(names) {
            column.name = name.to_owned();
        }
        let primary_key = self.metadata.primary_key()?;
        if primary_key.iter().any(|part| usize::from(part.column) >= columns.len()) {
            return Err(EventError::invalid("the table map", "the primary key names a column that does not exist"));
        }
        Ok(Some(TableSchema {
            database: self.database.to_owned(),
            table: self.table.to_owned(),
            flavor,
            columns,
            primary_key,
            origin: LayoutOrigin::TableMap,
        }))
    }

    /// The columns without their names; all that even minimal metadata tells is filled in.
    ///
    /// # Errors
    /// As [`TableMap::schema`].
    pub fn columns(&self, flavor: Flavor) -> Result<Vec<Column>, EventError> {
        let mut columns: Vec<Column> = std::iter::zip(self.types, &self.metas)
            .enumerate()
            .map(|(index, (&type_code, &meta))| Column {
                name: String::new(),
                type_code,
                meta,
                nullable: self.is_nullable(index),
                unsigned: false,
                collation: 0,
                members: Vec::new(),
                visible: true,
            })
            .collect();
        self.metadata.fill(&mut columns, flavor)?;
        Ok(columns)
    }

    /// `database.table`, for messages.
    #[must_use]
    pub fn full_name(&self) -> Cow<'a, str> {
        format!("{}.{}", self.database, self.table).into()
    }
}

/// A name with its length before and a NUL after it. No name is longer than 192 bytes, so that the length is one byte under either rule.
fn name<'a>(input: &mut Input<'a>) -> Result<&'a str, EventError> {
    let bytes = input.lenenc_bytes()?;
    input.take(1)?;
    std::str::from_utf8(bytes).map_err(|_| EventError::invalid("a name in the table map", "not UTF-8"))
}

/// How many bytes of metadata a type has: `save_field_metadata` of the server's Field classes.
fn column_meta(code: u8, meta: &mut Input<'_>) -> Result<u16, EventError> {
    use common_types::*;
    match code {
        TINY_BLOB | MEDIUM_BLOB | LONG_BLOB | BLOB | BLOB_COMPRESSED | GEOMETRY | JSON | VECTOR | FLOAT | DOUBLE
        | TIMESTAMP2 | DATETIME2 | TIME2 => meta.u8().map(u16::from),
        VARCHAR | VARCHAR_COMPRESSED | BIT | NEWDECIMAL | ENUM | SET | STRING | VAR_STRING => meta.u16(),
        DECIMAL | TINY | SHORT | LONG | NULL | TIMESTAMP | LONGLONG | INT24 | DATE | TIME | DATETIME | YEAR
        | NEWDATE => Ok(0),
        other => Err(EventError::invalid("the type of a column", format!("{other} is not known"))),
    }
}

/// `enum_field_types`
mod common_types {
    pub(super) const DECIMAL: u8 = 0;
    pub(super) const TINY: u8 = 1;
    pub(super) const SHORT: u8 = 2;
    pub(super) const LONG: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const NULL: u8 = 6;
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const LONGLONG: u8 = 8;
    pub(super) const INT24: u8 = 9;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const YEAR: u8 = 13;
    pub(super) const NEWDATE: u8 = 14;
    pub(super) const VARCHAR: u8 = 15;
    pub(super) const BIT: u8 = 16;
    pub(super) const TIMESTAMP2: u8 = 17;
    pub(super) const DATETIME2: u8 = 18;
    pub(super) const TIME2: u8 = 19;
    pub(super) const BLOB_COMPRESSED: u8 = 140;
    pub(super) const VARCHAR_COMPRESSED: u8 = 141;
    pub(super) const VECTOR: u8 = 242;
    pub(super) const JSON: u8 = 245;
    pub(super) const NEWDECIMAL: u8 = 246;
    pub(super) const ENUM: u8 = 247;
    pub(super) const SET: u8 = 248;
    pub(super) const TINY_BLOB: u8 = 249;
    pub(super) const MEDIUM_BLOB: u8 = 250;
    pub(super) const LONG_BLOB: u8 = 251;
    pub(super) const BLOB: u8 = 252;
    pub(super) const VAR_STRING: u8 = 253;
    pub(super) const STRING: u8 = 254;
    pub(super) const GEOMETRY: u8 = 255;
}

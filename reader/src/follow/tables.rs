//! Table ids and layouts.

use std::collections::HashMap;
use std::rc::Rc;

use common::config::Server;
use common::row::Layout;
use common::selection::Selection;
use common::{BinlogPosition, Flavor, SchemaId, TableSchema, codec};

use super::Failure;
use crate::error::ReaderError;
use crate::event::table_map::{DUMMY_TABLE_ID, TableMap, split_table_id};
use crate::source::Session;

/// Ids and layouts that are kept before they are looked up anew; a source that makes tables without end costs no memory.
const KEPT_MAX: usize = 20_000;

/// Where layouts come from that the log does not tell (`binlog_row_metadata` is not FULL).
pub trait Layouts: std::fmt::Debug {
    /// The layout of the table as it was when this event was written.
    ///
    /// # Errors
    /// Where it cannot be known; the message says what to do.
    fn layout(&mut self, map: &TableMap<'_>, flavor: Flavor, timestamp: u32) -> Result<TableSchema, ReaderError>;

    /// A statement has changed (or may have) this table, or with an empty table name any table of this database.
    fn changed(&mut self, database: &str, table: &str, timestamp: u32);

    /// A connection on which to ask.
    fn connected(&mut self, session: Session, server: &Server, version: &str);
}

/// What is known of a table map.
#[derive(Debug)]
pub enum Entry {
    /// A table that is captured.
    Stored(Box<Table>),
    /// A table that is not.
    Skipped,
}

/// A layout with all that follows from it.
#[derive(Debug)]
pub struct Table {
    /// The layout.
    pub schema: TableSchema,
    /// Its id.
    pub id: SchemaId,
    /// For slicing.
    pub layout: Layout,
    /// As a record's payload.
    pub encoded: Vec<u8>,
}

/// The tables that the stream has named.
#[derive(Debug)]
pub struct Tables {
    selection: Selection,
    by_id: HashMap<u64, Rc<Entry>>,
    /// By the bytes of the table map after the id: the same bytes mean the same layout where names are logged.
    by_bytes: HashMap<Box<[u8]>, Rc<Entry>>,
    /// The id that was asked for last; nearly always the next one too.
    last: Option<(u64, Rc<Entry>)>,
    /// The last table map, id and all. The same again needs no look-up: a busy table repeats it with each transaction.
    last_map: Vec<u8>,
    layouts: Box<dyn Layouts>,
}

impl Tables {
    /// No tables yet.
    #[must_use]
    pub fn new(selection: Selection, layouts: Box<dyn Layouts>) -> Self {
        Self { selection, by_id: HashMap::new(), by_bytes: HashMap::new(), last: None, last_map: Vec::new(), layouts }
    }

    /// Which tables are captured.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Where layouts come from that the log does not tell.
    pub fn layouts(&mut self) -> &mut dyn Layouts {
        &mut *self.layouts
    }

    /// Table ids mean nothing on another connection or after a restart of the source.
    pub(super) fn forget_ids(&mut self) {
        self.by_id.clear();
        self.last = None;
        self.last_map.clear();
    }

    /// A statement changed these objects: layouts that did not come from the log must be asked for again.
    pub(super) fn changed(&mut self, database: &str, table: &str, timestamp: u32) {
        self.by_bytes.clear();
        self.forget_ids();
        self.layouts.changed(database, table, timestamp);
    }

    #[inline]
    pub(super) fn get(&mut self, id: u64) -> Option<&Rc<Entry>> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != id) {
            self.last = self.by_id.get(&id).map(|entry| (id, entry.clone()));
        }
        self.last.as_ref().map(|(_, entry)| entry)
    }

    /// Takes a TABLE_MAP event.
    pub(super) fn map(
        &mut self,
        flavor: Flavor,
        body: &[u8],
        id_bytes: usize,
        timestamp: u32,
        position: &BinlogPosition,
    ) -> Result<(), Failure> {
        if self.last_map == body {
            return Ok(());
        }
        let (id, rest) = split_table_id(body, id_bytes)?;
        if id == DUMMY_TABLE_ID {
            return Ok(());
        }
        if let Some(entry) = self.by_bytes.get(rest) {
            if self.last.as_ref().is_none_or(|(last, known)| *last != id || !Rc::ptr_eq(known, entry)) {
                self.by_id.insert(id, entry.clone());
                self.last = Some((id, entry.clone()));
            }
            self.last_map.clear();
            self.last_map.extend_from_slice(body);
            return Ok(());
        }
        if self.by_bytes.len() >= KEPT_MAX || self.by_id.len() >= KEPT_MAX {
            self.by_bytes.clear();
            // Ids in use by the open statement must stay; only what was replaced long ago could go, and that cannot be told apart cheaply.
            if self.by_id.len() >= KEPT_MAX * 8 {
                self.by_id.clear();
            }
        }
        let map = TableMap::parse(rest)?;
        let entry = if self.selection.selects(map.database, map.table) {
            let schema = match map.schema(flavor)? {
                Some(schema) => schema,
                None => self.layouts.layout(&map, flavor, timestamp)?,
            };
            let rows = |source| ReaderError::Rows { position: position.clone(), source };
            let layout = Layout::new(&schema).map_err(rows)?;
            let encoded = codec::encode(&schema).map_err(ReaderError::Codec)?;
            let id = schema.id().map_err(ReaderError::Codec)?;
            Entry::Stored(Box::new(Table { schema, id, layout, encoded }))
        } else {
            Entry::Skipped
        };
        let entry = Rc::new(entry);
        self.by_bytes.insert(rest.into(), entry.clone());
        self.by_id.insert(id, entry.clone());
        self.last = Some((id, entry));
        self.last_map.clear();
        self.last_map.extend_from_slice(body);
        Ok(())
    }
}

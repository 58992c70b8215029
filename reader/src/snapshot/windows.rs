//! What the follower remembers of tables that are being read: the keys of changed rows, and whether DDL came.
//!
//! A key is remembered in a normal form, as SQL literals: the same value may be packed in different ways in the binlog and in a chunk. It is remembered
//! for all windows of its table together, with the time of its last change in our own count of openings; a window asks for what came since its own.

use std::collections::HashMap;

use common::SchemaId;
use common::literal::ColumnWriter;
use common::record::{DdlKind, DdlObject, DdlRole, Op};
use common::row::{Cell, Image, Layout, RowError};
use common::schema::TableSchema;
use common::snapshot::TableName;

use super::desk::Again;

/// Keys that are remembered for a table at a time,
const KEYS_MAX: usize = 200_000;
/// and their bytes.
const KEY_BYTES_MAX: usize = 32 << 20;

/// All windows that are open.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    open: Vec<Open>,
    watches: Vec<Watch>,
    /// Grows with each window. What happens is stamped with it.
    clock: u64,
    next_id: u64,
    /// Which watches a layout concerns.
    by_schema: HashMap<SchemaId, Vec<usize>>,
}

/// One window.
#[derive(Debug)]
struct Open {
    id: u64,
    since: u64,
    tables: Vec<(TableName, Vec<String>)>,
}

/// One table with one key, for all windows that name it so. A stamp of 0 says never.
#[derive(Debug)]
struct Watch {
    table: TableName,
    key: Vec<String>,
    /// When a key was last changed.
    keys: HashMap<Box<[u8]>, u64>,
    key_bytes: usize,
    rows: u64,
    ddl: u64,
    partial: u64,
    too_many: u64,
    /// The key's columns in a layout; None where the layout lacks one.
    readers: HashMap<SchemaId, Option<KeyReader>>,
}

/// The rows of one event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changed<'a> {
    pub(crate) id: SchemaId,
    pub(crate) schema: &'a TableSchema,
    pub(crate) layout: &'a Layout,
    pub(crate) op: Op,
    pub(crate) columns_before: &'a [u8],
    pub(crate) columns_after: &'a [u8],
    pub(crate) images: &'a [u8],
}

impl Windows {
    /// Whether rows and DDL concern nobody.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Opens one; with a key for those tables whose rows are to be told apart.
    pub(crate) fn open(&mut self, tables: Vec<(TableName, Vec<String>)>) -> u64 {
        self.clock += 1;
        self.next_id += 1;
        for (table, key) in &tables {
            if !self.watches.iter().any(|watch| watch.table == *table && watch.key == *key) {
                self.watches.push(Watch::new(table.clone(), key.clone()));
            }
        }
        self.by_schema.clear();
        self.open.push(Open { id: self.next_id, since: self.clock, tables });
        self.next_id
    }

    /// Closes it, if it is open.
    pub(crate) fn close(&mut self, id: u64) {
        self.open.retain(|open| open.id != id);
        let wanted = |watch: &Watch| self.open.iter().any(|open| open.names(watch));
        if !self.watches.iter().all(wanted) {
            let open = &self.open;
            self.watches.retain(|watch| open.iter().any(|open| open.names(watch)));
            self.by_schema.clear();
        }
    }

    /// Closes all.
    pub(crate) fn close_all(&mut self) {
        self.open.clear();
        self.watches.clear();
        self.by_schema.clear();
    }

    /// Remembers rows.
    ///
    /// # Errors
    /// Images that cannot be cut into rows.
    pub(crate) fn rows(&mut self, changed: &Changed<'_>) -> Result<(), RowError> {
        let watches = &self.watches;
        let concerned = self.by_schema.entry(changed.id).or_insert_with(|| {
            let schema = changed.schema;
            let is = |watch: &Watch| watch.table.database == schema.database && watch.table.table == schema.table;
            watches.iter().enumerate().filter(|(_, watch)| is(watch)).map(|(index, _)| index).collect()
        });
        for &index in &*concerned {
            let Some(watch) = self.watches.get_mut(index) else { continue };
            watch.changed(changed, self.clock)?;
            if watch.keys.len() > KEYS_MAX || watch.key_bytes > KEY_BYTES_MAX {
                let oldest = self.open.iter().filter(|open| open.names(watch)).map(|open| open.since).min();
                watch.forget(self.clock, oldest.unwrap_or(self.clock));
            }
        }
        Ok(())
    }

    /// Remembers DDL.
    pub(crate) fn ddl(&mut self, kind: DdlKind, objects: &[DdlObject]) {
        for watch in &mut self.watches {
            if touches(kind, objects, &watch.table.database, &watch.table.table) {
                watch.ddl = self.clock;
            }
        }
    }

    /// Rows have changed of which it is not known whose they are: those of a branch that was prepared before.
    pub(crate) fn unknown_rows(&mut self) {
        for watch in &mut self.watches {
            watch.ddl = self.clock;
        }
    }

    /// Whether what was read in this window can still be used.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, id: u64) -> Result<(), Again> {
        let open = self.open.iter().find(|open| open.id == id).ok_or(Again::Lost)?;
        for watch in self.watches.iter().filter(|watch| open.names(watch)) {
            if watch.ddl >= open.since {
                return Err(Again::Ddl);
            }
            // A definition does not depend on rows.
            if watch.key.is_empty() {
                continue;
            }
            if watch.partial >= open.since {
                return Err(Again::Partial);
            }
            if watch.too_many >= open.since {
                return Err(Again::TooMany);
            }
        }
        Ok(())
    }

    /// Whether rows or DDL have touched its tables.
    pub(crate) fn touched(&self, id: u64) -> bool {
        self.open.iter().find(|open| open.id == id).is_none_or(|open| {
            let mut watches = self.watches.iter().filter(|watch| open.names(watch));
            watches.any(|watch| watch.ddl >= open.since || watch.rows >= open.since)
        })
    }

    /// Which rows of a table's chunk, read in this window, must be left out: none, or a way to find out.
    pub(crate) fn dropped(&self, id: u64, table: &TableName) -> Option<Dropped<'_>> {
        let open = self.open.iter().find(|open| open.id == id)?;
        let watch =
            self.watches.iter().find(|watch| watch.table == *table && !watch.key.is_empty() && open.names(watch))?;
        let mut stamps = watch.keys.values();
        stamps.any(|stamp| *stamp >= open.since).then_some(Dropped { watch, since: open.since })
    }
}

/// The changed keys of one window and table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropped<'a> {
    watch: &'a Watch,
    since: u64,
}

impl Dropped<'_> {
    /// The key's columns in the layout of a chunk; None where it lacks one.
    pub(crate) fn reader(&self, schema: &TableSchema) -> Option<KeyReader> {
        KeyReader::new(schema, &self.watch.key)
    }

    /// Whether the row of this key has changed.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.watch.keys.get(key).is_some_and(|stamp| *stamp >= self.since)
    }
}

impl Open {
    fn names(&self, watch: &Watch) -> bool {
        self.tables.iter().any(|(table, key)| *table == watch.table && *key == watch.key)
    }
}

impl Watch {
    fn new(table: TableName, key: Vec<String>) -> Self {
        Self {
            table,
            key,
            keys: HashMap::new(),
            key_bytes: 0,
            rows: 0,
            ddl: 0,
            partial: 0,
            too_many: 0,
            readers: HashMap::new(),
        }
    }

    fn changed(&mut self, changed: &Changed<'_>, now: u64) -> Result<(), RowError> {
        self.rows = now;
        if self.key.is_empty() {
            return Ok(());
        }
        let whole = |columns: &[u8]| {
            (0..changed.layout.len()).all(|i| columns.get(i / 8).is_some_and(|b| b >> (i % 8) & 1 == 1))
        };
        if changed.op == Op::PartialUpdate || changed.op != Op::Delete && !whole(changed.columns_after) {
            self.partial = now;
            return Ok(());
        }
        let reader = self.readers.entry(changed.id).or_insert_with(|| KeyReader::new(changed.schema, &self.key));
        let Some(reader) = reader else {
            // Another definition than the one that was read.
            self.ddl = now;
            return Ok(());
        };
        let mut key = Vec::new();
        for row in changed.layout.rows(changed.op, changed.columns_before, changed.columns_after, changed.images)? {
            let row = row?;
            key.clear();
            for image in [row.before, row.after].into_iter().flatten() {
                let start = key.len();
                if !reader.read(&image, &mut key) {
                    self.partial = now;
                    return Ok(());
                }
                let (before, this) = key.split_at(start);
                // Most updates leave the key as it is.
                if before != this {
                    match self.keys.get_mut(this) {
                        Some(stamp) => *stamp = now,
                        None => {
                            self.key_bytes += this.len();
                            self.keys.insert(this.into(), now);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes room: what only closed windows needed, or else all.
    fn forget(&mut self, now: u64, oldest: u64) {
        self.keys.retain(|_, stamp| *stamp >= oldest);
        self.key_bytes = self.keys.keys().map(|key| key.len()).sum();
        // Not only just enough, or it would be looked through again at the next row.
        if self.keys.len() > KEYS_MAX / 2 || self.key_bytes > KEY_BYTES_MAX / 2 {
            self.keys = HashMap::new();
            self.key_bytes = 0;
            self.too_many = now;
        }
    }
}

/// Reads the key of a row.
#[derive(Debug)]
pub(crate) struct KeyReader {
    /// By place in the key: index of the column, and how to write its value.
    columns: Vec<(usize, ColumnWriter)>,
}

impl KeyReader {
    fn new(schema: &TableSchema, key: &[String]) -> Option<Self> {
        let column = |name: &String| {
            let index = schema.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))?;
            Some((index, ColumnWriter::same(schema, index, schema.flavor).ok()?))
        };
        Some(Self { columns: key.iter().map(column).collect::<Option<_>>()? })
    }

    /// Appends the normal form; false where the image does not have it.
    pub(crate) fn read(&self, image: &Image<'_>, out: &mut Vec<u8>) -> bool {
        self.columns.iter().all(|(index, writer)| {
            let cell = image.column(*index);
            // A comma cannot be mistaken: literals quote it.
            let read = matches!(cell, Cell::Bytes(_) | Cell::Null) && writer.value(cell, out).is_ok();
            out.push(b',');
            read
        })
    }
}

/// Whether a statement touches this table; with an empty name, this database. Names are compared without regard to case: too much is as right as enough.
pub(crate) fn touches(kind: DdlKind, objects: &[DdlObject], database: &str, table: &str) -> bool {
    let same = |a: &str, b: &str| a == b || a.to_lowercase() == b.to_lowercase();
    objects.iter().any(|object| {
        object.role != DdlRole::Reference
            && same(&object.database, database)
            && (same(&object.name, table) || object.name.is_empty() && kind == DdlKind::DropDatabase)
    })
}

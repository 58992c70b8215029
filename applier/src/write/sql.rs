//! Rows as SQL: statements for runs of rows, each with the number of rows that it must find.

use std::ops::Range;

use common::Flavor;
use common::literal::load::{FIELD_END, FORMAT, Field, ROW_END};
use common::literal::{ColumnWriter, LiteralError, Matching, Target, lenient};
use common::record::Op;
use common::row::{Cell, RowImages};

use super::route::Route;
use crate::error::{ApplyError, Result};
use crate::plan::SourceTable;
use crate::target::Key;

/// What the session's variables are set to, as far as we know.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqlState {
    /// `foreign_key_checks`; None = not known (row events change it).
    pub foreign_key_checks: Option<bool>,
}

impl SqlState {
    /// Something else may have changed them.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Writes the rows of one source table for one destination table.
#[derive(Debug)]
pub struct TableWriter {
    /// The destination's table, qualified and quoted.
    name: String,
    /// Per source column.
    columns: Vec<ColumnWriter>,
    /// Per source column: the destination computes it.
    generated: Vec<bool>,
    /// Names (quoted) of destination columns that refresh themselves, by source column.
    refreshing: Vec<bool>,
    /// Source columns of each key of the destination.
    keys: Vec<Vec<usize>>,
    /// The same of its unique keys with columns that may be NULL.
    nullable_keys: Vec<Vec<usize>>,
    dialect: Flavor,
}

/// How rows are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adding {
    /// They must not be there.
    Insert,
    /// Those that are there stay. Other errors become warnings too: whoever uses it must look at them.
    Ignore,
    /// They take the place of those that are there.
    Replace,
}

/// A statement, or a list of rows that goes on as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text.
    pub sql: Vec<u8>,
    /// Rows that it must find or add.
    pub rows: u64,
    /// Which of the rows given are in it.
    pub range: Range<usize>,
}

/// Rows of one DELETE at most: the server's range optimizer has a memory limit.
const DELETE_ROWS: usize = 100;

impl TableWriter {
    /// For this route.
    ///
    /// # Errors
    /// When a column's values cannot be written to the destination's column without loss.
    pub fn new(table: &SourceTable, route: &Route, dialect: Flavor) -> Result<Self> {
        let target = &route.target;
        let mut columns = Vec::with_capacity(route.columns.len());
        for (index, &place) in route.columns.iter().enumerate() {
            let Some(column) = target.columns.get(place) else { continue };
            let parsed = Target::parse(&column.name, &column.data_type, &column.column_type, column.charset.as_deref());
            let parsed = parsed.ok_or_else(|| {
                ApplyError::refused(
                    format!(
                        "{}: column {} has the type {}, which is not known",
                        target.full_name(),
                        column.name,
                        column.column_type
                    ),
                    "use another type there, or exclude the table",
                )
            })?;
            columns.push(ColumnWriter::new(&table.schema, index, parsed, dialect).map_err(unwritable)?);
        }
        let of = |wanted: fn(&crate::target::TargetColumn) -> bool| {
            route.columns.iter().map(|&place| target.columns.get(place).is_some_and(wanted)).collect::<Vec<bool>>()
        };
        let place_of = |wanted: usize| route.columns.iter().position(|&place| place == wanted);
        let places = |keys: &[Key]| {
            keys.iter()
                .filter_map(|key| key.columns.iter().map(|&c| place_of(c)).collect())
                .collect::<Vec<Vec<usize>>>()
        };
        Ok(Self {
            name: target.sql_name(),
            columns,
            generated: of(|c| c.generated),
            refreshing: of(|c| c.on_update_now),
            keys: places(&target.keys),
            nullable_keys: places(&target.nullable_keys),
            dialect,
        })
    }

    /// The columns by which the row of this image is found, and how exactly they are compared.
    fn key(&self, before: &[Cell<'_>]) -> (Vec<usize>, Matching) {
        let present = |c: &usize| !matches!(before.get(*c), None | Some(Cell::Absent));
        match self.keys.iter().find(|key| key.iter().all(&present)) {
            Some(key) => (key.clone(), Matching::Key),
            None => (
                (0..self.columns.len()).filter(|&c| present(&c) && self.generated.get(c) != Some(&true)).collect(),
                Matching::Exact,
            ),
        }
    }

    /// The condition that finds the row of a before image; whether at most one row has it.
    ///
    /// # Errors
    /// When a value cannot be written, or the image names no column.
    pub fn condition(&self, before: &[Cell<'_>], out: &mut Vec<u8>) -> Result<bool> {
        let (columns, matching) = self.key(before);
        if columns.is_empty() {
            return Err(ApplyError::refused(
                format!("{}: the log does not tell which row to change", self.name),
                "set binlog_row_image=FULL at the source, or give the table a primary key",
            ));
        }
        for (i, &c) in columns.iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(b" AND ");
            }
            let (Some(writer), Some(&cell)) = (self.columns.get(c), before.get(c)) else { continue };
            writer.condition(cell, matching, out).map_err(unwritable)?;
        }
        Ok(matching == Matching::Key)
    }

    fn written(&self, after: &[Cell<'_>]) -> Vec<usize> {
        let present = |c: usize| !matches!(after.get(c), None | Some(Cell::Absent));
        (0..self.columns.len()).filter(|&c| present(c) && self.generated.get(c) != Some(&true)).collect()
    }

    fn lenient(&self, cells: &[Cell<'_>]) -> bool {
        self.columns.iter().zip(cells).any(|(writer, &cell)| writer.needs_lenient(cell))
    }

    /// Statements for rows of one operation, in their order. With `single`, each row gets its own.
    ///
    /// # Errors
    /// When a value cannot be written.
    pub fn statements(&self, op: Op, rows: &[RowImages<'_>], room: usize, single: bool) -> Result<Vec<Statement>> {
        self.build(op, Adding::Insert, rows, room, single)
    }

    /// Statements that add rows, as [`TableWriter::statements`].
    ///
    /// # Errors
    /// When a value cannot be written.
    pub fn adding(&self, how: Adding, rows: &[RowImages<'_>], room: usize, single: bool) -> Result<Vec<Statement>> {
        self.build(Op::Insert, how, rows, room, single)
    }

    fn build(&self, op: Op, how: Adding, rows: &[RowImages<'_>], room: usize, single: bool) -> Result<Vec<Statement>> {
        let (verb, modifier) = match how {
            Adding::Insert => ("INSERT", ""),
            Adding::Ignore => ("INSERT", " IGNORE"),
            Adding::Replace => ("REPLACE", ""),
        };
        let mut out: Vec<Statement> = Vec::new();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        // What the open statement can be continued with: the columns of an INSERT, or a DELETE by key.
        let mut open: Option<Vec<usize>> = None;
        for (index, row) in rows.iter().enumerate() {
            if let Some(image) = row.before {
                image.read_into(&mut before);
            }
            if let Some(image) = row.after {
                image.read_into(&mut after);
            }
            match op {
                Op::Insert => {
                    let columns = self.written(&after);
                    let lenient_row = self.lenient(&after);
                    if let (Some(last), Some(open)) = (out.last_mut(), &open)
                        && *open == columns
                        && !lenient_row
                        && !single
                        && last.sql.len() < room
                    {
                        last.sql.push(b',');
                        self.values(&columns, &after, &mut last.sql)?;
                        last.rows += 1;
                        last.range.end = index + 1;
                        continue;
                    }
                    let mut rest = modifier.as_bytes().to_vec();
                    self.insert_head(&columns, &mut rest);
                    self.values(&columns, &after, &mut rest)?;
                    let sql = self.finish(verb, rest, lenient_row);
                    out.push(Statement { sql, rows: 1, range: index..index + 1 });
                    open = (!lenient_row).then_some(columns);
                }
                Op::Delete => {
                    let mut condition = Vec::new();
                    let by_key = self.condition(&before, &mut condition)?;
                    if let (Some(last), Some(_)) = (out.last_mut(), &open)
                        && by_key
                        && !single
                        && last.range.len() < DELETE_ROWS
                        && last.sql.len() < room
                    {
                        last.sql.extend_from_slice(b" OR (");
                        last.sql.append(&mut condition);
                        last.sql.push(b')');
                        last.rows += 1;
                        last.range.end = index + 1;
                        continue;
                    }
                    let mut sql = format!("DELETE FROM {} WHERE (", self.name).into_bytes();
                    sql.append(&mut condition);
                    sql.push(b')');
                    if !by_key {
                        sql.extend_from_slice(b" LIMIT 1");
                    }
                    out.push(Statement { sql, rows: 1, range: index..index + 1 });
                    open = by_key.then(Vec::new);
                }
                Op::Update | Op::PartialUpdate => {
                    let mut rest = format!(" {} SET ", self.name).into_bytes();
                    self.assignments(&before, &after, &mut rest)?;
                    rest.extend_from_slice(b" WHERE ");
                    if !self.condition(&before, &mut rest)? {
                        rest.extend_from_slice(b" LIMIT 1");
                    }
                    let sql = self.finish("UPDATE", rest, self.lenient(&after));
                    out.push(Statement { sql, rows: 1, range: index..index + 1 });
                }
            }
        }
        Ok(out)
    }

    fn finish(&self, verb: &str, rest: Vec<u8>, lenient_row: bool) -> Vec<u8> {
        if lenient_row {
            return lenient(verb, &rest, self.dialect);
        }
        let mut sql = verb.as_bytes().to_vec();
        sql.extend_from_slice(&rest);
        sql
    }

    fn insert_head(&self, columns: &[usize], out: &mut Vec<u8>) {
        out.extend_from_slice(format!(" INTO {} (", self.name).as_bytes());
        for (i, &c) in columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(self.columns.get(c).map_or(&[][..], ColumnWriter::quoted_name));
        }
        out.extend_from_slice(b") VALUES ");
    }

    fn values(&self, columns: &[usize], cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<()> {
        out.push(b'(');
        for (i, &c) in columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let (Some(writer), Some(&cell)) = (self.columns.get(c), cells.get(c)) else { continue };
            writer.value(cell, out).map_err(unwritable)?;
        }
        out.push(b')');
        Ok(())
    }

    fn assignments(&self, before: &[Cell<'_>], after: &[Cell<'_>], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        let comma = |out: &mut Vec<u8>| {
            if out.len() > start {
                out.push(b',');
            }
        };
        for (c, writer) in self.columns.iter().enumerate() {
            if self.generated.get(c) == Some(&true) {
                continue;
            }
            match after.get(c) {
                None | Some(Cell::Absent) => {
                    // Not in the log because it did not change; the server would set it to now.
                    if self.refreshing.get(c) == Some(&true) {
                        comma(out);
                        out.extend_from_slice(writer.quoted_name());
                        out.push(b'=');
                        out.extend_from_slice(writer.quoted_name());
                    }
                }
                Some(&cell) => {
                    comma(out);
                    out.extend_from_slice(writer.quoted_name());
                    out.push(b'=');
                    writer.value(cell, out).map_err(unwritable)?;
                }
            }
        }
        if out.len() == start {
            // Nothing to change here, but the row must be there.
            let (columns, _) = self.key(before);
            let name = columns.first().and_then(|&c| self.columns.get(c)).map_or(&[][..], ColumnWriter::quoted_name);
            out.extend_from_slice(name);
            out.push(b'=');
            out.extend_from_slice(name);
        }
        Ok(())
    }

    /// Whether an after image has a value for every column that can be written.
    #[must_use]
    pub fn is_whole(&self, after: &[Cell<'_>]) -> bool {
        let whole = |c: usize| {
            self.generated.get(c) == Some(&true)
                || !matches!(after.get(c), None | Some(Cell::Absent | Cell::JsonDiff(_)))
        };
        (0..self.columns.len()).all(whole)
    }

    /// Statements that insert whole rows, each with a key of its own; with `over`, over those that are there.
    ///
    /// # Errors
    /// When a value cannot be written.
    pub fn puts(&self, rows: &[RowImages<'_>], over: bool, room: usize) -> Result<Vec<Vec<u8>>> {
        let columns: Vec<usize> = (0..self.columns.len()).filter(|&c| self.generated.get(c) != Some(&true)).collect();
        let mut tail = Vec::new();
        if over {
            self.over(&columns, &mut tail);
        }
        let mut out = Vec::new();
        let mut open: Vec<u8> = Vec::new();
        let mut after = Vec::new();
        for row in rows {
            let Some(image) = row.after else { continue };
            image.read_into(&mut after);
            if self.lenient(&after) {
                let mut rest = Vec::new();
                self.insert_head(&columns, &mut rest);
                self.values(&columns, &after, &mut rest)?;
                rest.extend_from_slice(&tail);
                out.push(lenient("INSERT", &rest, self.dialect));
                continue;
            }
            if open.is_empty() {
                open.extend_from_slice(b"INSERT");
                self.insert_head(&columns, &mut open);
            } else {
                open.push(b',');
            }
            self.values(&columns, &after, &mut open)?;
            if open.len() >= room {
                open.extend_from_slice(&tail);
                out.push(std::mem::take(&mut open));
            }
        }
        if !open.is_empty() {
            open.extend_from_slice(&tail);
            out.push(open);
        }
        Ok(out)
    }

    /// Appends what makes an INSERT write over the row that is there.
    fn over(&self, columns: &[usize], out: &mut Vec<u8>) {
        out.extend_from_slice(b" ON DUPLICATE KEY UPDATE ");
        for (i, &c) in columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let name = self.columns.get(c).map_or(&[][..], ColumnWriter::quoted_name);
            out.extend_from_slice(name);
            out.extend_from_slice(b"=VALUES(");
            out.extend_from_slice(name);
            out.push(b')');
        }
    }

    /// Statements that put the after image in place whatever stands there; the first that succeeds is enough. None if the image
    /// is not whole.
    ///
    /// # Errors
    /// When a value cannot be written.
    pub fn put(&self, after: &[Cell<'_>]) -> Result<Option<[Vec<u8>; 2]>> {
        let columns = self.written(after);
        if !self.is_whole(after) {
            return Ok(None);
        }
        let mut rest = Vec::new();
        self.insert_head(&columns, &mut rest);
        self.values(&columns, after, &mut rest)?;
        let replace = self.finish("REPLACE", rest.clone(), self.lenient(after));
        self.over(&columns, &mut rest);
        Ok(Some([self.finish("INSERT", rest, self.lenient(after)), replace]))
    }

    /// An image for people: `name=literal, …`, cut where it is long.
    #[must_use]
    pub fn describe(&self, cells: &[Cell<'_>]) -> String {
        const VALUE_BYTES: usize = 96;
        let mut out = String::new();
        for (writer, &cell) in self.columns.iter().zip(cells) {
            if cell == Cell::Absent {
                continue;
            }
            let mut value = Vec::new();
            if writer.value(cell, &mut value).is_err() {
                value = b"?".to_vec();
            }
            let text = String::from_utf8_lossy(value.get(..VALUE_BYTES).unwrap_or(&value)).into_owned();
            let more = if value.len() > VALUE_BYTES { "…" } else { "" };
            let comma = if out.is_empty() { "" } else { ", " };
            out.push_str(&format!("{comma}{}={text}{more}", String::from_utf8_lossy(writer.quoted_name())));
        }
        out
    }

    /// Conditions by which rows can be found that an after image may conflict with, one for each key.
    #[must_use]
    pub fn conflicts(&self, after: &[Cell<'_>]) -> Vec<Vec<u8>> {
        let condition = |key: &Vec<usize>| {
            // Rows with NULL in a unique key do not meet.
            if key.iter().any(|&c| matches!(after.get(c), None | Some(Cell::Absent | Cell::Null))) {
                return None;
            }
            let mut out = Vec::new();
            for (i, &c) in key.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b" AND ");
                }
                self.columns.get(c)?.condition(*after.get(c)?, Matching::Key, &mut out).ok()?;
            }
            Some(out)
        };
        self.keys.iter().chain(&self.nullable_keys).filter_map(condition).collect()
    }

    /// The columns that LOAD DATA is to name for rows like this one; None if a row like this is one for INSERT.
    #[must_use]
    pub fn load_columns(&self, after: &[Cell<'_>]) -> Option<Vec<usize>> {
        let columns = self.written(after);
        let whole = columns.iter().all(|&c| !matches!(after.get(c), Some(Cell::JsonDiff(_))));
        (whole && !columns.is_empty()).then_some(columns)
    }

    /// The LOAD DATA statement for rows with these columns.
    #[must_use]
    pub fn load_statement(&self, columns: &[usize], replace: bool) -> String {
        let mut list = String::new();
        let mut set = String::new();
        for (i, &c) in columns.iter().enumerate() {
            let Some(writer) = self.columns.get(c) else { continue };
            let name = String::from_utf8_lossy(writer.quoted_name()).into_owned();
            let comma = if i == 0 { "" } else { "," };
            let variable = format!("@logweir{c}");
            match writer.field_expression(&variable) {
                None => list.push_str(&format!("{comma}{name}")),
                Some(expression) => {
                    list.push_str(&format!("{comma}{variable}"));
                    set.push_str(&format!("{}{name}={expression}", if set.is_empty() { " SET " } else { "," }));
                }
            }
        }
        let duplicates = if replace { "REPLACE" } else { "IGNORE" };
        format!("LOAD DATA LOCAL INFILE 'logweir' {duplicates} INTO TABLE {} {FORMAT} ({list}){set}", self.name)
    }

    /// Appends a row of LOAD DATA's text; false, and nothing appended, if it is one for INSERT.
    ///
    /// # Errors
    /// When a value cannot be written.
    pub fn load_row(&self, columns: &[usize], cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<bool> {
        let start = out.len();
        for (i, &c) in columns.iter().enumerate() {
            let (Some(writer), Some(&cell)) = (self.columns.get(c), cells.get(c)) else { continue };
            if i > 0 {
                out.push(FIELD_END);
            }
            if writer.field(cell, out).map_err(unwritable)? == Field::No {
                out.truncate(start);
                return Ok(false);
            }
        }
        out.push(ROW_END);
        Ok(true)
    }

    /// The table's name in statements.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn unwritable(error: LiteralError) -> ApplyError {
    ApplyError::refused(error.to_string(), "change the column at the destination, or exclude the table")
}

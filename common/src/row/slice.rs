//! Cuts the images of a record into rows.

use std::ops::Range;

use super::image::{Image, bit};
use super::{Layout, RowError};
use crate::record::Op;

/// The images of one row.
#[derive(Clone, Debug)]
pub struct RowImages<'a> {
    /// The row as it was (update, delete).
    pub before: Option<Image<'a>>,
    /// The row as it is now (insert, update).
    pub after: Option<Image<'a>>,
    /// Where the row stands in the images: a place to cut.
    pub range: Range<usize>,
}

/// Which columns the images of one side have.
#[derive(Clone, Copy, Debug)]
struct Side<'a> {
    columns: &'a [u8],
    /// Number of present columns.
    present: usize,
    /// All columns of the table are present.
    all: bool,
}

/// The rows of a record in turn. After an error it ends.
#[derive(Clone, Debug)]
pub struct RowIter<'a> {
    layout: &'a Layout,
    before: Option<Side<'a>>,
    after: Option<Side<'a>>,
    partial: bool,
    images: &'a [u8],
    offset: usize,
    row: u32,
    /// A row without any column takes no bytes; there is exactly one then.
    empty_row: bool,
}

impl Layout {
    /// The rows of a record. `columns_before` and `columns_after` as in [`crate::record::Rows`]; the one that `op` does not have is
    /// ignored.
    ///
    /// # Errors
    /// [`RowError::Malformed`] for a column bitmap of the wrong size.
    pub fn rows<'a>(
        &'a self,
        op: Op,
        columns_before: &'a [u8],
        columns_after: &'a [u8],
        images: &'a [u8],
    ) -> Result<RowIter<'a>, RowError> {
        let side = |wanted: bool, columns: &'a [u8], name: &str| -> Result<Option<Side<'a>>, RowError> {
            if !wanted {
                return Ok(None);
            }
            if columns.len() != self.len().div_ceil(8) {
                let (have, columns) = (columns.len(), self.len());
                return Err(
                    self.malformed(format!("the bitmap of {name} columns has {have} bytes for {columns} columns"))
                );
            }
            let present = (0..self.len()).filter(|&i| bit(columns, i)).count();
            Ok(Some(Side { columns, present, all: present == self.len() }))
        };
        let before = side(op != Op::Insert, columns_before, "before")?;
        let after = side(op != Op::Delete, columns_after, "after")?;
        let partial = op == Op::PartialUpdate;
        let empty = !partial && [before, after].iter().flatten().all(|side| side.present == 0);
        if empty && !images.is_empty() {
            return Err(self.malformed(format!("{} bytes of images without any column", images.len())));
        }
        Ok(RowIter { layout: self, before, after, partial, images, offset: 0, row: 0, empty_row: empty })
    }

    /// Counts the rows of a record and checks that its images are used up exactly. The whole format is checked except the insides
    /// of values.
    ///
    /// # Errors
    /// As [`Layout::rows`] and its iterator.
    pub fn count(&self, op: Op, columns_before: &[u8], columns_after: &[u8], images: &[u8]) -> Result<u32, RowError> {
        let mut rows = self.rows(op, columns_before, columns_after, images)?;
        for row in rows.by_ref() {
            row?;
        }
        Ok(rows.row)
    }
}

impl<'a> RowIter<'a> {
    #[inline]
    fn row(&mut self) -> Result<RowImages<'a>, RowError> {
        let start = self.offset;
        let before = match self.before {
            Some(side) => Some(self.image(side, false)?),
            None => None,
        };
        let after = match self.after {
            Some(side) => Some(self.image(side, self.partial)?),
            None => None,
        };
        Ok(RowImages { before, after, range: start..self.offset })
    }

    #[inline]
    fn image(&mut self, side: Side<'a>, partial: bool) -> Result<Image<'a>, RowError> {
        let layout = self.layout;
        let partial = if partial { self.partial_bits()? } else { &[] };
        let nulls = self.take(side.present.div_ceil(8), "NULL bitmap")?;
        let images = self.images;
        let mut rest = images.get(self.offset..).unwrap_or_default();
        let whole = rest;
        if side.all && nulls.iter().all(|&byte| byte == 0) {
            for packed in &layout.columns {
                let Some(left) = packed.len(rest).and_then(|len| rest.get(len..)) else {
                    return Err(self.truncated(rest, packed));
                };
                rest = left;
            }
        } else {
            let mut present = 0;
            for (index, packed) in layout.columns.iter().enumerate() {
                if !side.all && !bit(side.columns, index) {
                    continue;
                }
                let null = bit(nulls, present);
                present += 1;
                if null {
                    continue;
                }
                let Some(left) = packed.len(rest).and_then(|len| rest.get(len..)) else {
                    return Err(self.truncated(rest, packed));
                };
                rest = left;
            }
        }
        let values = whole.get(..whole.len() - rest.len()).unwrap_or_default();
        self.offset += values.len();
        Ok(Image { layout, columns: side.columns, partial, nulls, values })
    }

    /// The options in front of a partial update's after image: a length-encoded integer, and if its bit 0 is set a bit for each
    /// JSON column of the table, present or not (`start_partial_bits_after_image` in sql/rpl_record.cc).
    fn partial_bits(&mut self) -> Result<&'a [u8], RowError> {
        const PARTIAL_JSON_UPDATES: u8 = 1;
        let options = self.take(1, "value options")?;
        match options {
            [0] => Ok(&[]),
            [PARTIAL_JSON_UPDATES] => self.take(self.layout.json_columns.div_ceil(8), "partial bits"),
            _ => Err(self.layout.malformed(format!("row {} has unknown value options {options:?}", self.row))),
        }
    }

    #[inline(always)]
    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], RowError> {
        let rest = self.images.get(self.offset..).unwrap_or_default();
        match rest.get(..len) {
            Some(bytes) => {
                self.offset += len;
                Ok(bytes)
            }
            None => Err(self.short(self.offset, what.to_owned())),
        }
    }

    #[cold]
    fn truncated(&self, rest: &[u8], packed: &super::Packed) -> RowError {
        // Found again by its address, so that the quick path need not count columns.
        let index = self.layout.columns.iter().position(|p| std::ptr::eq(p, packed));
        let column = index.and_then(|i| self.layout.names.get(i)).cloned().unwrap_or_default();
        self.short(self.images.len() - rest.len(), column)
    }

    #[cold]
    fn short(&self, offset: usize, column: String) -> RowError {
        RowError::Truncated { table: self.layout.full_name(), row: self.row, column, offset, len: self.images.len() }
    }
}

impl<'a> Iterator for RowIter<'a> {
    type Item = Result<RowImages<'a>, RowError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.images.len() && !self.empty_row {
            return None;
        }
        self.empty_row = false;
        let row = self.row();
        match row {
            Ok(_) => self.row = self.row.saturating_add(1),
            Err(_) => self.offset = self.images.len(),
        }
        Some(row)
    }
}

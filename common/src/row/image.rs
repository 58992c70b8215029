//! One image of a row: its NULL bitmap and packed values.

use super::Layout;

/// One column of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// The image does not have this column (`binlog_row_image` MINIMAL or NOBLOB).
    Absent,
    /// NULL.
    Null,
    /// The packed value without its length prefix.
    Bytes(&'a [u8]),
    /// A JSON column of a partial update: the changes to its value before, as MySQL's `Json_diff_vector` packs them. Empty if
    /// nothing changed.
    JsonDiff(&'a [u8]),
}

/// One image of a row. Its bytes were checked when the row was cut.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    pub(super) layout: &'a Layout,
    /// Bit per column: present.
    pub(super) columns: &'a [u8],
    /// Bit per JSON column: holds changes.
    pub(super) partial: &'a [u8],
    pub(super) nulls: &'a [u8],
    pub(super) values: &'a [u8],
}

impl<'a> Image<'a> {
    /// Column `index`, counted in the table. This walks over the columns before it; use [`Image::cells`] for many.
    #[must_use]
    pub fn column(&self, index: usize) -> Cell<'a> {
        self.cells().nth(index).unwrap_or(Cell::Absent)
    }

    /// All columns of the table in turn, those that the image does not have as [`Cell::Absent`].
    #[must_use]
    pub fn cells(&self) -> Cells<'a> {
        Cells { image: *self, column: 0, present: 0, json: 0, rest: self.values }
    }

    /// Puts all columns into `cells`, which is emptied first. Spares callers that need many columns many walks.
    pub fn read_into(&self, cells: &mut Vec<Cell<'a>>) {
        cells.clear();
        cells.extend(self.cells());
    }

    /// The packed values without the NULL bitmap. Two images with the same columns, NULLs and bytes are the same row.
    #[must_use]
    pub fn bytes(&self) -> (&'a [u8], &'a [u8]) {
        (self.nulls, self.values)
    }
}

/// The columns of an image.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    image: Image<'a>,
    column: usize,
    /// Present columns so far: the place in the NULL bitmap.
    present: usize,
    /// JSON columns so far: the place in the partial bits.
    json: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    #[inline]
    fn next(&mut self) -> Option<Cell<'a>> {
        let packed = *self.image.layout.columns.get(self.column)?;
        let present = bit(self.image.columns, self.column);
        self.column += 1;
        let mut diff = false;
        if packed.json {
            diff = bit(self.image.partial, self.json);
            self.json += 1;
        }
        if !present {
            return Some(Cell::Absent);
        }
        let null = bit(self.image.nulls, self.present);
        self.present += 1;
        if null {
            return Some(Cell::Null);
        }
        // The row was checked when it was cut, so the length is there; an empty value would be the answer if it were not.
        let (value, rest) = packed.len(self.rest).and_then(|len| self.rest.split_at_checked(len)).unwrap_or_default();
        self.rest = rest;
        let value = value.get(usize::from(packed.prefix)..).unwrap_or_default();
        Some(if diff { Cell::JsonDiff(value) } else { Cell::Bytes(value) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.image.layout.columns.len() - self.column.min(self.image.layout.columns.len());
        (left, Some(left))
    }
}

impl ExactSizeIterator for Cells<'_> {}

#[inline(always)]
pub(super) fn bit(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
}

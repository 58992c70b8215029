//! The changes to a document in a partial update (`Json_diff_vector::read_binary` in sql/json_diff.cc).

use super::JsonError;

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffOp {
    /// The value at the path, which exists, becomes another.
    Replace,
    /// A member is added to an object, or an element into an array before the one that is there.
    Insert,
    /// The value at the path goes.
    Remove,
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diff<'a> {
    /// What it does.
    pub op: DiffOp,
    /// Where, as a JSON path in utf8mb4: `$.a[3]`.
    pub path: &'a [u8],
    /// The new value as a document; None for Remove.
    pub value: Option<&'a [u8]>,
}

/// The changes in turn, of a [`crate::row::Cell::JsonDiff`].
#[derive(Clone, Copy, Debug)]
pub struct Diffs<'a> {
    rest: &'a [u8],
}

impl<'a> Diffs<'a> {
    /// Reads from these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn read(&mut self) -> Result<Diff<'a>, JsonError> {
        let (&op, rest) = self.rest.split_first().ok_or(END)?;
        let op = match op {
            0 => DiffOp::Replace,
            1 => DiffOp::Insert,
            2 => DiffOp::Remove,
            _ => return Err(JsonError::Malformed("an unknown change")),
        };
        let (path, rest) = counted(rest)?;
        let (value, rest) = match op {
            DiffOp::Remove => (None, rest),
            DiffOp::Replace | DiffOp::Insert => {
                let (value, rest) = counted(rest)?;
                (Some(value), rest)
            }
        };
        self.rest = rest;
        Ok(Diff { op, path, value })
    }
}

const END: JsonError = JsonError::Malformed("a change ends early");

/// Bytes after a length-encoded integer, and the rest.
fn counted(bytes: &[u8]) -> Result<(&[u8], &[u8]), JsonError> {
    let (&first, rest) = bytes.split_first().ok_or(END)?;
    let width = match first {
        0..=250 => return rest.split_at_checked(first.into()).ok_or(END),
        252 => 2,
        253 => 3,
        254 => 8,
        _ => return Err(JsonError::Malformed("a length")),
    };
    let (len, rest) = rest.split_at_checked(width).ok_or(END)?;
    let len = len.iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
    rest.split_at_checked(usize::try_from(len).map_err(|_| END)?).ok_or(END)
}

impl<'a> Iterator for Diffs<'a> {
    type Item = Result<Diff<'a>, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let diff = self.read();
        if diff.is_err() {
            self.rest = &[];
        }
        Some(diff)
    }
}

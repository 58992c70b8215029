//! Rows as a SELECT gives them, packed as the server itself would pack them into a row event.
//!
//! A snapshot reads rows over the binary protocol and puts them into the log beside the binlog's own rows, so they must be the same bytes. Three
//! parts: [`column()`] describes a column as TABLE_MAP would, [`select_expression`] asks for its value in a form that loses nothing, and [`RowPacker`]
//! turns each row of the answer into a row image, without an allocation and mostly by copying.
//!
//! The session that selects must be the reader's snapshot session: no conversion of character sets, time zone UTC, no PAD_CHAR_TO_FULL_LENGTH.

mod column;
mod decimal;
mod error;
mod members;
mod row;
mod step;
mod temporal;

pub use column::{ColumnDefinition, column, select_expression};
pub use error::{Malformed, PackError};
pub use row::RowPacker;

/// A column of a result, as the server describes it (`ColumnDefinition41`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name or alias.
    pub name: String,
    /// The type byte (`enum_field_types`): how the value is sent.
    pub type_code: u8,
    /// `NOT_NULL_FLAG` and so on; see [`ResultColumn::is_unsigned`].
    pub flags: u16,
    /// Collation id of the bytes; 63 for binary strings and numbers.
    pub charset: u16,
    /// Digits behind the point.
    pub decimals: u8,
}

impl ResultColumn {
    /// UNSIGNED_FLAG
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.flags & 32 != 0
    }
}

#[cfg(test)]
mod tests;

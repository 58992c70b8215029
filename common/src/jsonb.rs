//! MySQL's binary JSON: documents, the changes in partial updates, and both as text and as SQL expressions.
//!
//! A document is a type byte and a value; objects and arrays hold a table of entries with offsets, so any part can be read without the rest
//! (sql-common/json_binary.cc, "json_binary.h" has the grammar). Numbers keep their types, and DECIMAL, temporal and binary values that
//! came from SQL stand in it as they are ("opaque"): text cannot tell them apart, which is why there is [`write_sql`] beside [`write_text`].

mod diff;
mod encode;
mod node;
mod parse;
mod sql;
mod text;

pub use diff::{Diff, DiffOp, Diffs};
pub use encode::encode;
pub use node::{Container, Node, Opaque};
pub use sql::{is_text_exact, write_diff_sql, write_sql, write_sql_value};
pub use text::write_text;
pub(crate) use text::{Sink, write_text_into};

/// A document that cannot be read, or not be written as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Offsets, lengths or types that no server writes.
    #[error("the bytes are no JSON document: {0}")]
    Malformed(&'static str),
    /// A value of a type that no SQL expression makes.
    #[error(
        "the JSON document holds a value of type {0} for which there is no SQL expression; apply this table by row events"
    )]
    Opaque(u8),
    /// Text that is no JSON, or none that a document can hold.
    #[error("the text is no JSON: {0}")]
    Text(&'static str),
}

#[cfg(test)]
mod encode_tests;
#[cfg(test)]
mod tests;

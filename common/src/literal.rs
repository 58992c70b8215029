//! Values as SQL text: exact literals and expressions, and conditions that find a row again.
//!
//! A [`ColumnWriter`] is made once per column: it knows the source's column and the destination's ([`Target`]) and refuses at once what
//! cannot be converted without loss. Then it appends literals to a buffer, without allocating.
//!
//! The session must be one of [`SESSION_SQL`]: bytes are sent as they are (`SET NAMES binary`), TIMESTAMP as UTC text. It is strict, so
//! that nothing is cut in silence, and takes zero and impossible dates. One value cannot be written strictly at all: an ENUM's 0, the error value. [`ColumnWriter::needs_lenient`]
//! finds it, and a statement that holds it goes through [`lenient`].
//!
//! ```
//! use common::literal::ColumnWriter;
//! use common::row::Cell;
//! use common::schema::*;
//! let column = Column { name: "t".into(), type_code: 19, meta: 2, nullable: true, unsigned: false, collation: 0, members: vec![], visible: true };
//! let schema = TableSchema { database: "shop".into(), table: "t".into(), flavor: Flavor::MySql, columns: vec![column], primary_key: vec![], origin: LayoutOrigin::TableMap };
//! let writer = ColumnWriter::same(&schema, 0, Flavor::MySql)?;
//! let mut sql = Vec::new();
//! writer.value(Cell::Bytes(&[0x7f, 0xff, 0xff, 0xf6]), &mut sql)?;
//! assert_eq!(sql, b"'-00:00:00.10'");
//! # Ok::<(), common::literal::LiteralError>(())
//! ```

mod convert;
pub mod load;
pub mod quote;
mod target;
mod writer;

pub use target::{Target, TargetKind};
pub use writer::{ColumnWriter, Matching};

use crate::jsonb::JsonError;
use crate::schema::Flavor;
use crate::value::ValueError;

/// The session that the literals are for. `NAMES binary` is a statement of its own.
pub const SESSION_SQL: [&str; 2] = [
    "SET NAMES binary",
    "SET SESSION time_zone='+00:00', sql_mode='STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'",
];

/// The `sql_mode` under which a server takes an ENUM's error value. It cuts other things in silence: only for the rows that need it.
const LENIENT_MODE: &str = "ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION";

/// An INSERT, REPLACE, UPDATE or DELETE for rows with an ENUM's error value: `verb` and `rest` are the statement before and after its first
/// word. The server gives a warning for each such value.
#[must_use]
pub fn lenient(verb: &str, rest: &[u8], dialect: Flavor) -> Vec<u8> {
    let mut sql = match dialect {
        Flavor::MySql => format!("{verb} /*+ SET_VAR(sql_mode='{LENIENT_MODE}') */ "),
        Flavor::MariaDb => format!("SET STATEMENT sql_mode='{LENIENT_MODE}' FOR {verb} "),
    }
    .into_bytes();
    sql.extend_from_slice(rest);
    sql
}

/// Two columns between which values cannot go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table}: column {column} is {from} at the source and {to} at the destination ({target}): {reason}")]
pub struct TypeMismatch {
    /// `database.table` at the source.
    pub table: String,
    /// Column at the source.
    pub column: String,
    /// The source's type.
    pub from: String,
    /// The destination's type.
    pub to: String,
    /// Column at the destination.
    pub target: String,
    /// Why not, and what helps.
    pub reason: &'static str,
}

/// A column or value that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiteralError {
    /// The types have no conversion without loss.
    #[error(transparent)]
    Types(Box<TypeMismatch>),
    /// The packed bytes are no value.
    #[error("{table}: column {column}: {source}")]
    Value {
        /// `database.table` at the source.
        table: String,
        /// Column at the source.
        column: String,
        /// What is wrong.
        #[source]
        source: ValueError,
    },
    /// The document cannot be read or written.
    #[error("{table}: column {column}: {source}")]
    Json {
        /// `database.table` at the source.
        table: String,
        /// Column at the source.
        column: String,
        /// What is wrong.
        #[source]
        source: JsonError,
    },
    /// A value of the column that has no place in the destination's type.
    #[error("{table}: column {column}: the value {value} {reason}")]
    Unwritable {
        /// `database.table` at the source.
        table: String,
        /// Column at the source.
        column: String,
        /// The value, cut off if it is long.
        value: String,
        /// Why not.
        reason: &'static str,
    },
}

/// Appends a DOUBLE as the shortest text that is read back as the same, with an exponent, which makes a literal a double and not a decimal.
pub(crate) fn write_double(value: f64, out: &mut Vec<u8>) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format(value);
    out.extend_from_slice(text.as_bytes());
    if !text.contains('e') {
        out.extend_from_slice(b"e0");
    }
}

#[cfg(test)]
mod tests;

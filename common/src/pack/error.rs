//! Why a row cannot be packed.

/// What is wrong with a value or a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// A type that has no packing here.
    #[error("column {column} is of type {column_type}, which a snapshot cannot read; exclude its table")]
    Type {
        /// Name of the column.
        column: String,
        /// `COLUMN_TYPE` of information_schema.
        column_type: String,
    },
    /// The result is not the one that the definition asks for: the table changed in between, or the select list is another.
    #[error(
        "column {column} comes as result type {type_code}, which does not fit its definition; the table was altered meanwhile, or was described wrongly"
    )]
    Result {
        /// Name of the column.
        column: String,
        /// The type byte of the result.
        type_code: u8,
    },
    /// The result has not the columns of the definition.
    #[error("the result has {found} columns instead of {expected}")]
    Columns {
        /// Columns of the table.
        expected: usize,
        /// Columns of the result.
        found: usize,
    },
    /// A row that is cut short, or goes on behind its last column.
    #[error("the row packet is malformed at column {column}")]
    Packet {
        /// Name of the column.
        column: String,
    },
    /// A value that its column cannot hold.
    #[error("column {column} holds {problem}")]
    Value {
        /// Name of the column.
        column: String,
        /// What is wrong with it.
        problem: Malformed,
    },
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// An integer outside the column's range.
    #[error("a number outside the range of its type")]
    Number,
    /// Text that is no decimal of this precision and scale.
    #[error("no decimal of its precision")]
    Decimal,
    /// Parts of a date or time that cannot be.
    #[error("a date or time that cannot be")]
    Temporal,
    /// Longer than the column.
    #[error("{0} bytes, more than its type holds")]
    Length(usize),
    /// A document that cannot be encoded.
    #[error("a JSON document that cannot be stored: {0}")]
    Json(crate::jsonb::JsonError),
}

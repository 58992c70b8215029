//! Rows of the binary protocol as row images.

use super::{PackError, ResultColumn};
use crate::schema::TableSchema;

/// Packs the rows of one result.
#[derive(Clone, Debug)]
pub struct RowPacker {}

impl RowPacker {
    /// For a result whose first columns are those of the table, in order, each selected by [`super::select_expression`]; further ones are passed over.
    ///
    /// # Errors
    /// [`PackError::Result`] and [`PackError::Columns`] if the result is not this table's.
    pub fn new(schema: &TableSchema, results: &[ResultColumn]) -> Result<Self, PackError> {
        Err(PackError::Columns { expected: schema.columns.len(), found: results.len() })
    }

    /// Appends the image of one row packet: the NULL bitmap of all columns and the packed values.
    ///
    /// # Errors
    /// [`PackError::Packet`] and [`PackError::Value`]; then `out` is as it was.
    pub fn pack(&self, row_packet: &[u8], out: &mut Vec<u8>) -> Result<(), PackError> {
        let _ = (row_packet, out);
        Err(PackError::Packet { column: String::new() })
    }
}

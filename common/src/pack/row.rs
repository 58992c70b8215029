//! Rows of the binary protocol as row images.

use super::step::Step;
use super::{Malformed, PackError, ResultColumn};
use crate::schema::{Flavor, TableSchema};

/// Packs the rows of one result.
#[derive(Clone, Debug)]
pub struct RowPacker {
    steps: Vec<Step>,
    names: Vec<String>,
    /// Bytes of the NULL bitmap of a row packet.
    nulls_in: usize,
    /// Bytes of the NULL bitmap of an image.
    nulls_out: usize,
    /// The bits of its last byte that mean no column: MariaDB (and MySQL before 8.0) sets them, MySQL does not.
    unused: u8,
    /// Whether the result ends with the table's last column.
    whole: bool,
}

/// What ended a row: at which column, and why if it is the value.
struct Stop {
    column: usize,
    problem: Option<Malformed>,
}

impl RowPacker {
    /// For a result whose first columns are those of the table, in order, each selected by [`super::select_expression`]; further ones are passed over.
    ///
    /// # Errors
    /// [`PackError::Result`] and [`PackError::Columns`] if the result is not this table's.
    pub fn new(schema: &TableSchema, results: &[ResultColumn]) -> Result<Self, PackError> {
        let count = schema.columns.len();
        if results.len() < count || count == 0 {
            return Err(PackError::Columns { expected: count, found: results.len() });
        }
        let steps = schema.columns.iter().zip(results).map(|(column, result)| {
            Step::new(column, result)
                .ok_or_else(|| PackError::Result { column: column.name.clone(), type_code: result.type_code })
        });
        Ok(Self {
            steps: steps.collect::<Result<_, _>>()?,
            names: schema.columns.iter().map(|column| column.name.clone()).collect(),
            nulls_in: (results.len() + 9) / 8,
            nulls_out: count.div_ceil(8),
            unused: if count.is_multiple_of(8) || schema.flavor == Flavor::MySql { 0 } else { 0xff << (count % 8) },
            whole: results.len() == count,
        })
    }

    /// Appends the image of one row packet: the NULL bitmap of all columns and the packed values.
    ///
    /// # Errors
    /// [`PackError::Packet`] and [`PackError::Value`]; then `out` is as it was.
    #[inline]
    pub fn pack(&self, row_packet: &[u8], out: &mut Vec<u8>) -> Result<(), PackError> {
        let start = out.len();
        match self.pack_columns(row_packet, out) {
            Ok(()) => Ok(()),
            Err(stop) => {
                out.truncate(start);
                Err(self.error(&stop))
            }
        }
    }

    fn pack_columns(&self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        let head = Stop { column: 0, problem: None };
        let Some(([0, nulls @ ..], mut rest)) = packet.split_at_checked(1 + self.nulls_in) else { return Err(head) };
        // Enough for all but long rows of MEDIUMINTs and the like, so that the values do not each ask for room.
        out.reserve(packet.len() + 16);
        // The packet's bits begin two places later than the image's.
        for i in 0..self.nulls_out {
            let (low, high) = (nulls.get(i).copied().unwrap_or(0), nulls.get(i + 1).copied().unwrap_or(0));
            let mut byte = low >> 2 | high << 6;
            if i + 1 == self.nulls_out {
                byte |= self.unused;
            }
            out.push(byte);
        }
        let any_null = nulls.iter().any(|&byte| byte != 0);
        for (column, step) in self.steps.iter().enumerate() {
            let bit = column + 2;
            if any_null && nulls.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1) {
                continue;
            }
            rest = step.pack(rest, out).map_err(|problem| Stop { column, problem })?;
        }
        if self.whole && !rest.is_empty() {
            return Err(Stop { column: self.steps.len() - 1, problem: None });
        }
        Ok(())
    }

    #[cold]
    fn error(&self, stop: &Stop) -> PackError {
        let column = self.names.get(stop.column).cloned().unwrap_or_default();
        match stop.problem {
            None => PackError::Packet { column },
            Some(problem) => PackError::Value { column, problem },
        }
    }
}

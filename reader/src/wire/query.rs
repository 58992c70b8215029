//! Queries: small results as text, and large ones row by row in the binary protocol.
//!
//! We do not announce CLIENT_DEPRECATE_EOF, so that a result is the same on all servers: column definitions, an EOF packet, rows, an EOF packet. A row
//! that cannot be read to its end by the server (a timeout, KILL) is followed by an ERR packet instead.

use std::time::Duration;

use common::Flavor;
pub use common::pack::ResultColumn;

use super::transport::Payload;
use super::{Wire, WireError, server_error};

const COM_QUERY: u8 = 0x03;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_CLOSE: u8 = 0x19;
/// ER_UNKNOWN_SYSTEM_VARIABLE, and ER_QUERY_CACHE_DISABLED for a cache that cannot even be switched off.
const NOT_HERE: [u16; 2] = [1193, 1651];

/// A row of the text protocol: bytes, or None for NULL.
pub type TextRow = Vec<Option<Vec<u8>>>;

impl Wire {
    /// How long the server may be silent while an answer is awaited: before the first row, and between rows. 60 s unless told.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Makes the session one whose SELECTs give values as they are stored, and which is not ended for being slow.
    ///
    /// # Errors
    /// Any [`WireError`]
    pub fn snapshot_session(&mut self, flavor: Flavor) -> Result<(), WireError> {
        self.execute("SET NAMES binary")?;
        // No mode alters what is read, and a zero or impossible date may stand in a condition. sql_select_limit would cut results in silence.
        self.execute(
            "SET SESSION time_zone='+00:00', sql_mode='ALLOW_INVALID_DATES', autocommit=1, sql_select_limit=18446744073709551615, \
             sql_big_selects=1, net_write_timeout=86400, net_read_timeout=86400, wait_timeout=28800",
        )?;
        self.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
        let maybe: &[&str] = match flavor {
            // The last: a generated invisible primary key is in row images, so its column must be seen.
            Flavor::MySql => &[
                "SET SESSION max_execution_time=0",
                "SET SESSION query_cache_type=OFF",
                "SET SESSION show_gipk_in_create_table_and_information_schema=ON",
            ],
            Flavor::MariaDb => &["SET SESSION max_statement_time=0", "SET SESSION query_cache_type=OFF"],
        };
        for statement in maybe {
            match self.execute(statement) {
                Err(WireError::Server { code, .. }) if NOT_HERE.contains(&code) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Runs a statement and reads its whole result as text; empty for a statement without one.
    ///
    /// # Errors
    /// Any [`WireError`]; a protocol error if a result is still being read.
    pub fn query_rows(&mut self, sql: &str) -> Result<Vec<TextRow>, WireError> {
        self.must_be_free()?;
        self.command(COM_QUERY, sql.as_bytes())?;
        let Some(columns) = self.result_head()? else { return Ok(Vec::new()) };
        let count = columns.len();
        let mut rows = Vec::new();
        loop {
            let payload = self.await_payload()?;
            let (_, packet) = self.transport.take(payload);
            match packet {
                [0xff, ..] => return Err(server_error(packet)),
                [0xfe, ..] if packet.len() < 9 => return Ok(rows),
                mut rest => {
                    let mut row = Vec::with_capacity(count);
                    for _ in 0..count {
                        let Some(value) = text_value(&mut rest) else {
                            return Err(self.protocol("a row ends early"));
                        };
                        row.push(value.map(<[u8]>::to_vec));
                    }
                    rows.push(row);
                }
            }
        }
    }

    /// Runs a SELECT in the binary protocol; [`Wire::next_row`] gives its rows.
    ///
    /// # Errors
    /// Any [`WireError`]; a protocol error if a result is still being read, or if the statement has none.
    pub fn select(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<ResultColumn>, WireError> {
        self.must_be_free()?;
        self.command(COM_STMT_PREPARE, sql.as_ref())?;
        let packet = self.read_packet()?;
        let (statement, columns, parameters) = match packet.as_slice() {
            [0xff, ..] => return Err(server_error(&packet)),
            &[0, a, b, c, d, e, f, g, h, ..] => {
                (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]))
            }
            _ => return Err(self.protocol("an answer to COM_STMT_PREPARE that is none")),
        };
        for definitions in [parameters, columns] {
            if definitions > 0 {
                self.definitions(definitions.into())?;
            }
        }
        if columns == 0 || parameters > 0 {
            self.close_statement(statement)?;
            return Err(self.protocol(format!("the statement has {columns} columns and {parameters} parameters")));
        }
        let [a, b, c, d] = statement.to_le_bytes();
        // No cursor: rows come as they are read. One execution.
        self.command(COM_STMT_EXECUTE, &[a, b, c, d, 0, 1, 0, 0, 0])?;
        let head = self.result_head();
        match head {
            Ok(Some(columns)) => {
                self.statement = Some(statement);
                Ok(columns)
            }
            Ok(None) => {
                self.close_statement(statement)?;
                Err(self.protocol("a SELECT without a result"))
            }
            Err(error) => {
                if matches!(error, WireError::Server { .. }) {
                    self.close_statement(statement)?;
                }
                Err(error)
            }
        }
    }

    /// The next row of [`Wire::select`] as a packet of the binary protocol (0, NULL bitmap from bit 2 on, values), None behind the last.
    ///
    /// # Errors
    /// Any [`WireError`]. After [`WireError::Server`] (KILL QUERY, a timeout) the connection is free again.
    #[inline]
    pub fn next_row(&mut self) -> Result<Option<&[u8]>, WireError> {
        if self.statement.is_none() {
            return Ok(None);
        }
        let payload = match self.transport.packet() {
            Ok(Some(payload)) => payload,
            Ok(None) => self.await_payload()?,
            Err(source) => return Err(self.io(source)),
        };
        if self.transport.peek(&payload) != Some(0) {
            return self.end_of_rows(payload);
        }
        Ok(Some(self.transport.take(payload).1))
    }

    #[cold]
    fn end_of_rows(&mut self, payload: Payload) -> Result<Option<&[u8]>, WireError> {
        let (_, packet) = self.transport.take(payload);
        let ended = match packet {
            [0xff, ..] => Err(server_error(packet)),
            [0xfe, ..] if packet.len() < 9 => Ok(None),
            other => {
                let detail = format!("a row that starts with {:?}", other.first());
                return Err(self.protocol(detail));
            }
        };
        if let Some(statement) = self.statement.take() {
            self.close_statement(statement)?;
        }
        ended
    }

    /// Gives up what is left of a result by reading over it, so that the connection is free; does nothing if there is none. A result that is
    /// too long for this is ended by dropping the connection.
    ///
    /// # Errors
    /// Any [`WireError`] but [`WireError::Server`], which ends the result as well.
    pub fn discard_rows(&mut self) -> Result<(), WireError> {
        loop {
            match self.next_row() {
                Ok(Some(_)) => {}
                Ok(None) | Err(WireError::Server { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn close_statement(&mut self, statement: u32) -> Result<(), WireError> {
        self.command(COM_STMT_CLOSE, &statement.to_le_bytes()) // has no answer
    }

    fn must_be_free(&self) -> Result<(), WireError> {
        match self.statement {
            Some(_) => Err(self.protocol("a result is still being read")),
            None => Ok(()),
        }
    }

    /// The columns of a result, or None for OK.
    fn result_head(&mut self) -> Result<Option<Vec<ResultColumn>>, WireError> {
        let packet = self.read_packet()?;
        match packet.as_slice() {
            [0, ..] => Ok(None),
            [0xff, ..] => Err(server_error(&packet)),
            mut rest => match lenenc(&mut rest) {
                Some(count @ 1..=65_535) => self.definitions(count as usize).map(Some),
                _ => Err(self.protocol("a result with an impossible number of columns")),
            },
        }
    }

    /// Column definitions and the EOF behind them.
    fn definitions(&mut self, count: usize) -> Result<Vec<ResultColumn>, WireError> {
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            let packet = self.read_packet()?;
            if packet.first() == Some(&0xff) {
                return Err(server_error(&packet));
            }
            columns.push(definition(&packet).ok_or_else(|| self.protocol("a malformed column definition"))?);
        }
        let packet = self.read_packet()?;
        match packet.as_slice() {
            [0xfe, ..] if packet.len() < 9 => Ok(columns),
            [0xff, ..] => Err(server_error(&packet)),
            _ => Err(self.protocol("no EOF behind the column definitions")),
        }
    }
}

/// `ColumnDefinition41`
fn definition(packet: &[u8]) -> Option<ResultColumn> {
    let mut rest = packet;
    for _ in 0..4 {
        bytes(&mut rest)?; // catalog, schema, table, original table
    }
    let name = bytes(&mut rest)?;
    bytes(&mut rest)?; // original name
    lenenc(&mut rest)?; // length of the rest
    let &[c0, c1, _, _, _, _, type_code, f0, f1, decimals, ..] = rest else { return None };
    Some(ResultColumn {
        name: String::from_utf8_lossy(name).into_owned(),
        type_code,
        flags: u16::from_le_bytes([f0, f1]),
        charset: u16::from_le_bytes([c0, c1]),
        decimals,
    })
}

/// A length-encoded integer.
fn lenenc(rest: &mut &[u8]) -> Option<u64> {
    let (&first, tail) = rest.split_first()?;
    let width = match first {
        0..=250 => 0,
        252 => 2,
        253 => 3,
        254 => 8,
        _ => return None,
    };
    let (number, tail) = tail.split_at_checked(width)?;
    *rest = tail;
    Some(if width == 0 { first.into() } else { number.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)) })
}

/// Bytes behind their length.
fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(lenenc(rest)?).ok()?;
    let (value, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(value)
}

/// A value of a text row: the outer None is an error, the inner one NULL.
#[expect(clippy::option_option, reason = "the two say different things, next to each other")]
fn text_value<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match rest.split_first()? {
        (0xfb, tail) => {
            *rest = tail;
            Some(None)
        }
        _ => bytes(rest).map(Some),
    }
}

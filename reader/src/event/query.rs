//! QUERY: a statement logged as text, with the session that it ran in (`Query_event` in statement_events.h).

use common::Flavor;
use common::record::SessionContext;

use super::input::Input;
use super::{EventError, Header};

/// A statement and where to find its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// Error with which the statement ended at the source; 0 for none.
    pub error_code: u16,
    /// The session's default database.
    pub database: &'a [u8],
    /// The text, in `character_set_client`.
    pub statement: &'a [u8],
    /// Status variables, see [`Query::context`].
    variables: &'a [u8],
}

impl<'a> Query<'a> {
    /// Reads the body of a QUERY event, of which the fixed part has `post_header` bytes.
    ///
    /// # Errors
    /// Missing bytes.
    pub fn parse(body: &'a [u8], post_header: usize) -> Result<Self, EventError> {
        const KNOWN: usize = 13;
        let mut input = Input::new(body, "the query event");
        input.take(8)?; // thread id, seconds of execution
        let database = usize::from(input.u8()?);
        let error_code = input.u16()?;
        let variables = usize::from(input.u16()?);
        input.take(post_header.saturating_sub(KNOWN))?;
        let variables = input.take(variables)?;
        let database = input.take(database)?;
        input.take(1)?;
        Ok(Self { error_code, database, statement: input.rest(), variables })
    }

    /// The session in which the statement ran.
    ///
    /// # Errors
    /// Missing bytes; a status variable that is not known, as what comes after it cannot be found then.
    pub fn context(&self, header: &Header, flavor: Flavor) -> Result<SessionContext, EventError> {
        let mut context = SessionContext { timestamp: header.timestamp, ..SessionContext::default() };
        let mut input = Input::new(self.variables, "the status variables of the query event");
        while !input.is_empty() {
            let code = input.u8()?;
            match (code, flavor) {
                (0, _) => context.flags2 = Some(input.u32()?),
                (1, _) => context.sql_mode = Some(input.u64()?),
                (2, _) => {
                    short_text(&mut input)?; // catalog, of 5.0.0 to 5.0.3, with a NUL
                    input.take(1)?;
                }
                (3, _) => context.auto_increment = Some((input.u16()?, input.u16()?)),
                (4, _) => context.charsets = Some((input.u16()?, input.u16()?, input.u16()?)),
                (5, _) => context.time_zone = Some(text(short_text(&mut input)?, "the time zone")?),
                (6, _) => drop(short_text(&mut input)?), // catalog, always "std"
                (7, _) => context.lc_time_names = Some(input.u16()?),
                (8, _) => context.collation_database = Some(input.u16()?),
                (9, _) | (17, Flavor::MySql) | (129, Flavor::MariaDb) => drop(input.u64()?), // tables of a multi-table update; xid of a DDL
                (10, _) => drop(input.u32()?), // bytes at the first server
                (11, _) => {
                    let user = text(short_text(&mut input)?, "the invoker's name")?;
                    let host = text(short_text(&mut input)?, "the invoker's host")?;
                    context.invoker = Some((user, host));
                }
                (12, _) => {
                    // Databases of the statement; 254 stands for "too many to list".
                    let count = input.u8()?;
                    for _ in 0..if count == 254 { 0 } else { count } {
                        input.until_nul()?;
                    }
                }
                (13, Flavor::MySql) | (128, Flavor::MariaDb) => context.microseconds = Some(input.uint(3)? as u32),
                (13, Flavor::MariaDb) => context.microseconds = Some(input.uint(3)? as u32),
                (14, Flavor::MySql) => drop(input.u64()?),
                (15, Flavor::MySql) => drop(input.u64()?),
                (16, Flavor::MySql) => context.explicit_defaults_for_timestamp = Some(input.u8()? != 0),
                (18, Flavor::MySql) => context.default_collation_for_utf8mb4 = Some(input.u16()?),
                (19, Flavor::MySql) => context.sql_require_primary_key = Some(input.u8()? != 0),
                (21, Flavor::MySql) => drop(input.u8()?), // of 9.6 and later: how foreign keys are handled; one byte, in statements that change rows
                (20, Flavor::MySql) => context.default_table_encryption = Some(input.u8()? != 0),
                (130, Flavor::MariaDb) => {
                    // Extra flags of the GTID (two-phase ALTER); bits 0 to 2 announce the sequence number of its start.
                    if input.u8()? & 0b1110 != 0 {
                        input.u64()?;
                    }
                }
                (131, Flavor::MariaDb) => {
                    for _ in 0..input.u8()? {
                        context.character_set_collations.push((input.u16()?, input.u16()?));
                    }
                }
                (other, _) => {
                    return Err(EventError::invalid("a status variable of the query event", format!("code {other}")));
                }
            }
        }
        Ok(context)
    }
}

fn short_text<'a>(input: &mut Input<'a>) -> Result<&'a [u8], EventError> {
    let len = input.u8()?;
    input.take(usize::from(len))
}

fn text(bytes: &[u8], what: &'static str) -> Result<String, EventError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| EventError::invalid(what, "not UTF-8"))
}

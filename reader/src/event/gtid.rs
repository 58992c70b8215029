//! The events that open a transaction: GTID, ANONYMOUS_GTID, GTID_TAGGED, and MariaDB's GTID and GTID_LIST.

use common::gtid::SourceId;
use common::record::Xid;
use common::{Gtid, GtidSet};

use super::EventError;
use super::input::Input;

/// What the opening event of a transaction says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// Its GTID; None in ANONYMOUS_GTID.
    pub gtid: Option<Gtid>,
    /// MySQL's logical clock; 0, 0 where unknown.
    pub last_committed: i64,
    /// See `last_committed`.
    pub sequence_number: i64,
    /// `immediate_commit_timestamp`, microseconds since 1970; None where the server does not say.
    pub committed_us: Option<u64>,
    /// `original_commit_timestamp`
    pub original_us: Option<u64>,
    /// MariaDB only: flags.
    pub mariadb: Option<MariaDbFlags>,
}

/// The flags of MariaDB's GTID event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MariaDbFlags {
    /// One statement that commits by itself; otherwise a transaction starts here, without a BEGIN.
    pub standalone: bool,
    /// The statement is DDL.
    pub ddl: bool,
    /// The group ends with XA PREPARE.
    pub prepared_xa: Option<Xid>,
    /// The group is XA COMMIT or XA ROLLBACK.
    pub completed_xa: Option<Xid>,
}

/// GTID (33) and ANONYMOUS_GTID (34): `Gtid_event` in control_events.h.
///
/// # Errors
/// Missing bytes.
pub fn parse_gtid(body: &[u8], anonymous: bool) -> Result<Opening, EventError> {
    let mut input = Input::new(body, "the GTID event");
    input.u8()?; // 1: may hold statement-format events; the events themselves tell.
    let uuid = input.uuid()?;
    let number = input.u64()?;
    let mut opening = Opening {
        gtid: (!anonymous).then(|| Gtid::MySql { source: SourceId { uuid, tag: "".into() }, number }),
        ..Opening::default()
    };
    // 5.6 ends here; the type code 2 announces the logical clock of 5.7.5 and later.
    if input.is_empty() || input.u8()? != 2 {
        return Ok(opening);
    }
    opening.last_committed = input.u64()?.cast_signed();
    opening.sequence_number = input.u64()?.cast_signed();
    if input.len() < 7 {
        return Ok(opening);
    }
    // 8.0: 55 bits of microseconds; bit 55 says that another time follows.
    let committed = input.uint(7)?;
    let original = if committed >> 55 == 1 { input.uint(7)? } else { committed };
    opening.committed_us = Some(committed & !(1 << 55));
    opening.original_us = Some(original & !(1 << 55));
    Ok(opening)
}

/// GTID_TAGGED (42), a message of the `mysql::serialization` library: format version, size, last field that must be understood, fields.
///
/// # Errors
/// Missing bytes, another version of the format, an unknown field that must be understood.
pub fn parse_tagged(body: &[u8]) -> Result<Opening, EventError> {
    const VERSION: u64 = 1;
    let mut input = Input::new(body, "the tagged GTID event");
    let before = input.len();
    let version = input.varlen()?;
    if version != VERSION {
        return Err(EventError::invalid("the format version of the tagged GTID event", version.to_string()));
    }
    let size = usize::try_from(input.varlen()?).unwrap_or(usize::MAX);
    let required = input.varlen()?;
    let used = before - input.len();
    let fields = size.checked_sub(used).ok_or_else(|| EventError::invalid("the tagged GTID event", "its size"))?;
    let mut fields = Input::new(input.take(fields)?, "the tagged GTID event");

    let (mut uuid, mut tag, mut number) = ([0; 16], String::new(), 0);
    let mut opening = Opening::default();
    while !fields.is_empty() {
        match fields.varlen()? {
            0 | 8 | 11 => drop(fields.varlen()?), // flags, transaction length, commit group ticket
            1 => {
                for byte in &mut uuid {
                    *byte = u8::try_from(fields.varlen()?).map_err(|_| EventError::invalid("the uuid", "a byte"))?;
                }
            }
            2 => {
                number = u64::try_from(fields.varlen_signed()?)
                    .map_err(|_| EventError::invalid("the GTID", "negative number"))?;
            }
            3 => {
                let len = usize::try_from(fields.varlen()?).unwrap_or(usize::MAX);
                tag = String::from_utf8(fields.take(len)?.to_vec())
                    .map_err(|_| EventError::invalid("the tag", "not UTF-8"))?;
            }
            4 => opening.last_committed = fields.varlen_signed()?,
            5 => opening.sequence_number = fields.varlen_signed()?,
            6 => opening.committed_us = Some(fields.varlen()?),
            7 => opening.original_us = Some(fields.varlen()?),
            9 | 10 => drop(fields.varlen()?),   // server versions
            field if field > required => break, // A newer server's; how long it is cannot be known, so neither what follows.
            field => return Err(EventError::invalid("the tagged GTID event", format!("unknown field {field}"))),
        }
    }
    opening.original_us = opening.original_us.or(opening.committed_us);
    opening.gtid = Some(Gtid::MySql { source: SourceId { uuid, tag: tag.into() }, number });
    Ok(opening)
}

/// MariaDB's GTID (162): `Gtid_log_event` in MariaDB's sql/log_event.h.
///
/// # Errors
/// Missing bytes.
pub fn parse_mariadb(body: &[u8], server: u32) -> Result<Opening, EventError> {
    const STANDALONE: u8 = 1;
    const GROUP_COMMIT_ID: u8 = 2;
    const DDL: u8 = 32;
    const PREPARED_XA: u8 = 64;
    const COMPLETED_XA: u8 = 128;
    let mut input = Input::new(body, "MariaDB's GTID event");
    let (sequence, domain, flags) = (input.u64()?, input.u32()?, input.u8()?);
    let mut mariadb =
        MariaDbFlags { standalone: flags & STANDALONE != 0, ddl: flags & DDL != 0, ..MariaDbFlags::default() };
    if flags & GROUP_COMMIT_ID != 0 {
        input.u64()?;
    }
    if flags & (PREPARED_XA | COMPLETED_XA) != 0 {
        let format_id = input.u32()?.cast_signed();
        let (gtrid, bqual) = (input.u8()?, input.u8()?);
        let xid =
            Xid { format_id, gtrid: input.take(gtrid.into())?.to_vec(), bqual: input.take(bqual.into())?.to_vec() };
        if flags & PREPARED_XA != 0 {
            mariadb.prepared_xa = Some(xid);
        } else {
            mariadb.completed_xa = Some(xid);
        }
    }
    Ok(Opening { gtid: Some(Gtid::MariaDb { domain, server, sequence }), mariadb: Some(mariadb), ..Opening::default() })
}

/// MariaDB's GTID_LIST (163): the last GTID of each domain and server before this place.
///
/// # Errors
/// Missing bytes.
pub fn parse_mariadb_list(body: &[u8]) -> Result<GtidSet, EventError> {
    let mut input = Input::new(body, "the GTID list");
    let count = input.u32()? & 0x0fff_ffff;
    let mut set = GtidSet::new();
    for _ in 0..count {
        let (domain, server, sequence) = (input.u32()?, input.u32()?, input.u64()?);
        set.insert(&Gtid::MariaDb { domain, server, sequence });
    }
    Ok(set)
}

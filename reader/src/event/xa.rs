//! XA: the PREPARE event, and the branch names in `XA …` statements.

use common::record::Xid;

use super::EventError;
use super::input::Input;

/// XA_PREPARE_LOG (38).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XaPrepare {
    /// `XA COMMIT … ONE PHASE`: the transaction commits here.
    pub one_phase: bool,
    /// The branch.
    pub xid: Xid,
}

impl XaPrepare {
    /// Reads the event's body (`XA_prepare_event` in control_events.h).
    ///
    /// # Errors
    /// Missing bytes.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let mut input = Input::new(body, "the XA prepare event");
        let one_phase = input.u8()? != 0;
        let format_id = input.u32()?.cast_signed();
        let (gtrid, bqual) = (input.u32()? as usize, input.u32()? as usize);
        let (gtrid, bqual) = (input.take(gtrid)?.to_vec(), input.take(bqual)?.to_vec());
        Ok(Self { one_phase, xid: Xid { format_id, gtrid, bqual } })
    }
}

/// What an `XA …` statement in the binlog does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum XaStatement {
    /// XA START, BEGIN.
    Start(Xid),
    /// XA END.
    End(Xid),
    /// XA COMMIT of a prepared branch.
    Commit(Xid),
    /// XA ROLLBACK of a prepared branch.
    Rollback(Xid),
}

/// Reads the forms that servers write: `XA START X'6162',X'',1`.
///
/// # Errors
/// Any other text after `XA`.
pub fn parse_statement(text: &[u8]) -> Result<XaStatement, EventError> {
    let invalid = || EventError::invalid("the XA statement", String::from_utf8_lossy(text).into_owned());
    let text = std::str::from_utf8(text).map_err(|_| invalid())?.trim();
    let mut words = text.splitn(3, char::is_whitespace);
    let (Some(_), Some(verb), Some(rest)) = (words.next(), words.next(), words.next()) else { return Err(invalid()) };
    let mut parts = rest.split(',').map(str::trim);
    let gtrid = parts.next().and_then(bytes).ok_or_else(invalid)?;
    let bqual = parts.next().map_or(Some(Vec::new()), bytes).ok_or_else(invalid)?;
    let format_id = parts.next().map_or(Ok(1), |part| part.parse::<i32>()).map_err(|_| invalid())?;
    if parts.next().is_some() {
        return Err(invalid());
    }
    let xid = Xid { format_id, gtrid, bqual };
    Ok(match verb.to_ascii_uppercase().as_str() {
        "START" | "BEGIN" => XaStatement::Start(xid),
        "END" => XaStatement::End(xid),
        "COMMIT" => XaStatement::Commit(xid),
        "ROLLBACK" => XaStatement::Rollback(xid),
        _ => return Err(invalid()),
    })
}

/// `X'…'`, `0x…` or `'…'`.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let quoted = |text: &'_ str| text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).map(str::to_owned);
    if let Some(hex) =
        text.strip_prefix(['X', 'x']).and_then(quoted).or_else(|| text.strip_prefix("0x").map(str::to_owned))
    {
        let digits = hex.as_bytes().chunks(2);
        return digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    }
    quoted(text).map(String::into_bytes)
}

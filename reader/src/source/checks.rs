//! Whether a source can be followed, and from where we stand. Each message says what to do.

use common::config::Start;
use common::{BinlogPosition, Flavor, GtidSet};

use super::{Facts, Session};
use crate::error::ReaderError;
use crate::follow::Place;
use crate::resume::Resume;

fn stop<T>(message: impl Into<String>) -> Result<T, ReaderError> {
    Err(ReaderError::Source(message.into()))
}

/// Settings without which a binlog cannot be replayed.
///
/// # Errors
/// The first that is wrong.
pub fn check(facts: &Facts) -> Result<(), ReaderError> {
    let variable = |name: &str| facts.variables.get(name).map_or("", String::as_str);
    if variable("log_bin") != "ON" {
        return stop("the source writes no binlog (log_bin is OFF); set log_bin in its configuration and restart it");
    }
    if facts.server_id == 0 {
        return stop(
            "the source's server_id is 0, with which it serves no replicas; run there: SET GLOBAL server_id=1",
        );
    }
    let format = variable("binlog_format");
    if !format.is_empty() && format != "ROW" {
        return stop(format!(
            "the source logs statements (binlog_format={format}), which cannot be replayed exactly; run there: SET GLOBAL binlog_format=ROW, and have its \
             clients connect anew"
        ));
    }
    if variable("gtid_mode").ends_with("PERMISSIVE") {
        tracing::warn!(
            gtid_mode = variable("gtid_mode"),
            "the source is between GTID modes; followed by file and offset"
        );
    }
    Ok(())
}

impl Session {
    /// Where a new store begins.
    ///
    /// # Errors
    /// The wanted place does not exist.
    pub fn first_place(&mut self, facts: &Facts, start: &Start) -> Result<Place, ReaderError> {
        let latest = Place { position: facts.end.clone(), gtids: facts.executed.clone(), committed_us: 0 };
        Ok(match start {
            Start::Latest => latest,
            Start::Earliest => {
                let files = self.files()?;
                let file = files.first().map(|(file, _)| file.clone()).unwrap_or_default();
                let gtids = match facts.flavor {
                    Flavor::MySql => facts.purged.clone(),
                    Flavor::MariaDb => self.state_at(&file, 4)?,
                };
                Place { position: BinlogPosition { file, offset: 4 }, gtids, committed_us: 0 }
            }
            Start::Binlog(position) => {
                self.check_file(position)?;
                let gtids = match facts.flavor {
                    Flavor::MariaDb => self.state_at(&position.file, position.offset)?,
                    Flavor::MySql if facts.gtids => {
                        return stop(
                            "the source has GTIDs on, so that a file and offset do not say which of them are done; set [source] start = \"gtid:…\"",
                        );
                    }
                    Flavor::MySql => facts.purged.clone(),
                };
                Place { position: position.clone(), gtids, committed_us: 0 }
            }
            Start::Gtid(set) if facts.gtids => {
                Place { position: BinlogPosition::default(), gtids: set.clone(), committed_us: 0 }
            }
            Start::Gtid(_) => return stop("[source] start names GTIDs, and the source has none (gtid_mode is not ON)"),
        })
    }

    /// Whether the source still has what follows `place`, and has all that we hold. Answers whether to follow by GTID.
    ///
    /// # Errors
    /// A clear stop with the missing interval.
    pub fn check_place(&mut self, facts: &Facts, place: &Place, resume: &Resume) -> Result<bool, ReaderError> {
        // A store that was begun before GTIDs were switched on has a set that lacks what was done then: everything would come again.
        let new = resume.place.is_none();
        let by_gtid = facts.gtids && (new || !place.gtids.is_empty() || facts.executed.is_empty());
        if by_gtid || facts.flavor == Flavor::MariaDb {
            let lost = facts.executed.missing(&place.gtids);
            if !lost.is_empty() {
                return stop(format!(
                    "the store holds transactions that the source {} does not have: {lost}; it lost them in a crash (sync_binlog is not 1), was reset or restored, \
                     or is another server. Find out which copy is right; to go on with this source, begin a new store and copy the data anew",
                    facts.name()
                ));
            }
            let purged = place.gtids.missing(&facts.purged);
            if !purged.is_empty() {
                return stop(format!(
                    "the source {} has purged transactions that the store does not have yet: {purged}; if another server of the topology still has them, add its url to \
                     [source]; else begin a new store and copy the data anew",
                    facts.name()
                ));
            }
            return Ok(true);
        }
        if let Some(before) = &resume.source
            && before.server_uuid != facts.server_uuid
            && !before.server_uuid.is_empty()
        {
            return stop(format!(
                "the source is another server than before (server_uuid {} instead of {}) and has no GTIDs (gtid_mode is not ON), so that our place {} means nothing there; follow \
                 the old one, or begin a new store and copy the data anew",
                facts.server_uuid, before.server_uuid, place.position
            ));
        }
        self.check_file(&place.position)?;
        Ok(false)
    }

    /// MariaDB's GTID state at any place of its binlogs.
    fn state_at(&mut self, file: &str, offset: u64) -> Result<GtidSet, ReaderError> {
        let hex: String = file.bytes().map(|byte| format!("{byte:02x}")).collect();
        let query = format!("SELECT BINLOG_GTID_POS(x'{hex}', {offset})");
        let text = self.text("asking for the GTIDs of a place in its binlogs", &query)?.unwrap_or_default();
        text.parse().map_err(|error| ReaderError::Source(format!("the source's GTID set: {error}")))
    }

    /// A place in a file that the source still has.
    fn check_file(&mut self, position: &BinlogPosition) -> Result<(), ReaderError> {
        let files = self.files()?;
        let range = || match (files.first(), files.last()) {
            (Some((first, _)), Some((last, size))) => format!("{first}:4 to {last}:{size}"),
            _ => "nothing".to_owned(),
        };
        match files.iter().find(|(file, _)| *file == position.file) {
            None => stop(format!(
                "the source does not have our place {position} any more: it has {}; begin a new store and copy the data anew",
                range()
            )),
            Some((_, size)) if position.offset > *size => stop(format!(
                "our place {position} lies behind the end of that file ({size} bytes; the source has {}): it lost transactions that the store holds, or was reset; begin a \
                 new store and copy the data anew",
                range()
            )),
            Some(_) => Ok(()),
        }
    }
}

impl Facts {
    /// Who it is, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self.server_uuid.as_str() {
            "" => format!("(server_id {})", self.server_id),
            uuid => uuid.to_owned(),
        }
    }
}

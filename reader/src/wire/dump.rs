//! Asking for the event stream: COM_REGISTER_SLAVE and COM_BINLOG_DUMP or COM_BINLOG_DUMP_GTID.

use common::{BinlogPosition, Flavor, GtidSet};

use super::{Wire, WireError};

/// Where to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpFrom {
    /// After all transactions of this set.
    Gtid(GtidSet),
    /// At this place. Offsets beyond 4 GiB cannot be asked for (the command has 32 bits): such a file is asked for from its start, and the caller skips.
    Position(BinlogPosition),
}

/// How the stream is asked for.
#[derive(Debug, Clone)]
pub struct DumpRequest {
    /// Our own id among the source's replicas.
    pub server_id: u32,
    /// Our own uuid among them, the same for the same pipeline.
    pub uuid: String,
    /// Time between two heartbeats of an idle source.
    pub heartbeat: std::time::Duration,
    /// The source's family.
    pub flavor: Flavor,
    /// Where to start.
    pub from: DumpFrom,
}

/// MySQL since 8.0.26: HEARTBEAT_V2, which tells offsets beyond 4 GiB. MariaDB: ANNOTATE_ROWS events too, so that offsets can be summed up.
/// Older servers do not look at this flag.
const FLAG_HEARTBEAT_V2_OR_ANNOTATE: u16 = 2;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP: u8 = 0x12;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;
/// The longest `net_write_timeout` there is, a year: a full disk may keep us from reading for long.
const NET_WRITE_TIMEOUT_SECONDS: u32 = 31_536_000;

impl Wire {
    /// Turns the connection into an event stream.
    ///
    /// # Errors
    /// Any [`WireError`]
    pub fn dump(&mut self, request: &DumpRequest) -> Result<(), WireError> {
        self.execute(&format!("SET SESSION net_write_timeout={NET_WRITE_TIMEOUT_SECONDS}"))?;
        // Both spellings: the server reads the one that it knows, and any user variable may be set.
        let nanos = request.heartbeat.as_nanos();
        self.execute(&format!("SET @master_heartbeat_period={nanos}, @source_heartbeat_period={nanos}"))?;
        self.execute("SET @master_binlog_checksum='CRC32', @source_binlog_checksum='CRC32'")?;
        self.execute(&format!("SET @slave_uuid='{0}', @replica_uuid='{0}'", request.uuid))?;
        if request.flavor == Flavor::MariaDb {
            // 4: we know GTID events. Without it the server rewrites them into dummies, and breaks on XA.
            self.execute("SET @mariadb_slave_capability=4")?;
            self.execute("SET @slave_gtid_strict_mode=0, @slave_gtid_ignore_duplicates=0")?;
            if let DumpFrom::Gtid(set) = &request.from {
                self.execute(&format!("SET @slave_connect_state='{set}'"))?;
            }
        }
        let mut register = request.server_id.to_le_bytes().to_vec();
        register.extend_from_slice(&[0; 3]); // host, user, password: shown by SHOW REPLICAS only
        register.extend_from_slice(&[0; 2 + 4 + 4]); // port, rank, source id
        self.command(COM_REGISTER_SLAVE, &register)?;
        self.expect_ok()?;
        match (&request.from, request.flavor) {
            (DumpFrom::Gtid(set), Flavor::MySql) => {
                self.command(COM_BINLOG_DUMP_GTID, &gtid_request(request.server_id, set))
            }
            (DumpFrom::Gtid(_), Flavor::MariaDb) => {
                self.command(COM_BINLOG_DUMP, &position_request(request.server_id, "", 4))
            }
            (DumpFrom::Position(at), _) => {
                let offset = u32::try_from(at.offset).unwrap_or(4).max(4);
                self.command(COM_BINLOG_DUMP, &position_request(request.server_id, &at.file, offset))
            }
        }
    }
}

fn position_request(server_id: u32, file: &str, offset: u32) -> Vec<u8> {
    let mut out = offset.to_le_bytes().to_vec();
    out.extend_from_slice(&FLAG_HEARTBEAT_V2_OR_ANNOTATE.to_le_bytes());
    out.extend_from_slice(&server_id.to_le_bytes());
    out.extend_from_slice(file.as_bytes());
    out
}

fn gtid_request(server_id: u32, set: &GtidSet) -> Vec<u8> {
    /// The set is in the request (`BINLOG_THROUGH_GTID`); the server looks at it in any case.
    const THROUGH_GTID: u16 = 4;
    let encoded = encode_gtids(set);
    let mut out = (THROUGH_GTID | FLAG_HEARTBEAT_V2_OR_ANNOTATE).to_le_bytes().to_vec();
    out.extend_from_slice(&server_id.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes()); // length of the file name: the server finds the file by the set
    out.extend_from_slice(&4u64.to_le_bytes());
    out.extend_from_slice(&u32::try_from(encoded.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&encoded);
    out
}

/// `Gtid_set::encode`: a count, then per uuid (and tag) its intervals, ends excluded. With tags the count is moved by a byte and marked by a 1 at
/// both ends, and each uuid is followed by its tag.
fn encode_gtids(set: &GtidSet) -> Vec<u8> {
    let count = set.intervals().count() as u64;
    let tagged = set.intervals().any(|(source, _)| !source.tag.is_empty());
    let head = if tagged { 1 << 56 | count << 8 | 1 } else { count };
    let mut out = head.to_le_bytes().to_vec();
    for (source, intervals) in set.intervals() {
        out.extend_from_slice(&source.uuid);
        if tagged {
            // A string of mysql::serialization: its length (at most 32) as a variable-length integer of one byte.
            out.push((source.tag.len() as u8) << 1);
            out.extend_from_slice(source.tag.as_bytes());
        }
        out.extend_from_slice(&(intervals.len() as u64).to_le_bytes());
        for &(start, end) in intervals {
            out.extend_from_slice(&start.to_le_bytes());
            out.extend_from_slice(&(end + 1).to_le_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_encoded_as_the_server_reads_it() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let plain = encode_gtids(&format!("{uuid}:1-5:9").parse().unwrap());
        assert_eq!(plain[..8], 1u64.to_le_bytes());
        assert_eq!(plain[24..32], 2u64.to_le_bytes());
        assert_eq!(plain[32..48], [1u64.to_le_bytes(), 6u64.to_le_bytes()].concat());
        assert_eq!(plain.len(), 8 + 16 + 8 + 32);
        let tagged = encode_gtids(&format!("{uuid}:1,{uuid}:mytag:1").parse().unwrap());
        assert_eq!(tagged[..8], [1, 2, 0, 0, 0, 0, 0, 1]);
        assert_eq!(tagged[24], 0);
        let second = 24 + 1 + 8 + 16;
        assert_eq!(tagged[second + 16..second + 22], [10, b'm', b'y', b't', b'a', b'g']);
    }
}

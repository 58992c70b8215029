//! The marks against a simulated server that commits between any two queries.

use super::*;

/// A MySQL server: the binlog grows first, the engine shows it some queries later, `gtid_executed` after that.
struct Server {
    binlog: u64,
    engine: u64,
    executed: u64,
    /// Rows that a SELECT saw last: all transactions up to this number.
    seen: u64,
    seed: u64,
    snapshot: Option<u64>,
    /// How many of the asked ones are snapshots behind the binlog.
    stale: u32,
    locked: bool,
    said: Vec<String>,
    has_snapshot_status: bool,
}

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

impl Server {
    fn new(seed: u64) -> Self {
        Self {
            binlog: 10,
            engine: 10,
            executed: 10,
            seen: 0,
            seed,
            snapshot: None,
            stale: 0,
            locked: false,
            said: vec![],
            has_snapshot_status: false,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    /// Writers go on.
    fn pass(&mut self) {
        if !self.locked {
            self.binlog += self.random(3);
        }
        self.engine += self.random(self.binlog - self.engine + 1);
        self.executed += self.random(self.engine - self.executed + 1);
    }

    fn select(&mut self) -> u64 {
        self.pass();
        self.seen = self.snapshot.unwrap_or(self.engine);
        self.pass();
        self.seen
    }
}

fn place(number: u64) -> BinlogPosition {
    BinlogPosition { file: "bin.000001".into(), offset: number * 100 }
}

fn gtids(number: u64) -> GtidSet {
    format!("{UUID}:1-{number}").parse().unwrap()
}

fn cell(text: impl ToString) -> Option<Vec<u8>> {
    Some(text.to_string().into_bytes())
}

impl Ask for Server {
    fn ask(&mut self, sql: &str) -> Result<Vec<Vec<Option<Vec<u8>>>>, ReaderError> {
        self.pass();
        self.said.push(sql.to_owned());
        Ok(match sql {
            "SHOW MASTER STATUS" | "SHOW BINARY LOG STATUS" => vec![vec![cell("bin.000001"), cell(self.binlog * 100)]],
            "SHOW STATUS LIKE 'binlog_snapshot_position'" if self.has_snapshot_status => {
                vec![vec![cell("Binlog_snapshot_position"), cell(4)]]
            }
            "SHOW STATUS LIKE 'binlog_snapshot_%'" => {
                let at = self.snapshot.unwrap_or(0);
                vec![
                    vec![cell("Binlog_snapshot_file"), cell("bin.000001")],
                    vec![cell("Binlog_snapshot_position"), cell(at * 100)],
                ]
            }
            "START TRANSACTION WITH CONSISTENT SNAPSHOT" => {
                self.stale = self.stale.saturating_sub(1);
                self.snapshot = Some(if self.stale > 0 { 5 } else { self.engine });
                vec![]
            }
            "COMMIT" => {
                self.snapshot = None;
                vec![]
            }
            "UNLOCK TABLES" => {
                self.locked = false;
                vec![]
            }
            text if text.starts_with("LOCK TABLES") => {
                // Granted once writers are done.
                (self.engine, self.executed, self.locked) = (self.binlog, self.binlog, true);
                vec![]
            }
            text if text.starts_with("SELECT GTID_SUBSET(") => {
                let set: GtidSet = text.split('\'').nth(1).unwrap().parse().unwrap();
                let answer = gtids(self.executed).missing(&set).is_empty();
                vec![vec![cell(u8::from(answer))]]
            }
            _ => vec![],
        })
    }
}

#[test]
fn what_a_select_sees_lies_between_the_marks_whatever_is_committed_around_it() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos().max(1);
    println!("seed {seed}");
    let mut ahead = 0;
    for round in 0..300_u64 {
        for way in [Way::Gtid, Way::BinlogSnapshot, Way::TableLocks] {
            let mut server = Server::new(u64::from(seed) + round * 7 + 1);
            for _ in 0..5 {
                server.pass();
            }
            let marks = Marks { way, reason: String::new(), flavor: Flavor::MySql, end: "SHOW MASTER STATUS" };
            // The follower has all that is in the binlog, which the engine may not show yet.
            let decoded = server.binlog;
            ahead += u32::from(server.engine < decoded);
            let known = marks.open(&mut server, &place(decoded), &gtids(decoded), &[b"`d`.`t`".to_vec()]).unwrap();
            let seen = server.select();
            let high = marks.close(&mut server, known).unwrap();
            assert!(seen >= decoded, "{way:?}: the SELECT saw {seen} and not all up to {decoded}");
            assert!(place(seen) <= high, "{way:?}: the SELECT saw {seen}, behind the high mark {high}");
            if way == Way::BinlogSnapshot {
                assert_eq!(place(seen), high);
            }
            assert!(server.snapshot.is_none() && !server.locked);
        }
    }
    assert!(ahead > 50, "the simulation never had the binlog ahead of the engine");
}

#[test]
fn a_snapshot_before_the_place_is_taken_again() {
    let mut server = Server::new(99);
    server.stale = 4;
    let marks =
        Marks { way: Way::BinlogSnapshot, reason: String::new(), flavor: Flavor::MariaDb, end: "SHOW MASTER STATUS" };
    let high = marks.open(&mut server, &place(10), &GtidSet::new(), &[]).unwrap().unwrap();
    assert!(high >= place(10));
    assert_eq!(server.said.iter().filter(|sql| sql.starts_with("START")).count(), 4);
}

#[test]
fn the_way_is_the_best_that_the_source_offers() {
    let mut server = Server::new(1);
    let probe =
        |server: &mut Server, flavor, version: &str, gtids| Marks::probe(server, flavor, version, gtids).unwrap();
    assert_eq!(probe(&mut server, Flavor::MySql, "9.7.4", true).way(), Way::Gtid);
    assert_eq!(probe(&mut server, Flavor::MySql, "5.7.44-log", true).way(), Way::Gtid);
    assert_eq!(probe(&mut server, Flavor::MySql, "5.6.24-log", true).way(), Way::RowLocks);
    assert_eq!(probe(&mut server, Flavor::MySql, "5.6.24-log", false).way(), Way::RowLocks);
    server.has_snapshot_status = true;
    let maria = probe(&mut server, Flavor::MariaDb, "10.11.19-MariaDB-log", true);
    assert_eq!((maria.way(), maria.suffix()), (Way::BinlogSnapshot, ""));
    assert_eq!(maria.with_table_locks().way().name(), "table-locks");
    assert_eq!(lock_tables(&[b"`a`.`b`".to_vec(), b"`c`.`d`".to_vec()]), "LOCK TABLES `a`.`b` READ, `c`.`d` READ");
}

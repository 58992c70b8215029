//! Global transaction ids of both families, and sets of them.
//!
//! MySQL: `uuid:number`, or `uuid:tag:number` since 8.3; a set holds intervals per uuid and tag, gaps are legal (manual, "GTID Format and
//! Storage"). MariaDB: `domain-server-sequence`; a state is the last one of each domain (knowledge base, "GTID").

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};

/// A text that is no GTID or set of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a GTID: {reason}")]
pub struct GtidError {
    text: String,
    reason: &'static str,
}

/// The part of a MySQL GTID before the number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct SourceId {
    /// `server_uuid` of the server that committed first.
    pub uuid: [u8; 16],
    /// Tag of up to 32 characters, lower case; empty for none.
    pub tag: Box<str>,
}

/// The name of one source transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Gtid {
    /// `uuid[:tag]:number`
    MySql {
        /// Uuid and tag.
        source: SourceId,
        /// 1 to 2^63 - 2.
        number: u64,
    },
    /// `domain-server-sequence`
    MariaDb {
        /// `gtid_domain_id`
        domain: u32,
        /// `server_id` of the server that committed first.
        server: u32,
        /// Sequence number in the domain; may jump.
        sequence: u64,
    },
}

/// A set of transactions. Holds MySQL intervals or a MariaDB state; a source only ever fills one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct GtidSet {
    /// Per source id: disjoint, sorted, not adjacent intervals, both ends included.
    intervals: BTreeMap<SourceId, Vec<(u64, u64)>>,
    /// Per domain: server and sequence number of the last transaction.
    domains: BTreeMap<u32, (u32, u64)>,
}

impl GtidSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// True if it holds no transaction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty() && self.domains.is_empty()
    }

    /// Adds one transaction. A MariaDB domain moves to it, whatever it was at: the binlog's order is the truth there.
    pub fn insert(&mut self, gtid: &Gtid) {
        match gtid {
            Gtid::MySql { source, number } => self.insert_interval(source, *number, *number),
            Gtid::MariaDb { domain, server, sequence } => {
                self.domains.insert(*domain, (*server, *sequence));
            }
        }
    }

    /// Adds `start..=end` of a MySQL source.
    pub fn insert_interval(&mut self, source: &SourceId, start: u64, end: u64) {
        let Some(list) = self.intervals.get_mut(source) else {
            self.intervals.insert(source.clone(), vec![(start, end)]);
            return;
        };
        // Following a stream nearly always extends the last interval by one.
        if let Some(last) = list.last_mut()
            && start == last.1 + 1
        {
            last.1 = end;
            return;
        }
        let from = list.partition_point(|&(_, e)| e.saturating_add(1) < start);
        let to = list.partition_point(|&(s, _)| s <= end.saturating_add(1));
        let mut merged = (start, end);
        for &(s, e) in list.get(from..to).unwrap_or_default() {
            merged = (merged.0.min(s), merged.1.max(e));
        }
        list.splice(from..to.max(from), [merged]);
    }

    /// Whether the transaction is in the set; for MariaDB, whether its domain has reached that sequence number.
    #[must_use]
    pub fn contains(&self, gtid: &Gtid) -> bool {
        match gtid {
            Gtid::MySql { source, number } => {
                self.intervals.get(source).is_some_and(|list| list.iter().any(|&(s, e)| s <= *number && *number <= e))
            }
            Gtid::MariaDb { domain, sequence, .. } => self.domains.get(domain).is_some_and(|&(_, at)| at >= *sequence),
        }
    }

    /// All of `other` that is not in `self`: empty if `self` is a superset. For MariaDB: the domains in which `other` is ahead.
    #[must_use]
    pub fn missing(&self, other: &GtidSet) -> GtidSet {
        let mut out = GtidSet::new();
        for (source, list) in &other.intervals {
            let own = self.intervals.get(source).map_or(&[][..], Vec::as_slice);
            for &(start, end) in list {
                let mut next = start;
                for &(s, e) in own.iter().filter(|&&(s, e)| e >= start && s <= end) {
                    if s > next {
                        out.insert_interval(source, next, s - 1);
                    }
                    next = next.max(e.saturating_add(1));
                }
                if next <= end {
                    out.insert_interval(source, next, end);
                }
            }
        }
        for (&domain, &(server, sequence)) in &other.domains {
            if self.domains.get(&domain).is_none_or(|&(_, at)| at < sequence) {
                out.domains.insert(domain, (server, sequence));
            }
        }
        out
    }

    /// Adds all of `other`; a MariaDB domain takes the higher sequence number.
    pub fn union(&mut self, other: &GtidSet) {
        for (source, list) in &other.intervals {
            for &(start, end) in list {
                self.insert_interval(source, start, end);
            }
        }
        for (&domain, &(server, sequence)) in &other.domains {
            let at = self.domains.entry(domain).or_insert((server, sequence));
            if at.1 < sequence {
                *at = (server, sequence);
            }
        }
    }

    /// The MySQL part: source ids with their intervals, both ends included.
    pub fn intervals(&self) -> impl Iterator<Item = (&SourceId, &[(u64, u64)])> {
        self.intervals.iter().map(|(source, list)| (source, list.as_slice()))
    }

    /// The MariaDB part: (domain, server, sequence).
    pub fn domains(&self) -> impl Iterator<Item = (u32, u32, u64)> {
        self.domains.iter().map(|(&domain, &(server, sequence))| (domain, server, sequence))
    }
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hex: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    if hex.len() != 32 || text.len() != 36 {
        return None;
    }
    let mut out = [0; 16];
    for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

fn parse_mariadb(text: &str) -> Option<(u32, u32, u64)> {
    let mut parts = text.split('-');
    let gtid = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(gtid)
}

fn is_tag(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl FromStr for Gtid {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let bad = |reason| GtidError { text: text.to_owned(), reason };
        if let Some((domain, server, sequence)) = parse_mariadb(text.trim()) {
            return Ok(Gtid::MariaDb { domain, server, sequence });
        }
        let set: GtidSet = text.parse()?;
        let mut parts = set.intervals.into_iter();
        match (parts.next(), parts.next()) {
            (Some((source, list)), None) => match list.as_slice() {
                [(start, end)] if start == end => Ok(Gtid::MySql { source, number: *start }),
                _ => Err(bad("one transaction is wanted, not several")),
            },
            _ => Err(bad("one transaction is wanted")),
        }
    }
}

impl FromStr for GtidSet {
    type Err = GtidError;

    /// Reads the text of `@@gtid_executed` (spaces and newlines anywhere between parts, several tags of one uuid) and of
    /// `@@gtid_current_pos`.
    fn from_str(text: &str) -> Result<Self, GtidError> {
        let bad = |reason| GtidError { text: text.to_owned(), reason };
        let mut set = GtidSet::new();
        for member in text.split(',').map(str::trim).filter(|m| !m.is_empty()) {
            if let Some((domain, server, sequence)) = parse_mariadb(member) {
                set.domains.insert(domain, (server, sequence));
                continue;
            }
            let mut parts = member.split(':').map(str::trim);
            let uuid = parts.next().and_then(parse_uuid).ok_or_else(|| bad("the uuid is not one"))?;
            let mut source = SourceId { uuid, tag: "".into() };
            let mut intervals = 0;
            for part in parts {
                if is_tag(part) {
                    source.tag = part.to_ascii_lowercase().into();
                    continue;
                }
                let (start, end) = part.split_once('-').unwrap_or((part, part));
                let number = |t: &str| t.trim().parse::<u64>().ok().filter(|n| (1..i64::MAX as u64).contains(n));
                let (start, end) = number(start).zip(number(end)).ok_or_else(|| bad("an interval is not start-end"))?;
                if start > end {
                    return Err(bad("an interval ends before it starts"));
                }
                set.insert_interval(&source, start, end);
                intervals += 1;
            }
            if intervals == 0 {
                return Err(bad("a uuid without an interval"));
            }
        }
        Ok(set)
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.uuid.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        if !self.tag.is_empty() {
            write!(f, ":{}", self.tag)?;
        }
        Ok(())
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gtid::MySql { source, number } => write!(f, "{source}:{number}"),
            Gtid::MariaDb { domain, server, sequence } => write!(f, "{domain}-{server}-{sequence}"),
        }
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut comma = |f: &mut fmt::Formatter<'_>| if std::mem::take(&mut first) { Ok(()) } else { f.write_str(",") };
        for (source, list) in &self.intervals {
            comma(f)?;
            write!(f, "{source}")?;
            for &(start, end) in list {
                if start == end {
                    write!(f, ":{start}")?;
                } else {
                    write!(f, ":{start}-{end}")?;
                }
            }
        }
        for (domain, (server, sequence)) in &self.domains {
            comma(f)?;
            write!(f, "{domain}-{server}-{sequence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn the_whole_text_of_gtid_executed_is_read_tags_and_newlines_included() {
        let text = format!("{UUID}:1-816029:5000000:mytag:1:7-9,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:3");
        let set: GtidSet = text.parse().unwrap();
        assert_eq!(
            set.to_string(),
            format!("{UUID}:1-816029:5000000,{UUID}:mytag:1:7-9,4e11fa47-71ca-11e1-9e33-c80aa9429562:3")
        );
        assert!(set.contains(&format!("{UUID}:mytag:8").parse().unwrap()));
        assert!(!set.contains(&format!("{UUID}:mytag:6").parse().unwrap()));
    }

    #[test]
    fn a_mariadb_state_holds_the_last_of_each_domain() {
        let mut set: GtidSet = "0-11-10,1-11-5".parse().unwrap();
        set.insert(&"0-12-11".parse().unwrap());
        assert_eq!(set.to_string(), "0-12-11,1-11-5");
        assert_eq!("0-12-9".parse::<GtidSet>().unwrap().missing(&set).to_string(), "0-12-11,1-11-5");
    }

    #[test]
    fn what_is_no_gtid_is_refused() {
        for text in ["x", "1-2", "1-2-3-4", UUID, &format!("{UUID}:0"), &format!("{UUID}:5-3"), &format!("{UUID}:1-x")]
        {
            assert!(text.parse::<GtidSet>().is_err(), "{text}");
        }
        assert!(format!("{UUID}:1-2").parse::<Gtid>().is_err());
    }

    proptest! {
        #[test]
        fn a_set_of_intervals_equals_a_set_of_numbers(
            a in prop::collection::vec((1u64..60, 0u64..9), 0..20),
            b in prop::collection::vec((1u64..60, 0u64..9), 0..20),
        ) {
            let source = SourceId { uuid: [7; 16], tag: "".into() };
            let build = |parts: &[(u64, u64)]| {
                let (mut set, mut model) = (GtidSet::new(), BTreeSet::new());
                for &(start, len) in parts {
                    set.insert_interval(&source, start, start + len);
                    model.extend(start..=start + len);
                }
                (set, model)
            };
            let members = |set: &GtidSet| -> BTreeSet<u64> {
                (1..80).filter(|&number| set.contains(&Gtid::MySql { source: source.clone(), number })).collect()
            };
            let ((set_a, model_a), (set_b, model_b)) = (build(&a), build(&b));
            prop_assert_eq!(members(&set_a), model_a.clone());
            prop_assert_eq!(set_a.to_string().parse::<GtidSet>().unwrap(), set_a.clone());
            prop_assert_eq!(members(&set_a.missing(&set_b)), model_b.difference(&model_a).copied().collect::<BTreeSet<_>>());
            let mut both = set_a.clone();
            both.union(&set_b);
            prop_assert_eq!(members(&both), model_a.union(&model_b).copied().collect::<BTreeSet<_>>());
            // No two intervals touch: a set has one text.
            for (_, list) in both.intervals() {
                prop_assert!(list.windows(2).all(|w| w[0].1 + 1 < w[1].0));
            }
        }
    }
}

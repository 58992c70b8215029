//! Which databases and tables: `include` and `exclude`.
//!
//! A pattern is `database.table`, where `*` stands for any characters and `?` for one, or `/regular expression/`, which must match the
//! whole of `database.table`. Names are compared with their case, as MySQL on Linux does. A table is selected if a pattern of `include` matches it and none of
//! `exclude`. The server's own databases are never selected.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use regex::Regex;
use regex_automata::hybrid::dfa::DFA;
use regex_automata::{Anchored, Input};

/// The servers' own databases.
pub const SYSTEM_DATABASES: [&str; 5] = ["mysql", "information_schema", "performance_schema", "sys", "ndbinfo"];

/// Decisions that are kept; beyond it they are made anew, so that a source with endless temporary names costs no memory.
const CACHE_MAX: usize = 65_536;

/// One pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    table: Regex,
    database: Part,
}

/// The part of a pattern that a database's name must match.
#[derive(Clone, Debug)]
enum Part {
    /// From `database.table`, with whether the table part is a plain `*`.
    Glob { name: Regex, whole: bool },
    /// From a regular expression: whether it can go on to match after `database.`.
    Prefix(Box<DFA>),
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a pattern: {reason}")]
pub struct PatternError {
    text: String,
    reason: String,
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let bad = |reason: String| PatternError { text: text.to_owned(), reason };
        if let Some(inner) = text.strip_prefix('/') {
            let inner = inner.strip_suffix('/').ok_or_else(|| bad("the closing / is missing".to_owned()))?;
            let anchored = format!("^(?s:{inner})$");
            let table = Regex::new(&anchored).map_err(|e| bad(one_line(&e.to_string())))?;
            let dfa = DFA::new(&anchored).map_err(|e| bad(one_line(&e.to_string())))?;
            return Ok(Pattern { text: text.to_owned(), table, database: Part::Prefix(Box::new(dfa)) });
        }
        let Some((database, name)) = text.split_once('.') else {
            return Err(bad(format!("the dot is missing; write {text}.* for all tables of a database")));
        };
        if database.is_empty() || name.is_empty() {
            return Err(bad("write database.table, with * for any".to_owned()));
        }
        let glob = |part: &str| Regex::new(&format!("^(?s:{})$", glob(part))).map_err(|e| bad(e.to_string()));
        let part = Part::Glob { name: glob(database)?, whole: name.chars().all(|c| c == '*') };
        // The dot between the two cannot be part of a wildcard's match: `a*.b` must not match `a.x.b`'s table `x.b`.
        let table = Regex::new(&format!("^(?s:{}\\x00{})$", self::glob(database), self::glob(name)));
        Ok(Pattern { text: text.to_owned(), table: table.map_err(|e| bad(e.to_string()))?, database: part })
    }
}

fn one_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim().trim_start_matches("error: ").to_owned()
}

fn glob(part: &str) -> String {
    let mut out = String::new();
    for c in part.chars() {
        match c {
            '*' => out.push_str("[^\\x00]*"),
            '?' => out.push_str("[^\\x00]"),
            other => out.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    out
}

impl Pattern {
    /// Whether the table's name matches.
    #[must_use]
    pub fn matches(&self, database: &str, table: &str) -> bool {
        match self.database {
            Part::Glob { .. } => self.table.is_match(&format!("{database}\0{table}")),
            Part::Prefix(_) => self.table.is_match(&format!("{database}.{table}")),
        }
    }

    /// Whether some table of the database can match.
    fn matches_in(&self, database: &str) -> bool {
        match &self.database {
            Part::Glob { name, .. } => name.is_match(database),
            Part::Prefix(dfa) => can_go_on(dfa, &format!("{database}.")),
        }
    }

    /// Whether all tables of the database match, as far as that can be told.
    fn matches_all_of(&self, database: &str) -> bool {
        matches!(&self.database, Part::Glob { name, whole: true } if name.is_match(database))
    }
}

/// Whether some text that begins with `prefix` matches.
fn can_go_on(dfa: &DFA, prefix: &str) -> bool {
    let mut cache = dfa.create_cache();
    let input = Input::new("").anchored(Anchored::Yes);
    let Ok(mut state) = dfa.start_state_forward(&mut cache, &input) else { return true };
    for byte in prefix.bytes() {
        match dfa.next_state(&mut cache, state, byte) {
            Ok(next) if next.is_dead() => return false,
            Ok(next) if !next.is_quit() => state = next,
            // It gives up on something (a Unicode word boundary): then better one CREATE DATABASE too many.
            _ => return true,
        }
    }
    true
}

/// `include` and `exclude` together, with a memory of what was decided.
#[derive(Debug)]
pub struct Selection {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    never: Vec<String>,
    decided: Mutex<Decided>,
}

#[derive(Debug, Default)]
struct Decided {
    databases: HashMap<String, HashMap<String, bool>>,
    count: usize,
}

impl Selection {
    /// A selection by these patterns.
    ///
    /// # Errors
    /// The first text that is no pattern; the texts of a loaded configuration all are.
    pub fn new<S: AsRef<str>>(include: &[S], exclude: &[S]) -> Result<Selection, PatternError> {
        let read = |list: &[S]| list.iter().map(|text| text.as_ref().parse()).collect::<Result<Vec<_>, _>>();
        Ok(Selection {
            include: read(include)?,
            exclude: read(exclude)?,
            never: SYSTEM_DATABASES.iter().map(|s| (*s).to_owned()).collect(),
            decided: Mutex::default(),
        })
    }

    /// The same without these databases, such as those of our own position rows.
    #[must_use]
    pub fn without_databases<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Selection {
        self.never.extend(names.into_iter().map(str::to_owned));
        self.decided = Mutex::default();
        self
    }

    /// Whether the table is selected. The decision is remembered.
    #[must_use]
    pub fn selects(&self, database: &str, table: &str) -> bool {
        // A thread that panicked here left at worst a decision unremembered.
        let mut decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = decided.databases.get(database).and_then(|tables| tables.get(table)) {
            return *known;
        }
        let selected = self.decide(database, table);
        if decided.count >= CACHE_MAX {
            *decided = Decided::default();
        }
        decided.count += 1;
        decided.databases.entry(database.to_owned()).or_default().insert(table.to_owned(), selected);
        selected
    }

    fn decide(&self, database: &str, table: &str) -> bool {
        !self.is_never(database)
            && self.include.iter().any(|p| p.matches(database, table))
            && !self.exclude.iter().any(|p| p.matches(database, table))
    }

    /// Whether statements on the database itself (CREATE, ALTER, DROP DATABASE) are meant: some of its tables can be selected.
    #[must_use]
    pub fn selects_database(&self, database: &str) -> bool {
        !self.is_never(database)
            && self.include.iter().any(|p| p.matches_in(database))
            && !self.exclude.iter().any(|p| p.matches_all_of(database))
    }

    fn is_never(&self, database: &str) -> bool {
        self.never.iter().any(|name| name.eq_ignore_ascii_case(database))
    }

    /// The patterns as they were written, include first.
    pub fn patterns(&self) -> (impl Iterator<Item = &str>, impl Iterator<Item = &str>) {
        (self.include.iter().map(|p| p.text.as_str()), self.exclude.iter().map(|p| p.text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(include: &[&str], exclude: &[&str]) -> Selection {
        Selection::new(include, exclude).unwrap()
    }

    #[test]
    fn exclude_wins_over_include() {
        let s = selection(&["shop.*", "crm.users"], &["shop.audit_*"]);
        for (database, table, selected) in [
            ("shop", "orders", true),
            ("shop", "audit_2026", false),
            ("shop", "Audit_2026", true),
            ("crm", "users", true),
            ("crm", "users2", false),
            ("shops", "orders", false),
            ("shop", "with.dot", true),
        ] {
            // Twice: the second answer comes from memory.
            assert_eq!(s.selects(database, table), selected, "{database}.{table}");
            assert_eq!(s.selects(database, table), selected, "{database}.{table}");
        }
    }

    #[test]
    fn a_question_mark_is_one_character_of_any_script() {
        let s = selection(&["t?.*_?"], &[]);
        assert!(s.selects("tü", "a_ß") && !s.selects("t", "a_b") && !s.selects("tab", "a_b"));
    }

    #[test]
    fn a_wildcard_does_not_reach_over_the_dot() {
        let s = selection(&["a*.b"], &[]);
        assert!(s.selects("ax", "b") && !s.selects("a", "x.b"));
    }

    #[test]
    fn a_regular_expression_must_match_the_whole_name() {
        let s = selection(&["/shop_[0-9]+\\.(orders|items)/"], &["/.*_7\\.items/"]);
        assert!(s.selects("shop_12", "orders") && !s.selects("shop_12", "orders2") && !s.selects("xshop_1", "orders"));
        assert!(s.selects("shop_7", "orders") && !s.selects("shop_7", "items"));
    }

    #[test]
    fn a_database_is_selected_if_one_of_its_tables_can_be() {
        let s = selection(&["shop.orders", "/crm_[0-9]\\..*/", "old.*"], &["old.*"]);
        for (database, selected) in [("shop", true), ("crm_1", true), ("crm_x", false), ("crm", false), ("old", false)]
        {
            assert_eq!(s.selects_database(database), selected, "{database}");
        }
    }

    #[test]
    fn the_servers_own_databases_and_ours_are_never_selected() {
        let s = selection(&["*.*"], &[]).without_databases(["logweir"]);
        for database in ["mysql", "SYS", "information_schema", "performance_schema", "logweir"] {
            assert!(!s.selects(database, "x") && !s.selects_database(database), "{database}");
        }
        assert!(s.selects("shop", "x"));
    }

    #[test]
    fn what_is_no_pattern_is_explained() {
        for (text, wanted) in [
            ("shop", "shop.*"),
            (".x", "database.table"),
            ("x.", "database.table"),
            ("/a", "closing"),
            ("/(/", "group"),
        ] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn the_memory_of_decisions_is_bounded() {
        let s = selection(&["shop.*"], &[]);
        for i in 0..CACHE_MAX + 10 {
            assert!(s.selects("shop", &format!("t{i}")));
        }
        assert!(s.decided.lock().unwrap().databases.values().map(HashMap::len).sum::<usize>() <= CACHE_MAX);
    }
}

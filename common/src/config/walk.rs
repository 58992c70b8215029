//! Walks a parsed TOML document key by key and notes every problem with its line, where serde would stop at the first.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::units::{parse_duration, parse_size};

/// The text of the file and what was found wrong in it so far.
pub(super) struct Notes<'i> {
    text: &'i str,
    errors: RefCell<Vec<ConfigError>>,
}

impl<'i> Notes<'i> {
    pub(super) fn new(text: &'i str) -> Self {
        Notes { text, errors: RefCell::default() }
    }

    pub(super) fn line_of(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        before.iter().filter(|b| **b == b'\n').count() + 1
    }

    pub(super) fn error(&self, at: usize, key: impl Into<String>, problem: impl Into<String>) {
        let error = ConfigError { line: self.line_of(at), key: key.into(), problem: problem.into() };
        self.errors.borrow_mut().push(error);
    }

    /// All errors in the order of the file.
    pub(super) fn finish(self) -> Vec<ConfigError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|e| e.line);
        errors
    }
}

/// A value with its place.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// One table of the document. Every key is asked for once; [`Section::finish`] reports those that nobody asked for.
pub(super) struct Section<'a, 'i> {
    notes: &'a Notes<'i>,
    /// `destination[1]`, empty for the top.
    path: String,
    /// Where the table stands, for what is missing in it.
    pub(super) at: usize,
    table: Option<&'a DeTable<'i>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn top(notes: &'a Notes<'i>, table: &'a DeTable<'i>) -> Self {
        Section { notes, path: String::new(), at: 0, table: Some(table), asked: RefCell::default() }
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn error(&self, at: usize, key: &str, problem: impl Into<String>) {
        self.notes.error(at, self.full(key), problem);
    }

    /// A problem with the table itself.
    pub(super) fn missing(&self, key: &str, problem: &str) {
        self.error(self.at, key, problem);
    }

    pub(super) fn raw(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.asked.borrow_mut().push(key);
        let (_, value) = self.table?.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(value)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|t| t.keys().any(|name| name.get_ref() == key))
    }

    /// True if neither the key is there nor one that was probably meant to be it (which [`Section::finish`] reports).
    pub(super) fn lacks(&self, key: &str) -> bool {
        !self.table.is_some_and(|t| t.keys().any(|name| nearest(name.get_ref(), &[key]).is_some()))
    }

    /// The table under `key`; an empty one if there is none, so that its defaults apply.
    pub(super) fn table(&self, key: &'static str) -> Section<'a, 'i> {
        let raw = self.raw(key);
        let mut table = None;
        if let Some(raw) = raw {
            table = raw.get_ref().as_table();
            if table.is_none() {
                self.wrong_type(key, raw, &format!("a table: [{}]", self.full(key)));
            }
        }
        let at = raw.map_or(self.at, |r| r.span().start);
        Section { notes: self.notes, path: self.full(key), at, table, asked: RefCell::default() }
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Section<'a, 'i>> {
        let Some(raw) = self.raw(key) else { return Vec::new() };
        let Some(array) = raw.get_ref().as_array() else {
            self.wrong_type(key, raw, &format!("a list of tables: [[{}]]", self.full(key)));
            return Vec::new();
        };
        let mut out = Vec::new();
        for (i, item) in array.iter().enumerate() {
            let path = format!("{}[{i}]", self.full(key));
            match item.get_ref().as_table() {
                Some(table) => {
                    let asked = RefCell::default();
                    out.push(Section { notes: self.notes, path, at: item.span().start, table: Some(table), asked });
                }
                None => self.notes.error(item.span().start, path, "is not a table"),
            }
        }
        out
    }

    fn wrong_type(&self, key: &str, raw: &Spanned<DeValue<'i>>, wanted: &str) {
        self.error(raw.span().start, key, format!("is {}; write {wanted}", kind_of(raw.get_ref())));
    }

    /// A string.
    pub(super) fn string(&self, key: &'static str) -> Option<Found<String>> {
        let raw = self.raw(key)?;
        match raw.get_ref().as_str() {
            Some(text) => Some(Found { value: text.to_owned(), at: raw.span().start }),
            None => {
                self.wrong_type(key, raw, "a text in quotes");
                None
            }
        }
    }

    /// A string or a list of strings.
    pub(super) fn strings(&self, key: &'static str) -> Option<Vec<Found<String>>> {
        let raw = self.raw(key)?;
        let found = |text: &str, span: Range<usize>| Found { value: text.to_owned(), at: span.start };
        if let Some(text) = raw.get_ref().as_str() {
            return Some(vec![found(text, raw.span())]);
        }
        let Some(array) = raw.get_ref().as_array() else {
            self.wrong_type(key, raw, "a list of texts: [\"…\", \"…\"]");
            return None;
        };
        let mut out = Vec::new();
        for (i, item) in array.iter().enumerate() {
            match item.get_ref().as_str() {
                Some(text) => out.push(found(text, item.span())),
                None => self.wrong_type(&format!("{key}[{i}]"), item, "a text in quotes"),
            }
        }
        Some(out)
    }

    /// A string that `read` understands; `wanted` says what would be right.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Found<T>> {
        let Found { value, at } = self.string(key)?;
        let parsed = read(&value);
        if parsed.is_none() {
            self.error(at, key, format!("'{value}' is not {wanted}"));
        }
        parsed.map(|value| Found { value, at })
    }

    /// One of a few words, with the value that each stands for.
    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let Found { value, at } = self.string(key)?;
        let found = words.iter().find(|(word, _)| *word == value);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let near = nearest(&value, &names).map(|n| format!("; did you mean '{n}'?")).unwrap_or_default();
            self.error(at, key, format!("'{value}' is not one of {}{near}", names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// A duration like "7d".
    pub(super) fn duration(&self, key: &'static str, allowed: std::ops::RangeInclusive<Duration>) -> Option<Duration> {
        let found = self.parsed(key, "a duration; write \"7d\", \"12h\", \"30s\" or \"500ms\"", parse_duration)?;
        if allowed.contains(&found.value) {
            return Some(found.value);
        }
        let show = humantime::format_duration;
        let problem = format!(
            "{} is out of range: at least {}, at most {}",
            show(found.value),
            show(*allowed.start()),
            show(*allowed.end())
        );
        self.error(found.at, key, problem);
        None
    }

    /// A size in bytes like "64MiB", or a plain number of bytes.
    pub(super) fn size(&self, key: &'static str, allowed: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let raw = self.raw(key)?;
        let at = raw.span().start;
        let text = match raw.get_ref() {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) => number.as_str(),
            _ => {
                self.wrong_type(key, raw, "a size like \"64MiB\"");
                return None;
            }
        };
        let Some(bytes) = parse_size(text) else {
            self.error(at, key, format!("'{text}' is not a size; write \"64MiB\", \"200GiB\" or a number of bytes"));
            return None;
        };
        if allowed.contains(&bytes) {
            return Some(bytes);
        }
        let show = super::units::exact_size;
        let range = format!("at least {}, at most {}", show(*allowed.start()), show(*allowed.end()));
        self.error(at, key, format!("{text} is out of range: {range}"));
        None
    }

    /// A whole number.
    pub(super) fn number(&self, key: &'static str, allowed: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let raw = self.raw(key)?;
        let Some(integer) = raw.get_ref().as_integer() else {
            self.wrong_type(key, raw, &format!("a whole number from {} to {}", allowed.start(), allowed.end()));
            return None;
        };
        match u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()) {
            Ok(number) if allowed.contains(&number) => Some(number),
            _ => {
                let range = format!("at least {}, at most {}", allowed.start(), allowed.end());
                self.error(raw.span().start, key, format!("{} is out of range: {range}", integer.as_str()));
                None
            }
        }
    }

    /// Reports keys that no one asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for name in self.table.into_iter().flat_map(DeTable::keys) {
            let key = name.get_ref().as_ref();
            if asked.contains(&key) {
                continue;
            }
            let problem = match nearest(key, &asked) {
                Some(near) => format!("is not a key of {}; did you mean '{near}'?", self.title()),
                None => format!("is not a key of {}; its keys are {}", self.title(), asked.join(", ")),
            };
            self.error(name.span().start, key, problem);
        }
    }

    fn title(&self) -> String {
        match self.path.split_once('[') {
            Some((name, _)) => format!("[[{name}]]"),
            None if self.path.is_empty() => "the top level".to_owned(),
            None => format!("[{}]", self.path),
        }
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The name that `text` was probably meant to be.
pub(super) fn nearest<'n>(text: &str, names: &[&'n str]) -> Option<&'n str> {
    let text = text.to_ascii_lowercase().replace('-', "_");
    let best = names.iter().map(|name| (strsim::damerau_levenshtein(&text, &name.replace('-', "_")), *name)).min()?;
    (best.0 <= 2.max(text.chars().count() / 4)).then_some(best.1)
}

//! JSON text as a flat tree with the size that each part will have in a document.

use super::JsonError;
use super::encode::SMALL_MAX;

/// Containers in containers at most (`JSON_DOCUMENT_MAX_DEPTH`).
const DEPTH_MAX: usize = 100;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Followed by key and value nodes in turn.
    Object,
    /// Followed by its elements.
    Array,
    /// null, true, false.
    Literal,
    Int16,
    Int32,
    Int64,
    Uint64,
    Double,
    /// A string or a key: from the text itself, or with escapes resolved.
    Text {
        resolved: bool,
    },
}

impl Kind {
    pub(super) fn is_container(self) -> bool {
        matches!(self, Kind::Object | Kind::Array)
    }
}

/// A value or key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Nodes that it is made of, itself included.
    pub(super) span: u32,
    /// A number's bits, a container's count, a string's place.
    pub(super) number: u64,
    /// A string's bytes.
    pub(super) len: u64,
    /// Bytes, the type byte and the entry not counted, within a small container or as one; `u64::MAX` if that cannot be.
    pub(super) small: u64,
    /// The same within a large container, or as one.
    pub(super) large: u64,
}

/// A parsed text.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// In the order of the text; the root is first.
    pub(super) nodes: Vec<Node>,
    /// Strings that had escapes.
    resolved: Vec<u8>,
    /// For objects whose keys are out of order.
    sorted: Vec<Node>,
}

/// The text from where it has been read to.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }
}

impl Tree {
    /// Parses, in place of what was parsed before.
    pub(super) fn parse(&mut self, text: &[u8]) -> Result<(), JsonError> {
        self.nodes.clear();
        self.resolved.clear();
        if std::str::from_utf8(text).is_err() {
            return Err(JsonError::Text("it is not UTF-8"));
        }
        if text.len() as u64 > u64::from(u32::MAX) {
            return Err(JsonError::Text("more than 4 GiB"));
        }
        let mut cursor = Cursor { text, at: 0 };
        cursor.skip_space();
        self.value(&mut cursor, 0)?;
        cursor.skip_space();
        if cursor.peek().is_some() { Err(JsonError::Text("something behind the value")) } else { Ok(()) }
    }

    /// The bytes of a string.
    pub(super) fn text<'a>(&'a self, text: &'a [u8], node: &Node) -> &'a [u8] {
        let from = if node.kind == (Kind::Text { resolved: true }) { &self.resolved } else { text };
        from.get(node.number as usize..).and_then(|rest| rest.get(..node.len as usize)).unwrap_or_default()
    }

    fn leaf(&mut self, kind: Kind, number: u64, small: u64, large: u64) {
        self.nodes.push(Node { kind, span: 1, number, len: 0, small, large });
    }

    fn value(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), JsonError> {
        match cursor.peek() {
            Some(b'{') => self.container(cursor, depth, Kind::Object, b'}'),
            Some(b'[') => self.container(cursor, depth, Kind::Array, b']'),
            Some(b'"') => self.string(cursor),
            Some(b'-' | b'0'..=b'9') => self.number(cursor),
            _ => {
                let rest = cursor.text.get(cursor.at..).unwrap_or_default();
                for (word, literal) in [(&b"null"[..], 0), (b"true", 1), (b"false", 2)] {
                    if rest.starts_with(word) {
                        cursor.at += word.len();
                        self.leaf(Kind::Literal, literal, 0, 0);
                        return Ok(());
                    }
                }
                Err(JsonError::Text("no value where one should be"))
            }
        }
    }

    fn container(&mut self, cursor: &mut Cursor<'_>, depth: usize, kind: Kind, end: u8) -> Result<(), JsonError> {
        if depth == DEPTH_MAX {
            return Err(JsonError::Text("more than 100 levels"));
        }
        cursor.at += 1;
        let at = self.nodes.len();
        let (mut count, mut ordered) = (0, true);
        self.leaf(kind, 0, 0, 0);
        cursor.skip_space();
        let mut last_key = None;
        if !cursor.take(end) {
            loop {
                cursor.skip_space();
                if kind == Kind::Object {
                    let key = self.nodes.len();
                    if cursor.peek() != Some(b'"') {
                        return Err(JsonError::Text("no key where one should be"));
                    }
                    self.string(cursor)?;
                    ordered &= last_key.is_none_or(|last| self.key(cursor.text, last) < self.key(cursor.text, key));
                    last_key = Some(key);
                    cursor.skip_space();
                    if !cursor.take(b':') {
                        return Err(JsonError::Text("no colon behind a key"));
                    }
                    cursor.skip_space();
                }
                self.value(cursor, depth + 1)?;
                count += 1;
                cursor.skip_space();
                if cursor.take(end) {
                    break;
                }
                if !cursor.take(b',') {
                    return Err(JsonError::Text("a container ends early"));
                }
            }
        }
        if !ordered {
            count = self.sort(cursor.text, at);
        }
        self.measure(at, kind, count)
    }

    /// What keys are ordered by: length, then bytes.
    fn key<'a>(&'a self, text: &'a [u8], index: usize) -> (usize, &'a [u8]) {
        let bytes = self.nodes.get(index).map_or(&[][..], |node| self.text(text, node));
        (bytes.len(), bytes)
    }

    /// Puts the keys behind node `at` in order, the last of the same one only. MySQL's own text never needs it. Returns the count.
    fn sort(&mut self, text: &[u8], at: usize) -> u64 {
        let mut keys = Vec::new();
        let mut next = at + 1;
        while next < self.nodes.len() {
            keys.push(next);
            next += 1 + self.nodes.get(next + 1).map_or(1, |value| value.span as usize);
        }
        keys.sort_by(|&a, &b| self.key(text, a).cmp(&self.key(text, b)).then(b.cmp(&a)));
        keys.dedup_by(|a, b| self.key(text, *a) == self.key(text, *b));
        self.sorted.clear();
        for &key in &keys {
            let span = 1 + self.nodes.get(key + 1).map_or(1, |value| value.span as usize);
            self.sorted.extend_from_slice(self.nodes.get(key..key + span).unwrap_or_default());
        }
        self.nodes.truncate(at + 1);
        self.nodes.extend_from_slice(&self.sorted);
        keys.len() as u64
    }

    /// Completes a container whose parts are all there.
    fn measure(&mut self, at: usize, kind: Kind, count: u64) -> Result<(), JsonError> {
        let object = kind == Kind::Object;
        let mut small = 4 + count * if object { 7 } else { 3 };
        let mut large = 8 + count * if object { 11 } else { 5 };
        let mut next = at + 1;
        while let Some(node) = self.nodes.get(next) {
            let mut value = node;
            if object {
                small = small.saturating_add(node.len);
                large += node.len;
                if node.len > SMALL_MAX {
                    return Err(JsonError::Text("a key of more than 65,535 bytes"));
                }
                next += 1;
                let Some(behind) = self.nodes.get(next) else { break };
                value = behind;
            }
            small = small.saturating_add(value.small);
            large += if value.kind.is_container() && value.small <= SMALL_MAX { value.small } else { value.large };
            next += value.span as usize;
        }
        let span = (self.nodes.len() - at) as u32;
        if small > SMALL_MAX {
            small = u64::MAX;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            *node = Node { kind, span, number: count, len: 0, small, large };
        }
        Ok(())
    }

    fn number(&mut self, cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
        const NUMBER: JsonError = JsonError::Text("a malformed number");
        let start = cursor.at;
        let _ = cursor.take(b'-');
        let digits = |cursor: &mut Cursor<'_>| {
            let from = cursor.at;
            while matches!(cursor.peek(), Some(b'0'..=b'9')) {
                cursor.at += 1;
            }
            cursor.at - from
        };
        let zero = cursor.peek() == Some(b'0');
        let whole = digits(cursor);
        if whole == 0 || (zero && whole > 1) {
            return Err(NUMBER);
        }
        let mut exact = true;
        if cursor.take(b'.') {
            exact = false;
            if digits(cursor) == 0 {
                return Err(NUMBER);
            }
        }
        if cursor.take(b'e') || cursor.take(b'E') {
            exact = false;
            let _ = cursor.take(b'+') || cursor.take(b'-');
            if digits(cursor) == 0 {
                return Err(NUMBER);
            }
        }
        let text = cursor.text.get(start..cursor.at).and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or(NUMBER)?;
        if exact {
            if let Ok(number) = text.parse::<i64>() {
                let bits = number as u64;
                if i16::try_from(number).is_ok() {
                    // Two bytes where the number is the whole document, none in an entry.
                    self.leaf(Kind::Int16, bits, 0, 0);
                } else if i32::try_from(number).is_ok() {
                    self.leaf(Kind::Int32, bits, 4, 0);
                } else {
                    self.leaf(Kind::Int64, bits, 8, 8);
                }
                return Ok(());
            }
            if let Ok(number) = text.parse::<u64>() {
                self.leaf(Kind::Uint64, number, 8, 8);
                return Ok(());
            }
        }
        let number: f64 = text.parse().map_err(|_| NUMBER)?;
        if !number.is_finite() {
            return Err(JsonError::Text("a number that is too large"));
        }
        self.leaf(Kind::Double, number.to_bits(), 8, 8);
        Ok(())
    }

    fn string(&mut self, cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
        const END: JsonError = JsonError::Text("a string has no end");
        cursor.at += 1;
        let start = cursor.at;
        let rest = cursor.text.get(start..).unwrap_or_default();
        let len = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20).ok_or(END)?;
        cursor.at += len;
        match cursor.peek() {
            Some(b'"') => {
                cursor.at += 1;
                self.text_node(false, start, len);
                Ok(())
            }
            Some(b'\\') => {
                let from = self.resolved.len();
                self.resolved.extend_from_slice(rest.get(..len).unwrap_or_default());
                self.escapes(cursor)?;
                self.text_node(true, from, self.resolved.len() - from);
                Ok(())
            }
            _ => Err(JsonError::Text("a control character in a string")),
        }
    }

    fn text_node(&mut self, resolved: bool, start: usize, len: usize) {
        let prefix = match len {
            0..=0x7f => 1,
            0x80..=0x3fff => 2,
            0x4000..=0x1f_ffff => 3,
            0x20_0000..=0xfff_ffff => 4,
            _ => 5,
        };
        let (number, len) = (start as u64, len as u64);
        let kind = Kind::Text { resolved };
        self.nodes.push(Node { kind, span: 1, number, len, small: len + prefix, large: len + prefix });
    }

    /// The rest of a string from its first escape on.
    fn escapes(&mut self, cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
        loop {
            let rest = cursor.text.get(cursor.at..).unwrap_or_default();
            let len = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20);
            let len = len.ok_or(JsonError::Text("a string has no end"))?;
            self.resolved.extend_from_slice(rest.get(..len).unwrap_or_default());
            cursor.at += len;
            if cursor.take(b'"') {
                return Ok(());
            }
            if !cursor.take(b'\\') {
                return Err(JsonError::Text("a control character in a string"));
            }
            let escape = cursor.peek();
            cursor.at += 1;
            let byte = match escape {
                Some(plain @ (b'"' | b'\\' | b'/')) => plain,
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'u') => {
                    let character = unicode(cursor).ok_or(JsonError::Text("a malformed escape"))?;
                    self.resolved.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
                _ => return Err(JsonError::Text("a malformed escape")),
            };
            self.resolved.push(byte);
        }
    }
}

/// The character of `\uXXXX`, of which the first two bytes have been read, or of two such that make one.
fn unicode(cursor: &mut Cursor<'_>) -> Option<char> {
    let first = four(cursor)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first);
    }
    if !(cursor.take(b'\\') && cursor.take(b'u')) {
        return None;
    }
    let second = four(cursor).filter(|low| (0xdc00..0xe000).contains(low))?;
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
}

fn four(cursor: &mut Cursor<'_>) -> Option<u32> {
    let digits = cursor.text.get(cursor.at..cursor.at + 4)?;
    cursor.at += 4;
    digits.iter().try_fold(0, |n, &digit| Some(n << 4 | char::from(digit).to_digit(16)?))
}

//! JSON text as a document, laid out as MySQL does it (`serialize_json_value` in sql-common/json_binary.cc).
//!
//! Meant for the text that MySQL prints of a JSON column. That text has lost what the document's SQL values were: a DECIMAL comes back as a DOUBLE (or
//! as an integer, if it has no fraction), a temporal or binary value as a string, and a small UNSIGNED INTEGER as an INTEGER. Everything else comes back
//! byte for byte.
//!
//! A container is stored small (offsets of two bytes) if it and all in it fit into 65,535 bytes. If one does not, its parents are large (four bytes);
//! beside it, small ones stay small.

use std::cell::RefCell;

use super::JsonError;
use super::parse::{Kind, Node, Tree};

/// Bytes of a small container at most.
pub(super) const SMALL_MAX: u64 = 65_535;

thread_local! {
    /// Kept between documents, so that none costs an allocation once the largest has been seen.
    static TREE: RefCell<Tree> = RefCell::default();
}

/// Appends the document of a JSON text. Duplicate keys: the last one counts, as in MySQL.
///
/// # Errors
/// [`JsonError::Text`]; then `out` is as it was.
pub fn encode(text: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    TREE.with_borrow_mut(|tree| {
        tree.parse(text)?;
        let root = tree.nodes.first().ok_or(JsonError::Text("no value"))?;
        let large = root.kind.is_container() && root.small > SMALL_MAX;
        if large && root.large > u64::from(u32::MAX) {
            return Err(JsonError::Text("a document of more than 4 GiB"));
        }
        out.reserve(1 + usize::try_from(if large { root.large } else { root.small }).unwrap_or(0));
        out.push(type_byte(root, large));
        write_value(text, tree, 0, out);
        Ok(())
    })
}

/// Whether a value is stored as a large container where its parent leaves it the choice. Within a small parent all are small.
fn is_large(node: &Node) -> bool {
    node.kind.is_container() && node.small > SMALL_MAX
}

fn type_byte(node: &Node, large: bool) -> u8 {
    match node.kind {
        Kind::Object => u8::from(large),
        Kind::Array => 2 + u8::from(large),
        Kind::Literal => 4,
        Kind::Int16 => 5,
        Kind::Int32 => 7,
        Kind::Int64 => 9,
        Kind::Uint64 => 10,
        Kind::Double => 11,
        Kind::Text { .. } => 12,
    }
}

/// Whether the value stands in its entry: what needs no more bytes than an offset.
fn is_inline(node: &Node, large: bool) -> bool {
    matches!(node.kind, Kind::Literal | Kind::Int16) || (large && node.kind == Kind::Int32)
}

/// An offset, size or inlined value.
fn put(number: u64, large: bool, place: &mut [u8]) {
    let bytes = number.to_le_bytes();
    let width = if large { 4 } else { 2 };
    if let (Some(place), Some(bytes)) = (place.get_mut(..width), bytes.get(..width)) {
        place.copy_from_slice(bytes);
    }
}

fn write_value(text: &[u8], tree: &Tree, index: usize, out: &mut Vec<u8>) {
    let Some(node) = tree.nodes.get(index) else { return };
    let number = node.number.to_le_bytes();
    let bytes = match node.kind {
        Kind::Object | Kind::Array => return write_container(text, tree, index, node, out),
        Kind::Text { .. } => {
            let value = tree.text(text, node);
            let mut len = value.len();
            while len > 0x7f {
                out.push(len as u8 | 0x80);
                len >>= 7;
            }
            out.push(len as u8);
            return out.extend_from_slice(value);
        }
        Kind::Literal => 1,
        Kind::Int16 => 2,
        Kind::Int32 => 4,
        Kind::Int64 | Kind::Uint64 | Kind::Double => 8,
    };
    out.extend_from_slice(number.get(..bytes).unwrap_or_default());
}

/// Count, size, an entry per key, an entry per value, the keys, the values that are not in their entries. Offsets count from the count.
fn write_container(text: &[u8], tree: &Tree, index: usize, node: &Node, out: &mut Vec<u8>) {
    let large = is_large(node);
    let object = node.kind == Kind::Object;
    let width = if large { 4 } else { 2 };
    let count = node.number as usize;
    let start = out.len();
    let keys_at = start + 2 * width;
    let values_at = keys_at + if object { count * (width + 2) } else { 0 };
    out.resize(values_at + count * (width + 1), 0);
    let end = index + node.span as usize;
    if object {
        let (mut at, mut entry) = (index + 1, keys_at);
        while let (true, Some(key)) = (at < end, tree.nodes.get(at)) {
            let offset = (out.len() - start) as u64;
            if let Some(place) = out.get_mut(entry..) {
                put(offset, large, place);
                put(key.len, false, place.get_mut(width..).unwrap_or_default());
            }
            out.extend_from_slice(tree.text(text, key));
            entry += width + 2;
            at += 1 + tree.nodes.get(at + 1).map_or(1, |value| value.span as usize);
        }
    }
    let (mut at, mut entry) = (index + 1, values_at);
    while at < end {
        at += usize::from(object);
        let Some(value) = tree.nodes.get(at) else { return };
        let inline = is_inline(value, large);
        let content = if inline { value.number } else { (out.len() - start) as u64 };
        if let Some([kind, place @ ..]) = out.get_mut(entry..) {
            *kind = type_byte(value, is_large(value));
            put(content, large, place);
        }
        if !inline {
            write_value(text, tree, at, out);
        }
        entry += 1 + width;
        at += value.span as usize;
    }
    let size = (out.len() - start) as u64;
    if let Some(head) = out.get_mut(start..) {
        put(node.number, large, head);
        put(size, large, head.get_mut(width..).unwrap_or_default());
    }
}

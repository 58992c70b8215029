//! Splitting a large table's key space into spans, so that several threads copy one table.
//!
//! Where the key begins with an integer, the space between its least and its greatest value is cut numerically, and parts that hold far more than their share are
//! cut again: how much a part holds is what the server's optimizer estimates by two dives into the index, which costs nothing. For other keys every n-th key is read
//! in the server's order. A boundary is a key, or the first column of one; it belongs to the span before it.

use common::snapshot::Span;

/// Tables below both of these are copied as one span.
const SPLIT_ROWS: u64 = 200_000;
const SPLIT_BYTES: u64 = 64 << 20;
/// A span is not made smaller than this.
const SPAN_ROWS: u64 = 50_000;
/// Nor are there more of them in one table.
const SPANS_MAX: u64 = 64;
/// A part that holds this many times its share is cut again.
const UNEVEN: u64 = 2;

/// Into how many spans a table is cut, for so many threads, rows and bytes by estimate.
#[must_use]
pub fn wanted(threads: u64, rows: u64, bytes: u64) -> u64 {
    if rows <= SPLIT_ROWS && bytes <= SPLIT_BYTES {
        return 1;
    }
    // More than one for each thread, so that no thread is left with the longest.
    let by_size = (rows / SPAN_ROWS).max(bytes / (SPLIT_BYTES / 4)).max(1);
    by_size.min(threads * 4).clamp(1, SPANS_MAX)
}

/// The spans between boundaries, which stand in the server's order.
#[must_use]
pub fn between(boundaries: Vec<Vec<Vec<u8>>>) -> Vec<Span> {
    let mut spans = Vec::with_capacity(boundaries.len() + 1);
    let mut after = Vec::new();
    for boundary in boundaries {
        spans.push(Span { after, until: boundary.clone(), done: false });
        after = boundary;
    }
    spans.push(Span { after, until: Vec::new(), done: false });
    spans
}

/// Boundaries, in rising order, that cut `least..=greatest` into about `want` parts of about the same number of rows. `estimate` says how many rows there are behind its
/// first argument and up to and with its second; None is without a bound. It may be wrong: then the parts are uneven, and nothing else.
///
/// # Errors
/// Those of `estimate`.
pub fn integers<E>(
    least: i128,
    greatest: i128,
    want: u64,
    estimate: &mut dyn FnMut(Option<i128>, Option<i128>) -> Result<u64, E>,
) -> Result<Vec<i128>, E> {
    if want <= 1 || greatest <= least {
        return Ok(Vec::new());
    }
    let width = (greatest - least) / i128::from(want);
    let mut cuts: Vec<i128> = (1..i128::from(want))
        .map(|i| least + width * i + (greatest - least) % i128::from(want) * i / i128::from(want))
        .collect();
    cuts.dedup();
    cuts.retain(|&cut| cut < greatest);
    // Parts with their rows, cut where they are too full, then joined where they are too empty.
    let mut parts = Vec::new();
    let mut total = 0_u64;
    let mut from = None;
    for until in cuts.iter().copied().map(Some).chain([None]) {
        let rows = estimate(from, until)?;
        total = total.saturating_add(rows);
        parts.push(Part { from, until, rows });
        from = until;
    }
    let share = (total / want).max(1);
    let mut cut = Vec::new();
    let mut budget = want * 32; // estimates may be nonsense; this ends whatever they say
    let mut open: Vec<Part> = parts.into_iter().rev().collect();
    while let Some(part) = open.pop() {
        let low = part.from.unwrap_or(least - 1);
        let high = part.until.unwrap_or(greatest);
        let middle = low + (high - low) / 2;
        if part.rows <= share * UNEVEN || middle <= low || middle >= high || budget == 0 {
            cut.push(part);
            continue;
        }
        budget -= 1;
        let first = estimate(part.from, Some(middle))?;
        let second = estimate(Some(middle), part.until)?;
        open.push(Part { from: Some(middle), until: part.until, rows: second });
        open.push(Part { from: part.from, until: Some(middle), rows: first });
    }
    let mut boundaries = Vec::new();
    let mut rows = 0_u64;
    for (index, part) in cut.iter().enumerate() {
        rows = rows.saturating_add(part.rows);
        let next = cut.get(index + 1).map_or(0, |part| part.rows);
        // Joined with the next one while the two are no more than one and a half shares.
        if let Some(until) = part.until
            && rows.saturating_add(next) > share + share / 2
        {
            boundaries.push(until);
            rows = 0;
        }
    }
    Ok(boundaries)
}

#[derive(Clone, Copy)]
struct Part {
    from: Option<i128>,
    until: Option<i128>,
    rows: u64,
}

#[cfg(test)]
mod tests;

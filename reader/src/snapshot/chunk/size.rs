//! How many rows a SELECT asks for: about `chunk_size` bytes, and no longer than a quarter of a second of the source's time.

use std::time::Duration;

/// A SELECT should take about so long: short enough that few rows change meanwhile and that throttles have their say.
const TIME: Duration = Duration::from_millis(250);
/// Asked for where the source's statistics know nothing.
const UNKNOWN_ROW_BYTES: u64 = 1024;
/// Never fewer, never more.
const ROWS: (u64, u64) = (1, 1_000_000);

/// The size of the next chunk of a table.
#[derive(Clone, Debug)]
pub struct Size {
    rows: u64,
    chunk_bytes: u64,
}

impl Size {
    /// For a table of which the statistics say `rows` and `bytes`.
    #[must_use]
    pub fn first(rows: u64, bytes: u64, chunk_bytes: u64) -> Self {
        let average = bytes.checked_div(rows).map_or(UNKNOWN_ROW_BYTES, |average| average.max(16));
        // Statistics may be far off: half of it at first.
        Self { rows: (chunk_bytes / average / 2).clamp(ROWS.0.max(16), ROWS.1), chunk_bytes }
    }

    /// LIMIT of the next SELECT.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// A result is cut at so many bytes.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        usize::try_from(self.chunk_bytes.saturating_mul(3) / 2).unwrap_or(usize::MAX)
    }

    /// A chunk of `rows` and `bytes` took `time`.
    pub fn learn(&mut self, rows: u64, bytes: u64, time: Duration) {
        if rows == 0 {
            return;
        }
        let by_bytes = u128::from(self.chunk_bytes) * u128::from(rows) / u128::from(bytes.max(1));
        let micros = time.as_micros().max(1);
        let by_time = TIME.as_micros() * u128::from(rows) / micros;
        let wanted = u64::try_from(by_bytes.min(by_time)).unwrap_or(u64::MAX);
        // Not more than twice as much at once: the next rows may be other ones.
        self.rows = wanted.min(self.rows.max(rows).saturating_mul(2)).clamp(ROWS.0, ROWS.1);
    }

    /// Something was in the way (a lock, too many changes): a smaller one has better chances.
    pub fn smaller(&mut self) {
        self.rows = (self.rows / 2).max(ROWS.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_settles_at_the_bytes_wanted_or_at_the_time_allowed() {
        let mut size = Size::first(1_000_000, 200_000_000, 4 << 20);
        for _ in 0..10 {
            let rows = size.rows();
            size.learn(rows, rows * 100, Duration::from_micros(rows));
        }
        assert!((41_000..=42_000).contains(&size.rows()), "{}", size.rows());
        for _ in 0..10 {
            let rows = size.rows();
            size.learn(rows, rows * 100, Duration::from_micros(rows * 100));
        }
        assert!((2400..=2600).contains(&size.rows()), "{}", size.rows());
        // Rows of 10 MB: one at a time, and back once they are small again.
        size.learn(1, 10 << 20, Duration::from_millis(10));
        assert_eq!(size.rows(), 1);
        for _ in 0..20 {
            let rows = size.rows();
            size.learn(rows, rows * 100, Duration::from_micros(rows));
        }
        assert!(size.rows() > 41_000);
        assert_eq!(Size::first(0, 0, 4 << 20).rows(), 2048);
        size.smaller();
        assert!(size.rows() < 21_000);
    }
}

//! Bugs that tests plant, to show that the test suites would see them. In a build without tests every answer is `false` at compile time.

/// A mistake that real stores have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// `sync` publishes without `fdatasync`.
    SkipSync,
    /// `sync` publishes before `fdatasync`.
    PublishFirst,
    /// Readers do not compare the body checksum.
    IgnoreBodyChecksum,
    /// A new segment's folder entry is not synced.
    NoDirSync,
    /// Segments are removed before the low-water mark is durable.
    UnlinkFirst,
    /// `durable_to` is always 0 (cockroachdb/pebble#6031).
    NoPromise,
    /// A failed append is skipped instead of rewound.
    HoleAfterError,
    /// Damage in a sealed segment is cut like a torn tail.
    CutSealed,
    /// Recovery keeps an unfinished seq.
    CutInsideSeq,
    /// A failed sync is tried again.
    RetrySync,
}

#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(crate) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Plants a bug in this thread while `run` runs.
#[cfg(test)]
pub(crate) fn with<R>(bug: Option<Bug>, run: impl FnOnce() -> R) -> R {
    struct Undo;
    impl Drop for Undo {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }
    PLANTED.set(bug);
    let _undo = Undo;
    run()
}

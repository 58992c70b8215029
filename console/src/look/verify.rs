//! `logweir store verify`: every byte of a store, checked.

use std::path::Path;
use std::time::Instant;

use common::config::about_size;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::out;

/// Checks the store; exit code 3 if something is damaged.
pub(super) fn verify(dir: &Path, as_json: bool) -> Result<Exit, Failure> {
    let started = Instant::now();
    let report = store::verify(dir)?;
    let seconds = started.elapsed().as_secs_f64();
    if as_json {
        let damage: Vec<_> = report
            .damage
            .iter()
            .map(|d| {
                json!({
                    "segment": d.segment.file_name(),
                    "offset": d.offset,
                    "seq": d.seq.0,
                    "reason": d.reason.to_string(),
                })
            })
            .collect();
        out::json(&json!({
            "store": dir,
            "sound": report.is_sound(),
            "segments": report.segments,
            "frames": report.frames,
            "records": report.records,
            "bytes": report.bytes,
            "first_seq": report.seqs.map(|(first, _)| first.0),
            "last_seq": report.seqs.map(|(_, last)| last.0),
            "unpublished_bytes": report.unpublished,
            "seconds": seconds,
            "damage": damage,
        }))?;
    } else {
        for d in &report.damage {
            let segment = d.segment.file_name();
            out::line(&format!("damaged: segment {segment} at offset {}, seq {}: {}", d.offset, d.seq, d.reason))?;
        }
        let seqs = report.seqs.map_or_else(|| "no seq yet".to_owned(), |(a, b)| format!("seq {a} to {b}"));
        let (sound, count) = (report.is_sound(), report.damage.len());
        out::line(&format!(
            "{}: {} segments, {} frames, {} records, {} checked in {seconds:.2} s, {seqs}",
            if sound { "sound".to_owned() } else { format!("{count} damaged places") },
            report.segments,
            report.frames,
            report.records,
            about_size(report.bytes),
        ))?;
        if report.unpublished > 0 {
            let bytes = about_size(report.unpublished);
            out::line(&format!(
                "{bytes} at the end are not published yet (in flight, or cut off by a crash); the reader settles them"
            ))?;
        }
        if !sound {
            out::line(
                "what to do: restore the segment from a copy of the store, or start a new store from the source or a snapshot",
            )?;
        }
    }
    Ok(if report.is_sound() { Exit::Done } else { Exit::Damaged })
}

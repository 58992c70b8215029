//! Compression of frame bodies, where it pays.

use crate::error::Damage;
use crate::frame::CODEC;

/// Bodies shorter than this stay as they are (the threshold of raft-engine).
pub const COMPRESS_MIN: usize = 8 << 10;

const LZ4: u16 = 1;
const ZSTD: u16 = 2;

/// How bodies of [`COMPRESS_MIN`] bytes and more are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4 block format: fast enough not to be noticed.
    #[default]
    Lz4,
    /// Zstandard level 1: half the size of LZ4 at a third of its speed.
    Zstd,
}

/// Compresses bodies and stops trying for a while when they do not shrink.
pub(crate) struct Compressor {
    how: Compression,
    /// Bodies to leave alone, because the last ones did not shrink.
    rest: u32,
    /// How many to leave alone next time: doubles up to 64.
    penalty: u32,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Compressor {
    pub(crate) fn new(how: Compression) -> Compressor {
        Compressor { how, rest: 0, penalty: 1, zstd: None }
    }

    /// Appends the compressed form of `body` to `out` and returns the codec's flag, or 0 (and nothing appended) if it does not pay.
    pub(crate) fn compress(&mut self, body: &[u8], out: &mut Vec<u8>) -> u16 {
        if self.how == Compression::None || body.len() < COMPRESS_MIN {
            return 0;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return 0;
        }
        let start = out.len();
        // A sixteenth must be saved: less does not pay for the decompression. The room is exactly that, so that data
        // that does not shrink ends early with an error.
        let room = body.len() - body.len() / 16;
        let (codec, written) = match self.how {
            Compression::None => return 0,
            Compression::Lz4 => {
                out.resize(start + lz4_flex::block::get_maximum_output_size(body.len()), 0);
                (LZ4, lz4_flex::block::compress_into(body, &mut out[start..]).ok())
            }
            Compression::Zstd => {
                out.resize(start + room, 0);
                if self.zstd.is_none() {
                    self.zstd = zstd::bulk::Compressor::new(1).ok();
                }
                let written = self.zstd.as_mut().and_then(|z| z.compress_to_buffer(body, &mut out[start..]).ok());
                (ZSTD, written)
            }
        };
        if let Some(written) = written.filter(|written| *written <= room) {
            out.truncate(start + written);
            self.penalty = 1;
            return codec;
        }
        out.truncate(start);
        self.rest = self.penalty;
        self.penalty = (self.penalty * 2).min(64);
        0
    }
}

/// Restores a body into `out`, which becomes exactly `raw_len` long. `raw_len` was checked against the format's limit.
pub(crate) fn decompress(flags: u16, stored: &[u8], raw_len: usize, out: &mut Vec<u8>) -> Result<(), Damage> {
    out.resize(raw_len, 0);
    let written = match flags & CODEC {
        LZ4 => lz4_flex::block::decompress_into(stored, out).map_err(|e| Damage::Compression(e.to_string()))?,
        ZSTD => zstd::bulk::decompress_to_buffer(stored, out.as_mut_slice())
            .map_err(|e| Damage::Compression(e.to_string()))?,
        _ => return Err(Damage::Field("unknown compression")),
    };
    if written != raw_len {
        return Err(Damage::Compression(format!("{written} bytes instead of {raw_len}")));
    }
    Ok(())
}

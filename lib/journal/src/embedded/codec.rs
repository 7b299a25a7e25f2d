//! Compression of values. It runs on the caller's side of an append, on whichever core is free, so that the writer
//! thread of a partition has nothing to do but copy, write and sync: compressing would come on top of every sync of the one
//! thread that everybody waits for.

use std::sync::Mutex;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use super::frame::{self, Codec};
use crate::journal::Header;

/// Below level 1, where literals are not coded: a quarter of the time on log lines (`zstd -b`: 930 instead of 244 MB/s on a busy machine)
/// for a sixth more bytes, a tenth more on spans. They are kept for minutes, and whoever reads needs not know the level.
const ZSTD_LEVEL: i32 = -3;
/// Shorter values are not worth a frame header of zstd.
const COMPRESS_FROM_BYTES: usize = 64;
/// Contexts kept for reuse. More callers than this at the same moment is rare, and a context takes about a megabyte.
const POOL_MAX: usize = 4;
/// A scratch buffer larger than this is not kept.
const SCRATCH_KEPT_BYTES: usize = 1 << 20;

/// A record ready to be written, lacking only its place in the file.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The frame's header, to be finished with [`frame::place`].
    pub header: Vec<u8>,
    /// The payload as stored.
    pub payload: Bytes,
}

impl Prepared {
    /// Bytes of the frame in the file.
    pub(super) fn len(&self) -> usize {
        self.header.len() + self.payload.len()
    }
}

/// Reusable compression contexts.
#[derive(Default)]
pub(super) struct CodecPool {
    idle: Mutex<Vec<Context>>,
}

struct Context {
    compressor: Compressor<'static>,
    scratch: Vec<u8>,
}

impl CodecPool {
    /// Builds the frame of a record; the payload is compressed when that makes it smaller.
    pub(super) fn prepare(&self, header: &Header, value: &Bytes) -> Prepared {
        let (codec, payload) = match self.compress(value) {
            Some(payload) => (Codec::Zstd, payload),
            None => (Codec::Raw, value.clone()),
        };
        let header = frame::encode_record(header, codec, value.len(), &payload, crc32c::crc32c(&payload));
        Prepared { header, payload }
    }

    /// The compressed value, or `None` when it would not be smaller.
    fn compress(&self, value: &[u8]) -> Option<Bytes> {
        if value.len() < COMPRESS_FROM_BYTES {
            return None;
        }
        let mut context = self.take()?;
        // One byte less than the value: when it does not fit, compression did not help.
        context.scratch.resize(value.len() - 1, 0);
        let compressed = context.compressor.compress_to_buffer(value, &mut context.scratch[..]);
        let payload = compressed.ok().map(|len| Bytes::copy_from_slice(&context.scratch[..len]));
        self.give_back(context);
        payload
    }

    fn take(&self) -> Option<Context> {
        let idle = self.idle.lock().expect("no code panics while holding the pool").pop();
        if idle.is_some() {
            return idle;
        }
        // Fails only when memory is short; the value is then stored as it is.
        let compressor = Compressor::new(ZSTD_LEVEL).ok()?;
        Some(Context { compressor, scratch: Vec::new() })
    }

    fn give_back(&self, mut context: Context) {
        if context.scratch.capacity() > SCRATCH_KEPT_BYTES {
            context.scratch = Vec::new();
        }
        let mut idle = self.idle.lock().expect("no code panics while holding the pool");
        if idle.len() < POOL_MAX {
            idle.push(context);
        }
    }
}

/// A stored payload's value, in memory of its own. `raw_len` has been verified together with the header.
pub(super) fn unpack(
    decompressor: &mut Decompressor<'_>,
    codec: Codec,
    payload: &[u8],
    raw_len: usize,
) -> Result<Bytes, &'static str> {
    match codec {
        Codec::Raw if payload.len() == raw_len => Ok(Bytes::copy_from_slice(payload)),
        Codec::Raw => Err("the payload has another length than its header says"),
        Codec::Zstd => match decompressor.decompress(payload, raw_len) {
            Ok(value) if value.len() == raw_len => Ok(Bytes::from(value)),
            Ok(_) => Err("the payload decompresses to another length than its header says"),
            Err(_) => Err("the payload cannot be decompressed"),
        },
    }
}

#[cfg(test)]
mod tests {
    use shipwake_model::Signal;

    use super::*;

    #[test]
    fn values_come_back_and_only_what_shrinks_is_compressed() {
        let pool = CodecPool::default();
        let header = Header {
            tenant: "default".into(),
            signal: Signal::Logs,
            received_ns: 0,
            records: 1,
            time_min_ns: 0,
            time_max_ns: 0,
            request_hash: None,
        };
        let mut noise = 1u64;
        let random = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 56) as u8
        });
        let random: Vec<u8> = random.take(10_000).collect();
        for (value, codec) in
            [(vec![], Codec::Raw), (vec![7; 10], Codec::Raw), (vec![7; 100_000], Codec::Zstd), (random, Codec::Raw)]
        {
            let value = Bytes::from(value);
            let prepared = pool.prepare(&header, &value);
            assert_eq!(prepared.header[7], codec as u8);
            assert!(prepared.payload.len() <= value.len());
            let back = unpack(&mut Decompressor::new().unwrap(), codec, &prepared.payload, value.len());
            assert_eq!(back.as_ref(), Ok(&value));
        }
    }
}

//! The state of a shard as a file: a header with version, length and checksum, then the bytes of the owner.

use bytes::{BufMut, Bytes, BytesMut};

use crate::StoreError;
use crate::manifest::StateFile;
use crate::objects::Objects;

/// Where the states of all shards are, a folder for each.
pub(crate) const FOLDER: &str = "state";

const MAGIC: &[u8; 4] = b"SWST";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 20;

/// Where the state of a commit is; `attempt` counts up when the name is taken.
pub(crate) fn path(shard: u32, seq: u64, attempt: u32) -> String {
    match attempt {
        0 => format!("{FOLDER}/{shard}/{seq:020}.bin"),
        _ => format!("{FOLDER}/{shard}/{seq:020}-{attempt}.bin"),
    }
}

/// The file of a state.
pub(crate) fn encode(state: &[u8]) -> Bytes {
    let mut file = BytesMut::with_capacity(HEADER_BYTES + state.len());
    file.put_slice(MAGIC);
    file.put_u32_le(VERSION);
    file.put_u64_le(state.len() as u64);
    file.put_u32_le(crc32c::crc32c(state));
    file.put_slice(state);
    file.freeze()
}

/// Reads the state that a manifest names.
pub(crate) fn read(objects: &Objects, file: &StateFile) -> Result<Bytes, StoreError> {
    let damaged = |reason: String| StoreError::damaged(objects.file(&file.path), reason);
    let Some(bytes) = objects.get(&file.path)? else {
        return Err(damaged("it is missing, and a manifest names it".to_owned()));
    };
    // The manifest knows the contents: what is wrong with the header alone does no harm.
    let contents = bytes.slice(HEADER_BYTES.min(bytes.len())..);
    if contents.len() as u64 == file.bytes && crc32c::crc32c(&contents) == file.crc32c {
        return Ok(contents);
    }
    let state = decode(&bytes).map_err(damaged)?;
    if crc32c::crc32c(&state) != file.crc32c || state.len() as u64 != file.bytes {
        return Err(damaged("it is not the state that its manifest names".to_owned()));
    }
    Ok(state)
}

fn decode(file: &Bytes) -> Result<Bytes, String> {
    if file.len() < HEADER_BYTES || &file[..4] != MAGIC {
        return Err("it does not begin like a state".to_owned());
    }
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes are four bytes"));
    let version = word(4);
    if !(1..=VERSION).contains(&version) {
        return Err(format!("it has version {version}, this version of shipwake reads up to {VERSION}"));
    }
    let length = u64::from_le_bytes(file[8..16].try_into().expect("eight bytes are eight bytes"));
    let state = file.slice(HEADER_BYTES..);
    if state.len() as u64 != length {
        return Err(format!("it holds {} bytes instead of {length}", state.len()));
    }
    if crc32c::crc32c(&state) != word(16) {
        return Err("its checksum is wrong".to_owned());
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let file = encode(b"state of a shard");
        assert_eq!(decode(&file).expect("decodes"), "state of a shard");
        for bit in 0..file.len() * 8 {
            let mut broken = file.to_vec();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&broken.into()).is_err(), "bit {bit}");
        }
        for end in 0..file.len() {
            assert!(decode(&file.slice(..end)).is_err(), "cut at {end}");
        }
    }
}

//! Decompression that never makes more bytes than it was given room for: the caller acquires memory first, then lets the
//! decoder go on. Limits therefore hold for what a bomb would unpack to, not for what was sent.
//!
//! Pure: bytes in, bytes out. Several gzip members or zstd frames behind each other are one body, as `gzip -d` sees them.

use std::io::{self, ErrorKind, Write};

use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::error::{IngestError, shortened};

/// Largest zstd window, as a power of two: 8 MiB, what `zstd -19` uses. The decoder allocates the window before any output
/// is seen, so a frame must not choose it freely.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// The encoding that a `Content-Encoding` or `grpc-encoding` header names.
    pub(crate) fn from_header(value: Option<&[u8]>) -> Result<Self, IngestError> {
        let Some(value) = value else { return Ok(Encoding::Identity) };
        let text = String::from_utf8_lossy(value);
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Encoding::Identity),
            "gzip" | "x-gzip" => Ok(Encoding::Gzip),
            "zstd" => Ok(Encoding::Zstd),
            _ => Err(IngestError::Encoding { found: shortened(&text) }),
        }
    }
}

/// What stopped the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// All input was taken.
    Done,
    /// There is no room for more output.
    Full,
    /// Some input was taken; call again. Lets the caller yield.
    More,
}

/// Unpacks a body, or copies one that is not packed.
pub(crate) enum Inflate {
    Identity(Room),
    Gzip(Box<MultiGzDecoder<Room>>),
    Zstd(Box<Zstd>),
}

/// Output bytes, and how many there may be.
#[derive(Default)]
pub(crate) struct Room {
    out: Vec<u8>,
    bytes_max: usize,
}

pub(crate) struct Zstd {
    decoder: ZstdDecoder<'static>,
    room: Room,
    /// What the decoder still expects of the frame; 0 between frames.
    expected: usize,
}

impl Inflate {
    pub(crate) fn new(encoding: Encoding) -> Result<Self, IngestError> {
        let room = Room::default();
        Ok(match encoding {
            Encoding::Identity => Inflate::Identity(room),
            Encoding::Gzip => Inflate::Gzip(Box::new(MultiGzDecoder::new(room))),
            Encoding::Zstd => {
                let mut decoder = ZstdDecoder::new().map_err(|error| broken("zstd", &error))?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))
                    .map_err(|error| broken("zstd", &error))?;
                Inflate::Zstd(Box::new(Zstd { decoder, room, expected: 0 }))
            }
        })
    }

    /// Allows `bytes` of output in all.
    pub(crate) fn allow(&mut self, bytes: usize) {
        let room = self.room_mut();
        room.bytes_max = bytes;
        room.out.reserve_exact(bytes.saturating_sub(room.out.len()));
    }

    /// How many bytes have come out.
    pub(crate) fn len(&self) -> usize {
        match self {
            Inflate::Identity(room) => room.out.len(),
            Inflate::Gzip(decoder) => decoder.get_ref().out.len(),
            Inflate::Zstd(zstd) => zstd.room.out.len(),
        }
    }

    /// Takes some of `input` and moves it on by what was taken.
    pub(crate) fn step(&mut self, input: &mut &[u8]) -> Result<Step, IngestError> {
        if input.is_empty() {
            return Ok(Step::Done);
        }
        match self {
            Inflate::Identity(room) => room.write(input).map_or(Ok(Step::Full), |taken| advance(input, taken)),
            Inflate::Gzip(decoder) => match decoder.write(input) {
                Ok(taken) => advance(input, taken),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Step::Full),
                Err(error) => Err(broken("gzip", &error)),
            },
            Inflate::Zstd(zstd) => zstd.step(input),
        }
    }

    /// Brings out what the decoder still holds, after all input. Fails when the input ends in the middle.
    pub(crate) fn finish(&mut self) -> Result<Step, IngestError> {
        match self {
            Inflate::Identity(_) => Ok(Step::Done),
            Inflate::Gzip(decoder) => match decoder.try_finish() {
                Ok(()) => Ok(Step::Done),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Step::Full),
                Err(error) => Err(broken("gzip", &error)),
            },
            Inflate::Zstd(zstd) => zstd.finish(),
        }
    }

    /// The output.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.room_mut().out)
    }

    fn room_mut(&mut self) -> &mut Room {
        match self {
            Inflate::Identity(room) => room,
            Inflate::Gzip(decoder) => decoder.get_mut(),
            Inflate::Zstd(zstd) => &mut zstd.room,
        }
    }
}

fn advance(input: &mut &[u8], taken: usize) -> Result<Step, IngestError> {
    *input = &input[taken..];
    Ok(if input.is_empty() { Step::Done } else { Step::More })
}

fn broken(what: &'static str, error: &io::Error) -> IngestError {
    let reason = match error.kind() {
        ErrorKind::UnexpectedEof => "the stream ends early".to_owned(),
        _ => error.to_string(),
    };
    IngestError::Malformed { what: if what == "gzip" { "broken gzip body" } else { "broken zstd body" }, reason }
}

impl Write for Room {
    /// Takes what there is room for. `WouldBlock` says that there is none: the gzip decoder then keeps its place.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.bytes_max - self.out.len());
        if taken == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.out.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Zstd {
    fn step(&mut self, input: &mut &[u8]) -> Result<Step, IngestError> {
        let (taken, made) = self.run(input)?;
        if taken == 0 && made == 0 {
            return Ok(Step::Full);
        }
        advance(input, taken)
    }

    fn finish(&mut self) -> Result<Step, IngestError> {
        while self.expected != 0 {
            let full = self.room.out.len() == self.room.bytes_max;
            let (_, made) = self.run(&[])?;
            if made == 0 && self.expected != 0 {
                let early =
                    IngestError::Malformed { what: "broken zstd body", reason: "the stream ends early".to_owned() };
                return if full { Ok(Step::Full) } else { Err(early) };
            }
        }
        Ok(Step::Done)
    }

    /// How many bytes were taken and made.
    fn run(&mut self, input: &[u8]) -> Result<(usize, usize), IngestError> {
        // One block of zstd at a time, so that the caller can yield between them.
        const BLOCK_BYTES: usize = 128 << 10;
        let start = self.room.out.len();
        let end = self.room.bytes_max.min(start + BLOCK_BYTES);
        self.room.out.resize(end, 0);
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(&mut self.room.out[start..end]);
        let ran = self.decoder.run(&mut from, &mut to);
        let (taken, made) = (from.pos(), to.pos());
        self.room.out.truncate(start + made);
        self.expected = ran.map_err(|error| broken("zstd", &error))?;
        Ok((taken, made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    /// Unpacks with room that grows by `room`, and input in slices of `slice`.
    fn unpack(encoding: Encoding, packed: &[u8], room: usize, slice: usize, limit: usize) -> Result<Vec<u8>, String> {
        let mut inflate = Inflate::new(encoding).expect("supported");
        let mut allowed = 0;
        let mut grow = |inflate: &mut Inflate| {
            assert_eq!(inflate.len(), allowed, "full means full");
            allowed += room;
            inflate.allow(allowed);
            if allowed > limit { Err("too large".to_owned()) } else { Ok(()) }
        };
        for mut input in packed.chunks(slice) {
            while !input.is_empty() {
                if inflate.step(&mut input).map_err(|error| error.to_string())? == Step::Full {
                    grow(&mut inflate)?;
                }
            }
        }
        while inflate.finish().map_err(|error| error.to_string())? == Step::Full {
            grow(&mut inflate)?;
        }
        Ok(inflate.take())
    }

    #[test]
    fn every_encoding_gives_the_same_bytes_whatever_the_room_and_the_slices() {
        let text: Vec<u8> = (0..40_000u32).flat_map(|n| (n % 977).to_le_bytes()).collect();
        let zstd = zstd::encode_all(text.as_slice(), 1).expect("to memory");
        for (encoding, packed) in
            [(Encoding::Identity, text.clone()), (Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd)]
        {
            for (room, slice) in [(1 << 20, 1 << 20), (1000, 7), (160_000, 4096), (3, 1000)] {
                assert_eq!(
                    unpack(encoding, &packed, room, slice, usize::MAX).as_ref(),
                    Ok(&text),
                    "{encoding:?} {room}"
                );
            }
        }
    }

    #[test]
    fn members_behind_each_other_are_one_body() {
        let packed = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(unpack(Encoding::Gzip, &packed, 100, 3, 1000).expect("valid"), b"one two");
        let packed = [zstd::encode_all(&b"one "[..], 1), zstd::encode_all(&b"two"[..], 1)];
        let packed: Vec<u8> = packed.into_iter().flat_map(|part| part.expect("to memory")).collect();
        assert_eq!(unpack(Encoding::Zstd, &packed, 100, 3, 1000).expect("valid"), b"one two");
    }

    #[test]
    fn broken_streams_are_refused() {
        let good = gzip(&[7; 5000]);
        let mut flipped = good.clone();
        let at = flipped.len() - 6;
        flipped[at] ^= 1;
        for bad in
            [&b"plain text, not gzip"[..], &good[..good.len() - 4], &good[..5], &flipped, &[&good[..], b"x"].concat()]
        {
            let error = unpack(Encoding::Gzip, bad, 1 << 16, 100, 1 << 20).expect_err("broken");
            assert!(error.starts_with("broken gzip body"), "{error}");
        }
        let good = zstd::encode_all(&[7; 5000][..], 1).expect("to memory");
        for bad in [&b"plain text, not zstd"[..], &good[..good.len() - 4]] {
            let error = unpack(Encoding::Zstd, bad, 1 << 16, 100, 1 << 20).expect_err("broken");
            assert!(error.starts_with("broken zstd body"), "{error}");
        }
    }

    #[test]
    fn a_zstd_frame_with_a_huge_window_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("valid level");
        encoder.window_log(27).expect("valid window");
        encoder.write_all(b"small").expect("to memory");
        encoder.flush().expect("to memory");
        let packed = encoder.finish().expect("to memory");
        assert!(unpack(Encoding::Zstd, &packed, 1 << 16, 100, 1 << 20).is_err());
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let zeros = vec![0; 1 << 20];
        for _ in 0..64 {
            encoder.write_all(&zeros).expect("to memory");
        }
        let bomb = encoder.finish().expect("to memory");
        let error = unpack(Encoding::Gzip, &bomb, 1 << 16, 1 << 16, 1 << 20).expect_err("too large");
        assert_eq!(error, "too large");
    }
}

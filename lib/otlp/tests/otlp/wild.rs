//! Requests as no sane encoder writes them but protobuf allows: fields in any order and any number of times, messages in
//! pieces, repeated numbers packed and unpacked, long varints, unknown fields and groups. And, at a given rate, things
//! that protobuf does not allow. The same seed gives the same bytes.

use crate::schema::{Kind, Schema};

/// Nested messages beyond this depth are left empty, to keep requests small; nesting has tests of its own.
const DEPTH_MAX: u32 = 11;

/// A small generator of random numbers (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Writes a request. `faults` is how many fields there are to one that breaks protobuf's rules; 0 is never.
pub fn request(schema: &Schema, seed: u64, faults: usize) -> Vec<u8> {
    let mut writer = Writer { random: Random::new(seed), faults };
    let mut out = Vec::new();
    writer.message(&mut out, schema, 0);
    out
}

struct Writer {
    random: Random,
    faults: usize,
}

impl Writer {
    fn message(&mut self, out: &mut Vec<u8>, schema: &Schema, depth: u32) {
        // The outer levels have few kinds of fields: a handful of each is enough for several records and several heads.
        let count = 1 + self.random.below(if depth < 3 { 4 } else { 7 });
        for _ in 0..count {
            if self.random.once_in(20) {
                self.unknown_field(out, schema, 0);
                continue;
            }
            let (number, kind) = schema.fields[self.random.below(schema.fields.len())];
            self.field(out, number, kind, depth);
        }
    }

    fn field(&mut self, out: &mut Vec<u8>, number: u32, kind: Kind, depth: u32) {
        if self.faults > 0 && self.random.once_in(self.faults) {
            return self.fault(out, number);
        }
        match kind {
            Kind::Varint => {
                self.key(out, number, 0);
                let value = self.number();
                self.varint(out, value);
            }
            Kind::Fixed64 => {
                self.key(out, number, 1);
                out.extend_from_slice(&self.number().to_le_bytes());
            }
            Kind::Fixed32 => {
                self.key(out, number, 5);
                out.extend_from_slice(&(self.number() as u32).to_le_bytes());
            }
            Kind::Bytes => {
                let text = self.text();
                self.bytes(out, number, &text);
            }
            Kind::Message(schema) => {
                let mut content = Vec::new();
                if depth < DEPTH_MAX {
                    self.message(&mut content, schema, depth + 1);
                }
                self.bytes(out, number, &content);
            }
            Kind::Varints | Kind::Fixed64s => self.numbers(out, number, matches!(kind, Kind::Varints)),
        }
    }

    fn numbers(&mut self, out: &mut Vec<u8>, number: u32, varints: bool) {
        let mut content = Vec::new();
        let packed = self.random.once_in(2);
        for _ in 0..self.random.below(5) {
            let value = self.number();
            let target = if packed { &mut content } else { &mut *out };
            if !packed {
                self.key(target, number, if varints { 0 } else { 1 });
            }
            if varints {
                self.varint(target, value);
            } else {
                target.extend_from_slice(&value.to_le_bytes());
            }
        }
        if packed {
            if self.faults > 0 && self.random.once_in(self.faults) {
                content.truncate(content.len().saturating_sub(4));
            }
            self.bytes(out, number, &content);
        }
    }

    fn bytes(&mut self, out: &mut Vec<u8>, number: u32, content: &[u8]) {
        self.key(out, number, 2);
        self.varint(out, content.len() as u64);
        out.extend_from_slice(content);
    }

    /// A field that the message does not have, possibly a group.
    fn unknown_field(&mut self, out: &mut Vec<u8>, schema: &Schema, depth: u32) {
        let number = loop {
            let number = [4, 17, 18, 40, 100, 2047, (1 << 29) - 1][self.random.below(7)];
            if schema.fields.iter().all(|(known, _)| *known != number) {
                break number;
            }
        };
        match self.random.below(5) {
            0 => self.field(out, number, Kind::Varint, 0),
            1 => self.field(out, number, Kind::Fixed64, 0),
            2 => self.field(out, number, Kind::Fixed32, 0),
            3 => self.field(out, number, Kind::Bytes, 0),
            _ => {
                self.key(out, number, 3);
                if depth < 3 {
                    for _ in 0..self.random.below(3) {
                        self.unknown_field(out, schema, depth + 1);
                    }
                }
                self.key(out, number, 4);
            }
        }
    }

    /// Something wrong: a wrong wire type, a key that cannot be, a group that nobody opened or closes, a bad length.
    fn fault(&mut self, out: &mut Vec<u8>, number: u32) {
        match self.random.below(7) {
            0 => {
                let wire_type = self.random.below(8) as u32;
                self.key(out, number, wire_type);
                out.extend_from_slice(&self.number().to_le_bytes());
            }
            1 => self.key(out, number, 4),
            2 => self.key(out, number, 3),
            3 => self.varint(out, u64::from(u32::MAX) + 10),
            4 => out.extend_from_slice(&[0xff; 11]),
            5 => out.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
            _ => {
                self.key(out, number, 2);
                let len = [200, u64::from(u32::MAX), 1 << 31, u64::MAX][self.random.below(4)];
                self.varint(out, len);
            }
        }
    }

    fn key(&mut self, out: &mut Vec<u8>, number: u32, wire_type: u32) {
        self.varint(out, u64::from(number << 3 | wire_type));
    }

    /// A varint, at times longer than it need be.
    fn varint(&mut self, out: &mut Vec<u8>, mut value: u64) {
        let start = out.len();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        if self.random.once_in(12) && out.len() - start < 10 {
            if let Some(last) = out.last_mut() {
                *last |= 0x80;
            }
            let spare = 10 - (out.len() - start);
            let extra = self.random.below(spare);
            out.resize(out.len() + extra, 0x80);
            out.push(0);
        }
    }

    fn number(&mut self) -> u64 {
        match self.random.below(6) {
            0 => 0,
            1 => self.random.next() & 0xff,
            2 => self.random.next() & 0xffff_ffff,
            3 => f64::NAN.to_bits(),
            4 => (self.random.next() as f64 / 1e9).to_bits(),
            _ => self.random.next(),
        }
    }

    fn text(&mut self) -> Vec<u8> {
        match self.random.below(12) {
            0 => Vec::new(),
            1 => vec![0xff, 0xfe, b'x'],
            2 => "grüße, 世界".into(),
            3 => vec![7; 16],
            4 => vec![b'a'; 150],
            _ => {
                let words = ["service.name", "service.version", "checkout", "GET /items/{id}", "1", "\"\\\n"];
                words[self.random.below(words.len())].into()
            }
        }
    }
}

//! The name of a line: its time, its shard and its number there. It holds when the line goes from memory into a segment and
//! from one segment into another; the time in it says where to look. Pure.

use std::fmt;

use shipwake_store::SegmentId;

/// Names a line. The order is the order of lines: by time, and of one time as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LineId {
    pub time_ns: i64,
    pub shard: u32,
    /// Negative for lines that were stored without a number: then it is their place, which holds until segments are merged.
    pub line: i64,
}

impl LineId {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let id = Self {
            time_ns: parts.next()?.parse().ok()?,
            shard: parts.next()?.parse().ok()?,
            line: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(id)
    }

    /// The number of a row that was stored without one.
    pub fn line_of_place(segment: SegmentId, row: u64) -> i64 {
        -1 - ((segment.seq & 0xff_ffff) << 38 | (u64::from(segment.part) & 0x3f) << 32 | row & 0xffff_ffff) as i64
    }
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.time_ns, self.shard, self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(seq: u64) -> SegmentId {
        SegmentId { shard: 0, seq, table: shipwake_store::Table::Logs, part: 0 }
    }

    #[test]
    fn an_id_is_read_as_it_was_written() {
        for id in [
            LineId { time_ns: 1_795_442_400_000_000_001, shard: 3, line: 17 },
            LineId { time_ns: -5, shard: 0, line: LineId::line_of_place(segment(9), 4) },
        ] {
            assert_eq!(LineId::parse(&id.to_string()), Some(id));
        }
        for text in ["", "1.2", "1.2.3.4", "a.b.c", "1.-2.3"] {
            assert_eq!(LineId::parse(text), None, "{text}");
        }
        assert!(LineId::line_of_place(segment(1), 2) < LineId::line_of_place(segment(1), 1));
        assert!(LineId::line_of_place(segment(u64::MAX), u64::MAX) < 0);
    }
}

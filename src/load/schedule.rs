//! The open-loop schedule: which request is due when, fixed by the rate alone and never by the answers. Pure.
//!
//! Latency is counted from the due time, so a server that stalls cannot make the generator wait and so look faster than
//! it is (coordinated omission).

use std::time::Duration;

use shipwake_model::Signal;

use super::args::{Mix, Rate};

/// A request of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What it holds.
    pub signal: Signal,
    /// Its number among the requests of its signal, from 0.
    pub number: u64,
    /// When it is due, from the start of the run.
    pub due: Duration,
}

/// The requests in the order in which they are due; endless.
pub struct Schedule {
    mix: Mix,
    /// Cost of a request of each signal, in the unit of the rate.
    cost: [f64; 3],
    per_second: f64,
    spent: f64,
    credit: [i64; 3],
    sent: [u64; 3],
}

impl Schedule {
    /// `request_bytes` are the sizes of a request by [`Signal::ALL`].
    pub fn new(rate: Rate, mix: Mix, batch: u32, request_bytes: [usize; 3]) -> Self {
        let (per_second, cost) = match rate {
            Rate::Records(records) => (records, [f64::from(batch); 3]),
            Rate::Bytes(bytes) => (bytes, request_bytes.map(|bytes| bytes as f64)),
        };
        Self { mix, cost, per_second, spent: 0.0, credit: [0; 3], sent: [0; 3] }
    }

    /// The signal that is most behind its share.
    fn next_signal(&mut self) -> usize {
        for (index, signal) in Signal::ALL.into_iter().enumerate() {
            self.credit[index] += i64::from(self.mix.of(signal));
        }
        let most = (0..3).max_by_key(|index| (self.credit[*index], 3 - *index)).expect("there are three signals");
        self.credit[most] -= i64::from(self.mix.total());
        most
    }
}

impl Iterator for Schedule {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let due = Duration::from_secs_f64(self.spent / self.per_second);
        let index = self.next_signal();
        let number = self.sent[index];
        self.sent[index] += 1;
        self.spent += self.cost[index];
        Some(Planned { signal: Signal::ALL[index], number, due })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIX: Mix = Mix { logs: 60, spans: 25, points: 15 };

    #[test]
    fn records_per_second_and_shares_are_kept() {
        let planned: Vec<Planned> = Schedule::new(Rate::Records(10_000.0), MIX, 100, [1, 1, 1]).take(1_000).collect();
        let count = |signal| planned.iter().filter(|request| request.signal == signal).count();
        assert_eq!((count(Signal::Logs), count(Signal::Traces), count(Signal::Metrics)), (600, 250, 150));
        assert_eq!(planned[999].due, Duration::from_millis(9_990));
    }

    #[test]
    fn bytes_per_second_follow_the_sizes_of_the_requests() {
        let planned: Vec<Planned> =
            Schedule::new(Rate::Bytes(1_000.0), MIX, 100, [500, 100, 300]).take(2_001).collect();
        let bytes: u64 = planned[..2_000].iter().map(|request| [500, 100, 300][request.signal as usize - 1]).sum();
        assert!((planned[2_000].due.as_secs_f64() - bytes as f64 / 1_000.0).abs() < 1e-6);
    }

    #[test]
    fn numbers_of_a_signal_have_no_gaps() {
        let mut next = [0; 3];
        for request in Schedule::new(Rate::Records(1.0), MIX, 1, [1; 3]).take(500) {
            let expected = &mut next[request.signal as usize - 1];
            assert_eq!(request.number, *expected);
            *expected += 1;
        }
    }
}

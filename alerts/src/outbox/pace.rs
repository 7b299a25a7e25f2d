//! How often receivers may be called: a token bucket for each, kept as the time at which it would be full again. Not stored:
//! after a start each bucket is empty, so that a restart cannot exceed a limit.

use std::collections::HashMap;
use std::sync::Arc;

use crate::outbox::policy::Rate;

/// The buckets.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    started_ms: i64,
    /// When the bucket is full again.
    full_ms: HashMap<Arc<str>, i64>,
}

impl Pace {
    /// Empty buckets.
    pub fn new(now_ms: i64) -> Self {
        Pace { started_ms: now_ms, full_ms: HashMap::new() }
    }

    /// When the receiver may be called next; the past when it may be called now.
    pub fn ready_ms(&self, receiver: &Arc<str>, rate: Rate) -> i64 {
        self.full_ms(receiver, rate) - (rate.burst - 1) * rate.interval_ms
    }

    /// Notes a call.
    pub fn called(&mut self, receiver: &Arc<str>, rate: Rate, now_ms: i64) {
        let full_ms = self.full_ms(receiver, rate).max(now_ms) + rate.interval_ms;
        self.full_ms.insert(receiver.clone(), full_ms);
    }

    fn full_ms(&self, receiver: &Arc<str>, rate: Rate) -> i64 {
        self.full_ms.get(receiver).copied().unwrap_or(self.started_ms + rate.burst * rate.interval_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_pause_a_burst_then_one_each_interval() {
        let (rate, chat) = (Rate { interval_ms: 1_000, burst: 3 }, Arc::from("chat"));
        let mut pace = Pace::new(0);
        assert_eq!(pace.ready_ms(&chat, rate), 1_000, "a bucket is empty after a start");
        let mut calls = Vec::new();
        for now_ms in 10_000..20_000 {
            if pace.ready_ms(&chat, rate) <= now_ms {
                pace.called(&chat, rate, now_ms);
                calls.push(now_ms);
            }
        }
        assert_eq!(calls[..5], [10_000, 10_001, 10_002, 11_000, 12_000]);
        let unlimited = Rate { interval_ms: 0, burst: 1 };
        pace.called(&Arc::from("hook"), unlimited, 30_000);
        assert!(pace.ready_ms(&Arc::from("hook"), unlimited) <= 30_000);
    }
}

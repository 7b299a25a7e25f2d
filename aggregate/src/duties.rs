//! Which shards this process is to run, where several processes share them. Pure: what the group orders, how a shard has ended
//! and the time are arguments; what to do comes out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shipwake_journal::Order;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Start a shard.
    Start(u32),
    /// Let a shard come to an end, with a commit.
    GiveUp(u32),
    /// Let it end without one.
    Drop(u32),
    /// Tell the group that the shard does not run here any more.
    LetGo(u32),
}

/// The shards that this process is to run, or still runs.
#[derive(Debug, Default)]
pub(crate) struct Duties {
    shards: BTreeMap<u32, Duty>,
}

#[derive(Debug, Default)]
struct Duty {
    /// The group wants it to run here.
    wanted: bool,
    /// There is a run that has not ended.
    running: bool,
    /// The group waits for its end.
    awaited: bool,
    /// It is wanted, and is to be started again then.
    again_at: Option<Instant>,
}

impl Duties {
    /// Does what the group orders.
    pub(crate) fn ordered(&mut self, order: Order) -> Vec<Deed> {
        match order {
            Order::Take(shards) => shards.into_iter().filter_map(|shard| self.take(shard)).collect(),
            Order::GiveUp(shards) => shards.into_iter().map(|shard| self.give_up(shard)).collect(),
            Order::Drop(shards) => shards.into_iter().filter_map(|shard| self.drop(shard)).collect(),
        }
    }

    fn take(&mut self, shard: u32) -> Option<Deed> {
        let duty = self.shards.entry(shard).or_default();
        (duty.wanted, duty.awaited, duty.again_at) = (true, false, None);
        // A run that has not ended yet is waited for: two at once would take the shard from each other.
        (!std::mem::replace(&mut duty.running, true)).then_some(Deed::Start(shard))
    }

    fn give_up(&mut self, shard: u32) -> Deed {
        match self.shards.get_mut(&shard) {
            Some(duty) if duty.running => {
                (duty.wanted, duty.awaited) = (false, true);
                Deed::GiveUp(shard)
            }
            _ => {
                self.shards.remove(&shard);
                Deed::LetGo(shard)
            }
        }
    }

    fn drop(&mut self, shard: u32) -> Option<Deed> {
        let duty = self.shards.get_mut(&shard)?;
        if duty.running {
            (duty.wanted, duty.awaited) = (false, false);
            return Some(Deed::Drop(shard));
        }
        self.shards.remove(&shard);
        None
    }

    /// A run has ended. If it was not to end it is started again, after a `pause`.
    pub(crate) fn ended(&mut self, shard: u32, pause: Option<Duration>, now: Instant) -> Option<Deed> {
        let duty = self.shards.get_mut(&shard)?;
        duty.running = false;
        if duty.wanted {
            if let Some(pause) = pause {
                duty.again_at = Some(now + pause);
                return None;
            }
            duty.running = true;
            return Some(Deed::Start(shard));
        }
        let awaited = duty.awaited;
        self.shards.remove(&shard);
        awaited.then_some(Deed::LetGo(shard))
    }

    /// Whether the group wants the shard to run here.
    pub(crate) fn wants(&self, shard: u32) -> bool {
        self.shards.get(&shard).is_some_and(|duty| duty.wanted)
    }

    /// What was put off and is due.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Deed> {
        let mut deeds = Vec::new();
        for (shard, duty) in &mut self.shards {
            if duty.again_at.take_if(|at| *at <= now).is_some() {
                duty.running = true;
                deeds.push(Deed::Start(*shard));
            }
        }
        deeds
    }

    /// When something is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.shards.values().filter_map(|duty| duty.again_at).min()
    }

    /// The program stops: what runs comes to its end, and nothing is started any more.
    pub(crate) fn end_all(&mut self) -> Vec<Deed> {
        self.shards.retain(|_, duty| duty.running);
        self.shards.iter_mut().for_each(|(_, duty)| (duty.wanted, duty.awaited, duty.again_at) = (false, true, None));
        self.shards.keys().map(|shard| Deed::GiveUp(*shard)).collect()
    }

    /// Whether nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.shards.values().all(|duty| !duty.running)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(shards: &[u32]) -> BTreeSet<u32> {
        shards.iter().copied().collect()
    }

    #[test]
    fn a_shard_is_let_go_when_it_has_ended_and_not_before() {
        let (mut duties, now) = (Duties::default(), Instant::now());
        assert_eq!(duties.ordered(Order::Take(set(&[0, 1]))), [Deed::Start(0), Deed::Start(1)]);
        assert_eq!(duties.ordered(Order::GiveUp(set(&[1, 2]))), [Deed::GiveUp(1), Deed::LetGo(2)]);
        assert_eq!(duties.ended(1, None, now), Some(Deed::LetGo(1)));
        assert_eq!(duties.ordered(Order::Drop(set(&[0]))), [Deed::Drop(0)]);
        assert_eq!(duties.ended(0, None, now), None, "nobody waits for it");
        assert!(duties.is_idle());
    }

    #[test]
    fn a_shard_that_comes_back_while_it_ends_begins_when_it_has_ended() {
        let (mut duties, now) = (Duties::default(), Instant::now());
        duties.ordered(Order::Take(set(&[0])));
        duties.ordered(Order::Drop(set(&[0])));
        assert_eq!(duties.ordered(Order::Take(set(&[0]))), []);
        assert_eq!(duties.ended(0, None, now), Some(Deed::Start(0)));
    }

    #[test]
    fn a_shard_that_failed_begins_again_after_a_pause_if_it_is_still_wanted() {
        let (mut duties, now, pause) = (Duties::default(), Instant::now(), Duration::from_secs(3));
        duties.ordered(Order::Take(set(&[0, 1])));
        assert_eq!(duties.ended(0, Some(pause), now), None);
        assert_eq!(duties.ended(1, Some(pause), now), None);
        assert_eq!((duties.next_due(), duties.due(now)), (Some(now + pause), vec![]));
        assert_eq!(duties.ordered(Order::GiveUp(set(&[1]))), [Deed::LetGo(1)]);
        assert_eq!(duties.due(now + pause), [Deed::Start(0)]);
        assert_eq!((duties.next_due(), duties.due(now + pause)), (None, vec![]));
    }

    proptest! {
        /// Whatever is ordered and however runs end: never two runs of a shard, and what the group waits for is let go once.
        #[test]
        fn a_shard_runs_once_and_is_let_go_once(steps in prop::collection::vec((0u8..6, 0u32..4), 0..80)) {
            let (mut duties, mut now) = (Duties::default(), Instant::now());
            let (mut running, mut awaited) = (BTreeSet::new(), BTreeSet::new());
            for (step, shard) in steps {
                let deeds = match step {
                    0 => duties.ordered(Order::Take(set(&[shard]))),
                    // The group asks for nothing that it waits for already.
                    1 if !awaited.contains(&shard) => { awaited.insert(shard); duties.ordered(Order::GiveUp(set(&[shard]))) }
                    2 => { awaited.remove(&shard); duties.ordered(Order::Drop(set(&[shard]))) }
                    3 if running.remove(&shard) => duties.ended(shard, None, now).into_iter().collect(),
                    4 if running.remove(&shard) => duties.ended(shard, Some(Duration::from_secs(2)), now).into_iter().collect(),
                    5 => { now += Duration::from_secs(1); duties.due(now) }
                    _ => vec![],
                };
                if step == 0 { awaited.remove(&shard); }
                for deed in deeds {
                    match deed {
                        Deed::Start(shard) => prop_assert!(running.insert(shard)),
                        Deed::GiveUp(shard) | Deed::Drop(shard) => prop_assert!(running.contains(&shard)),
                        Deed::LetGo(shard) => prop_assert!(!running.contains(&shard) && awaited.remove(&shard)),
                    }
                }
            }
            for Deed::GiveUp(shard) | Deed::Start(shard) | Deed::Drop(shard) | Deed::LetGo(shard) in duties.end_all() {
                prop_assert!(running.remove(&shard));
                prop_assert_eq!(duties.ended(shard, None, now), Some(Deed::LetGo(shard)));
            }
            prop_assert!(running.is_empty() && duties.is_idle());
        }
    }
}

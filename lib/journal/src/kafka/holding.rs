//! Which partitions a member of the group holds, and which it is on its way to give up. Pure: what the group says, what the
//! member has let go and the time are arguments; what to tell the member comes out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::member::Order;

/// How long a member may take to bring to an end what it began with partitions that it is to give up: a commit and a half.
/// Meanwhile nobody reads them.
pub(super) const GIVE_UP_MAX: Duration = Duration::from_secs(8);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Holding {
    held: BTreeSet<u32>,
    /// What is being given up, and until when; the group waits for all of it at once.
    leaving: Option<Leaving>,
}

#[derive(Debug)]
struct Leaving {
    /// All of it, as the group has named it.
    all: BTreeSet<u32>,
    /// What the member has not let go yet.
    kept: BTreeSet<u32>,
    until: Instant,
}

impl Holding {
    /// The group gives partitions.
    pub(super) fn given(&mut self, partitions: &BTreeSet<u32>) -> Option<Order> {
        let new: BTreeSet<u32> = partitions.difference(&self.held).copied().collect();
        self.held.extend(&new);
        (!new.is_empty()).then_some(Order::Take(new))
    }

    /// The group wants partitions back, and waits for them.
    pub(super) fn wanted(&mut self, partitions: BTreeSet<u32>, now: Instant) -> Option<Order> {
        let kept: BTreeSet<u32> = partitions.intersection(&self.held).copied().collect();
        let order = (!kept.is_empty()).then(|| Order::GiveUp(kept.clone()));
        self.leaving = Some(Leaving { all: partitions, kept, until: now + GIVE_UP_MAX });
        order
    }

    /// The member has let a partition go.
    pub(super) fn let_go(&mut self, partition: u32) {
        if let Some(leaving) = &mut self.leaving {
            leaving.kept.remove(&partition);
        }
    }

    /// What the group can have back now, and what the member has to drop for that; `None` while there is nothing, or while the
    /// member is at it and has time.
    pub(super) fn free(&mut self, now: Instant) -> Option<(BTreeSet<u32>, Option<Order>)> {
        let leaving = self.leaving.take_if(|leaving| leaving.kept.is_empty() || now >= leaving.until)?;
        self.held.retain(|partition| !leaving.all.contains(partition));
        let order = (!leaving.kept.is_empty()).then_some(Order::Drop(leaving.kept));
        Some((leaving.all, order))
    }

    /// The group has gone on without us. What it was still waiting for goes back to it too.
    pub(super) fn lost(&mut self) -> (BTreeSet<u32>, Option<Order>) {
        let waited_for = self.leaving.take().map(|leaving| leaving.all).unwrap_or_default();
        let held = std::mem::take(&mut self.held);
        let order = (!held.is_empty()).then_some(Order::Drop(held));
        (waited_for, order)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(partitions: &[u32]) -> BTreeSet<u32> {
        partitions.iter().copied().collect()
    }

    #[test]
    fn what_is_given_up_is_free_when_the_member_has_let_all_of_it_go() {
        let (mut holding, now) = (Holding::default(), Instant::now());
        assert_eq!(holding.given(&set(&[0, 1, 2])), Some(Order::Take(set(&[0, 1, 2]))));
        assert_eq!(holding.given(&set(&[2])), None, "it has that one");
        assert_eq!(holding.wanted(set(&[1, 2]), now), Some(Order::GiveUp(set(&[1, 2]))));
        assert_eq!(holding.free(now), None);
        holding.let_go(1);
        holding.let_go(0);
        assert_eq!(holding.free(now), None, "the group waits for both");
        holding.let_go(2);
        assert_eq!(holding.free(now), Some((set(&[1, 2]), None)));
        assert_eq!(holding.free(now), None, "once");
        assert_eq!(holding.lost(), (set(&[]), Some(Order::Drop(set(&[0])))));
    }

    #[test]
    fn a_member_that_takes_too_long_has_to_drop_what_it_keeps() {
        let (mut holding, now) = (Holding::default(), Instant::now());
        holding.given(&set(&[0, 1]));
        holding.wanted(set(&[0, 1]), now);
        holding.let_go(0);
        assert_eq!(holding.free(now + GIVE_UP_MAX), Some((set(&[0, 1]), Some(Order::Drop(set(&[1]))))));
    }

    #[test]
    fn a_member_that_the_group_has_gone_on_without_drops_everything() {
        let (mut holding, now) = (Holding::default(), Instant::now());
        holding.given(&set(&[0, 1]));
        holding.wanted(set(&[1]), now);
        assert_eq!(holding.lost(), (set(&[1]), Some(Order::Drop(set(&[0, 1])))));
        assert_eq!(holding.lost(), (set(&[]), None));
        assert_eq!(holding.wanted(set(&[1]), now), None, "it has nothing to give up");
        assert_eq!(holding.free(now), Some((set(&[1]), None)), "and says so");
    }

    proptest! {
        /// Whatever the group and the member do: the member is never told to stop what it does not do, and what it was told adds
        /// up to what it holds.
        #[test]
        fn orders_add_up_to_what_is_held(steps in prop::collection::vec((0u8..5, prop::collection::btree_set(0u32..6, 0..4)), 0..60)) {
            let (mut holding, mut now) = (Holding::default(), Instant::now());
            let mut doing: BTreeSet<u32> = BTreeSet::new();
            for (step, partitions) in steps {
                let order = match step {
                    0 => holding.given(&partitions),
                    // The group asks for nothing more while it waits.
                    1 if holding.leaving.is_none() => holding.wanted(partitions, now),
                    2 => { partitions.iter().for_each(|partition| holding.let_go(*partition)); None }
                    3 => { now += GIVE_UP_MAX / 2; holding.free(now).and_then(|(_, order)| order) }
                    4 => holding.lost().1,
                    _ => None,
                };
                match order {
                    Some(Order::Take(new)) => { prop_assert!(doing.is_disjoint(&new)); doing.extend(new); }
                    Some(Order::GiveUp(some)) => prop_assert!(some.is_subset(&doing)),
                    Some(Order::Drop(some)) => prop_assert!(some.is_subset(&doing)),
                    None => {}
                }
                doing.retain(|partition| holding.held.contains(partition));
                prop_assert_eq!(&doing, &holding.held);
            }
        }
    }
}

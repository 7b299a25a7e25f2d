//! Which versions of each service run, how traffic is split between them, and what is wrong with them: the state that a
//! script changes. Pure.

use super::random::Chance;
use super::scenarios::{Act, Fault};
use super::shop::{SERVICES, service_index};

/// What runs.
pub struct World {
    /// By service.
    services: Vec<Vec<Running>>,
}

/// A version of a service that has instances.
pub struct Running {
    /// The version.
    pub version: &'static str,
    /// Its part of the traffic, in any unit.
    pub share: f64,
    /// Indices of its instances.
    pub members: Vec<usize>,
    /// Route and fault.
    pub faults: Vec<(&'static str, Fault)>,
}

/// What a change asks of the instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Instances to start: version and how many.
    pub start: Option<(&'static str, u32)>,
    /// Indices of instances to stop.
    pub stop: Vec<usize>,
}

impl World {
    /// Nothing runs yet.
    pub fn new() -> Self {
        Self { services: SERVICES.iter().map(|_| Vec::new()).collect() }
    }

    /// What runs of a service.
    pub fn running(&self, service: usize) -> &[Running] {
        &self.services[service]
    }

    /// The index of the version and of the instance that gets the next request; `None` when nothing runs.
    pub fn pick(&self, service: usize, chance: &mut Chance) -> Option<(usize, usize)> {
        let running = &self.services[service];
        let weight = |version: &Running| if version.members.is_empty() { 0.0 } else { version.share };
        let version = chance.weighted(running.iter().map(weight))?;
        let members = &running[version].members;
        Some((version, members[chance.below(members.len() as u64) as usize]))
    }

    /// Adds a started instance to its version.
    pub fn joined(&mut self, service: usize, version: &'static str, instance: usize) {
        self.version(service, version).members.push(instance);
    }

    /// Changes what a step of the script says. The instances to start and stop are for the caller, who then calls
    /// [`World::joined`] and [`World::settled`].
    pub fn apply(&mut self, service: usize, act: Act) -> Moves {
        match act {
            Act::Start { version, instances } => {
                self.version(service, version);
                Moves { start: Some((version, instances)), stop: Vec::new() }
            }
            Act::Share { version, percent } => {
                self.set_share(service, version, percent / 100.0);
                Moves::default()
            }
            Act::Replace { old, new } => {
                let leaving = self.version(service, old).members.pop();
                Moves { start: Some((new, 1)), stop: leaving.into_iter().collect() }
            }
            Act::Stop { version } => {
                let stop = std::mem::take(&mut self.version(service, version).members);
                self.services[service].retain(|running| running.version != version);
                Moves { start: None, stop }
            }
            Act::GoWrong { version, route, fault } => {
                self.version(service, version).faults.push((route, fault));
                Moves::default()
            }
        }
    }

    /// After a replacement has taken place: traffic follows the number of instances.
    pub fn settled(&mut self, service: usize, act: Act) {
        if let Act::Replace { .. } = act {
            for running in &mut self.services[service] {
                running.share = running.members.len() as f64;
            }
            self.services[service].retain(|running| !running.members.is_empty());
        }
    }

    fn set_share(&mut self, service: usize, version: &'static str, share: f64) {
        self.version(service, version);
        let others: f64 = self.services[service]
            .iter()
            .filter(|running| running.version != version)
            .map(|running| running.share)
            .sum();
        for running in &mut self.services[service] {
            if running.version == version {
                running.share = share;
            } else if others > 0.0 {
                running.share *= (1.0 - share) / others;
            }
        }
    }

    /// The entry of a version, made with no share when it is new.
    fn version(&mut self, service: usize, version: &'static str) -> &mut Running {
        let running = &mut self.services[service];
        let at = running.iter().position(|running| running.version == version).unwrap_or_else(|| {
            running.push(Running { version, share: 0.0, members: Vec::new(), faults: Vec::new() });
            running.len() - 1
        });
        &mut running[at]
    }
}

impl Running {
    /// The fault of a route, if it has one.
    pub fn fault(&self, route: &str) -> Option<Fault> {
        self.faults.iter().find(|(wrong, _)| *wrong == route).map(|(_, fault)| *fault)
    }
}

/// The index of the service of a step; scripts name existing services, which a test checks.
pub fn step_service(name: &str) -> usize {
    service_index(name).expect("scripts name services of the shop")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(shares: &[(&'static str, f64, u32)]) -> World {
        let mut world = World::new();
        let mut instance = 0;
        for (version, percent, instances) in shares {
            for _ in 0..*instances {
                world.joined(1, version, instance);
                instance += 1;
            }
            world.apply(1, Act::Share { version, percent: *percent });
        }
        world
    }

    fn shares(world: &World) -> Vec<(&'static str, f64)> {
        world.running(1).iter().map(|running| (running.version, (running.share * 1e6).round() / 1e6)).collect()
    }

    #[test]
    fn a_share_leaves_the_rest_to_the_others_as_it_was() {
        let mut world = world(&[("a", 100.0, 2), ("b", 5.0, 1)]);
        assert_eq!(shares(&world), [("a", 0.95), ("b", 0.05)]);
        world.apply(1, Act::Share { version: "b", percent: 100.0 });
        assert_eq!(shares(&world), [("a", 0.0), ("b", 1.0)]);
    }

    #[test]
    fn replacing_moves_one_instance_and_its_traffic() {
        let mut world = world(&[("a", 100.0, 2)]);
        let replace = Act::Replace { old: "a", new: "b" };
        let moves = world.apply(1, replace);
        assert_eq!(moves, Moves { start: Some(("b", 1)), stop: vec![1] });
        world.joined(1, "b", 9);
        world.settled(1, replace);
        assert_eq!(shares(&world), [("a", 1.0), ("b", 1.0)]);
        world.apply(1, replace);
        world.joined(1, "b", 10);
        world.settled(1, replace);
        assert_eq!(shares(&world), [("b", 2.0)]);
    }

    #[test]
    fn picks_follow_the_shares_and_versions_without_instances_get_nothing() {
        let mut world = world(&[("a", 100.0, 2), ("b", 20.0, 1)]);
        world.apply(1, Act::Start { version: "c", instances: 1 });
        world.apply(1, Act::Share { version: "c", percent: 50.0 });
        let mut chance = Chance::new(3);
        let picks = (0..10_000).filter_map(|_| world.pick(1, &mut chance)).filter(|(version, _)| *version == 1).count();
        assert!((1_800..2_200).contains(&picks), "{picks}");
        assert_eq!(World::new().pick(0, &mut chance), None);
    }
}

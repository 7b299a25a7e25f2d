//! A customer's request and everything it causes: which instances answer, how long each takes, what fails. Pure; times are
//! microseconds from the customer's request.

use super::random::Chance;
use super::scenarios::Fault;
use super::shop::{Route, SERVICES, service_index};
use super::world::World;

/// What a customer's request caused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journey {
    /// Identifier of the trace.
    pub trace_id: [u64; 2],
    /// Answers, as their servers see them.
    pub visits: Vec<Visit>,
    /// The calls between services, as their callers see them.
    pub calls: Vec<Called>,
    /// When the customer had the answer.
    pub end_us: u64,
}

/// A request as the instance that answers it sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    /// Index of the service.
    pub service: usize,
    /// Index of its route.
    pub route: usize,
    /// Index of the instance.
    pub instance: usize,
    /// Span of this visit.
    pub span_id: u64,
    /// Span of the call that caused it; 0 for the customer's.
    pub parent_id: u64,
    /// Begin.
    pub start_us: u64,
    /// End.
    pub end_us: u64,
    /// HTTP status.
    pub status: u16,
    /// Why the status is what it is.
    pub cause: Cause,
}

/// Why a visit ended as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// All went well.
    Good,
    /// The caller asked for something that is not there.
    NotFound,
    /// The service failed as it now and then does.
    Failed,
    /// The service failed because its version is wrong.
    Broken,
    /// A service it needs failed.
    Upstream {
        /// Index of that service.
        callee: usize,
        /// What it answered.
        status: u16,
    },
}

/// A call as the instance that makes it sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    /// Index of the calling instance.
    pub instance: usize,
    /// Index of the service that is called.
    pub callee: usize,
    /// Index of the route there.
    pub route: usize,
    /// Span of this call.
    pub span_id: u64,
    /// Span of the visit that makes it.
    pub parent_id: u64,
    /// Begin.
    pub start_us: u64,
    /// End.
    pub end_us: u64,
    /// What was answered.
    pub status: u16,
}

impl Visit {
    /// Whether it counts as an error of the service.
    pub fn is_error(&self) -> bool {
        self.status >= 500
    }
}

/// Follows a customer's request to a route of a service; `None` when nothing runs there.
pub fn journey(world: &World, chance: &mut Chance, service: usize, route: usize) -> Option<Journey> {
    let trace_id = [chance.bits(), chance.bits()];
    let mut walk = Walk { world, chance, journey: Journey { trace_id, ..Journey::default() } };
    let (end_us, _) = walk.visit(service, route, 0, 0)?;
    Some(Journey { end_us, ..walk.journey })
}

struct Walk<'a> {
    world: &'a World,
    chance: &'a mut Chance,
    journey: Journey,
}

impl Walk<'_> {
    /// Lets a service answer; gives the end and the status.
    fn visit(&mut self, service: usize, route_index: usize, start_us: u64, parent_id: u64) -> Option<(u64, u16)> {
        let (version, instance) = self.world.pick(service, self.chance)?;
        let fault = self.world.running(service)[version].fault(SERVICES[service].routes[route_index].route);
        let route = &SERVICES[service].routes[route_index];
        let span_id = self.chance.bits();
        let own_us = (self.chance.log_normal(route.median_ms, route.sigma) * 1_000.0) as u64 + 100;

        let (called_until, upstream) = self.call_all(instance, span_id, route, start_us + own_us / 2);
        let cause = self.cause(route, fault, upstream);
        let mut end_us = called_until + own_us - own_us / 2;
        if let Some(Fault::SlowTail { above_ms, factor }) = fault {
            let taken_us = (end_us - start_us) as f64;
            if taken_us > above_ms * 1_000.0 {
                end_us = start_us + (taken_us * factor) as u64;
            }
        }
        let status = match cause {
            Cause::Good if route.method == "POST" => 201,
            Cause::Good => 200,
            Cause::NotFound => 404,
            Cause::Failed | Cause::Broken => 500,
            Cause::Upstream { .. } => 502,
        };
        self.journey.visits.push(Visit {
            service,
            route: route_index,
            instance,
            span_id,
            parent_id,
            start_us,
            end_us,
            status,
            cause,
        });
        Some((end_us, status))
    }

    /// Makes a route's calls one after the other; gives their end and the first failure of one that is needed.
    fn call_all(
        &mut self,
        instance: usize,
        parent_id: u64,
        route: &Route,
        start_us: u64,
    ) -> (u64, Option<(usize, u16)>) {
        let mut now_us = start_us;
        let mut failure = None;
        for call in route.calls {
            if failure.is_some() || !self.chance.happens(call.probability) {
                continue;
            }
            let callee = service_index(call.service).expect("calls lead to services of the shop, which a test checks");
            let span_id = self.chance.bits();
            let way_us = 100 + self.chance.below(350);
            // A service without instances refuses the connection.
            let (end_us, status) =
                self.visit(callee, call.route, now_us + way_us, span_id).unwrap_or((now_us + way_us, 503));
            let end_us = end_us + way_us;
            let called =
                Called { instance, callee, route: call.route, span_id, parent_id, start_us: now_us, end_us, status };
            self.journey.calls.push(called);
            if call.critical && status >= 500 {
                failure = Some((callee, status));
            }
            now_us = end_us;
        }
        (now_us, failure)
    }

    fn cause(&mut self, route: &Route, fault: Option<Fault>, upstream: Option<(usize, u16)>) -> Cause {
        let broken_ratio = match fault {
            Some(Fault::Errors { ratio }) => ratio,
            _ => 0.0,
        };
        // Drawn in any case, so that a fault does not shift the chance of everything after it.
        let (broken, failed, missing) = (self.chance.unit(), self.chance.unit(), self.chance.unit());
        match upstream {
            _ if broken < broken_ratio => Cause::Broken,
            Some((callee, status)) => Cause::Upstream { callee, status },
            None if failed < route.error_ratio => Cause::Failed,
            None if missing < route.not_found_ratio => Cause::NotFound,
            None => Cause::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scenarios::Act;

    fn world() -> World {
        let mut world = World::new();
        for (service, data) in SERVICES.iter().enumerate() {
            world.joined(service, data.version, service);
            world.apply(service, Act::Share { version: data.version, percent: 100.0 });
        }
        world
    }

    #[test]
    fn spans_nest_and_every_visit_but_the_first_has_its_call() {
        let world = world();
        let mut chance = Chance::new(5);
        for _ in 0..500 {
            let journey = journey(&world, &mut chance, 0, 5).expect("everything runs");
            assert_eq!(journey.visits.iter().filter(|visit| visit.parent_id == 0).count(), 1);
            for visit in journey.visits.iter().filter(|visit| visit.parent_id != 0) {
                let call =
                    journey.calls.iter().find(|call| call.span_id == visit.parent_id).expect("the call is there");
                assert!(call.start_us <= visit.start_us && visit.end_us <= call.end_us && call.status == visit.status);
                assert!(
                    journey
                        .visits
                        .iter()
                        .any(|caller| caller.span_id == call.parent_id && caller.instance == call.instance)
                );
            }
            assert!(journey.visits.iter().all(|visit| visit.end_us <= journey.end_us && visit.start_us < visit.end_us));
        }
    }

    fn pay_durations_and_errors(fault: Option<Fault>) -> (Vec<u64>, f64) {
        let mut world = world();
        if let Some(fault) = fault {
            world.apply(1, Act::GoWrong { version: "2.13.4", route: "/pay", fault });
        }
        let mut chance = Chance::new(5);
        let visits: Vec<Visit> = (0..20_000)
            .filter_map(|_| journey(&world, &mut chance, 0, 5))
            .flat_map(|journey| journey.visits)
            .filter(|visit| visit.service == 1)
            .collect();
        let errors = visits.iter().filter(|visit| visit.is_error()).count() as f64 / visits.len() as f64;
        let mut durations: Vec<u64> = visits.iter().map(|visit| visit.end_us - visit.start_us).collect();
        durations.sort_unstable();
        (durations, errors)
    }

    #[test]
    fn an_errors_fault_fails_the_share_it_names() {
        let (_, before) = pay_durations_and_errors(None);
        let (_, after) = pay_durations_and_errors(Some(Fault::Errors { ratio: 0.3 }));
        assert!(before < 0.01, "{before}");
        assert!((0.29..0.32).contains(&after), "{after}");
    }

    #[test]
    fn a_slow_tail_moves_p99_by_its_factor_and_leaves_the_median() {
        let (before, _) = pay_durations_and_errors(None);
        let (after, _) = pay_durations_and_errors(Some(Fault::SlowTail { above_ms: 280.0, factor: 1.38 }));
        let ratio = |q: f64| after[(q * 20_000.0) as usize] as f64 / before[(q * 20_000.0) as usize] as f64;
        assert!((ratio(0.5) - 1.0).abs() < 0.01, "{}", ratio(0.5));
        assert!((ratio(0.99) - 1.38).abs() < 0.02, "{}", ratio(0.99));
    }
}

//! Users and sessions of a service by version over the last day. Pure.

use shipwake_model::sketch::Distinct;
use shipwake_store::UsageOfDay;

use crate::pages::overview::round;
use crate::pages::wire;
use crate::release::pair::Role;
use crate::release::timeline::VersionLine;

/// The versions that are shown and have any users or sessions; nothing where nobody sends ids. Adoption is the part of all
/// sessions of the day, versions that are not shown included.
pub(crate) fn versions(usage: &[UsageOfDay], shown: &[(&VersionLine, Role)]) -> Vec<wire::UsageVersion> {
    let mut all_sessions = Distinct::new();
    usage.iter().for_each(|found| all_sessions.merge(&found.sessions));
    let all_sessions = all_sessions.count();
    let of_version = |(line, role): &(&VersionLine, Role)| {
        let mut total = [Distinct::new(), Distinct::new(), Distinct::new(), Distinct::new()];
        for found in usage.iter().filter(|found| found.release.version == line.version) {
            let parts = [&found.users, &found.sessions, &found.crashed, &found.errored];
            total.iter_mut().zip(parts).for_each(|(total, part)| total.merge(part));
        }
        let [users, sessions, crashed, errored] = total.map(|total| total.count());
        if users == 0 && sessions == 0 {
            return None;
        }
        // Estimates of a part can exceed that of the whole by their error.
        let part = |of: u64, whole: u64| (whole > 0).then(|| round((of as f64 / whole as f64).min(1.0)));
        Some(wire::UsageVersion {
            version: line.version.to_string(),
            role: role.as_str(),
            users,
            sessions,
            crashed,
            errored,
            crash_free: part(crashed, sessions).map(|part| round(1.0 - part)),
            adoption: part(sessions, all_sessions),
        })
    };
    shown.iter().filter_map(of_version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::testing::traffic;
    use shipwake_model::ReleaseId;
    use std::sync::Arc;

    fn of(version: &str, users: u64, sessions: u64, crashed: u64) -> UsageOfDay {
        let distinct = |kind: &str, n: u64| {
            let mut distinct = Distinct::new();
            (0..n).for_each(|n| distinct.insert(format!("{kind} {version} {n}").as_bytes()));
            distinct
        };
        let release = ReleaseId {
            service: "shop".into(),
            namespace: "".into(),
            environment: "prod".into(),
            version: version.into(),
        };
        UsageOfDay {
            release: Arc::new(release),
            users: distinct("user", users),
            sessions: distinct("session", sessions),
            crashed: distinct("session", crashed),
            errored: distinct("session", crashed),
        }
    }

    #[test]
    fn adoption_is_a_part_of_all_sessions_and_crash_free_one_of_its_own() {
        let (old, new, silent) = (traffic("1", 0, &[10]), traffic("2", 0, &[10]), traffic("3", 0, &[1]));
        let usage = [of("1", 50, 60, 3), of("2", 10, 20, 0), of("0.9", 20, 20, 0)];
        let shown = [(&old, Role::Baseline), (&new, Role::Candidate), (&silent, Role::Other)];
        let found = versions(&usage, &shown);
        let seen: Vec<_> =
            found.iter().map(|v| (v.version.as_str(), v.users, v.sessions, v.crash_free, v.adoption)).collect();
        assert_eq!(seen, [("1", 50, 60, Some(0.95), Some(0.6)), ("2", 10, 20, Some(1.0), Some(0.2))]);
        assert!(versions(&[], &shown).is_empty());
    }
}

//! Which projects the releases have that `sentry-cli` made lately: a deploy of one names its version alone, and the release was given its
//! projects a moment before, by another request.
//!
//! It may be lost, as after a restart: then the deploy is refused in words that say what to add. Bounded in releases and projects.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use shipwake_model::release::IDENTITY_BYTES_MAX;

/// Releases that are remembered; the one that was made first is forgotten.
const RELEASES_MAX: usize = 1_024;
/// Projects of one.
const PROJECTS_MAX: usize = 16;

/// Organisation and version.
type Release = (String, String);

/// What was said lately, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Projects(Mutex<VecDeque<(Release, Vec<String>)>>);

impl Projects {
    /// Takes note of the projects of a release, unless it is larger than what is remembered.
    pub(super) fn note(&self, org: &str, version: &str, projects: &[String]) {
        let is_short = |text: &str| text.len() <= IDENTITY_BYTES_MAX;
        let fits = projects.len() <= PROJECTS_MAX && projects.iter().all(|project| is_short(project));
        if projects.is_empty() || !fits || !is_short(org) || !is_short(version) {
            return;
        }
        let release = (org.to_owned(), version.to_owned());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, _)| *of != release);
        known.push_back((release, projects.to_vec()));
        if known.len() > RELEASES_MAX {
            known.pop_front();
        }
    }

    /// The projects of a release, if they are remembered.
    pub(super) fn of(&self, org: &str, version: &str) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().rev().find(|((of_org, of_version), _)| of_org == org && of_version == version);
        found.map(|(_, projects)| projects.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_releases_are_remembered_with_their_newest_projects() {
        let projects = Projects::default();
        let named = |name: &str| vec![name.to_owned()];
        projects.note("acme", "1", &named("cart"));
        projects.note("acme", "1", &named("checkout"));
        assert_eq!(projects.of("acme", "1"), ["checkout"]);
        assert_eq!(projects.of("other", "1"), Vec::<String>::new());
        for n in 0..RELEASES_MAX {
            projects.note("acme", &format!("2.{n}"), &named("checkout"));
        }
        assert_eq!(projects.of("acme", "1"), Vec::<String>::new());
        assert_eq!(projects.of("acme", "2.0"), ["checkout"]);
        projects.note("acme", &"x".repeat(300), &named("checkout"));
        projects.note("acme", "3", &vec!["a".to_owned(); 17]);
        projects.note("acme", "2.1", &[]);
        assert_eq!((projects.of("acme", "3").len(), projects.of("acme", "2.1").len()), (0, 1));
    }
}

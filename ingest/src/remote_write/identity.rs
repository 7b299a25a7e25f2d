//! Which service, version, environment and instance a series belongs to, by OpenTelemetry's rules for Prometheus: `job` is
//! the service (`namespace/service`), `instance` the instance, `target_info` says the rest. The request's address fills in
//! what no series says, and names the service, because a job's name is often that of a scrape configuration.

use super::read::{Label, Series};

/// What the address of a request says.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    pub(super) service: Option<String>,
    pub(super) version: Option<String>,
    pub(super) environment: Option<String>,
}

/// The series that carries a target's attributes.
pub(super) const TARGET_INFO: &[u8] = b"target_info";

/// Labels that can only mean the version of the service.
const VERSIONS: [&[u8]; 3] = [b"service_version", b"app_kubernetes_io_version", b"label_app_kubernetes_io_version"];
const ENVIRONMENTS: [&[u8]; 4] = [b"deployment_environment_name", b"deployment_environment", b"environment", b"env"];
const SERVICES: [&[u8]; 1] = [b"service_name"];

/// Whose a series is. What differs here is another resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity<'a> {
    job: &'a [u8],
    service: &'a [u8],
    version: &'a [u8],
    environment: &'a [u8],
    instance: &'a [u8],
}

/// Job and instance, by which `target_info` and the series of a target find each other.
pub(super) type Target<'a> = (&'a [u8], &'a [u8]);

pub(super) fn target<'a>(series: &Series<'a>) -> Target<'a> {
    (series.label(b"job").unwrap_or_default(), series.label(b"instance").unwrap_or_default())
}

impl<'a> Identity<'a> {
    /// `info` are the labels of the target's `target_info`, if it came in the same request.
    pub(super) fn of(series: &Series<'a>, info: Option<&Series<'a>>, defaults: &'a Defaults) -> Self {
        let find = |names: &[&[u8]]| {
            let of = |series: &Series<'a>| names.iter().find_map(|name| series.label(name));
            of(series).or_else(|| info.and_then(of))
        };
        let given = |text: &'a Option<String>| text.as_deref().map(str::as_bytes);
        // `go_info{version="go1.22"}` and its like say the version of something else.
        let plain_version = || if is_info(series.name) { None } else { series.label(b"version") };
        let (job, instance) = target(series);
        Identity {
            job,
            service: find(&SERVICES).or(given(&defaults.service)).unwrap_or_default(),
            version: find(&VERSIONS).or_else(plain_version).or(given(&defaults.version)).unwrap_or_default(),
            environment: find(&ENVIRONMENTS).or(given(&defaults.environment)).unwrap_or_default(),
            instance,
        }
    }

    /// Attributes of the resource.
    pub(super) fn resource(&self, info: Option<&Series<'a>>) -> Vec<Label<'a>> {
        let (namespace, job) = match self.job.iter().position(|byte| *byte == b'/') {
            Some(slash) => (&self.job[..slash], &self.job[slash + 1..]),
            None => (&b""[..], self.job),
        };
        let service = if self.service.is_empty() { job } else { self.service };
        let mut resource: Vec<Label<'a>> = vec![
            (b"service.name", service),
            (b"service.namespace", namespace),
            (b"service.instance.id", self.instance),
            (b"service.version", self.version),
            (b"deployment.environment.name", self.environment),
        ];
        for (name, value) in info.map_or(&[][..], |info| &info.labels) {
            match *name {
                b"__name__" | b"job" | b"instance" => {}
                name if is_version(name) || ENVIRONMENTS.contains(&name) || SERVICES.contains(&name) => {}
                b"service_namespace" => resource.push((b"service.namespace", value)),
                name => resource.push((name, value)),
            }
        }
        resource.retain(|(_, value)| !value.is_empty());
        resource.dedup_by(|later, earlier| later.0 == earlier.0);
        resource
    }
}

/// The labels that tell the series of a metric apart: without the name, and without what went into the resource.
pub(super) fn attributes<'a>(series: &Series<'a>) -> Vec<Label<'a>> {
    let keep = |name: &[u8]| match name {
        b"__name__" | b"job" | b"instance" => false,
        b"version" => is_info(series.name) || VERSIONS.iter().any(|name| series.label(name).is_some()),
        name => !is_version(name) && !ENVIRONMENTS.contains(&name) && !SERVICES.contains(&name),
    };
    series.labels.iter().copied().filter(|(name, value)| !value.is_empty() && keep(name)).collect()
}

fn is_info(name: &[u8]) -> bool {
    name.ends_with(b"_info")
}

fn is_version(name: &[u8]) -> bool {
    VERSIONS.contains(&name)
}

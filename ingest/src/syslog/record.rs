//! What a message means: which release it belongs to, how bad it is, and what else it says.
//!
//! Pure. The release, the first that says something wins: the line in the message, the structured data of an element
//! `shipwake@…` (`service`, `namespace`, `version`, `environment`, `instance`), what the configuration says about the
//! application, the application's name, the configured defaults. Attributes have the names of OpenTelemetry's log data model.

use shipwake_model::release;

use super::config::SyslogConfig;
use super::message::{Message, Parameter};
use crate::lines::Identity;

/// The element of structured data that is meant for us; behind `@` stands a number that registries give out.
const OUR_ELEMENT: &str = "shipwake";

/// What a message says besides its text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) identity: Identity,
    /// OpenTelemetry's number; 0 when unknown.
    pub(super) severity: i32,
    pub(super) attributes: Vec<(String, String)>,
}

/// What is known about a message's text. `peer` is the address that it came from.
pub(super) fn known(message: &Message<'_>, peer: &str, config: &SyslogConfig) -> Known {
    let ours = |name: &str| {
        let found = message.data.iter().find(|parameter| is_ours(parameter) && parameter.name == name);
        found.map(|parameter| parameter.value.as_str()).filter(|value| !value.trim().is_empty())
    };
    let app = message.app.as_deref();
    let configured = app.and_then(|app| config.applications.get(app));
    let configured_service = configured.and_then(|configured| configured.service.as_deref());
    let service = ours("service").or(configured_service).or(app).or(config.service.as_deref());
    let version = ours("version")
        .or(configured.and_then(|configured| configured.version.as_deref()))
        .or(config.version.as_deref());
    let environment = ours("environment").or(config.environment.as_deref());
    let instance = ours("instance").or(message.host.as_deref()).unwrap_or(peer);
    let bounded = |text: &str| release::bounded(text.trim());
    let identity = Identity {
        service: service.map(bounded),
        namespace: ours("namespace").map(bounded),
        version: version.map(bounded),
        environment: environment.map(bounded),
        instance: Some(bounded(instance)),
    };
    let severity = message.priority.map_or(0, |priority| priority.severity_number());
    Known { identity, severity, attributes: attributes(message) }
}

fn attributes(message: &Message<'_>) -> Vec<(String, String)> {
    let mut found = Vec::with_capacity(5 + message.data.len());
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            found.push((name.to_owned(), value.to_owned()));
        }
    };
    put("host.name", message.host.as_deref());
    let facility = message.priority.map(|priority| priority.facility.to_string());
    put("syslog.facility", facility.as_deref());
    put("syslog.appname", message.app.as_deref());
    put("syslog.procid", message.process.as_deref());
    put("syslog.msgid", message.kind.as_deref());
    for parameter in message.data.iter().filter(|parameter| !is_ours(parameter)) {
        put(&format!("syslog.{}.{}", parameter.element, parameter.name), Some(&parameter.value));
    }
    found
}

fn is_ours(parameter: &Parameter<'_>) -> bool {
    parameter.element.split('@').next() == Some(OUR_ELEMENT)
}

#[cfg(test)]
mod tests {
    use super::super::message::{Clock, read};
    use super::*;

    fn of(text: &str, config: &SyslogConfig) -> Known {
        let message = read(text.as_bytes(), Clock { received_ns: 0, offset_s: 0 });
        known(&message, "10.0.0.7", config)
    }

    #[test]
    fn the_nearest_word_about_the_release_wins() {
        let config = SyslogConfig {
            service: Some("rest".into()),
            version: Some("0".into()),
            environment: Some("prod".into()),
            applications: SyslogConfig::read_applications("nginx=shop@1.42,cron=jobs@").expect("valid"),
            ..SyslogConfig::default()
        };
        let check = |text: &str, service: &str, version: &str, instance: &str| {
            let found = of(text, &config).identity;
            let said = (found.service.as_deref(), found.version.as_deref(), found.instance.as_deref());
            assert_eq!(said, (Some(service), Some(version), Some(instance)), "{text}");
            assert_eq!(found.environment.as_deref(), Some("prod"));
        };
        check(r#"<13>1 - h nginx - - [shipwake@0 service="pay" version="9" instance="i"] x"#, "pay", "9", "i");
        check(r#"<13>1 - h nginx - - [shipwake version=""] x"#, "shop", "1.42", "h");
        check("<13>1 - - nginx - - - x", "shop", "1.42", "10.0.0.7");
        check("<13>1 - h cron - - - x", "jobs", "0", "h");
        check("<13>1 - h other - - - x", "other", "0", "h");
        check("no header", "rest", "0", "10.0.0.7");
        assert_eq!(of("x", &SyslogConfig::default()).identity.version, None);
    }

    #[test]
    fn everything_else_is_an_attribute() {
        let found = of(r#"<165>1 - h app 12 ID47 [x@1 a="b"][shipwake@0 service="s"] text"#, &SyslogConfig::default());
        let names: Vec<String> = found.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "host.name=h",
            "syslog.facility=20",
            "syslog.appname=app",
            "syslog.procid=12",
            "syslog.msgid=ID47",
            "syslog.x@1.a=b",
        ];
        assert_eq!(names, expected);
        assert_eq!(found.severity, 10);
    }
}

//! What is wrong between us and the brokers, in words. librdkafka tries for ever and tells the reason only by a callback;
//! here it is kept until something works again, the most telling reason first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::util::Timeout;

/// A less telling reason replaces a more telling one only after this time.
const SPEAKS_FOR: Duration = Duration::from_secs(10);

/// How much a reason tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// That something does not work.
    Vague,
    /// What does not work.
    Telling,
    /// What has to be changed; waiting does not help.
    Decisive,
    /// The client can do nothing any more.
    Fatal,
}

/// The reason that tells most. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Said>>>);

#[derive(Clone, Debug)]
struct Said {
    weight: Weight,
    words: Arc<str>,
    at: Instant,
}

impl Trouble {
    /// Something failed.
    pub(super) fn note(&self, weight: Weight, words: &str) {
        let mut said = self.lock();
        let keeps = said.as_ref().is_some_and(|said| said.weight > weight && said.at.elapsed() < SPEAKS_FOR);
        if !keeps && said.as_ref().is_none_or(|said| said.weight < Weight::Fatal) {
            *said = Some(Said { weight, words: words.into(), at: Instant::now() });
        }
    }

    /// Something worked.
    pub(super) fn over(&self) {
        let mut said = self.lock();
        if said.as_ref().is_some_and(|said| said.weight < Weight::Fatal) {
            *said = None;
        }
    }

    /// The reason, if anything is wrong.
    pub(super) fn words(&self) -> Option<Arc<str>> {
        self.lock().as_ref().map(|said| said.words.clone())
    }

    /// A reason that waiting does not mend.
    pub(super) fn decisive(&self) -> Option<Arc<str>> {
        self.at_least(Weight::Decisive)
    }

    /// Why the client can do nothing any more.
    pub(super) fn fatal(&self) -> Option<Arc<str>> {
        self.at_least(Weight::Fatal)
    }

    fn at_least(&self, weight: Weight) -> Option<Arc<str>> {
        self.lock().as_ref().filter(|said| said.weight >= weight).map(|said| said.words.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Said>> {
        // Replaced as a whole, so it is good whatever happened to a holder.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The callbacks of a client: errors become trouble, librdkafka's own log lines become ours.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) trouble: Trouble,
    /// Whether the client speaks TLS.
    pub(super) tls: bool,
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters of it comes as an error too, in words.
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let (weight, words) = words(code, reason, self.tls);
        tracing::debug!(?code, reason, "kafka client");
        self.trouble.note(weight, &words);
    }
}

impl ConsumerContext for Listener {
    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::from_millis(100))
    }
}

/// What an error of a client means, and what can be done about it.
pub(super) fn words(code: RDKafkaErrorCode, reason: &str, tls: bool) -> (Weight, String) {
    let reason = without_timing(reason);
    match code {
        RDKafkaErrorCode::Fatal => (Weight::Fatal, format!("the client of Kafka stopped: {reason}")),
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
            (Weight::Decisive, format!("Kafka refuses the user or the password: {reason}"))
        }
        RDKafkaErrorCode::SSL => (
            Weight::Decisive,
            format!("the broker's certificate is not trusted, or TLS fails; ca=… names who may vouch for it: {reason}"),
        ),
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::GroupAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            (Weight::Decisive, format!("Kafka does not allow it to this user: {reason}"))
        }
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => {
            (Weight::Decisive, format!("the topic or a partition of it does not exist: {reason}"))
        }
        RDKafkaErrorCode::Resolve => (Weight::Telling, format!("the broker's name is not known: {reason}")),
        RDKafkaErrorCode::BrokerTransportFailure if reason.contains("PLAINTEXT broker listener") => {
            (Weight::Decisive, format!("this port of the broker does not speak TLS: {reason}"))
        }
        RDKafkaErrorCode::BrokerTransportFailure if !tls && reason.contains("isconnected") => {
            (Weight::Telling, format!("the broker ends the connection; if its port speaks TLS, add tls=true: {reason}"))
        }
        RDKafkaErrorCode::BrokerTransportFailure => {
            (Weight::Telling, format!("the broker cannot be reached: {reason}"))
        }
        RDKafkaErrorCode::AllBrokersDown => (Weight::Vague, "no broker can be reached".to_owned()),
        _ => (Weight::Vague, reason.to_owned()),
    }
}

/// librdkafka ends its reasons with times and counts that change with each repetition.
fn without_timing(reason: &str) -> &str {
    let end = reason.find(" (after ").unwrap_or(reason.len());
    reason[..end].trim_end_matches(['.', ':', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_client_are_put_into_words() {
        use RDKafkaErrorCode as Code;
        for (code, reason, tls, weight, said) in [
            (
                Code::Authentication,
                "sasl_ssl://h:1/bootstrap: SASL authentication error: Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512 (after 321ms in state AUTH_REQ)",
                true,
                Weight::Decisive,
                "refuses the user or the password: sasl_ssl://h:1/bootstrap: SASL authentication error: Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512",
            ),
            (
                Code::SSL,
                "ssl://h:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified (after 5ms in state SSL_HANDSHAKE)",
                true,
                Weight::Decisive,
                "certificate is not trusted",
            ),
            (
                Code::BrokerTransportFailure,
                "ssl://h:1/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? (after 3ms in state SSL_HANDSHAKE)",
                true,
                Weight::Decisive,
                "does not speak TLS",
            ),
            (
                Code::BrokerTransportFailure,
                "h:1/bootstrap: Disconnected while requesting ApiVersion: might be caused by incorrect security.protocol configuration (connecting to a SSL listener?)",
                false,
                Weight::Telling,
                "add tls=true",
            ),
            (
                Code::BrokerTransportFailure,
                "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
                false,
                Weight::Telling,
                "cannot be reached: h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
            ),
            (
                Code::Resolve,
                "nowhere:1/bootstrap: Failed to resolve 'nowhere:1': Name or service not known",
                false,
                Weight::Telling,
                "name is not known",
            ),
            (Code::AllBrokersDown, "1/1 brokers are down", false, Weight::Vague, "no broker"),
            (Code::TopicAuthorizationFailed, "t", false, Weight::Decisive, "does not allow"),
            (Code::Fatal, "fenced", false, Weight::Fatal, "stopped"),
        ] {
            let (found, words) = words(code, reason, tls);
            assert_eq!(found, weight, "{words}");
            assert!(words.contains(said) && !words.contains("(after"), "{words}");
        }
    }

    #[test]
    fn what_tells_most_is_kept_until_something_works() {
        let trouble = Trouble::default();
        assert_eq!(trouble.words(), None);
        trouble.note(Weight::Decisive, "wrong password");
        trouble.note(Weight::Vague, "no broker can be reached");
        assert_eq!(trouble.words().as_deref(), Some("wrong password"));
        assert!(trouble.decisive().is_some() && trouble.fatal().is_none());
        trouble.over();
        assert_eq!(trouble.words(), None);
        trouble.note(Weight::Fatal, "fenced");
        trouble.over();
        trouble.note(Weight::Decisive, "wrong password");
        assert_eq!(trouble.fatal().as_deref(), Some("fenced"), "nothing mends it but a new start");
    }
}

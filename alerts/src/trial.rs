//! Tries a receiver out, without an outbox: one request, and what came back. For people who set receivers up.

use std::time::Duration;

use crate::address::CheckedResolver;
use crate::clock::Clock;
use crate::config::{AlertsConfig, Receiver};
use crate::http;
use crate::message::Moment;
use crate::outbox::attempts::Answer;
use crate::outbox::row::{Body, Row};

/// Sends a receiver the message that says that it is being tried out. Nothing is tried again.
///
/// # Errors
/// What is wrong with its certificates; what the receiver says is in the answer.
pub async fn try_out(config: &AlertsConfig, receiver: &Receiver, timeout: Duration) -> Result<Answer, String> {
    let client = http::client(CheckedResolver::default(), receiver.ca_file.as_deref(), timeout)?;
    let now_ms = Clock::default().time_of_day_ms();
    let row = Row::new(receiver.name.clone(), Body::Test, None, now_ms);
    let moment = Moment { now_ms, url: config.url.clone(), overtaken_by: None };
    let request = receiver.target.request(&row, &moment);
    Ok(http::send(&client, &receiver.target, request, now_ms).await)
}

//! The other query nodes: who they are, and how they are reached.
//!
//! Each peer's name may stand for several addresses. Each address is asked who it is before it gets work, and again after
//! some seconds: a node of another version would not understand our plans as we mean them, one that does not answer queries
//! has no such service, and one of them is ourselves.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use datafusion::common::DataFusionError;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{ChannelResolver, GetWorkerInfoRequest, WorkerChannel};
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tracing::debug;
use url::Url;

use super::codec::FORM;

/// How long an answer to "who are you" counts.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// How long that answer may take: a node that is slower than this would hold up whoever asks it.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Addresses that are asked: more nodes than this do not make a statement faster.
const ADDRESSES_MAX: usize = 32;
/// A node that is gone without a word is noticed after twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// What a node says of itself: the version, the number of the forms, and a name that no other process has.
pub(super) fn version(process: u64) -> String {
    format!("{}/{FORM}/{}/{process:016x}", env!("CARGO_PKG_VERSION"), datafusion::DATAFUSION_VERSION)
}

/// The others.
pub(super) struct Peers {
    /// Base URLs, as configured.
    urls: Vec<String>,
    own_version: String,
    token: Option<HeaderValue>,
    channels: Mutex<HashMap<Url, BoxCloneSyncChannel>>,
    known: tokio::sync::Mutex<Option<(Instant, Vec<Url>)>>,
}

impl Peers {
    pub fn new(urls: Vec<String>, own_version: String, token: Option<&str>) -> Result<Self, String> {
        let bearer = |token: &str| HeaderValue::from_str(&format!("Bearer {token}"));
        let token = token.map(bearer).transpose().map_err(|_| "the token cannot be sent in a header".to_owned())?;
        let (channels, known) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { urls, own_version, token, channels, known })
    }

    /// Whether anybody was named.
    pub fn is_empty(&self) -> bool {
        self.urls.is_empty()
    }

    /// Those that can compute now, in an order that is the same for everybody.
    pub async fn able(&self) -> Vec<Url> {
        let mut known = self.known.lock().await;
        if let Some((since, able)) = known.as_ref()
            && since.elapsed() < KNOWN_FOR
        {
            return able.clone();
        }
        let asked =
            self.addresses().await.into_iter().map(|url| async move { self.is_able(&url).await.then_some(url) });
        let able: Vec<Url> = futures::future::join_all(asked).await.into_iter().flatten().collect();
        *known = Some((Instant::now(), able.clone()));
        able
    }

    /// The next question asks all of them anew: one has failed.
    pub async fn forget(&self) {
        *self.known.lock().await = None;
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Every address behind the names, once.
    async fn addresses(&self) -> Vec<Url> {
        let mut found = BTreeSet::new();
        for url in &self.urls {
            let authority = url.trim_start_matches("http://").trim_end_matches('/');
            match tokio::time::timeout(ANSWER_WITHIN, tokio::net::lookup_host(authority)).await {
                Ok(Ok(addresses)) => found.extend(addresses),
                Ok(Err(error)) => debug!(peer = url, %error, "failed to find a peer"),
                Err(_) => debug!(peer = url, "failed to find a peer in time"),
            }
        }
        let urls = found.into_iter().map(|address| Url::parse(&format!("http://{address}")));
        urls.filter_map(Result::ok).take(ADDRESSES_MAX).collect()
    }

    /// Whether it is another process of the same version.
    async fn is_able(&self, url: &Url) -> bool {
        let Ok(mut client) = self.get_worker_client_for_url(url).await else { return false };
        let answer = tokio::time::timeout(ANSWER_WITHIN, client.get_worker_info(GetWorkerInfoRequest {})).await;
        match answer {
            Ok(Ok(answer)) => is_like(&answer.version, &self.own_version),
            Ok(Err(error)) => {
                debug!(peer = %url, %error, "a peer does not compute");
                false
            }
            Err(_) => false,
        }
    }

    fn channel(&self, url: &Url) -> Result<BoxCloneSyncChannel, DataFusionError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(url) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(url.to_string());
        let endpoint = endpoint.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let endpoint = endpoint
            .connect_timeout(ANSWER_WITHIN)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(false);
        let channel = with_token(endpoint.connect_lazy(), self.token.clone());
        channels.insert(url.clone(), channel.clone());
        Ok(channel)
    }
}

/// The same forms and program, and another process.
fn is_like(theirs: &str, ours: &str) -> bool {
    let parts = |text: &str| text.rsplit_once('/').map(|(program, process)| (program.to_owned(), process.to_owned()));
    match (parts(theirs), parts(ours)) {
        (Some(theirs), Some(ours)) => theirs.0 == ours.0 && theirs.1 != ours.1,
        _ => false,
    }
}

fn with_token(channel: Channel, token: Option<HeaderValue>) -> BoxCloneSyncChannel {
    let Some(token) = token else { return BoxCloneSyncService::new(channel) };
    BoxCloneSyncService::new(channel.map_request(move |mut request: axum::http::Request<tonic::body::Body>| {
        request.headers_mut().insert(AUTHORIZATION, token.clone());
        request
    }))
}

#[async_trait]
impl ChannelResolver for Peers {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>, DataFusionError> {
        self.channel(url).map(create_worker_client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_process_of_the_same_program_gets_work() {
        let ours = version(7);
        assert!(is_like(&version(8), &ours));
        assert!(!is_like(&ours, &ours), "ourselves");
        for theirs in ["", "0.0.9/1/55.2.0/0000000000000008", "8", &version(8).replace("/1/", "/2/")] {
            assert!(!is_like(theirs, &ours), "{theirs}");
        }
    }

    #[tokio::test]
    async fn nobody_is_able_where_nobody_listens() {
        let peers = Peers::new(vec!["http://127.0.0.1:1".to_owned()], version(7), None).expect("a token that is none");
        assert_eq!(peers.able().await, Vec::new());
    }
}

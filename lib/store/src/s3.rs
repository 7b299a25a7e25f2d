//! A bucket of an S3-compatible server as the place of a store.
//!
//! Everything rests on one thing: of two who create an object of the same name, exactly one succeeds (`If-None-Match: *`). A server
//! that lets both succeed would let two writers of a shard count records twice, so the start tries it out and refuses such a server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use crate::StoreError;
use crate::objects::{Created, Objects};

/// A request that takes longer is given up. Segments have some ten megabytes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request is tried again for; then the commit as a whole is, and `/readyz` tells why.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
const RETRIES_MAX: usize = 4;

/// Whether a place is a bucket and not a folder.
pub fn is_url(place: &str) -> bool {
    place.starts_with("s3://")
}

/// The objects below `s3://bucket/prefix`, or `s3://bucket/prefix?endpoint=https://…` for a server that is not Amazon's. Credentials and
/// region are those of the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` …), and so is the endpoint where
/// the URL has none (`AWS_ENDPOINT_URL`). Nothing is asked of the server yet.
pub(crate) fn connect(url: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let parts = Parts::of(url).map_err(StoreError::Config)?;
    let endpoint = parts.endpoint.map(str::to_owned).or_else(|| std::env::var("AWS_ENDPOINT_URL").ok());
    // Only a server on this machine may do without TLS.
    let is_plain = endpoint.as_deref().is_some_and(|endpoint| {
        ["http://127.", "http://localhost", "http://[::1]"].iter().any(|local| endpoint.starts_with(local))
    });
    let options = ClientOptions::new()
        .with_timeout(REQUEST_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_allow_http(is_plain);
    let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env()
        .with_client_options(options)
        .with_bucket_name(parts.bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let unsuitable =
        |error: object_store::Error| StoreError::Unsuitable { place: url.to_owned(), reason: words(&error) };
    let store = builder.build().map_err(unsuitable)?;
    Ok(if parts.prefix.is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, parts.prefix)) })
}

/// Of an error of a request what a person needs: code and message of the server's answer where there is one, without the rest of it.
pub(crate) fn words(error: &object_store::Error) -> String {
    shortened(&error.to_string(), std::env::var_os("AWS_ACCESS_KEY_ID").is_some())
}

fn shortened(text: &str, has_key: bool) -> String {
    /// Of an answer that is none of S3's.
    const CHARS_MAX: usize = 300;
    /// Where the credentials of a machine in a cloud are asked for.
    const OF_MACHINE: [&str; 2] = ["169.254.169.254", "169.254.170.2"];
    if !has_key && OF_MACHINE.iter().any(|address| text.contains(address)) {
        return "there are no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and the machine's own service gives \
                none"
            .to_owned();
    }
    let element = |name: &str| {
        let (_, behind) = text.split_once(&format!("<{name}>"))?;
        Some(behind.split_once(&format!("</{name}>"))?.0)
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("the server says {code}: {message}"),
        (Some(code), None) => format!("the server says {code}"),
        _ if text.chars().count() > CHARS_MAX => text.chars().take(CHARS_MAX).chain("…".chars()).collect(),
        _ => text.to_owned(),
    }
}

/// What a URL says.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    bucket: &'a str,
    prefix: &'a str,
    endpoint: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Result<Self, String> {
        let rest = url.strip_prefix("s3://").unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty() {
            return Err(format!("{url:?} has no bucket: it is s3://bucket/prefix"));
        }
        let endpoint = match query.split_once('=') {
            None if query.is_empty() => None,
            Some(("endpoint", endpoint)) => Some(endpoint),
            _ => {
                return Err(format!(
                    "{url:?}: behind the question mark there may be endpoint=https://… and nothing else"
                ));
            }
        };
        Ok(Self { bucket, prefix: prefix.trim_matches('/'), endpoint })
    }
}

/// Tries out what everything rests on, with an object of its own.
pub(crate) fn probe(objects: &Objects, url: &str) -> Result<(), StoreError> {
    let path = format!("probe/{:032x}", rand::random::<u128>());
    let unsuitable = |reason: &str| StoreError::Unsuitable { place: url.to_owned(), reason: reason.to_owned() };
    let first = objects.create(&path, Bytes::from_static(b"first"))?;
    let second = objects.create(&path, Bytes::from_static(b"second"))?;
    let kept = objects.get(&path)?;
    objects.delete_all(vec![path]);
    match (first, second, kept.as_deref()) {
        (Created::Yes, Created::Exists, Some(b"first")) => Ok(()),
        (Created::Yes, Created::Yes, _) => Err(unsuitable(
            "it lets an object be created twice (it ignores If-None-Match: *), so two writers could both believe that they have \
             committed; use a server with conditional writes",
        )),
        _ => Err(unsuitable("an object that was just created is not what was written")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_at_length_is_told_in_short() {
        let answer = "Error performing PUT http://h/b/x in 3ms - Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\
            <Error><Code>SignatureDoesNotMatch</Code><Message>The request signature does not match.</Message><StringToSign>AWS4</StringToSign></Error>";
        assert_eq!(
            shortened(answer, true),
            "the server says SignatureDoesNotMatch: The request signature does not match."
        );
        assert_eq!(shortened("<Error><Code>NoSuchBucket</Code></Error>", true), "the server says NoSuchBucket");
        assert_eq!(shortened("connection refused", true), "connection refused");
        assert_eq!(shortened(&"x".repeat(1_000), true).chars().count(), 301);
        let of_machine = "Error performing PUT http://169.254.169.254/latest/api/token - 403";
        assert!(shortened(of_machine, false).contains("AWS_ACCESS_KEY_ID"));
        assert_eq!(shortened(of_machine, true), of_machine);
    }

    #[test]
    fn a_url_names_bucket_prefix_and_endpoint_and_nothing_else() {
        let parts = |url| Parts::of(url);
        let expected = Parts { bucket: "b", prefix: "x/y", endpoint: None };
        assert_eq!(parts("s3://b/x/y/"), Ok(expected));
        let expected = Parts { bucket: "b", prefix: "", endpoint: Some("http://127.0.0.1:9") };
        assert_eq!(parts("s3://b?endpoint=http://127.0.0.1:9"), Ok(expected));
        assert!(parts("s3:///prefix").expect_err("refuses").contains("s3://bucket/prefix"));
        assert!(parts("s3://b?secret=x").is_err());
        assert!(is_url("s3://bucket") && !is_url("/data/store"));
    }
}

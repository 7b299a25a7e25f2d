//! Whatever is posted to a hook is a marker that can be read again, or a refusal: payloads of the corpus with anything in any place.

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use shipwake_model::{Marker, Signal};

use super::draft::Defaults;
use super::hooks::ALL;
use super::{Heard, Projects, Sent, encode, finish};

const CORPUS: [&str; 10] = [
    include_str!("../../tests/senders/markers/argocd.json"),
    include_str!("../../tests/senders/markers/cdevent-binary.json"),
    include_str!("../../tests/senders/markers/cdevent-structured.json"),
    include_str!("../../tests/senders/markers/datadog.json"),
    include_str!("../../tests/senders/markers/flagger.json"),
    include_str!("../../tests/senders/markers/github-deployment.json"),
    include_str!("../../tests/senders/markers/github-status.json"),
    include_str!("../../tests/senders/markers/grafana.json"),
    include_str!("../../tests/senders/markers/honeycomb.json"),
    include_str!("../../tests/senders/markers/sentry-deploy.json"),
];

fn anything() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(|number| json!(number)),
        prop_oneof![
            "\\PC{0,20}",
            "[a-z:@.%=/ 0-9]{0,20}",
            Just("x".repeat(5_000)),
            Just("2026-11-23T10:00:00Z".to_owned()),
            Just("1795428000123".to_owned())
        ]
        .prop_map(Json::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::vec(("[a-z]{1,6}", inner), 0..3)
                .prop_map(|pairs| pairs.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// The places of a value, deepest last.
fn places(json: &Json, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match json {
        Json::Object(object) => {
            object.iter().for_each(|(key, value)| {
                places(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            });
        }
        Json::Array(array) => {
            array.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn anything_that_is_posted_is_markers_or_a_refusal(
        payload in prop::sample::select(&CORPUS[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), anything()), 0..4),
        event in prop::sample::select(&["deployment", "deployment_status", "ping"][..]),
        method in prop::sample::select(vec![Method::POST, Method::PUT, Method::GET]),
        path in prop::collection::vec("\\PC{0,12}", 0..3),
        at in any::<prop::sample::Index>(),
    ) {
        let mut json: Json = serde_json::from_str(payload).expect("the corpus is JSON");
        for (at, value) in changes {
            let mut found = Vec::new();
            places(&json, "", &mut found);
            *json.pointer_mut(&found[at.index(found.len())]).expect("it was found") = value;
        }
        let headers: HeaderMap = [(http::header::HeaderName::from_static("x-github-event"), HeaderValue::from_static(event))].into_iter().collect();
        let projects = Projects::default();
        for hook in &ALL {
            let route = hook.routes[at.index(hook.routes.len())];
            let (path, json) = (path.clone(), json.clone());
            let sent = Sent { method: &method, headers: &headers, route, path, json, received_ns: 1_795_428_000_000_000_000, projects: &projects };
            let Ok(heard) = (hook.read)(&sent) else { continue };
            let markers = match heard {
                Heard::Nothing(_) => Vec::new(),
                Heard::Markers(drafts) => match finish(hook, drafts, &Defaults::default(), sent.received_ns) {
                    Ok(markers) => markers,
                    Err(_) => continue,
                },
            };
            let (status, _) = (hook.reply)(&sent, &markers, None);
            prop_assert!(status.as_u16() != 204);
            let request = encode::request(&markers, sent.received_ns);
            let decoded = crate::decode::decode(Signal::Logs, &request).expect("what is written can be read");
            prop_assert_eq!(decoded.records(), markers.len() as u64);
            for marker in markers {
                let attributes = marker.attributes();
                let get = |name: &str| attributes.iter().find(|(known, _)| *known == name).map(|(_, text)| text.clone());
                prop_assert_eq!(Marker::read(&marker.release, marker.at_ns, get), Ok(marker));
            }
        }
    }
}

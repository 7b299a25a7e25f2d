//! How a record becomes a Kafka message and back: the value as it is, what is known about it in headers that any tool can
//! read. Pure. The form is described in `FORMAT.md`.

use std::sync::Arc;

use shipwake_model::Signal;

use crate::journal::{Header, TENANT_BYTES_MAX};

/// The header that says that a message is ours, and in which form.
const MARK: &str = "shipwake";
const FORMAT: &str = "1";

/// What Kafka needs for a message besides key and value, and what the headers take, rounded up.
pub(super) const OVERHEAD_BYTES: usize = 4096;

/// Why a message is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It does not say that it is ours: somebody else has written it.
    Foreign,
    /// A newer version has written it.
    Newer(String),
    /// It says that it is ours, and is not what we write.
    Damaged(&'static str),
}

/// The headers of a record.
pub(super) fn headers(header: &Header) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        (MARK, FORMAT.to_owned()),
        ("tenant", header.tenant.to_string()),
        ("signal", header.signal.as_str().to_owned()),
        ("received_ns", header.received_ns.to_string()),
        ("records", header.records.to_string()),
        ("time_min_ns", header.time_min_ns.to_string()),
        ("time_max_ns", header.time_max_ns.to_string()),
    ];
    headers.extend(header.request_hash.map(|hash| ("request_hash", format!("{hash:032x}"))));
    headers
}

/// What is known about a record, from its headers. Those that are not known are passed over.
pub(super) fn header(headers: &[(&str, Option<&[u8]>)]) -> Result<Header, Unreadable> {
    let text = |name: &str| {
        let (_, value) = headers.iter().find(|(key, _)| *key == name)?;
        std::str::from_utf8((*value)?).ok()
    };
    match text(MARK) {
        None => return Err(Unreadable::Foreign),
        Some(FORMAT) => {}
        Some(newer) => return Err(Unreadable::Newer(newer.chars().take(20).collect())),
    }
    let number = |name: &str| text(name).and_then(|text| text.parse::<i64>().ok());
    let tenant = text("tenant").filter(|tenant| tenant.len() <= TENANT_BYTES_MAX);
    let signal = text("signal").and_then(|word| Signal::ALL.into_iter().find(|signal| signal.as_str() == word));
    let request_hash = match headers.iter().any(|(key, _)| *key == "request_hash") {
        true => Some(text("request_hash").and_then(|hash| u128::from_str_radix(hash, 16).ok())),
        false => None,
    };
    let request_hash = match request_hash {
        Some(None) => return Err(Unreadable::Damaged("its header request_hash is not a hash")),
        hash => hash.flatten(),
    };
    Ok(Header {
        tenant: Arc::from(tenant.ok_or(Unreadable::Damaged("its header tenant is missing or not a name"))?),
        signal: signal.ok_or(Unreadable::Damaged("its header signal is missing or not a signal"))?,
        received_ns: number("received_ns").ok_or(Unreadable::Damaged("its header received_ns is not a time"))?,
        records: text("records")
            .and_then(|text| text.parse().ok())
            .ok_or(Unreadable::Damaged("its header records is not a count"))?,
        time_min_ns: number("time_min_ns").ok_or(Unreadable::Damaged("its header time_min_ns is not a time"))?,
        time_max_ns: number("time_max_ns").ok_or(Unreadable::Damaged("its header time_max_ns is not a time"))?,
        request_hash,
    })
}

/// What stands in for a message that somebody else has written to our topic: nothing, so that offsets go on.
pub(super) fn nothing(received_ns: i64) -> Header {
    Header {
        tenant: Arc::from("default"),
        signal: Signal::Logs,
        received_ns,
        records: 0,
        time_min_ns: received_ns,
        time_max_ns: received_ns,
        request_hash: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(headers: &[(&str, String)]) -> Result<Header, Unreadable> {
        let pairs: Vec<_> = headers.iter().map(|(key, value)| (*key, Some(value.as_bytes()))).collect();
        header(&pairs)
    }

    proptest! {
        #[test]
        fn a_header_comes_back(
            tenant in "[a-zA-Zäß0-9 ]{0,40}", signal in 0usize..3, received_ns in any::<i64>(), records in any::<u32>(),
            times in any::<(i64, i64)>(), request_hash in any::<Option<u128>>(),
        ) {
            let header = Header {
                tenant: tenant.as_str().into(), signal: Signal::ALL[signal], received_ns, records,
                time_min_ns: times.0, time_max_ns: times.1, request_hash,
            };
            let written = headers(&header);
            let bytes: usize = written.iter().map(|(key, value)| key.len() + value.len() + 10).sum();
            prop_assert!(bytes + 100 < OVERHEAD_BYTES);
            prop_assert_eq!(read(&written), Ok(header));
        }
    }

    #[test]
    fn the_longest_tenant_fits_into_the_overhead() {
        let header = Header { tenant: "t".repeat(TENANT_BYTES_MAX).into(), ..nothing(i64::MIN) };
        let bytes: usize = headers(&header).iter().map(|(key, value)| key.len() + value.len() + 10).sum();
        assert!(bytes + 200 < OVERHEAD_BYTES, "{bytes}");
    }

    #[test]
    fn what_is_not_ours_is_told_from_what_is_damaged() {
        let good = headers(&nothing(5));
        let changed = |key: &str, value: Option<&str>| {
            let mut headers = good.clone();
            headers.retain(|(known, _)| *known != key);
            headers.extend(value.map(|value| {
                (good.iter().find(|(k, _)| *k == key).map_or("request_hash", |(k, _)| k), value.to_owned())
            }));
            read(&headers)
        };
        assert_eq!(read(&[]), Err(Unreadable::Foreign));
        assert_eq!(changed("shipwake", None), Err(Unreadable::Foreign));
        assert_eq!(changed("shipwake", Some("2")), Err(Unreadable::Newer("2".into())));
        for (key, value) in [
            ("tenant", None),
            ("signal", Some("smells")),
            ("received_ns", Some("1.5")),
            ("records", Some("-1")),
            ("time_min_ns", None),
            ("time_max_ns", Some("")),
            ("request_hash", Some("xyz")),
        ] {
            assert!(matches!(changed(key, value), Err(Unreadable::Damaged(_))), "{key} {value:?}");
        }
    }
}

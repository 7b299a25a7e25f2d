//! Shards whose newest records are missing from an answer, because the process that has them does not answer: how it is said. Pure.

use serde::Serialize;
use shipwake_store::Incomplete;

use crate::time::rfc3339_ns;

/// A shard, as answers name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct IncompleteShard {
    pub shard: u32,
    /// Since when, epoch ms.
    pub since: i64,
    pub reason: String,
}

/// The shards in the form of answers.
pub(crate) fn listed(found: &[Incomplete]) -> Vec<IncompleteShard> {
    let one = |of: &Incomplete| IncompleteShard { shard: of.shard, since: of.since_ms, reason: of.reason.to_string() };
    found.iter().map(one).collect()
}

/// The same for people, a sentence for each reason.
pub(crate) fn in_words(found: &[Incomplete]) -> Vec<String> {
    let mut reasons: Vec<(&str, i64, Vec<String>)> = Vec::new();
    for one in found {
        let shard = one.shard.to_string();
        match reasons.iter_mut().find(|(reason, ..)| *reason == &*one.reason) {
            Some((_, since_ms, shards)) => {
                *since_ms = one.since_ms.min(*since_ms);
                shards.push(shard);
            }
            None => reasons.push((&one.reason, one.since_ms, vec![shard])),
        }
    }
    let sentence = |(reason, since_ms, shards): (&str, i64, Vec<String>)| {
        let since = rfc3339_ns(since_ms.saturating_mul(1_000_000)).unwrap_or_else(|| since_ms.to_string());
        let which = if shards.len() == 1 { "shard" } else { "shards" };
        format!(
            "the newest records of {which} {} are missing since {since}: {reason}; what is stored is complete",
            shards.join(", ")
        )
    };
    reasons.into_iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_of_one_reason_are_one_sentence() {
        let of = |shard, since_ms, reason: &str| Incomplete { shard, since_ms, reason: reason.into() };
        let said = in_words(&[of(1, 2_000, "a does not answer"), of(3, 1_000, "a does not answer"), of(4, 0, "other")]);
        assert_eq!(
            said,
            [
                "the newest records of shards 1, 3 are missing since 1970-01-01T00:00:01Z: a does not answer; what is stored is complete",
                "the newest records of shard 4 are missing since 1970-01-01T00:00:00Z: other; what is stored is complete",
            ]
        );
        assert_eq!(listed(&[of(1, 5, "x")]), [IncompleteShard { shard: 1, since: 5, reason: "x".to_owned() }]);
    }
}

//! The journal on a real Kafka: the contract that every journal keeps, and what only brokers can do to it.
#![cfg(feature = "kafka")]

#[path = "../../../tests/kafka/broker.rs"]
#[allow(dead_code, reason = "shared with the tests of the program, which need more of it")]
mod broker;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use shipwake_journal::conformance::{self, Subject, read_all, record};
use shipwake_journal::kafka::{Config, Membership, Opening};
use shipwake_journal::{Journal, JournalError, KafkaJournal, Member, Order};

use broker::{Kafka, PASSWORD, Settings, USER};

/// The suite needs large records, and its receive times are those of long ago.
const TOPIC: [&str; 2] = ["max.message.bytes=6000000", "retention.ms=-1"];

fn config(brokers: &str, topic: &str, options: &str) -> Config {
    Config::parse(&format!("kafka://{brokers}/{topic}{options}"), None, 2).expect("a valid address")
}

/// Where blocking is allowed.
async fn open(config: Config) -> KafkaJournal {
    let opening = tokio::task::spawn_blocking(move || KafkaJournal::open(config, &mut Registry::default()));
    opening.await.expect("it does not panic").expect("it opens")
}

struct OnKafka {
    brokers: String,
    topic: String,
}

#[async_trait]
impl Subject for OnKafka {
    async fn open(&self) -> Arc<dyn Journal> {
        Arc::new(open(config(&self.brokers, &self.topic, "")).await)
    }

    fn record_bytes_max(&self) -> usize {
        6_000_000 - 4096
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kafka_journal_keeps_the_contract() {
    let kafka = Kafka::one();
    let number = AtomicU32::new(0);
    conformance::run(|| {
        let topic = format!("journal-{}", number.fetch_add(1, Ordering::Relaxed));
        kafka.create_topic(&topic, 2, &TOPIC);
        OnKafka { brokers: kafka.bootstrap(), topic }
    })
    .await;
}

/// What opening says, and that it says so within seconds.
fn refusal(config: Config) -> String {
    let asked = Instant::now();
    let error = Opening::find(config).map(drop).expect_err("it cannot be opened");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}: {error}", asked.elapsed());
    assert!(error.retryable(), "it may be mended at the brokers' side: {error}");
    error.to_string()
}

#[test]
fn what_is_wrong_with_brokers_topic_user_or_certificate_is_said_in_words() {
    let kafka = Kafka::start(&Settings { brokers: 1, secure: true, besides: &[] });
    let (plain, secure, ca) = (kafka.bootstrap(), kafka.secure_bootstrap(), kafka.ca());
    let with = |brokers: &str, options: &str, password: &str| {
        let text = format!("kafka://{brokers}/journal?{options}");
        Config::parse(&text, Some(password), 2).expect("a valid address")
    };
    let ca = format!("ca={}", ca.display());
    let scram = format!("{ca}&sasl=scram-sha-512&user={USER}");

    let said = refusal(with(&plain, "", ""));
    assert!(said.contains("topic journal does not exist") && said.contains("create=true"), "{said}");
    let made = Opening::find(with(&plain, "create=true", "")).expect("it is created");
    drop(made);

    Opening::find(with(&secure, &scram, PASSWORD)).map(drop).expect("SCRAM over TLS");
    let plain_sasl = format!("{ca}&sasl=plain&user={USER}");
    Opening::find(with(&secure, &plain_sasl, PASSWORD)).map(drop).expect("PLAIN over TLS");
    for options in [&scram, &plain_sasl] {
        let said = refusal(with(&secure, options, "wrong"));
        assert!(said.contains("refuses the user or the password") && !said.contains("wrong"), "{said}");
    }
    let said = refusal(with(&secure, &format!("{ca}&sasl=scram-sha-256&user={USER}"), PASSWORD));
    assert!(said.contains("mechanism"), "{said}");
    let said = refusal(with(&secure, &format!("tls=true&sasl=scram-sha-512&user={USER}"), PASSWORD));
    assert!(said.contains("certificate is not trusted"), "{said}");
    let said = refusal(with(&plain, "tls=true", ""));
    assert!(said.contains("does not speak TLS"), "{said}");
    let said = refusal(with(&secure, "", ""));
    assert!(said.contains("tls=true"), "{said}");
    let said = refusal(with("127.0.0.1:1", "", ""));
    assert!(said.contains("cannot be reached") && said.contains("127.0.0.1:1"), "{said}");
    let error = Opening::find(with(&secure, "ca=/does/not/exist.pem", "")).map(drop).expect_err("no such file");
    assert!(error.must_stop() && error.to_string().contains("/does/not/exist.pem"), "{error}");
}

/// Waits until `condition` holds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_share_a_topic_and_what_was_deleted_is_said_to_be_lost() {
    let kafka = Kafka::one();
    let address = |options: &str| config(&kafka.bootstrap(), "journal", options);
    kafka.create_topic("journal", 2, &TOPIC);
    let first = open(address("")).await;
    let second = open(address("")).await;
    assert_eq!((first.partitions(), first.problems()), (2, Vec::<String>::new()));
    for number in 0..20 {
        first.append(vec![record(0, number, 1000)]).await.expect("appended");
    }
    assert_eq!(read_all(&first, 0, 0).await.expect("all").len(), 20);
    let read = second.read(0, 0, 1 << 20).await.expect("what another process has appended");
    assert_eq!(read[0].header, record(0, 0, 1000).header);
    eventually("the other process sees how far the partition reaches", || second.end(0) == 20).await;
    assert!(matches!(second.read(0, 21, 10).await, Err(JournalError::OffsetAhead { from: 21, end: 20 })));
    // A reader at the end gets what another process appends.
    let waiting = tokio::spawn(async move { (second.read(0, 20, 10).await, second) });
    first.append(vec![record(0, 20, 10)]).await.expect("appended");
    let (read, second) = waiting.await.expect("it does not panic");
    assert_eq!(read.expect("the new one")[0].offset, 20);

    kafka.delete_records("journal", 0, 10);
    let third = open(address("")).await;
    for journal in [&second, &third] {
        eventually("what is gone is known", || journal.end(0) == 21).await;
        match journal.read(0, 4, 10).await {
            Err(JournalError::Lost { partition: 0, from: 4, oldest: 10 }) => {}
            // It had been read ahead before it was deleted.
            Ok(read) => assert_eq!(read[0].offset, 4),
            other => panic!("{other:?}"),
        }
        assert_eq!(journal.read(0, 10, 10).await.expect("the oldest that is there")[0].offset, 10);
    }
    let error = third.read(0, 9, 10).await.expect_err("gone");
    assert!(error.to_string().starts_with("1 records of partition 0 are lost"), "{error}");
    third.truncate_before(0, 15).await.expect("it is told to Kafka");
    assert_eq!(third.read(0, 10, 10).await.expect("nothing is removed")[0].offset, 10);
    for journal in [first, second, third] {
        journal.close().await.expect("closing works");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_broker_is_away_appends_are_held_then_refused_and_nothing_is_lost_or_doubled() {
    let mut kafka = Kafka::one();
    kafka.create_topic("journal", 2, &TOPIC);
    let journal = Arc::new(open(config(&kafka.bootstrap(), "journal", "")).await);
    journal.append(vec![record(0, 0, 100)]).await.expect("appended");
    let append = |number: u64| {
        let journal = journal.clone();
        tokio::spawn(async move { journal.append(vec![record(0, number, 100)]).await })
    };
    kafka.kill(0);
    let under_way = append(1);
    eventually("the partition is known to take nothing", || !journal.problems().is_empty()).await;
    let asked = Instant::now();
    let refused = append(2).await.expect("it does not panic").expect_err("refused");
    let waited = asked.elapsed();
    assert!(matches!(refused, JournalError::Unavailable { .. }) && refused.retryable(), "{refused}");
    assert!(waited >= Duration::from_millis(1500) && waited < Duration::from_secs(15), "{waited:?}");
    assert!(refused.to_string().contains("cannot be reached"), "{refused}");
    let reader = tokio::spawn({
        let journal = journal.clone();
        async move { read_until(&journal, 3).await }
    });
    kafka.start_broker(0);
    kafka.wait_ready();
    under_way.await.expect("it does not panic").expect("it was kept trying");
    append(3).await.expect("it does not panic").expect("the broker is back");
    let numbers = reader.await.expect("it does not panic");
    assert_eq!(numbers, [0, 1, 3], "what was refused was not kept, the rest is there once");
    eventually("nothing is wrong any more", || journal.problems().is_empty()).await;
}

async fn read_until(journal: &KafkaJournal, records: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.len() < records {
        let read = journal.read(0, numbers.len() as u64, 1 << 20).await.expect("it waits for the broker");
        numbers.extend(read.iter().map(|stored| stored.header.records));
    }
    numbers
}

/// The next order of a member, within a time that is long for a busy machine.
async fn order(member: &mut Member) -> Order {
    let next = tokio::time::timeout(Duration::from_secs(40), member.next()).await;
    next.expect("there is an order in time").expect("the group is heard")
}

/// Joins the group where blocking is allowed.
async fn join(config: &Config, name: &'static str) -> (Member, Membership) {
    let config = config.clone();
    let joining = tokio::task::spawn_blocking(move || Membership::join(&config, name));
    joining.await.expect("it does not panic").expect("it joins")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_shared_out_and_move_when_they_are_let_go_or_their_member_leaves() {
    let kafka = Kafka::one();
    kafka.create_topic("journal", 4, &TOPIC);
    let config = config(&kafka.bootstrap(), "journal", "");
    let all: BTreeSet<u32> = (0..4).collect();
    let (mut one, first) = join(&config, "one").await;
    assert_eq!(order(&mut one).await, Order::Take(all.clone()));
    assert_eq!(one.standing().reason(), None);

    // Another one: it is given nothing before the first has let go.
    let (mut two, second) = join(&config, "two").await;
    let Order::GiveUp(half) = order(&mut one).await else { panic!("two are to be given up") };
    assert_eq!(half.len(), 2);
    let too_early = tokio::time::timeout(Duration::from_secs(1), two.next()).await;
    assert!(too_early.is_err(), "{too_early:?}");
    half.iter().for_each(|partition| one.let_go(*partition));
    assert_eq!(order(&mut two).await, Order::Take(half.clone()));

    // Whoever leaves is replaced at once, and not when it has not been heard of for a while.
    let left = Instant::now();
    drop(two);
    tokio::task::spawn_blocking(move || second.leave()).await.expect("it does not panic");
    assert_eq!(order(&mut one).await, Order::Take(half));
    assert!(left.elapsed() < Duration::from_secs(5), "{:?}", left.elapsed());

    // Whoever does not let go has to drop it, and the group goes on.
    let (mut three, third) = join(&config, "three").await;
    let Order::GiveUp(half) = order(&mut one).await else { panic!("two are to be given up") };
    assert_eq!(order(&mut one).await, Order::Drop(half.clone()));
    assert_eq!(order(&mut three).await, Order::Take(half));
    drop((one, three));
    let leave = move || {
        first.leave();
        third.leave();
    };
    tokio::task::spawn_blocking(leave).await.expect("it does not panic");
}

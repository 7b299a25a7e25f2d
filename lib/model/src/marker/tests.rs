//! Markers that are written and read, said twice, and wrong.

use proptest::prelude::*;

use super::*;

const AT: i64 = 1_800_000_000_000_000_000;

fn release(version: &str) -> ReleaseId {
    ReleaseId {
        service: "checkout".into(),
        namespace: "shop".into(),
        environment: "production".into(),
        version: version.into(),
    }
}

fn read_back(marker: &Marker) -> Result<Marker, String> {
    let attributes = marker.attributes();
    let get = |name: &str| attributes.iter().find(|(known, _)| *known == name).map(|(_, text)| text.clone());
    Marker::read(&marker.release, marker.at_ns, get)
}

fn some<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = Option<T>> {
    prop::option::of(prop::sample::select(all))
}

prop_compose! {
    fn marker()(
        (kind, role, exposure, status) in (
            prop::sample::select(MarkerKind::ALL), some(Role::ALL), some(Exposure::ALL), some(DeployStatus::ALL)),
        (weight, later_ns, said_ns) in (0.0..=1.0f64, prop::option::of(0..AT / 2), 0..i64::MAX),
        texts in prop::collection::vec("\\PC{0,12}", 6),
        (id, source, toggle) in ("\\PC{1,20}", "[a-z]{1,9}", "[a-z]{1,9}"),
    ) -> Marker {
        let [previous, commit, url, by, text, version] = <[String; 6]>::try_from(texts).expect("six");
        Marker {
            until_ns: later_ns.map(|later| AT + later),
            said_ns, previous, weight: Some(weight), role, exposure, status, toggle, commit, url, by, source, text,
            ..Marker::new(id, kind, release(&version), AT)
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(marker in marker()) {
        prop_assert_eq!(read_back(&marker), Ok(marker));
    }

    #[test]
    fn of_two_with_one_id_the_same_one_counts_in_either_order(
        said in prop::array::uniform2(0..3i64), received in prop::array::uniform2(0..3i64),
    ) {
        let said = said.map(|said_ns| Marker { said_ns, ..Marker::new("a".into(), MarkerKind::Note, release("1"), AT) });
        let first = said[0].replaces(&said[1], received);
        let second = said[1].replaces(&said[0], [received[1], received[0]]);
        prop_assert!(!(first && second));
        prop_assert!(first || second || (said[0].said_ns, received[0]) == (said[1].said_ns, received[1]));
    }

    /// Whoever sends OTLP can write any attributes.
    #[test]
    fn any_attributes_are_a_marker_or_a_fault(texts in prop::collection::vec("[-a-z0-9.]{0,6}|deploy|weight|\\PC{0,9}", 15)) {
        let names = [ID, KIND, UNTIL, SAID, PREVIOUS, WEIGHT, ROLE, EXPOSURE, STATUS, TOGGLE, COMMIT, URL, BY, SOURCE, TEXT];
        let get = |name: &str| names.iter().position(|known| *known == name).map(|at| texts[at].clone());
        if let Ok(marker) = Marker::read(&release("1"), AT, get) {
            prop_assert_eq!(marker.check(), Ok(()));
            prop_assert_eq!(read_back(&marker), Ok(marker));
        }
    }
}

#[test]
fn a_marker_that_cannot_be_used_says_why() {
    let good = || Marker::new("d-1".into(), MarkerKind::Deploy, release("2.14.0"), AT);
    good().check().expect("good");
    let check = |marker: Marker, expected: &str| {
        let found = marker.check().expect_err(expected);
        assert!(found.contains(expected), "{found}");
    };
    check(Marker { id: String::new(), ..good() }, "id must have");
    check(Marker { id: "x".repeat(257), ..good() }, "id must have");
    check(Marker { weight: Some(10.0), ..good() }, "weight 10 is not between 0 and 1");
    check(Marker { weight: Some(f64::NAN), ..good() }, "is not between");
    check(Marker { kind: MarkerKind::Weight, ..good() }, "needs a weight");
    check(Marker { kind: MarkerKind::Toggle, ..good() }, "needs the key of the toggle");
    check(Marker { until_ns: Some(AT - 1), ..good() }, "until lies before at");
    check(Marker { at_ns: 1_800_000_000, ..good() }, "at lies outside");
    check(Marker { text: "x".repeat(3000), weight: Some(2.0), ..good() }, "; ");
    check(Marker { text: "x".repeat(3000), ..good() }, "text is longer than 2048 bytes");
    let cut = Marker { text: "ä".repeat(3000), previous: "9".repeat(400), ..good() }.shortened();
    assert_eq!((cut.text.len(), cut.previous.len(), cut.check()), (2048, 256, Ok(())));
    assert_eq!(
        Role::from_word("canary"),
        Err("role \"canary\" is not known; there are stable, candidate, dark, shadow, retired".to_owned())
    );
    assert_eq!(MarkerKind::from_word("Deploy"), Ok(MarkerKind::Deploy));
}

#[test]
fn a_marker_without_an_id_is_the_same_when_it_comes_again() {
    let said = |text: &str| {
        let text = text.to_owned();
        let get = move |name: &str| match name {
            KIND => Some("note".to_owned()),
            TEXT => Some(text.clone()),
            _ => None,
        };
        Marker::read(&release("1"), AT, get).expect("a marker").id
    };
    assert_eq!(said("config reloaded"), said("config reloaded"));
    assert_ne!(said("config reloaded"), said("config reloaded again"));
    assert_ne!(derived_id("a", &["b", "c"]), derived_id("a", &["bc", ""]));
}

#[test]
fn opentelemetrys_deployments_are_markers() {
    let of = |attributes: &'static [(&str, &str)]| {
        let get = |name: &str| attributes.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        Marker::of_deployment(&release("2"), AT, get)
    };
    let done = of(&[("deployment.id", "1216"), ("deployment.name", "deploy shop"), ("deployment.status", "succeeded")]);
    let done = done.expect("a marker");
    assert_eq!(
        (done.kind, done.status, &*done.text),
        (MarkerKind::Deploy, Some(DeployStatus::Succeeded), "deploy shop")
    );
    let failed = of(&[("deployment.id", "1216"), ("deployment.status", "failed")]).expect("a marker");
    assert_ne!(failed.id, done.id, "each word is a line of its own");
    let task = of(&[
        ("cicd.pipeline.task.type", "deploy"),
        ("cicd.pipeline.task.run.id", "12097"),
        ("cicd.pipeline.task.run.result", "success"),
        ("cicd.pipeline.task.run.url.full", "https://ci/1"),
        ("vcs.ref.head.revision", "9d59409"),
    ]);
    let task = task.expect("a marker");
    assert_eq!((&*task.commit, &*task.url, task.status), ("9d59409", "https://ci/1", Some(DeployStatus::Succeeded)));
    assert_eq!(of(&[("deployment.name", "no id")]), None);
}

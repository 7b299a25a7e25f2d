//! The hash of attributes: of the set, not of its layout.

use shipwake_otlp::write::{put_attribute, put_message};
use shipwake_otlp::{KeyValues, Span, SpanSink, resources, scan_spans};

/// The hashes of a resource with these attributes, each in a resource field of its own when `split`.
fn hashes(attributes: &[(&str, &str)], split: bool) -> (u64, u128) {
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        let groups = if split { attributes.chunks(1) } else { attributes.chunks(attributes.len().max(1)) };
        for group in groups {
            put_message(out, 1, |out| {
                for (key, value) in group {
                    put_attribute(out, 1, key, (*value).into());
                }
            });
        }
    });
    let found = resources(&request).next().unwrap().unwrap();
    (found.resource.attributes.hash(7), found.resource.attributes.hash128(7))
}

#[test]
fn order_and_layout_do_not_change_the_hash_and_content_does() {
    let original = hashes(&[("a", "1"), ("b", "2")], false);
    assert_eq!(hashes(&[("b", "2"), ("a", "1")], false), original);
    assert_eq!(hashes(&[("b", "2"), ("a", "1")], true), original);
    for other in [&[("a", "2"), ("b", "1")][..], &[("a", "1")], &[("a", "1"), ("b", "2"), ("b", "2")], &[]] {
        let changed = hashes(other, false);
        assert_ne!(changed.0, original.0);
        assert_ne!(changed.1, original.1);
    }
    assert_ne!(KeyValues::EMPTY.hash(1), KeyValues::EMPTY.hash(2));
}

#[test]
fn the_same_attributes_hash_the_same_in_every_kind_of_message() {
    struct Sink(Vec<u128>);
    impl<'a> SpanSink<'a> for Sink {
        fn resource(&mut self, resource: &shipwake_otlp::Resource<'a>) {
            self.0.push(resource.attributes.hash128(0));
        }
        fn scope(&mut self, scope: &shipwake_otlp::Scope<'a>) {
            self.0.push(scope.attributes.hash128(0));
        }
        fn span(&mut self, span: &Span<'a>) {
            self.0.push(span.attributes.hash128(0));
        }
    }
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 1, |out| put_attribute(out, 1, "k", "v".into()));
        put_message(out, 2, |out| {
            put_message(out, 1, |out| put_attribute(out, 3, "k", "v".into()));
            put_message(out, 2, |out| put_attribute(out, 9, "k", "v".into()));
        });
    });
    let mut sink = Sink(Vec::new());
    scan_spans(&request, &mut sink).unwrap();
    assert_eq!(sink.0.len(), 3);
    assert!(sink.0.iter().all(|hash| *hash == sink.0[0]));
}

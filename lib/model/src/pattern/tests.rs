//! Tables of lines and their shapes, and what holds for all lines.

use proptest::prelude::*;

use super::*;

fn shape(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    mask(line, &mut out);
    out
}

fn check(line: &str, expected: &str) {
    assert_eq!(String::from_utf8_lossy(&shape(line.as_bytes())), expected, "of {line:?}");
}

#[test]
fn parameters_become_marks_and_words_stay() {
    check("timeout after 3000 ms calling /api/v1/pay/17", "timeout after <*> ms calling <*>");
    check("took 12.5ms, 3 retries", "took <*> retries");
    check("connect to 10.4.0.17:5432 failed: i/o timeout", "connect to <*> failed: i/o timeout");
    check("2026-11-23T14:00:00.123Z started in -5 s", "<*> started in <*> s");
    check("2026-11-23 14:00:00,123 started", "<*> <*> started");
    check(
        "Jun  9 06:06:20 combo sshd(pam_unix)[19939]: check pass",
        "<*> <*> <*> combo sshd(pam_unix)[<*>]: check pass",
    );
    check("Mon\tJan ", "<*> Jan");
    check("Thu Jun 09 06:07:04 2005 notice", "<*> <*> <*> <*> <*> notice");
    check("user 123e4567-e89b-42d3-a456-426614174000 not found.", "user <*> not found.");
    check("mail to jo.smith@example.com bounced", "mail to <*> bounced");
    check("GET https://shop.example.com/a?b=c took 3s", "GET <*> took <*>");
    check("Receiving block blk_-1608999687919862906 src: /10.250.19.102:54106", "Receiving block <*> src: <*>");
    check("rc=0x1f flags=[1, 2, 3] p99=12ms", "rc=<*> flags=[<*>] p99=<*>");
    check("at shop.Pay.run(Pay.java:12)", "at shop.Pay.run(Pay.java:<*>)");
    check("progress 50% of 3,400,000 rows", "progress <*> of <*> rows");
    check("ca:fe:00:12:34:56 joined", "ca:fe:<*> joined");
}

#[test]
fn names_and_apostrophes_are_no_parameters() {
    check("HTTP2 stream reset, sha256 differs", "HTTP2 stream reset, sha256 differs");
    check("can't open user's file", "can't open user's file");
    check("read/write and/or", "read/write and/or");
    check("GET / took 3 ms", "GET <*> took <*> ms");
    check("(/) //", "(/) <*>");
    check("May we? Mon ami", "May we? Mon ami");
    check("Überlauf in Zeile 7", "Überlauf in Zeile <*>");
}

#[test]
fn quoted_text_is_a_parameter_and_a_key_is_not() {
    check("undefined (reading 'price')", "undefined (reading '<*>')");
    check("user \"alice b smith\" is gone", "user \"<*>\" is gone");
    check("{\"user\":\"alice\",\"n1\":3}", "{\"user\":\"<*>\",\"n1\":<*>}");
    check("an \"open quote", "an \"open quote");
    check("\"\"k1", "\"\"<*>");
}

#[test]
fn dates_are_parameters_in_every_usual_form() {
    for date in [
        "Thu Nov 26 12:00:00 2026",
        "Thu, 26 Nov 2026 12:00:00 GMT",
        "Thursday, November 26 2026",
        "26/Nov/2026:12:00:00 +0000",
        "26-Nov-2026",
    ] {
        let other = date
            .replace("Thursday", "Sunday")
            .replace("Thu", "Sun")
            .replace("November", "December")
            .replace("Nov", "Dec");
        assert_eq!(
            shape(format!("{date} job failed").as_bytes()),
            shape(format!("{other} job failed").as_bytes()),
            "{date}"
        );
    }
    check("May we go on Monday", "May we go on Monday");
}

#[test]
fn a_long_line_is_cut_at_a_token() {
    let line = "word ".repeat(200);
    let cut = shape(line.as_bytes());
    assert!(cut.len() <= SHAPE_BYTES_MAX && cut.ends_with(b"word"), "{}", cut.len());
    check(&"x".repeat(100), "<*>");
    assert!(shape(&"a,".repeat(5_000).into_bytes()).len() <= SHAPE_BYTES_MAX);
}

#[test]
fn the_message_of_a_line_is_what_is_looked_at() {
    let check = |body: &str, text: &str, frame: &str| {
        let found = message(body.as_bytes());
        assert_eq!((found.text, found.frame), (text.as_bytes(), frame.as_bytes()), "of {body:?}");
    };
    check("plain line", "plain line", "");
    check("{\"level\":\"error\",\"msg\":\"no \\\"such\\\" table\",\"t\":1}", "no \\\"such\\\" table", "");
    check("{\"msg_id\":4,\"n\":1}", "{\"msg_id\":4,\"n\":1}", "");
    check("{\"x\": 1, \"message\" : \"hello\"}", "hello", "");
    check("level=error msg=\"no such table\" t=1", "no such table", "");
    check("level=error msg=refused t=1", "refused", "");
    check("the msg is late", "the msg is late", "");
    check(
        "java.io.IOException: gone\n\tat shop.Pay.run(Pay.java:12)\n\tat x",
        "java.io.IOException: gone",
        "at shop.Pay.run(Pay.java:12)",
    );
    check(
        "Traceback (most recent call last):\n  File \"/app/a.py\", line 3, in pay\n    x()\nValueError: no rate",
        "ValueError: no rate",
        "File \"/app/a.py\", line 3, in pay",
    );
}

#[test]
fn ids_are_read_back() {
    let id = shape_id(b"timeout after <*>");
    assert_eq!(id_of_text(&id_text(id)), Some(id));
    assert_eq!((id_text(OTHER_ID).as_str(), id_of_text(OTHER)), (OTHER, Some(OTHER_ID)));
    assert_eq!(id_of_text("nonsense"), None);
}

#[test]
fn levels_come_from_numbers_and_from_the_words_of_loggers() {
    for (number, text, expected) in [
        (17, "", Level::Error),
        (9, "ERROR", Level::Info),
        (0, "SEVERE", Level::Error),
        (0, "Warning", Level::Warn),
        (24, "", Level::Fatal),
        (0, "", Level::Unknown),
        (0, "loud", Level::Unknown),
    ] {
        assert_eq!(Level::of(number, text.as_bytes()), expected, "{number} {text}");
    }
    assert!(Level::ALL.into_iter().all(|level| Level::from_word(level.as_str()) == Some(level)));
    assert!(Level::ALL.into_iter().all(|level| Level::from_number(level as u8) == Some(level)));
}

#[test]
fn words_that_vary_become_parameters_and_other_sentences_stay_apart() {
    let shapes = [
        "card token <*> rejected by acquirer lighthouse: unsupported token version <*>",
        "card token <*> rejected by acquirer meridian: unsupported token version <*>",
        "connection closed",
        "connection refused",
        "failed to open file",
        "failed to connect database",
    ];
    let grouped = group(&shapes);
    assert_eq!(grouped.groups[0], grouped.groups[1]);
    assert_eq!(
        grouped.templates[grouped.groups[0]],
        "card token <*> rejected by acquirer <*>: unsupported token version <*>"
    );
    let apart: std::collections::BTreeSet<_> = grouped.groups[1..].iter().collect();
    assert_eq!(apart.len(), 5, "{grouped:?}");
}

#[test]
fn a_length_with_very_many_first_words_shares_one_leaf() {
    let mut drain = Drain::default();
    for n in 0..1_000u32 {
        let name: String = n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
        drain.add(format!("{name} says nothing new today").as_bytes());
    }
    assert!(drain.len() <= 102, "{}", drain.len());
}

/// Lines of all kinds of pieces, to find where masking again would change something.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"<*>".to_vec()),
        Just(b"a".to_vec()),
        Just(b"Jan".to_vec()),
        Just(b"Mon".to_vec()),
        Just(b"k1".to_vec()),
        Just(b"12".to_vec()),
        Just(b"://".to_vec()),
        Just(b" ".to_vec()),
        Just(b", ".to_vec()),
        "[-a-c1-3 /:.,@=\"'<>*()\\[\\]{}|#_%+\n\t]{1,4}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Not where both kinds of quotes are: text in one kind that becomes a mark can take a quote of the other kind with it, and
    /// then others are a pair.
    #[test]
    fn masking_is_idempotent(line in line()) {
        prop_assume!(!(line.contains(&b'"') && line.contains(&b'\'')));
        let once = shape(&line);
        prop_assert!(once.len() <= SHAPE_BYTES_MAX);
        let twice = shape(&once);
        prop_assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&once));
    }

    #[test]
    fn a_shape_has_no_doubled_or_outer_spaces(line in line()) {
        let once = shape(&line);
        let text = String::from_utf8_lossy(&once);
        // Spaces are those of ASCII: U+0085 is one to Unicode, and a byte of a word to the scanner.
        prop_assert!(!text.contains("  ") && text.trim_matches(' ') == text, "{:?}", text);
    }

    #[test]
    fn any_bytes_have_a_message(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let found = message(&body);
        prop_assert!(found.text.len() <= body.len() && found.frame.len() <= body.len());
    }

    #[test]
    fn groups_do_not_depend_on_the_order_of_shapes(
        words in prop::collection::btree_set("(error|warn|load) (of|by) (a|b|c|d) [a-d]( [a-d]){0,4}", 1..30),
        rotate in 0usize..30,
    ) {
        let shapes: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut turned = shapes.clone();
        turned.rotate_left(rotate % shapes.len());
        let (first, second) = (group(&shapes), group(&turned));
        let texts = |shapes: &[&str], grouped: &Grouped| -> std::collections::BTreeMap<String, String> {
            let of = |at: usize| (shapes[at].to_owned(), grouped.templates[grouped.groups[at]].clone());
            (0..shapes.len()).map(of).collect()
        };
        prop_assert_eq!(texts(&shapes, &first), texts(&turned, &second));
    }
}

//! What is read from a text, what is refused, and that what is printed means the same.

use proptest::prelude::*;

use super::parse::parse;
use super::*;

#[test]
fn searches_are_read_as_documented() {
    for (text, expected) in [
        ("", "*"),
        ("*", "*"),
        ("timeout", r#""timeout""#),
        ("card declined", r#""card" "declined""#),
        ("card AND declined", r#""card" "declined""#),
        (r#""card declined""#, r#""card declined""#),
        ("order-17", r#""order-17""#),
        ("a OR b c", r#""a" OR ("b" "c")"#),
        ("(a OR b) c", r#"("a" OR "b") "c""#),
        ("-a NOT b !c", r#"-"a" -"b" -"c""#),
        ("-(a b)", r#"-("a" "b")"#),
        ("time*", "time*"),
        ("service:checkout", r#"service:"checkout""#),
        ("env:prod", r#"environment:"prod""#),
        ("pattern_id:0af1", r#"pattern:"0af1""#),
        ("level:error", r#"level:"error""#),
        ("severity:>=warn", r#"level:>="warn""#),
        ("duration_ms:>500", r#"duration_ms:>"500""#),
        ("status:[500 TO 599]", r#"status:["500" TO "599"]"#),
        ("status:{500 TO *]", r#"status:>"500""#),
        ("status:[* TO 599}", r#"status:<"599""#),
        (r#"http.route:"/pay me""#, r#"http.route:"/pay me""#),
        (r#""odd name":x"#, r#""odd name":"x""#),
        ("http.route:*", "http.route:*"),
        ("http.route:/pay*", r"http.route:\/pay*"),
        ("version:(1.2 OR 1.3)", r#"version:"1.2" OR version:"1.3""#),
        ("version:(1.2 OR -1.3)", r#"version:"1.2" OR -version:"1.3""#),
        ("resource.host.name:web-1", r#"resource.host.name:"web-1""#),
        ("attributes.service:x", r#"attributes.service:"x""#),
        ("attributes.order.id:x", r#"order.id:"x""#),
        ("body:timeout", r#""timeout""#),
        (r#"message:"a b""#, r#""a b""#),
        (r"a\:b", r#""a:b""#),
        ("12:30:01", r#""12:30:01""#),
        ("ERROR: refused (os error 111)", r#""ERROR:" "refused" ("os" "error" "111")"#),
        ("service: checkout", r#"service:"checkout""#),
        ("http.route: /pay", r#"http.route:"/pay""#),
        (r#""odd name": x"#, r#""odd name":"x""#),
        ("main(args)", r#""main(args)""#),
        ("(main(args))", r#""main(args)""#),
        ("a - b", ""),
        ("url:http://x/y", r#"url:"http://x/y""#),
        ("http://x/y?a=b:c -https://shop/pay", r#""http://x/y?a=b:c" -"https://shop/pay""#),
        (r"C:\temp\x.log", r#""C:\\temp\\x.log""#),
        ("or and not", r#""or" "and" "not""#),
        (r#""AND""#, r#""AND""#),
    ] {
        match parse(text) {
            Ok(search) => assert_eq!(search.to_string(), expected, "{text}"),
            Err(error) => assert_eq!("", expected, "{text}: {error:?}"),
        }
    }
}

#[test]
fn what_is_wrong_is_said_at_its_place() {
    for (text, at, part) in [
        ("a (b", 2, "not closed"),
        ("a b)", 3, "closes nothing"),
        ("a \"b", 2, "quote"),
        ("a AND", 5, "missing"),
        ("OR a", 0, "between two terms"),
        ("a OR OR b", 5, "between two terms"),
        ("NOT", 3, "missing"),
        ("()", 1, "missing before"),
        ("level:bad", 6, "no level"),
        ("severity_number:high", 16, "no number"),
        ("level:err*", 6, "write it out"),
        ("status:", 7, "missing after `status:`"),
        ("status:>", 8, "missing"),
        ("status:[1 2]", 7, "[500 TO 599]"),
        ("status:[1 TO", 12, "upper bound"),
        ("status:[* TO *]", 7, "at least one"),
        ("é ***", 2, "end of a word"),
        ("a*b", 1, "end of a word"),
        ("a =", 2, "no letters"),
        ("a\\", 1, "next character"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.at, at, "{text}: {error:?}");
        assert!(error.message.contains(part), "{text}: {error:?}");
    }
}

#[test]
fn searches_are_bounded() {
    assert!(parse(&"(".repeat(5_000)).is_err());
    assert!(parse(&"(".repeat(1_000)).expect_err("deep").message.contains("deep"));
    assert!(parse(&"-".repeat(1_000)).is_err());
    assert!(parse(&"!a ".repeat(65)).expect_err("long").message.contains("64 terms"));
    assert!(parse(&"a ".repeat(64)).is_ok());
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9]{1,6}", r#"[a"\\:()*\[\]{}<>= é-]{0,6}a"#, Just("AND".to_owned()), Just("TO".to_owned())]
}

fn test() -> impl Strategy<Value = Test> {
    let bound = || (value(), any::<bool>()).prop_map(|(value, included)| Bound { value, included });
    prop_oneof![
        Just(Test::Exists),
        value().prop_map(Test::Is),
        value().prop_map(Test::Begins),
        bound().prop_map(|low| Test::Within(Bounds { low: Some(low), high: None })),
        bound().prop_map(|high| Test::Within(Bounds { low: None, high: Some(high) })),
        (bound(), bound()).prop_map(|(low, high)| Test::Within(Bounds { low: Some(low), high: Some(high) })),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    let name = prop_oneof![
        "[a-z]{1,3}(\\.[a-z]{1,3})?",
        "[a :\"\\\\-]{1,4}",
        Just("service".to_owned()),
        Just("body".to_owned())
    ];
    prop_oneof![
        Just(Field::Column("version")),
        Just(Field::Column("pattern_id")),
        name.clone().prop_map(Field::Attribute),
        name.prop_map(Field::Resource),
    ]
}

fn search() -> impl Strategy<Value = Search> {
    let text = (value(), any::<bool>())
        .prop_map(|(written, is_prefix)| Search::Text(Text::new(written, is_prefix).expect("it has a letter")));
    let level = prop_oneof![Just("warn"), Just("error")]
        .prop_map(|level| Search::Field(Field::Level, Test::Is(level.to_owned())));
    let leaf = prop_oneof![
        text,
        level,
        (field(), test()).prop_map(|(field, test)| Search::Field(field, test)),
        Just(Search::All)
    ];
    leaf.prop_recursive(3, 12, 3, |part| {
        prop_oneof![
            prop::collection::vec(part.clone(), 2..4).prop_map(Search::And),
            prop::collection::vec(part.clone(), 2..4).prop_map(Search::Or),
            part.prop_map(|part| Search::Not(Box::new(part))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same_search(search in search()) {
        let text = search.to_string();
        prop_assert_eq!(parse(&text), Ok(search), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_place_in_it(text in any::<String>()) {
        match parse(&text) {
            Ok(search) => prop_assert_eq!(parse(&search.to_string()).expect("what was printed"), search),
            Err(error) => prop_assert!(error.at <= text.chars().count()),
        }
    }

    #[test]
    fn any_text_of_our_signs_is_read_or_refused(text in r#"[a1"\\:()*\[\]{}<>= -]{0,12}"#) {
        if let Ok(search) = parse(&text) {
            prop_assert_eq!(parse(&search.to_string()), Ok(search.clone()), "{}", search);
        }
    }
}

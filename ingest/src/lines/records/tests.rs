//! Traces of the usual languages as records, and what must not be joined.

use proptest::prelude::*;

use super::*;
use crate::lines::rules::Format;

const BYTES_MAX: usize = 4096;

fn auto() -> Rules {
    Rules { joins_lines: true, ..Rules::default() }
}

/// The text is split into these records, told by their first lines' numbers.
fn check(text: &str, expected: &[u64]) {
    let rules = auto();
    let records: Vec<Record<'_>> = Records::new(text.as_bytes(), &rules, BYTES_MAX).collect();
    let lines: Vec<u64> = records.iter().map(|record| record.line).collect();
    assert_eq!(lines, expected, "{text}");
}

#[test]
fn a_java_trace_belongs_to_the_line_that_logs_it() {
    check(
        concat!(
            "2026-11-23 10:00:00 ERROR [main] App - failed\n",
            "java.lang.IllegalStateException: closed\n",
            "\tat com.example.App.run(App.java:7)\n",
            "\t... 12 more\n",
            "Caused by: java.io.IOException: gone\n",
            "\tat com.example.Io.read(Io.java:9)\n",
            "    Suppressed: java.lang.Exception: x\n",
            "Suppressed: java.lang.Exception: y\n",
            "... 3 more\n",
            "2026-11-23 10:00:01 INFO [main] App - next\n",
            "Exception in thread \"main\" java.lang.Error: x\r\n",
            "\tat com.example.App.main(App.java:1)\r\n",
            "plain\n",
        ),
        &[1, 10, 11, 13],
    );
}

#[test]
fn a_python_traceback_ends_with_what_was_raised() {
    check(
        concat!(
            "ERROR:root:no stock\n",
            "Traceback (most recent call last):\n",
            "  File \"a.py\", line 1, in <module>\n",
            "    f()\n",
            "KeyError: 'x'\n",
            "\n",
            "During handling of the above exception, another exception occurred:\n",
            "\n",
            "Traceback (most recent call last):\n",
            "  File \"a.py\", line 3, in <module>\n",
            "ValueError: bad\n",
            "INFO:root:next\n",
            "Traceback (most recent call last):\n",
            "  File \"b.py\", line 1, in <module>\n",
            "ZeroDivisionError: division by zero\n",
            "a plain line\n",
        ),
        &[1, 12, 13, 16],
    );
}

#[test]
fn go_and_rust_panics_are_one_record_each() {
    check(
        concat!(
            "2026/11/23 10:00:00 listening\n",
            "panic: runtime error: index out of range [5] with length 3\n",
            "[signal SIGSEGV: segmentation violation]\n",
            "\n",
            "goroutine 1 [running]:\n",
            "main.f(...)\n",
            "\t/app/main.go:7\n",
            "created by main.main in goroutine 1\n",
            "exit status 2\n",
            "\n",
            "goroutine 18 [select]:\n",
            "main.g()\n",
            "\t/app/main.go:9 +0x1d\n",
            "\n",
            "restarted\n",
        ),
        &[1, 2, 15],
    );
    check(
        concat!(
            "thread 'main' panicked at src/main.rs:2:5:\n",
            "boom\n",
            "stack backtrace:\n",
            "   0: rust_begin_unwind\n",
            "             at /rustc/x/library/std/src/panicking.rs:1:2\n",
            "note: run with `RUST_BACKTRACE=full`\n",
            "thread 'w' panicked at 'old form', src/main.rs:1:1\n",
            "note: run with `RUST_BACKTRACE=1`\n",
            "next\n",
        ),
        &[1, 7, 9],
    );
}

#[test]
fn javascript_and_dotnet_traces_and_indented_text_go_on() {
    check(
        concat!(
            "TypeError: x is not a function\n",
            "    at f (/app/a.js:1:2) {\n",
            "  code: 'E_X'\n",
            "}\n",
            "fail: Shop.Cart[0]\n",
            "      An unhandled exception has occurred.\n",
            "      System.InvalidOperationException: closed\n",
            "         at Shop.Cart.Add() in /app/Cart.cs:line 7\n",
            "at once\n",
            "next\n",
        ),
        &[1, 5, 10],
    );
}

#[test]
fn a_json_object_over_several_lines_is_one_record() {
    check("{\n  \"level\": \"info\",\n  \"msg\": \"x\"\n}\nnext\n", &[1, 5]);
}

#[test]
fn what_stands_alone_is_not_continued_and_plain_lines_are_not_joined() {
    check("{\"msg\":\"x\"}\n  at f\n  at g\nlevel=info msg=x\n\tat h\n", &[1, 2, 4, 5]);
    check("10.0.0.1 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 500 5\n  at f\n", &[1, 2]);
    check("one\ntwo\n\n\nthree\n\n  four\n", &[1, 2, 5, 7]);
    check("INFO fine\njava.lang.IllegalStateException: told by somebody\n", &[1, 2]);
    check("Error report\nTypeErrors are counted\n", &[1, 2]);
}

#[test]
fn a_record_is_bounded_in_lines_and_bytes() {
    let text = format!("ERROR x\n{}", "\tat f\n".repeat(2 * LINES_MAX));
    let lines: Vec<usize> = Records::new(text.as_bytes(), &auto(), usize::MAX)
        .map(|record| record.text.split(|byte| *byte == b'\n').count())
        .collect();
    assert_eq!(lines, [LINES_MAX, LINES_MAX, 1]);
    let records: Vec<_> = Records::new(text.as_bytes(), &auto(), 100).collect();
    assert!(records.len() > 50 && records.iter().all(|record| record.text.len() <= 100));
}

#[test]
fn without_joining_every_line_is_a_record() {
    let rules = Rules { format: Format::Raw, ..Rules::default() };
    let records: Vec<_> = Records::new(b"ERROR x\n\tat f\r\n\n\tat g", &rules, 100).collect();
    let expected = [(1, &b"ERROR x"[..]), (2, b"\tat f"), (4, b"\tat g")];
    assert_eq!(records, expected.map(|(line, text)| Record { line, text }));
}

proptest! {
    #[test]
    fn every_line_that_is_not_blank_is_in_exactly_one_record(
        lines in prop::collection::vec(
            prop_oneof![
                Just(""), Just(" "), Just("\r"), Just("plain"), Just("  indented"), Just("at f"), Just("}"),
                Just("ERROR x"), Just("Traceback (most recent call last):"), Just("KeyError: 'x'"),
                Just("During handling of the above exception, another exception occurred:"),
                Just("panic: x"), Just("goroutine 1 [running]:"), Just("thread 'm' panicked at a.rs:1:1:"),
                Just("{\"a\":1}"), Just("{"), Just("level=info msg=x"), Just("java.lang.Error: x"),
                Just("2026-11-23T10:00:00Z INFO x"),
            ],
            0..40,
        ),
        joins_lines: bool,
        bytes_max in 0usize..200,
    ) {
        let text = lines.join("\n");
        let rules = Rules { joins_lines, ..Rules::default() };
        let records: Vec<_> = Records::new(text.as_bytes(), &rules, bytes_max).collect();
        let not_blank = |line: &&str| !line.trim().is_empty();
        let kept: Vec<&str> = records
            .iter()
            .flat_map(|record| std::str::from_utf8(record.text).expect("text").split('\n'))
            .filter(not_blank)
            .map(|line| line.trim_end_matches('\r'))
            .collect();
        let sent: Vec<&str> = lines.iter().copied().filter(not_blank).collect();
        prop_assert_eq!(kept, sent);
        for record in &records {
            let first = text.split('\n').nth(record.line as usize - 1).expect("a line");
            prop_assert!(record.text.starts_with(first.trim_end_matches('\r').as_bytes()));
        }
    }
}

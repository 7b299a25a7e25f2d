//! Texts of telemetry on a terminal: nothing in them moves the cursor, changes colours or turns the order of letters around.

/// Control characters and marks of direction as `\u{1b}` and the like; everything else as it is.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || turns_around(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The same of a log line, without the colours that its program gave it for a terminal of its own.
pub fn visible_line(text: &str) -> String {
    visible(&shipwake_model::words::without_control_sequences(text))
}

/// Embeddings, overrides and isolates of the bidirectional algorithm, and its marks.
fn turns_around(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_on_a_terminal_is_shown_and_does_not_act() {
        assert_eq!(visible("a\tb\u{1b}[2Jc\u{7}\u{9b}0m"), "a\\tb\\u{1b}[2Jc\\u{7}\\u{9b}0m");
        assert_eq!(visible("user\u{202e}nimda"), "user\\u{202e}nimda");
        assert_eq!(visible("naïve 支付 👍"), "naïve 支付 👍");
    }

    #[test]
    fn colours_of_a_line_are_left_out_and_other_escapes_are_shown() {
        assert_eq!(visible_line("\u{1b}[1;31mERROR\u{1b}[0m pool"), "ERROR pool");
        assert_eq!(visible_line("\u{1b}]0;title\u{7}x"), "\\u{1b}]0;title\\u{7}x");
    }
}

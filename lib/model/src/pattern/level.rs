//! The level of a log line as patterns are counted by it.

/// How loggers of all languages spell levels.
const LOGGER_WORDS: [(Level, &[&str]); 6] = [
    (Level::Trace, &["trace", "finest", "finer"]),
    (Level::Debug, &["debug", "fine", "verbose"]),
    (Level::Info, &["info", "information", "informational", "notice", "config"]),
    (Level::Warn, &["warn", "warning"]),
    (Level::Error, &["error", "err", "severe"]),
    (Level::Fatal, &["fatal", "critical", "crit", "alert", "emerg", "emergency", "panic"]),
];

/// How bad a line says it is. Ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// The sender gave none.
    #[default]
    Unknown = 0,
    /// Severity 1 to 4.
    Trace = 1,
    /// Severity 5 to 8.
    Debug = 2,
    /// Severity 9 to 12.
    Info = 3,
    /// Severity 13 to 16.
    Warn = 4,
    /// Severity 17 to 20.
    Error = 5,
    /// Severity 21 to 24.
    Fatal = 6,
}

impl Level {
    /// All levels, in order.
    pub const ALL: [Level; 7] =
        [Level::Unknown, Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal];

    /// The level of a severity number of OpenTelemetry; without one, of the text that loggers use.
    pub fn of(severity_number: i32, severity_text: &[u8]) -> Self {
        match severity_number {
            1..=4 => Level::Trace,
            5..=8 => Level::Debug,
            9..=12 => Level::Info,
            13..=16 => Level::Warn,
            17..=20 => Level::Error,
            21.. => Level::Fatal,
            _ if severity_text.is_empty() => Level::Unknown,
            _ => Level::of_text(severity_text),
        }
    }

    fn of_text(text: &[u8]) -> Self {
        let is_one = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
        LOGGER_WORDS.iter().find(|(_, words)| is_one(words)).map_or(Level::Unknown, |(level, _)| *level)
    }

    /// The word in columns and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Unknown => "unknown",
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }

    /// The level of a word, or of a number of this type.
    pub fn from_word(word: &str) -> Option<Self> {
        Level::ALL.into_iter().find(|level| level.as_str() == word)
    }

    /// The level of its number.
    pub fn from_number(number: u8) -> Option<Self> {
        Level::ALL.get(usize::from(number)).copied()
    }
}

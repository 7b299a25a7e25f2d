//! What can be wrong with stored histogram bytes, or with a merge.
//!
//! Bytes are our own: an error while decoding means damage or a newer version, and is not retryable.

use thiserror::Error;

/// Why a histogram could not be read or merged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SketchError {
    /// The bytes end before the histogram does.
    #[error("histogram bytes end too early at offset {offset}")]
    Truncated {
        /// Offset from the start of the histogram.
        offset: usize,
    },
    /// The first byte names no form that this version knows.
    #[error("unknown histogram form {tag:#04x}")]
    UnknownForm {
        /// The first byte.
        tag: u8,
    },
    /// The form is known, its version or parameters are not.
    #[error("histogram parameter {what} is not supported")]
    Unsupported {
        /// The parameter.
        what: &'static str,
    },
    /// The bytes contradict themselves.
    #[error("histogram bytes are inconsistent: {what}")]
    Inconsistent {
        /// What contradicts.
        what: &'static str,
    },
    /// Two forms cannot be merged exactly.
    #[error("a histogram of form {left} cannot be merged with one of form {right}")]
    FormsDiffer {
        /// The form merged into.
        left: &'static str,
        /// The form of the other.
        right: &'static str,
    },
}

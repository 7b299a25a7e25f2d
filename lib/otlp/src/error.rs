//! Why bytes are not an OTLP export request. Every variant is the sender's fault, and sending the same bytes again fails
//! the same way. Offsets count from the first byte of the request.

use thiserror::Error;

/// What is wrong with a request. Never retryable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ScanError {
    /// A value, or the length in front of it, goes beyond the end of the message that holds it.
    #[error("message ends in the middle of a value at byte {offset}")]
    Truncated {
        /// Where the value begins.
        offset: usize,
    },
    /// A variable-length integer has more than ten bytes or more than 64 bits.
    #[error("malformed variable-length integer at byte {offset}")]
    Varint {
        /// Where the integer begins.
        offset: usize,
    },
    /// A field key with field number 0, a number above 2^29 - 1, or a wire type that does not exist.
    #[error("malformed field key at byte {offset}")]
    Key {
        /// Where the key begins.
        offset: usize,
    },
    /// A field that OTLP defines, with another wire type than OTLP gives it.
    #[error("field {field} has wire type {wire_type}, which OTLP does not give it, at byte {offset}")]
    WireType {
        /// Where the field's key begins.
        offset: usize,
        /// The field number.
        field: u32,
        /// The wire type found (0 varint, 1 fixed64, 2 length-delimited, 3 group, 4 end of group, 5 fixed32).
        wire_type: u8,
    },
    /// The end of a group that is not open here.
    #[error("end of a group that is not open at byte {offset}")]
    EndGroup {
        /// Where the key begins.
        offset: usize,
    },
    /// Messages or groups are nested more than 100 deep.
    #[error("nested deeper than 100 levels at byte {offset}")]
    Depth {
        /// Where the level too much begins.
        offset: usize,
    },
}

impl ScanError {
    /// The place of the error, in bytes from the start of the request.
    pub fn offset(&self) -> usize {
        match *self {
            ScanError::Truncated { offset }
            | ScanError::Varint { offset }
            | ScanError::Key { offset }
            | ScanError::WireType { offset, .. }
            | ScanError::EndGroup { offset }
            | ScanError::Depth { offset } => offset,
        }
    }
}

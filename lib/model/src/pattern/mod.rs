//! Log patterns: what stays the same in log lines that differ only in their parameters.
//!
//! Pure. [`message`] picks the text that says what happened, [`mask`] replaces its parameters by `<*>` and leaves the *shape*
//! of the line, [`shape_id`] names a shape. The id of a shape depends on nothing but the line, so partitions, restarts and
//! any order of arrival agree on it: counts are kept under it. [`Drain`] sees which shapes are one pattern with a word as
//! its parameter; who shows patterns groups shapes with it ([`group`]). Why it is so: `docs/decisions/0005`.

mod access;
mod drain;
mod level;
mod mask;
mod message;

#[cfg(test)]
mod tests;

pub use access::is_access_line;
pub use drain::{Drain, Grouped, Place, group};
pub use level::Level;
pub use mask::{SHAPE_BYTES_MAX, mask};
pub use message::{Message, message};

use xxhash_rust::xxh3::xxh3_64;

/// What stands for a parameter.
pub const PARAMETER: &str = "<*>";
/// The pattern of lines beyond the bound of their service.
pub const OTHER: &str = "__other__";
/// The id of [`OTHER`]; no shape has it.
pub const OTHER_ID: u64 = 0;

/// The id of a shape.
pub fn shape_id(shape: &[u8]) -> u64 {
    match xxh3_64(shape) {
        OTHER_ID => 1,
        id => id,
    }
}

/// An id as it stands in columns: 16 hexadecimal digits, or [`OTHER`].
pub fn id_text(id: u64) -> String {
    if id == OTHER_ID { OTHER.to_owned() } else { format!("{id:016x}") }
}

/// The id that a column holds.
pub fn id_of_text(text: &str) -> Option<u64> {
    if text == OTHER {
        return Some(OTHER_ID);
    }
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok())?
}

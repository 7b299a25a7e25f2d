//! Whose record it is, and whether it is about a toggle: what is noted while a record's attributes are walked anyway.

use shipwake_model::sketch::Distinct;
use shipwake_otlp::AnyValue;

/// Hashes of the ids that a record names; 0 where it names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// `user.id`, else `enduser.id`.
    pub user: u64,
    /// `session.id`.
    pub session: u64,
    /// Whether the record has `feature_flag.key`.
    pub has_toggle: bool,
}

impl Who {
    /// Whether the record names a user or a session.
    #[inline]
    pub fn is_known(self) -> bool {
        self.user | self.session != 0
    }

    /// Takes note of one attribute. Its key begins with `u`, `e`, `s` or `f`.
    #[inline]
    pub fn take(&mut self, key: &[u8], value: &AnyValue<'_>) {
        match key {
            b"user.id" => self.user = id_hash(value).unwrap_or(self.user),
            b"enduser.id" if self.user == 0 => self.user = id_hash(value).unwrap_or(0),
            b"session.id" => self.session = id_hash(value).unwrap_or(0),
            b"feature_flag.key" => self.has_toggle = true,
            _ => {}
        }
    }
}

/// The hash of an id; none for what is no id, like an empty text.
fn id_hash(value: &AnyValue<'_>) -> Option<u64> {
    let hash = match value {
        AnyValue::String(text) if !text.is_empty() => Distinct::hash(text),
        AnyValue::Int(number) => Distinct::hash(number.to_string().as_bytes()),
        _ => return None,
    };
    // 0 means none: one id in 2^64 counts as its neighbour.
    Some(hash.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_name_of_the_user_wins_and_numbers_are_ids_too() {
        let mut who = Who::default();
        who.take(b"enduser.id", &AnyValue::String(b"old"));
        who.take(b"user.id", &AnyValue::String(b"7"));
        who.take(b"enduser.id", &AnyValue::String(b"old"));
        assert_eq!(who.user, Distinct::hash(b"7"));
        who.take(b"session.id", &AnyValue::Int(9));
        assert_eq!(who.session, Distinct::hash(b"9"));
        let mut nobody = Who::default();
        nobody.take(b"user.id", &AnyValue::String(b""));
        nobody.take(b"session.id", &AnyValue::Bool(true));
        assert!(!nobody.is_known());
    }
}

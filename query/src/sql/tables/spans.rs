//! The table `spans`. Its columns are those that are stored: `shipwake_store`, `tables/spans.rs`.

/// What one row is.
pub(super) const COMMENT: &str = "a span";

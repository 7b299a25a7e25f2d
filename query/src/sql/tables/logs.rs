//! The table `logs`. Its columns are those that are stored: `shipwake_store`, `tables/logs.rs`.

/// What one row is.
pub(super) const COMMENT: &str = "a log record";

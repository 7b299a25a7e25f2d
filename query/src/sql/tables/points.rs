//! The table `points`. Its columns are those that are stored: `shipwake_store`, `tables/points.rs`.

/// What one row is.
pub(super) const COMMENT: &str = "a metric data point as received";

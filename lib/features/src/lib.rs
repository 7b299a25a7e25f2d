//! Nothing but a list of features, in `Cargo.toml`: it lets the members share one build of the large dependencies.

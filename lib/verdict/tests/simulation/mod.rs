//! Simulated releases: traffic, noise and what goes wrong with both, judged by the real engine. Shared by the tests and the
//! benchmark; every number comes from a seed.

pub mod dice;
pub mod scenario;
pub mod table;
pub mod whole;
pub mod world;

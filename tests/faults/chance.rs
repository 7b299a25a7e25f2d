//! Chances that can be repeated, and how much of a test is run.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// A test's chances; says the seed in the test's output.
pub fn chances(test: &str) -> StdRng {
    let seed = number("SHIPWAKE_TORTURE_SEED").unwrap_or_else(rand::random);
    println!("{test}: SHIPWAKE_TORTURE_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// How many rounds: `short` in `make test`, `long` in `make torture`, or what `SHIPWAKE_TORTURE_ROUNDS` says.
pub fn rounds(short: u32, long: u32) -> u32 {
    let asked = number("SHIPWAKE_TORTURE_ROUNDS").and_then(|rounds| u32::try_from(rounds).ok());
    asked.unwrap_or(if is_long() { long } else { short })
}

/// Whether this is `make torture`.
pub fn is_long() -> bool {
    std::env::var("SHIPWAKE_TORTURE").is_ok_and(|value| value == "long")
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

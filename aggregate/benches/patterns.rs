//! Log patterns: lines a second on one core, and how well lines are grouped on a corpus of fourteen kinds of systems.
//! `cargo bench -p shipwake-aggregate --bench patterns`; figures go to `docs/benchmarks.md`.
//!
//! GA is the part of lines whose group is exactly the set of lines of one template; FGA is the harmonic mean of the parts
//! of found groups and of true ones that are so (as in the literature on log parsing).

mod corpus;
mod measure;

use std::hint::black_box;
use std::time::Instant;

use corpus::SYSTEMS;
use measure::{accuracy, learn};
use shipwake_aggregate::patterns::Book;

const LINES: usize = 2_000;
const ROUNDS: usize = 40;

fn main() {
    let (mut ga_sum, mut fga_sum) = (0.0, 0.0);
    for system in &SYSTEMS {
        let found = accuracy(&system.lines(LINES, 7));
        println!(
            "{:<26} GA {:.3}  FGA {:.3}  {:>2} of {:>2} groups",
            system.name, found.ga, found.fga, found.groups, found.templates
        );
        (ga_sum, fga_sum) = (ga_sum + found.ga, fga_sum + found.fga);
    }
    let systems = SYSTEMS.len() as f64;
    println!("{:<26} GA {:.3}  FGA {:.3}", "mean", ga_sum / systems, fga_sum / systems);

    let corpora: Vec<_> = SYSTEMS.iter().map(|system| system.lines(LINES, 11)).collect();
    let mut books: Vec<Book> = SYSTEMS.iter().map(|_| Book::default()).collect();
    let bytes: usize = corpora.iter().flatten().map(|line| line.text.len()).sum();
    let lines = (LINES * SYSTEMS.len()) as f64;
    let (mut shape, mut best_s) = (Vec::new(), f64::MAX);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for (lines, book) in corpora.iter().zip(&mut books) {
            for line in lines {
                black_box(learn(book, &line.text, &mut shape));
            }
        }
        best_s = best_s.min(begin.elapsed().as_secs_f64());
    }
    println!(
        "{:.0} lines/s of {:.0} bytes on one core, {:.0} ns a line, {:.0} MB/s",
        lines / best_s,
        bytes as f64 / lines,
        best_s / lines * 1e9,
        bytes as f64 / best_s / 1e6
    );
}

//! Equal questions that are asked at the same time are asked once: whoever comes second waits for the answer of the first.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Questions that are on their way, by what is asked.
#[derive(Debug, Default)]
pub(crate) struct Flights<T> {
    flying: Mutex<HashMap<String, Arc<Flight<T>>>>,
}

#[derive(Debug)]
struct Flight<T> {
    landed: Mutex<Landed<T>>,
    news: Condvar,
}

#[derive(Debug)]
enum Landed<T> {
    NotYet,
    Answer(T),
    /// Whoever asked has panicked.
    Lost,
}

impl<T: Clone> Flights<T> {
    /// The answer to a question: that of an equal one that is being asked, for `patience` at the most, or that of `ask`.
    pub fn ask(&self, question: &str, patience: Duration, ask: impl Fn() -> T) -> T {
        let flight = {
            let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
            match flying.get(question) {
                Some(flight) => Some(flight.clone()),
                None => {
                    let flight = Flight { landed: Mutex::new(Landed::NotYet), news: Condvar::new() };
                    flying.insert(question.to_owned(), Arc::new(flight));
                    None
                }
            }
        };
        if let Some(flight) = flight {
            return flight.wait(patience).unwrap_or_else(ask);
        }
        let landing = Landing { flights: self, question, answer: None };
        landing.land(ask())
    }
}

impl<T: Clone> Flight<T> {
    fn wait(&self, patience: Duration) -> Option<T> {
        let until = Instant::now() + patience;
        let mut landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*landed {
                Landed::Answer(answer) => return Some(answer.clone()),
                Landed::Lost => return None,
                Landed::NotYet => {}
            }
            let left = until.checked_duration_since(Instant::now())?;
            landed = self.news.wait_timeout(landed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Tells those who wait, whatever happens.
struct Landing<'a, T> {
    flights: &'a Flights<T>,
    question: &'a str,
    answer: Option<T>,
}

impl<T: Clone> Landing<'_, T> {
    fn land(mut self, answer: T) -> T {
        self.answer = Some(answer.clone());
        answer
    }
}

impl<T> Drop for Landing<'_, T> {
    fn drop(&mut self) {
        let mut flying = self.flights.flying.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(flight) = flying.remove(self.question) else { return };
        drop(flying);
        let landed = self.answer.take().map_or(Landed::Lost, Landed::Answer);
        *flight.landed.lock().unwrap_or_else(PoisonError::into_inner) = landed;
        flight.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_question_is_asked_once_while_it_is_on_its_way_and_again_afterwards() {
        let (flights, asked, begun) = (Flights::default(), AtomicU32::new(0), Barrier::new(2));
        let ask = || {
            begun.wait();
            // Until the second one waits, which the map does not show: its clone of the flight does.
            while Arc::strong_count(&flights.flying.lock().expect("a lock")["q"]) < 2 {
                std::thread::yield_now();
            }
            asked.fetch_add(1, Ordering::Relaxed)
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| flights.ask("q", LONG, ask));
            begun.wait();
            let second = scope.spawn(|| flights.ask("q", LONG, || unreachable!("it is being asked")));
            assert_eq!((first.join().expect("ends"), second.join().expect("ends")), (0, 0));
        });
        assert_eq!(flights.ask("q", LONG, || 7), 7);
        assert!(flights.flying.lock().expect("a lock").is_empty());
    }

    #[test]
    fn who_waits_for_a_question_that_is_lost_asks_itself() {
        let (flights, begun) = (Flights::default(), Barrier::new(2));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                flights.ask("q", LONG, || {
                    begun.wait();
                    while Arc::strong_count(&flights.flying.lock().expect("a lock")["q"]) < 2 {
                        std::thread::yield_now();
                    }
                    panic!("a question that fails")
                })
            });
            begun.wait();
            assert_eq!(flights.ask("q", LONG, || 5), 5);
            assert!(first.join().is_err());
        });
    }
}

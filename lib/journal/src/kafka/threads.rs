//! Threads that carry clients of Kafka, and are waited for only so long.
//!
//! A client that is closed says so to its brokers, and waits until they have answered: for ever, if one is there and does not answer.
//! Nothing depends on that answer, and a process that is to end must end: what is not over in time goes on by itself, and ends with
//! the process.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub(super) struct Threads {
    running: Vec<JoinHandle<()>>,
    /// Every thread has one, and drops it at its end.
    life: SyncSender<()>,
    /// Says when nobody has one any more.
    ended: Receiver<()>,
}

impl Default for Threads {
    fn default() -> Self {
        let (life, ended) = sync_channel(1);
        Threads { running: Vec::new(), life, ended }
    }
}

impl Threads {
    /// Starts one more. Fails when the system gives none.
    pub(super) fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let life = self.life.clone();
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            let _life = life;
            run();
        });
        self.running.push(thread?);
        Ok(())
    }

    /// Waits until all have ended, for so long at the most; whether they have. They were told to end before.
    pub(super) fn end(self, longest: Duration) -> bool {
        drop(self.life);
        let all_have_ended = matches!(self.ended.recv_timeout(longest), Err(RecvTimeoutError::Disconnected));
        if all_have_ended {
            for thread in self.running {
                // A panic was reported by the thread itself.
                let _ = thread.join();
            }
        }
        all_have_ended
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn threads_that_end_are_waited_for_and_one_that_hangs_is_left_behind() {
        let mut threads = Threads::default();
        threads.spawn("quick", || ()).expect("a thread");
        threads.spawn("panics", || std::panic::resume_unwind(Box::new("as if"))).expect("a thread");
        assert!(threads.end(Duration::from_secs(60)));
        assert!(Threads::default().end(Duration::ZERO), "there is nobody to wait for");

        let (go_on, hangs) = sync_channel::<()>(1);
        let mut threads = Threads::default();
        threads.spawn("quick", || ()).expect("a thread");
        let hang = move || {
            let _ = hangs.recv();
        };
        threads.spawn("hangs", hang).expect("a thread");
        let since = Instant::now();
        assert!(!threads.end(Duration::from_millis(20)));
        assert!((Duration::from_millis(20)..Duration::from_secs(30)).contains(&since.elapsed()));
        drop(go_on);
    }
}

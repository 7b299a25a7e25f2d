//! Ledgers that fail: nothing is told that is not kept, and whoever is not the owner any more says nothing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shipwake_alerts::{AlertsError, Ledger, LedgerError, NotifierConfig, SubmitError};

use crate::server::{OK, Reply, Server, eventually};
use crate::{Running, fast, no_go, one_hook};

/// In memory; fails as its mode says.
struct Flaky {
    mode: Arc<AtomicUsize>,
    state: Option<Vec<u8>>,
    commits: Arc<AtomicUsize>,
}

const WELL: usize = 0;
const FULL: usize = 1;
const FENCED: usize = 2;
const SLOW: usize = 3;

impl Ledger for Flaky {
    fn load(&mut self) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.state.clone())
    }

    fn commit(&mut self, state: &[u8]) -> Result<(), LedgerError> {
        let path = PathBuf::from("memory");
        while self.mode.load(Ordering::SeqCst) == SLOW {
            std::thread::yield_now();
        }
        match self.mode.load(Ordering::SeqCst) {
            FULL => {
                let source = io::Error::from(io::ErrorKind::StorageFull);
                Err(LedgerError::Io { doing: "write", path, source })
            }
            FENCED => Err(LedgerError::Fenced { path }),
            _ => {
                self.state = Some(state.to_vec());
                self.commits.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        }
    }
}

fn flaky() -> (Flaky, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (mode, commits) = (Arc::new(AtomicUsize::new(WELL)), Arc::new(AtomicUsize::new(0)));
    (Flaky { mode: mode.clone(), state: None, commits: commits.clone() }, mode, commits)
}

#[tokio::test]
async fn a_full_disk_is_told_to_the_submitter_and_nothing_is_sent_before_there_is_room() {
    let hook = Server::start(|_, _| OK).await;
    let (ledger, mode, _) = flaky();
    let running = Running::start(fast(one_hook(hook.url("/")), 1), ledger);
    running.submit([no_go("1", 1)]).await;
    hook.wait_for(1).await;
    running.is_done().await;
    mode.store(FULL, Ordering::SeqCst);
    let refused = running.handle.submit(vec![no_go("2", 1)], Some(b"state".to_vec())).await;
    assert!(
        matches!(&refused, Err(SubmitError::NotCommitted(problem)) if problem.contains("failed to write")),
        "{refused:?}"
    );
    eventually("the problem shows", || running.handle.status().ledger_problem.is_some()).await;
    assert_eq!(hook.received().len(), 1);
    mode.store(WELL, Ordering::SeqCst);
    eventually("it is over", || running.handle.status().ledger_problem.is_none()).await;
    running.submit([no_go("3", 1)]).await;
    let received = hook.wait_for(2).await;
    assert_eq!(received[1].json()["data"]["candidate"], "3", "what was refused is not owed");
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_kept_yet_is_kept_later_and_the_notification_is_not_repeated() {
    let (ledger, mode, _) = flaky();
    let of_server = mode.clone();
    // The disk is full from the moment at which the receiver has the notification.
    let hook = Server::start(move |place, _| {
        if place == 0 {
            of_server.store(FULL, Ordering::SeqCst);
        }
        OK
    })
    .await;
    let running = Running::start(fast(one_hook(hook.url("/")), 1), ledger);
    running.submit([no_go("1", 1)]).await;
    eventually("the problem shows", || running.handle.status().ledger_problem.is_some()).await;
    mode.store(WELL, Ordering::SeqCst);
    running.is_done().await;
    running.submit([no_go("2", 1)]).await;
    running.is_done().await;
    running.stop().await;
    assert_eq!(hook.received().len(), 2);
}

#[tokio::test]
async fn whoever_is_fenced_ends_and_says_so() {
    let hook = Server::start(|_, _| OK).await;
    let (ledger, mode, _) = flaky();
    let running = Running::start(fast(one_hook(hook.url("/")), 1), ledger);
    running.is_done().await;
    mode.store(FENCED, Ordering::SeqCst);
    let refused = running.handle.submit(vec![no_go("1", 1)], None).await;
    assert!(matches!(refused, Err(SubmitError::Ended)), "{refused:?}");
    let ended = running.task.await.expect("no panic");
    assert!(matches!(ended, Err(AlertsError::Ledger(LedgerError::Fenced { .. }))), "{ended:?}");
    assert!(hook.received().is_empty());
}

#[tokio::test]
async fn what_is_submitted_during_a_commit_shares_the_next_one() {
    let hook = Server::start(|_, _| Reply::Hang).await;
    let (ledger, mode, commits) = flaky();
    let running = Running::start(NotifierConfig::new(one_hook(hook.url("/"))), ledger);
    running.is_done().await;
    let before = commits.load(Ordering::SeqCst);
    mode.store(SLOW, Ordering::SeqCst);
    let submit = |version: usize| {
        let handle = running.handle.clone();
        tokio::spawn(async move { handle.submit(vec![no_go(&version.to_string(), 1)], None).await })
    };
    let submitted: Vec<_> = (0..50).map(submit).collect();
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    mode.store(WELL, Ordering::SeqCst);
    for done in submitted {
        done.await.expect("no panic").expect("committed");
    }
    let commits = commits.load(Ordering::SeqCst) - before;
    assert!((1..=2).contains(&commits), "{commits} commits for fifty submissions");
    running.stop().await;
}

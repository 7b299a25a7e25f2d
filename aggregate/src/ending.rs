//! How a shard that runs is brought to its end from outside.

use tokio_util::sync::CancellationToken;

/// What a shard is to do at its end; a later one overrides those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The program stops: fold what the journal holds, commit, end.
    Drain,
    /// Another process is to have the shard: fold no more, commit, end.
    GiveUp,
    /// The program stops, and another process goes on: fold no more, commit if that is soon done, end.
    Leave,
    /// Another process may have it already: end, and commit nothing.
    Drop,
}

/// The other side of it: each may be asked for once, and is not taken back.
#[derive(Clone, Debug)]
pub struct Ending {
    drain: CancellationToken,
    give_up: CancellationToken,
    leave: CancellationToken,
    drop: CancellationToken,
}

impl Ending {
    /// Of a shard that drains at `shutdown`.
    pub fn at(shutdown: CancellationToken) -> Self {
        let token = CancellationToken::new;
        Ending { drain: shutdown, give_up: token(), leave: token(), drop: token() }
    }

    /// Of a shard that ends when it is asked to.
    pub fn when_asked() -> Self {
        Self::at(CancellationToken::new())
    }

    /// Asks for an end.
    pub fn ask(&self, end: End) {
        self.token(end).cancel();
    }

    /// What is asked for now.
    pub fn asked(&self) -> Option<End> {
        [End::Drop, End::Leave, End::GiveUp, End::Drain].into_iter().find(|end| self.token(*end).is_cancelled())
    }

    /// Waits until more is asked for than `so_far`.
    pub async fn more_than(&self, so_far: Option<End>) -> End {
        let later = |end: End| async move {
            if so_far.is_some_and(|so_far| so_far >= end) {
                std::future::pending::<()>().await;
            }
            self.token(end).cancelled().await;
            end
        };
        tokio::select! {
            biased;
            end = later(End::Drop) => end,
            end = later(End::Leave) => end,
            end = later(End::GiveUp) => end,
            end = later(End::Drain) => end,
        }
    }

    fn token(&self, end: End) -> &CancellationToken {
        match end {
            End::Drain => &self.drain,
            End::GiveUp => &self.give_up,
            End::Leave => &self.leave,
            End::Drop => &self.drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_word_wins_and_is_said_once() {
        let ending = Ending::when_asked();
        assert_eq!(ending.asked(), None);
        ending.ask(End::Drain);
        assert_eq!(ending.more_than(None).await, End::Drain);
        ending.ask(End::Drop);
        ending.ask(End::GiveUp);
        assert_eq!(ending.more_than(Some(End::Drain)).await, End::Drop);
        assert_eq!(ending.asked(), Some(End::Drop));
        let more = tokio::time::timeout(std::time::Duration::from_millis(5), ending.more_than(Some(End::Drop)));
        assert!(more.await.is_err(), "there is nothing after it");
    }
}

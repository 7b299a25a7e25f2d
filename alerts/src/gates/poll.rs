//! Waiting for what is not there yet, with a limit: what long polls stand on.

use std::sync::Arc;
use std::time::Duration;

use super::Gates;
use crate::board::Board;

impl Gates {
    /// The first board that `is_enough` accepts, or the newest after `wait`. When too many wait already, the newest at once.
    pub(super) async fn board_when(&self, wait: Duration, is_enough: impl Fn(&Board) -> bool) -> Arc<Board> {
        let mut reader = self.reader.clone();
        let mut board = reader.now();
        if wait.is_zero() || is_enough(&board) {
            return board;
        }
        let Ok(_place) = self.waiting.try_acquire() else { return board };
        let waiting = async {
            while !is_enough(&board) {
                board = reader.changed(board.revision).await;
            }
        };
        // When the time is over, the newest one counts.
        tokio::select! {
            _ = tokio::time::timeout(wait, waiting) => {}
            () = self.stop.cancelled() => {}
        }
        self.reader.now()
    }
}

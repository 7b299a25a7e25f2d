//! Where a commit happens: rows and cells are cut out of the state together with the state itself and the journal position,
//! and the store publishes all of it in one atomic step.
//!
//! The cut is made under the shard's lock and is cheap; making rows of cells, compressing and writing happen on another
//! thread while the shard goes on folding. Until the store has answered, readers see the cut as hot rows. A cut that could
//! not be written is tried again as it is: it is the only way from its predecessor to its successor.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use shipwake_model::window::NS_PER_S;
use shipwake_store::{Commit, HotRows, SegmentFile, ShardCommitter, StoreError, Table};

use crate::routes::Routes;
use crate::state::State;
use crate::state_bytes::{compress, encode};
use crate::window_rows::window_rows;
use crate::windows::Deltas;

/// Quiet series and running totals are forgotten this often, by receive time.
const SWEEP_NS: i64 = 600 * NS_PER_S;

/// What one commit publishes. Readers hold it until it is published.
#[derive(Debug)]
pub struct Cut {
    /// Journal offset after the last record in it.
    pub next_offset: u64,
    /// The shard's watermark, ns.
    pub watermark_ns: i64,
    /// Bytes it keeps in memory, about.
    pub bytes: usize,
    rows: Vec<(Table, Vec<HotRows>)>,
    deltas: Deltas,
    window_rows: OnceLock<Vec<(Table, Vec<HotRows>)>>,
    state: Vec<u8>,
}

impl Cut {
    /// Takes everything that is not committed out of the state.
    pub fn take(state: &mut State) -> Self {
        let bytes = state.hot_bytes();
        let rows = state.rows.take();
        let deltas = state.take_deltas();
        state.recent.add_deltas(&deltas);
        state.recent.prune(state.watermark.newest_ns());
        state.patterns.add_windows(&deltas.lines, &deltas.metric_metas, state.received_ns);
        state.patterns.prune(state.watermark.newest_ns());
        state.product.keep(&deltas, state.watermark.newest_ns());
        state.markers.prune(state.received_ns);
        sweep(state);
        Cut {
            next_offset: state.next_offset,
            watermark_ns: state.watermark.watermark_ns(),
            bytes,
            rows,
            deltas,
            window_rows: OnceLock::new(),
            state: encode(state),
        }
    }

    /// The rows of a table.
    pub fn rows(&self, table: Table) -> Vec<HotRows> {
        let windows = matches!(table, Table::Windows | Table::Windows1s).then(|| self.window_rows());
        let rows = windows.unwrap_or(&self.rows);
        rows.iter().filter(|(of, _)| *of == table).flat_map(|(_, rows)| rows.iter().cloned()).collect()
    }

    /// Publishes it. Blocks on the disk; after an error it can be called again.
    pub fn commit(&self, committer: &mut ShardCommitter, now_ns: i64) -> Result<Arc<[SegmentFile]>, StoreError> {
        let _span = tracing::info_span!("commit", next_offset = self.next_offset, bytes = self.bytes).entered();
        let mut rows = self.rows.clone();
        rows.extend(self.window_rows().iter().cloned());
        committer.commit(Commit {
            next_offset: self.next_offset,
            watermark_ns: self.watermark_ns,
            commit_ns: now_ns,
            rows,
            state: Bytes::from(compress(&self.state)),
            drop: Vec::new(),
        })
    }

    /// Size of the state, before compression.
    pub fn state_bytes(&self) -> usize {
        self.state.len()
    }

    fn window_rows(&self) -> &Vec<(Table, Vec<HotRows>)> {
        self.window_rows.get_or_init(|| window_rows(&self.deltas))
    }
}

/// Forgets what has been quiet for long. Only right after the cells were taken out: their numbers are void afterwards.
fn sweep(state: &mut State) {
    if state.received_ns.saturating_sub(state.swept_ns) < SWEEP_NS {
        return;
    }
    if state.swept_ns == i64::MIN {
        state.swept_ns = state.received_ns;
        return;
    }
    state.swept_ns = state.received_ns;
    state.series.clear();
    state.patterns.sweep(state.received_ns);
    // With the series the routes may begin anew too: a service that was at its bound gets another chance.
    state.routes = Routes::new(state.config.limits.routes_per_service);
    let renumbered = state.releases.wants_renumbering().then(|| {
        state.resources.clear();
        state.releases.renumber()
    });
    let (releases, streams) = (&mut state.releases, &mut state.streams);
    releases.forget_stream_counts();
    streams.sweep(state.received_ns, renumbered.as_deref(), |release| releases.get_mut(release).streams += 1);
}

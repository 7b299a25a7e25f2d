//! What the pages say about the releases of a service. Pure: cells in, words and columns out, the time is an argument.
//!
//! - [`timeline`]: the cells of one version on a grid of time, from the one source in use.
//! - [`pair`]: which two versions are compared, and the role of every version.
//! - [`differences`]: what differs between the two, and since when.
//! - [`headline`]: that in one sentence.
//! - [`patterns`]: which log patterns are new, escalated or gone; by the tests of [`rates`].
//! - [`events`]: what happened: a release was first seen, traffic moved, a version came back.

pub(crate) mod differences;
pub(crate) mod events;
pub(crate) mod headline;
pub(crate) mod pair;
pub(crate) mod patterns;
pub(crate) mod rates;
pub(crate) mod timeline;

#[cfg(test)]
pub(crate) mod testing;

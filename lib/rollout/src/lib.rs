//! Which releases there are: a version arrives in a service's environment, takes traffic, and stays or leaves. Told by traffic alone,
//! refined by what somebody announces.
//!
//! Pure: no clock, no I/O. A [`Place`] (a service in an environment) is told at every look what was seen of its versions
//! ([`Sight`]) and up to when that is complete, and says which releases are open, beside what, with which share, how, and how they
//! ended. The order of versions is that in which they were first seen, never that of their texts.
//!
//! - [`place`]: the state of a place, and what a look changes. [`release`]: a release and its ending.
//! - [`version`]: what is remembered of a version. [`notice`]: what people and tools announce.
//! - [`record`]: the stored form (`FORMAT.md`).

mod endings;
pub mod notice;
pub mod place;
pub mod record;
pub mod release;
#[cfg(test)]
mod tests;
pub mod version;

pub use notice::{Notice, NoticeKind, Role};
pub use place::{Limits, Place, Sight};
pub use release::{Ending, Release, Strategy};

//! Tests of the query stage over a real store in a temporary folder, with rows both committed and hot.

mod attacks;
mod budgets;
mod compare;
mod damage;
mod figures;
mod http;
mod live;
mod older;
mod pages;
mod patterns;
mod scripts;
mod search;
#[cfg(feature = "distributed")]
mod spread;
mod support;

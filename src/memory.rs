//! The allocator of the program, and how soon it gives memory back.

use std::ffi::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.
const PURGE_DELAY: c_int = 15;

// Declared as in mimalloc.h. The function checks its arguments, and may be called at any time from any thread.
#[allow(unsafe_code)]
unsafe extern "C" {
    safe fn mi_option_set_default(option: c_int, value: c_long);
}

/// Gives freed memory back to the operating system at once. By default mimalloc waits for a second; a commit frees in that
/// time what the next one takes, and under load the program would hold half as much again as it uses. The environment
/// variable `MIMALLOC_PURGE_DELAY` (milliseconds) still wins.
pub fn give_back_at_once() {
    mi_option_set_default(PURGE_DELAY, 0);
}

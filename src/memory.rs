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

/// How long freed memory is kept for whoever needs some next.
const KEPT_MS: c_long = 10;

/// Gives freed memory back to the operating system soon. By default mimalloc waits for a second; a commit frees in that time
/// what the next one takes, and under load the program would hold a quarter more than it uses. At once is no better: the
/// buffers of a commit are then given back and taken again hundreds of times, which was a tenth of all CPU. The
/// environment variable `MIMALLOC_PURGE_DELAY` (milliseconds) still wins.
pub fn give_back_soon() {
    mi_option_set_default(PURGE_DELAY, KEPT_MS);
}

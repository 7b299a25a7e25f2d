//! The memory of a window, measured with an allocator that counts: 100 000 series at 46 000 observations a second must not
//! take more than 40 bytes per observed series and ten seconds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use shipwake_aggregate::windows::HealthWindows;
use shipwake_model::Resolution;

/// Passes everything on to the system's allocator and counts the bytes that are in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// An allocator cannot be written without `unsafe`; every call is passed on unchanged, so the system's allocator keeps the
// promises of the trait.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_window_of_a_hundred_thousand_series_takes_forty_bytes_a_series() {
    const SERIES: u64 = 100_000;
    const OBSERVATIONS: u64 = 460_000;
    let before = IN_USE.load(Ordering::Relaxed);
    let mut windows = HealthWindows::new(Resolution::S10);
    let mut random = 1u64;
    for n in 0..OBSERVATIONS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (series, duration_us) = ((random >> 33) % SERIES, (random >> 20) % 50_000 + 500);
        windows.observe(series as u32, 1_800_000_000_000_000_000, duration_us, n % 100 == 0);
    }
    let bytes = IN_USE.load(Ordering::Relaxed) - before;
    let per_series = bytes as f64 / windows.len() as f64;
    eprintln!("{bytes} bytes for {} observed series: {per_series:.1} each", windows.len());
    assert!(windows.len() > 98_000);
    assert!(per_series <= 40.0, "{per_series}");
    let reported = windows.heap_bytes();
    assert!(reported.abs_diff(bytes) * 50 < bytes, "reported {reported}, allocated {bytes}");
}

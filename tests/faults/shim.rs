//! Builds `shim.c`, and names a fault for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{Shipwake, Start, spawn_with};

/// The library, built on first use.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shim-{}.so", std::process::id()));
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status()
            .expect("a C compiler builds Shipwake too");
        assert!(status.success(), "{} cannot be built", source.display());
        library
    })
}

/// Starts the program with a fault in front of it: `call,path,nth,what`, as `shim.c` says.
pub fn spawn_faulty(start: &Start<'_>, fault: &str) -> Shipwake {
    let library = library().to_str().expect("a path of text");
    spawn_with(start, &[("LD_PRELOAD", library), ("SHIPWAKE_FAULT", fault)])
}

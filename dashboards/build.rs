//! Compiles the crate again when the built pages change, and warns when there are none: an embedding that silently holds
//! nothing is how other projects shipped empty pages. Never runs npm and never uses the network.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=dist");
    println!("cargo:rerun-if-changed=fallback.html");
    if !Path::new("dist/index.html").exists() {
        println!(
            "cargo:warning=dashboards/dist is missing: the binary will have no pages. Run `npm run build` in dashboards/ui"
        );
    }
}

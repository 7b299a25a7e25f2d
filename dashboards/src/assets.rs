//! The files of `dist/`, embedded when the crate is compiled. Nothing is read from the disk at run time, so no path of a
//! request can reach a file that was not built.

use std::borrow::Cow;

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/dist"]
#[allow_missing = true]
struct Dist;

/// One file as it is sent.
pub(crate) struct Asset {
    pub bytes: Cow<'static, [u8]>,
    /// Of exactly these bytes.
    pub sha256: [u8; 32],
}

/// Where files come from: the embedded ones, or a few that a test made.
pub(crate) trait Assets {
    /// The file of that name, relative to `dist/`.
    fn get(&self, name: &str) -> Option<Asset>;
}

pub(crate) struct Embedded;

impl Assets for Embedded {
    fn get(&self, name: &str) -> Option<Asset> {
        let file = Dist::get(name)?;
        Some(Asset { sha256: file.metadata.sha256_hash(), bytes: file.data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_pages_are_embedded_with_their_compressed_forms() {
        for name in ["index.html", "index.html.br", "index.html.gz", "theme.js"] {
            assert!(Embedded.get(name).is_some_and(|asset| !asset.bytes.is_empty()), "{name} is missing in dist");
        }
        assert!(Embedded.get("../Cargo.toml").is_none());
    }
}

//! Reads `Accept-Encoding`: which of the stored forms of a file the client can take. Pure.

/// The stored forms, smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Brotli,
    Gzip,
}

impl Encoding {
    /// The token of `Content-Encoding`.
    pub fn token(self) -> &'static str {
        match self {
            Encoding::Brotli => "br",
            Encoding::Gzip => "gzip",
        }
    }

    /// What the stored file's name ends in.
    pub fn suffix(self) -> &'static str {
        match self {
            Encoding::Brotli => ".br",
            Encoding::Gzip => ".gz",
        }
    }
}

/// The forms to try in order; the plain one is always taken when none of them exists.
///
/// Weights only matter as "not zero": a client that takes both gets the smaller form.
pub(crate) fn accepted(header: &str) -> Vec<Encoding> {
    [Encoding::Brotli, Encoding::Gzip].into_iter().filter(|encoding| accepts(header, encoding.token())).collect()
}

fn accepts(header: &str, token: &str) -> bool {
    let mut by_wildcard = false;
    for item in header.split(',') {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let wanted = !is_zero(weight);
        let name = name.trim();
        if name.eq_ignore_ascii_case(token) {
            return wanted;
        }
        by_wildcard |= name == "*" && wanted;
    }
    by_wildcard
}

fn is_zero(weight: &str) -> bool {
    weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
}

#[cfg(test)]
mod tests {
    use super::Encoding::{Brotli, Gzip};
    use super::*;

    #[test]
    fn the_smallest_form_that_the_client_takes_comes_first() {
        let check = |header: &str, expected: &[Encoding]| assert_eq!(accepted(header), expected, "{header}");
        check("", &[]);
        check("identity", &[]);
        check("gzip", &[Gzip]);
        check("gzip, deflate, br, zstd", &[Brotli, Gzip]);
        check("GZIP;q=0.8,BR;q=0.1", &[Brotli, Gzip]);
        check("br;q=0, gzip", &[Gzip]);
        check("*", &[Brotli, Gzip]);
        check("*;q=0", &[]);
        check("br;q=0, *", &[Gzip]);
        check(";;;,,q=1", &[]);
    }
}

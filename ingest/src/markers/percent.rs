//! Percent-encoding, as parts of an address and of a form have it. Pure. What is wrongly encoded is taken as it stands.

/// A part of a path, decoded.
pub(super) fn decode(text: &str) -> String {
    String::from_utf8_lossy(&bytes_of(text.as_bytes(), false)).into_owned()
}

/// The first field of this name of a form.
pub(super) fn form_field(form: &[u8], name: &str) -> Option<String> {
    form.split(|byte| *byte == b'&').find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (bytes_of(&pair[..at], true), bytes_of(&pair[at + 1..], true));
        (key == name.as_bytes()).then(|| String::from_utf8_lossy(&value).into_owned())
    })
}

fn bytes_of(text: &[u8], is_form: bool) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 2;
            }
            (b'+', ..) if is_form => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_the_rest_stays() {
        assert_eq!(decode("checkout%402.14.0+1"), "checkout@2.14.0+1");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert_eq!(decode("%ff"), "\u{fffd}");
        assert_eq!(form_field(b"a=1&payload=%7B%22a+b%22%3A1%7D&x", "payload").as_deref(), Some("{\"a b\":1}"));
        assert_eq!(form_field(b"a=1", "payload"), None);
    }
}

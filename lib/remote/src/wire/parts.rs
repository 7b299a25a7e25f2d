//! An answer's two parts: a head of JSON, and bytes that it refers to.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What an answer begins with. The digit is the version: a reader refuses one that it does not know.
const MAGIC: &[u8; 8] = b"SWSHARD1";
const FRONT_BYTES: usize = MAGIC.len() + 4;

/// The bytes of an answer.
pub(super) fn write(head: &impl Serialize, body: &[u8]) -> Vec<u8> {
    let head = serde_json::to_vec(head).expect("heads have text keys and finite numbers");
    let mut bytes = Vec::with_capacity(FRONT_BYTES + head.len() + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&u32::try_from(head.len()).expect("a head is far below 4 GiB").to_le_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(body);
    bytes
}

/// Head and body of an answer, or what is wrong with it.
pub(super) fn read<H: DeserializeOwned>(bytes: &Bytes) -> Result<(H, Bytes), String> {
    let front = bytes.get(..FRONT_BYTES).ok_or("it is cut short")?;
    if &front[..MAGIC.len()] != MAGIC {
        return Err("it does not begin as answers of this version of shipwake do".to_owned());
    }
    let length = u32::from_le_bytes([front[8], front[9], front[10], front[11]]) as usize;
    let end = FRONT_BYTES.checked_add(length).filter(|end| *end <= bytes.len()).ok_or("its head is cut short")?;
    let head = serde_json::from_slice(&bytes[FRONT_BYTES..end]).map_err(|error| format!("its head: {error}"))?;
    Ok((head, bytes.slice(end..)))
}

/// Takes pieces off a body, in the order in which they were put there.
pub(super) struct Pieces(Bytes);

impl Pieces {
    pub(super) fn new(body: Bytes) -> Self {
        Self(body)
    }

    /// The next `length` bytes.
    pub(super) fn next(&mut self, length: u64) -> Result<Bytes, String> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.0.len());
        let length = length.ok_or("its body is cut short")?;
        Ok(self.0.split_to(length))
    }

    /// That nothing is left.
    pub(super) fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes follow it", self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was_and_no_cut_is_read() {
        let bytes = Bytes::from(write(&["a", "b"], b"body"));
        let (head, body): (Vec<String>, Bytes) = read(&bytes).expect("reads");
        assert_eq!((head.join(","), &body[..]), ("a,b".to_owned(), &b"body"[..]));
        for end in 0..bytes.len() - b"body".len() {
            assert!(read::<Vec<String>>(&bytes.slice(..end)).is_err(), "cut at {end}");
        }
        let mut pieces = Pieces::new(body);
        assert_eq!(&pieces.next(3).expect("there")[..], b"bod");
        assert!(pieces.end().is_err() && pieces.next(2).is_err() && pieces.next(u64::MAX).is_err());
        assert!(read::<Vec<String>>(&Bytes::from_static(b"SWSHARD2\x02\0\0\0[]")).is_err(), "another version");
    }
}

//! One question to a broker in Kafka's own protocol: who is there, and who leads. Enough to know when a cluster is ready, and
//! whom to kill.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// What a broker says about the cluster.
pub struct Metadata {
    pub brokers: usize,
    /// Partition and its leader's number, -1 while there is none.
    pub leaders: Vec<(i32, i32)>,
}

/// Asks a broker; `None` while it does not answer.
pub fn metadata(port: u16, topic: Option<&str>) -> Option<Metadata> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    // Metadata, version 1, without a client's name, for these topics.
    let mut request = vec![0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff];
    request.extend(i32::from(topic.is_some()).to_be_bytes());
    if let Some(topic) = topic {
        request.extend((topic.len() as i16).to_be_bytes());
        request.extend(topic.as_bytes());
    }
    stream.write_all(&(request.len() as i32).to_be_bytes()).ok()?;
    stream.write_all(&request).ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).ok()?;
    let mut fields = Fields(&answer[4..]);
    let brokers = fields.list(|fields| {
        fields.int()?;
        fields.text()?;
        fields.int()?;
        fields.text()
    })?;
    fields.int()?;
    let topics = fields.list(|fields| {
        fields.take(2)?;
        fields.text()?;
        fields.take(1)?;
        fields.list(|fields| {
            fields.take(2)?;
            let found = (fields.int()?, fields.int()?);
            fields.list(Fields::int)?;
            fields.list(Fields::int)?;
            Some(found)
        })
    })?;
    Some(Metadata { brokers: brokers.len(), leaders: topics.into_iter().flatten().collect() })
}

/// What of an answer is not read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<()> {
        let length = i16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(usize::try_from(length).unwrap_or(0)).map(|_| ())
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.int()?;
        (0..length).map(|_| read(self)).collect()
    }
}

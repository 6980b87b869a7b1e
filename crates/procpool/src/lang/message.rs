//! What travels: some bytes, and runs of bytes that may be large.

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, SerializeTuple, Serializer};

/// Bytes to be sent. The runs are copied once, from where they are to where the other side reads them.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// What says what this is.
    pub head: &'a [u8],
    /// What it refers to.
    pub runs: &'a [&'a [u8]],
}

/// Bytes that have come.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What says what this is.
    pub head: Vec<u8>,
    /// What it refers to.
    pub runs: Vec<Vec<u8>>,
}

struct Run<'a>(&'a [u8]);

impl Serialize for Run<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Runs<'a>(&'a [&'a [u8]]);

impl Serialize for Runs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for run in self.0 {
            seq.serialize_element(&Run(run))?;
        }
        seq.end()
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&Run(self.head))?;
        tuple.serialize_element(&Runs(self.runs))?;
        tuple.end()
    }
}

struct OwnedRun(Vec<u8>);

impl<'de> Deserialize<'de> for OwnedRun {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Bytes).map(Self)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Both;
        impl<'de> Visitor<'de> for Both {
            type Value = Message;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Message, A::Error> {
                let missing = || serde::de::Error::custom("a message is cut off");
                let OwnedRun(head) = seq.next_element()?.ok_or_else(missing)?;
                let runs: Vec<OwnedRun> = seq.next_element()?.ok_or_else(missing)?;
                Ok(Message { head, runs: runs.into_iter().map(|OwnedRun(run)| run).collect() })
            }
        }
        deserializer.deserialize_tuple(2, Both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call;

    #[test]
    fn what_is_sent_is_what_comes() {
        let large = vec![7; 100_000];
        for runs in [&[][..], &[b"".as_slice(), b"abc"], &[&large]] {
            let mut bytes = Vec::new();
            call::encode(&Payload { head: b"head", runs }, &mut bytes).unwrap();
            let message: Message = call::decode(&bytes).unwrap();
            assert_eq!((message.head.as_slice(), message.runs.len()), (&b"head"[..], runs.len()));
            assert!(message.runs.iter().zip(runs).all(|(came, sent)| came == sent));
            assert!(call::decode::<Message>(&bytes[..bytes.len() - 1]).is_err());
        }
    }
}

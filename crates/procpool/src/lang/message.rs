//! What travels: some bytes, and runs of bytes that may be large.

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, SerializeTuple, Serializer};

use crate::bulk::{self, Lent};

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
    pub runs: Vec<Run>,
}

/// Bytes of a message, which may be many. In a worker they may lie where the program has put them.
#[derive(Debug)]
pub struct Run(Place);

#[derive(Debug)]
enum Place {
    Own(Vec<u8>),
    Lent(Lent),
}

impl Run {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Place::Own(bytes) => bytes,
            Place::Lent(view) => view.bytes(),
        }
    }

    /// Whether they lie where the program has put them. As long as this is there they stay as they are; a fork of this worker
    /// must not look at them for longer, since the program does not know of it.
    pub fn is_lent(&self) -> bool {
        matches!(self.0, Place::Lent(_))
    }

    /// The bytes as this process's own.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Place::Own(bytes) => bytes,
            Place::Lent(view) => {
                let (mut bytes, lent) = (Vec::new(), view.bytes());
                bulk::append(&mut bytes, lent.len(), |room| room.put(lent));
                bytes
            }
        }
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Run {}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Runs<'a>(&'a [&'a [u8]]);

impl Serialize for Runs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct InPlace<'a>(&'a [u8]);
        impl Serialize for InPlace<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_newtype_struct(bulk::IN_PLACE, &Bytes(self.0))
            }
        }
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for run in self.0 {
            seq.serialize_element(&InPlace(run))?;
        }
        seq.end()
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&Bytes(self.head))?;
        tuple.serialize_element(&Runs(self.runs))?;
        tuple.end()
    }
}

struct Owned(Vec<u8>);

impl<'de> Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl Visitor<'_> for Take {
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
        deserializer.deserialize_byte_buf(Take).map(Self)
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl Visitor<'_> for Take {
            type Value = Place;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<Place, E> {
                bulk::take_view().map(Place::Lent).ok_or_else(|| E::custom("they are not in their place"))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Place, E> {
                Ok(Place::Own(bytes))
            }
        }
        deserializer.deserialize_newtype_struct(bulk::IN_PLACE, Take).map(Self)
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
                let Owned(head) = seq.next_element()?.ok_or_else(missing)?;
                let runs: Vec<Run> = seq.next_element()?.ok_or_else(missing)?;
                Ok(Message { head, runs })
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
            assert!(message.runs.iter().zip(runs).all(|(came, sent)| came.bytes() == *sent));
            assert!(call::decode::<Message>(&bytes[..bytes.len() - 1]).is_err());
        }
    }
}

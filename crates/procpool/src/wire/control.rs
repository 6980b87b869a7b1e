//! The messages of the control socket. Descriptors travel beside them, in the order that each message states.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Changes with every change of this module or of the ring's layout. Parent and worker are the same executable, so a
/// difference means that something other than us is at the other end.
pub(crate) const PROTOCOL: u32 = 1;

/// Larger blobs go beside the message in a memfd.
pub(crate) const BLOB_MAX: usize = 16 * 1024;

/// Bytes inside a message, or in the next of its descriptors when they are many.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum Blob {
    Inline(Vec<u8>),
    Memfd,
}

/// A function and its encoded input.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct CallMessage {
    pub(crate) function: u64,
    pub(crate) input: Blob,
}

/// From the parent to a worker.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum ToWorker {
    /// First message. Descriptors: the region, the leader's bell, the supervisor's bell, the initializer's memfd if any.
    Serve { protocol: u32, identity: Vec<u8>, initializer: Option<CallMessage> },
    /// First and only message to a process of its own. Descriptors: the input's memfd if any, then what the input refers to.
    RunOnce { protocol: u32, identity: Vec<u8>, call: CallMessage },
    /// What the task frame with this attachment number needs. Descriptors: the payload's memfd if `payload`, then what the
    /// inputs refer to.
    Attach { number: u64, payload: bool },
    /// The state of a `map_with`. Descriptors: its memfd if any.
    State { number: u64, bytes: Blob },
    /// That state is not needed any more.
    DropState { number: u64 },
    /// End when the ring is empty.
    Exit,
}

/// From a worker to the parent.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum ToParent {
    /// The worker takes tasks now.
    Ready,
    /// The worker cannot start, and this is why.
    Unable { reason: String },
    /// A result item that does not fit the ring. Descriptors: its memfd, then what the output refers to.
    Attach { number: u64 },
}

/// What is known of a panic.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct PanicReport {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
}

/// The bytes of a message.
pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    // Every message is made of integers, strings and bytes, which postcard encodes without fail.
    postcard::to_stdvec(message).unwrap_or_default()
}

/// The message in `bytes`, if they are exactly one.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_damage_does_not() {
        let message = ToWorker::Serve {
            protocol: PROTOCOL,
            identity: vec![1, 2, 3],
            initializer: Some(CallMessage { function: 9, input: Blob::Inline(vec![4]) }),
        };
        let bytes = encode(&message);
        assert_eq!(decode::<ToWorker>(&bytes), Some(message));
        assert_eq!(decode::<ToWorker>(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode::<ToWorker>(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(decode::<ToParent>(&[77]), None);
    }
}

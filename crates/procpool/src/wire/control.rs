//! The messages of the control socket. Descriptors travel beside them, in the order that each message states.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Changes with every change of this module or of the ring's layout. Parent and worker are the same executable, so a
/// difference means that something other than us is at the other end.
pub(crate) const PROTOCOL: u32 = 5;

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
    /// Which of the descriptors that the input refers to are memory, and their numbers.
    pub(crate) memories: Vec<(u32, u64)>,
}

/// What a worker is to give up before its first task.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct SandboxRules {
    /// Paths, byte for byte, below which files may be read.
    pub(crate) readable: Vec<Vec<u8>>,
    /// Do not start unless all of it holds.
    pub(crate) required: bool,
}

/// What a worker has given up.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct SandboxState {
    /// Version of landlock's interface; 0 if it is not in force.
    pub(crate) landlock_abi: u32,
    pub(crate) seccomp: bool,
    pub(crate) no_new_privs: bool,
    /// Threads that landlock does not hold.
    pub(crate) threads_outside: u32,
}

impl SandboxState {
    /// Whether everything that a sandbox promises holds. Later interfaces of landlock say the same twice.
    pub(crate) fn is_complete(&self) -> bool {
        self.landlock_abi > 0 && self.seccomp && self.no_new_privs && self.threads_outside == 0
    }

    /// What holds for both of two workers.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            landlock_abi: self.landlock_abi.min(other.landlock_abi),
            seccomp: self.seccomp && other.seccomp,
            no_new_privs: self.no_new_privs && other.no_new_privs,
            threads_outside: self.threads_outside.max(other.threads_outside),
        }
    }
}

/// From the parent to a worker.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum ToWorker {
    /// First message. `results` is the most bytes of the worker's own segments. Descriptors: the region, the leader's bell,
    /// the supervisor's bell, the initializer's memfd if any, then what its input refers to.
    Serve {
        protocol: u32,
        identity: Vec<u8>,
        initializer: Option<CallMessage>,
        sandbox: Option<SandboxRules>,
        results: u64,
    },
    /// First and only message to a process of its own. Descriptors: the input's memfd if any, then what the input refers to.
    RunOnce { protocol: u32, identity: Vec<u8>, call: CallMessage },
    /// What the task frame with this attachment number needs. Descriptors: the payload's memfd if `payload`, then what the
    /// inputs refer to.
    Attach { number: u64, payload: bool, memories: Vec<(u32, u64)> },
    /// The state of a `map_with`. Descriptors: its memfd if any.
    State { number: u64, bytes: Blob },
    /// That state is not needed any more.
    DropState { number: u64 },
    /// A segment that inputs will lie in. Descriptors: its memory.
    Segment { number: u64 },
    /// Nothing lies in that segment, and nothing will.
    DropSegment { number: u64 },
    /// That memory is not needed any more.
    DropMemory { number: u64 },
    /// End when the ring is empty.
    Exit,
}

/// From a worker to the parent.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum ToParent {
    /// The worker takes tasks now. It says what holds of the sandbox, if it was to have one.
    Ready { sandbox: Option<SandboxState> },
    /// The worker cannot start, and this is why.
    Unable { reason: String },
    /// What a result needs besides its item in the ring. Descriptors: its memfd if `memory`, then what the output refers to.
    /// `holds`: the worker still looks at the task's input, and will say when it does not.
    Attach { number: u64, memory: bool, memories: Vec<(u32, u64)>, holds: bool },
    /// A segment that results will lie in. Descriptors: its memory.
    Segment { number: u64 },
    /// The worker does without that segment from now on.
    DropSegment { number: u64 },
    /// The worker looks no more at the input of which it said so with this number.
    Release { number: u64 },
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
    fn of_two_reports_the_weaker_counts() {
        let whole = SandboxState { landlock_abi: 7, seccomp: true, no_new_privs: true, threads_outside: 0 };
        let weak = SandboxState { landlock_abi: 1, seccomp: false, no_new_privs: true, threads_outside: 2 };
        assert!(whole.is_complete() && SandboxState { landlock_abi: 1, ..whole }.is_complete());
        assert!(!SandboxState { landlock_abi: 0, ..whole }.is_complete());
        assert!(!SandboxState { threads_outside: 1, ..whole }.is_complete());
        assert_eq!((whole.and(weak), weak.and(whole), whole.and(whole)), (weak, weak, whole));
    }

    #[test]
    fn messages_come_back_and_damage_does_not() {
        let message = ToWorker::Serve {
            protocol: PROTOCOL,
            identity: vec![1, 2, 3],
            initializer: Some(CallMessage { function: 9, input: Blob::Inline(vec![4]), memories: vec![(0, 1)] }),
            sandbox: Some(SandboxRules { readable: vec![b"/usr/share".to_vec()], required: true }),
            results: 1 << 30,
        };
        let bytes = encode(&message);
        assert_eq!(decode::<ToWorker>(&bytes), Some(message));
        assert_eq!(decode::<ToWorker>(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode::<ToWorker>(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(decode::<ToParent>(&[77]), None);
    }
}

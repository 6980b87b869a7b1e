//! Open files between processes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::attach::{self, Attachment};

/// An open file that travels inside the input or output of a task or process.
///
/// What arrives is the same open file: what the sender could do with it, read or write, the receiver can, even in a
/// [`Sandbox`](crate::Sandbox) where it could not open it. Any open descriptor will do, a pipe or a socket too.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # procpool::init();
/// use std::io::Read;
///
/// use procpool::{Pool, Sandbox, SharedFile};
///
/// fn first_byte(file: SharedFile) -> u8 {
///     let mut byte = [0];
///     file.into_file().read_exact(&mut byte).unwrap();
///     byte[0]
/// }
///
/// let pool = Pool::builder().workers(1).sandbox(Sandbox::strict()).build()?;
/// let program = std::fs::File::open("/proc/self/exe")?;
/// assert_eq!(pool.submit(first_byte, program.into())?.wait()?, 0x7f);
/// # Ok(())
/// # }
/// ```
///
/// Both sides also share the position at which reading and writing goes on. So a task that is begun again after its
/// worker died (see [`TaskOptions::retries`](crate::TaskOptions::retries)) finds it where the first attempt left it: let
/// it begin with a seek to the start, or read and write at offsets. A pool holds one more descriptor for each such task
/// that it has accepted, until the task has ended.
#[derive(Debug)]
pub struct SharedFile(File);

impl SharedFile {
    /// The file.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// The file, to own.
    pub fn into_file(self) -> File {
        self.0
    }

    /// Another descriptor of the same open file.
    ///
    /// # Errors
    /// If this process has no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl From<File> for SharedFile {
    fn from(file: File) -> Self {
        Self(file)
    }
}

impl From<OwnedFd> for SharedFile {
    fn from(fd: OwnedFd) -> Self {
        Self(fd.into())
    }
}

impl From<SharedFile> for OwnedFd {
    fn from(file: SharedFile) -> Self {
        file.0.into()
    }
}

impl AsFd for SharedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Only inside the input or output of a task or process, where the descriptor travels beside the bytes.
impl Serialize for SharedFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let refused = |sentence: &str| {
            attach::complain(sentence);
            S::Error::custom(sentence)
        };
        let fd = self.0.try_clone().map_err(|e| refused(&format!("an open file cannot be shared: {e}")))?;
        match attach::put([Attachment::shared(fd.into())]) {
            Some(number) => number.serialize(serializer),
            None => Err(refused("an open file can only travel inside the input or output of a task or process")),
        }
    }
}

impl<'de> Deserialize<'de> for SharedFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match attach::take(u32::deserialize(deserializer)?) {
            Some(fd) => Ok(fd.into()),
            None => {
                let sentence = "an open file's descriptor did not arrive with it";
                attach::complain(sentence);
                Err(D::Error::custom(sentence))
            }
        }
    }
}

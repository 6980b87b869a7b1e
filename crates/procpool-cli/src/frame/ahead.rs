//! Reading ahead on a thread of its own: what is packed is unpacked while what came before is worked on.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes that are handed over at a time.
const PIECE: usize = 1 << 17;
/// How many pieces lie ready.
const READY: usize = 4;

/// What a thread has read.
pub(crate) struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    /// How much of the piece was given away.
    given: usize,
}

impl Ahead {
    /// Reads `source` to its end, or until this is dropped. The error is that no thread could be started.
    pub(crate) fn of(source: impl Read + Send + 'static) -> io::Result<Ahead> {
        let (to, pieces) = sync_channel(READY);
        std::thread::Builder::new().name("unpack".into()).spawn(move || hand_over(source, &to))?;
        Ok(Ahead { pieces, piece: Vec::new(), given: 0 })
    }
}

fn hand_over(mut source: impl Read, to: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        let mut failed = None;
        while filled < piece.len() {
            match source.read(&mut piece[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let at_end = filled < piece.len();
        piece.truncate(filled);
        // If nobody takes it, nobody wants more.
        if filled > 0 && to.send(Ok(piece)).is_err() {
            return;
        }
        if let Some(error) = failed {
            let _ = to.send(Err(error));
            return;
        }
        if at_end {
            return;
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.piece.len() {
            match self.pieces.recv() {
                Ok(piece) => (self.piece, self.given) = (piece?, 0),
                // The thread has ended.
                Err(_) => return Ok(0),
            }
        }
        let rest = &self.piece[self.given..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.given += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails at its end.
    struct Torn<'a>(&'a [u8]);

    impl Read for Torn<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("torn")),
                read => Ok(read),
            }
        }
    }

    #[test]
    fn everything_arrives_and_so_does_what_went_wrong() {
        static TEXT: [u8; 3 * PIECE + 7] = [b'x'; 3 * PIECE + 7];
        for len in [0, 1, PIECE, TEXT.len()] {
            let mut read = Vec::new();
            Ahead::of(&TEXT[..len]).expect("a thread").read_to_end(&mut read).expect("whole");
            assert_eq!(read.len(), len);
            let mut read = Vec::new();
            let error = Ahead::of(Torn(&TEXT[..len])).expect("a thread").read_to_end(&mut read).expect_err("torn");
            assert_eq!((read.len(), error.to_string().as_str()), (len, "torn"));
        }
        // Who stops reading leaves no thread that waits for ever.
        drop(Ahead::of(io::repeat(1)).expect("a thread"));
    }
}

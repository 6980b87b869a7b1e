//! Restart markers: where one is due, the next segment of the data begins, and nothing of the last one counts any more.

use crate::Error;
use crate::bits::Feed;

/// Counts down to the next restart marker.
pub(crate) struct Restarts {
    /// MCUs between markers; more than there can be if there are no markers.
    interval: usize,
    left: usize,
    /// The number of the next marker.
    number: u8,
}

impl Restarts {
    pub(crate) fn new(interval: usize) -> Self {
        let interval = if interval == 0 { usize::MAX } else { interval };
        Self { interval, left: interval, number: 0 }
    }

    /// How many MCUs come from here to the next marker.
    pub(crate) fn interval(&self) -> usize {
        self.interval
    }

    /// To be called before each MCU: whether a marker comes before it.
    #[inline(always)]
    pub(crate) fn due(&mut self) -> bool {
        let due = self.left == 0;
        if due {
            self.left = self.interval;
        }
        self.left -= 1;
        due
    }

    /// Goes to the segment after the marker: nothing of it has been read then.
    #[cold]
    #[inline(never)]
    pub(crate) fn next(&mut self, feed: &mut Feed) -> Result<(), Error> {
        let marker = feed.marker();
        match feed.byte(marker + 1) {
            None => Err(Error::Truncated),
            Some(found) if found == 0xD0 + self.number => {
                self.number = (self.number + 1) % 8;
                feed.start(marker + 2);
                Ok(())
            }
            Some(0xD0..=0xD7) => Err(Error::Damaged { what: "a restart marker is missing", at: marker }),
            // The data ends here.
            Some(_) => Err(Error::Truncated),
        }
    }
}

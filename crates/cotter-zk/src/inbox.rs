//! What came from the server, cut into frames.
//!
//! It grows with what really arrived, not with what a frame says of itself, and never beyond the
//! longest frame that is allowed.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use crate::dial::Stream;
use crate::shared::BUFFER_KEPT_MAX;

/// Enough for most answers, little enough for thousands of clients.
const LEN_START: usize = 16 * 1024;

pub(crate) struct Inbox {
    buffer: Vec<u8>,
    /// What has arrived and was not taken.
    filled: Range<usize>,
    frame_len_max: usize,
}

impl Inbox {
    pub(crate) fn new(frame_len_max: usize) -> Self {
        Self { buffer: vec![0; LEN_START], filled: 0..0, frame_len_max }
    }

    /// Takes frames of this length from here on.
    pub(crate) fn allow(&mut self, frame_len_max: usize) {
        self.frame_len_max = frame_len_max;
    }

    /// Reads once. Zero bytes: the server has closed the connection. All whole frames must have
    /// been taken before.
    pub(crate) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut dyn Stream,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut room = ReadBuf::new(&mut self.buffer[self.filled.end..]);
        ready!(Pin::new(stream).poll_read(context, &mut room))?;
        let len = room.filled().len();
        self.filled.end += len;
        Poll::Ready(Ok(len))
    }

    fn make_room(&mut self) {
        if self.filled.is_empty() {
            self.filled = 0..0;
            if self.buffer.len() > BUFFER_KEPT_MAX {
                self.buffer = vec![0; LEN_START];
            }
        }
        if self.filled.end < self.buffer.len() {
            return;
        }
        if self.filled.start > 0 {
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
            return;
        }
        // One frame fills the buffer from its first byte, so it is longer than the buffer.
        let len = (self.buffer.len() * 2).min(self.frame_len_max + 4).max(self.buffer.len() + 1);
        self.buffer.resize(len, 0);
    }

    /// Where the next whole frame lies, without its length; `None` if it is not all there.
    pub(crate) fn take_frame(&mut self) -> Result<Option<Range<usize>>, String> {
        let bytes = &self.buffer[self.filled.clone()];
        let Some((len, rest)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        let len = i32::from_be_bytes(*len);
        let allowed = usize::try_from(len).ok().filter(|len| *len <= self.frame_len_max);
        let Some(len) = allowed else {
            let max = self.frame_len_max;
            return Err(format!("a frame says it has {len} bytes, {max} are allowed"));
        };
        if rest.len() < len {
            return Ok(None);
        }
        let start = self.filled.start + 4;
        self.filled.start = start + len;
        Ok(Some(start..start + len))
    }

    pub(crate) fn bytes(&self, frame: Range<usize>) -> &[u8] {
        &self.buffer[frame]
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn frames_come_out_whole_however_they_come_in() {
        let frames: Vec<Vec<u8>> =
            [0, 1, 5, LEN_START - 4, LEN_START, 100_000, 3].map(|len| vec![7; len]).into();
        let (mut server, mut client) = tokio::io::duplex(777);
        let mut bytes = Vec::new();
        for frame in &frames {
            bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        let writing = async move { server.write_all(&bytes).await.expect("written") };
        let reading = async move {
            let mut inbox = Inbox::new(100_000);
            let mut taken = Vec::new();
            loop {
                while let Some(frame) = inbox.take_frame().expect("frame") {
                    taken.push(inbox.bytes(frame).to_vec());
                }
                assert!(inbox.len() <= 100_004);
                if poll_fn(|cx| inbox.poll_fill(cx, &mut client)).await.expect("read") == 0 {
                    return taken;
                }
            }
        };
        let ((), taken) = tokio::join!(writing, reading);
        assert!(taken == frames);
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_is_refused_before_memory_is_taken() {
        for len in [100_001i32, i32::MAX, -1, i32::MIN] {
            let (mut server, mut client) = tokio::io::duplex(64);
            server.write_all(&len.to_be_bytes()).await.expect("written");
            let mut inbox = Inbox::new(100_000);
            poll_fn(|cx| inbox.poll_fill(cx, &mut client)).await.expect("read");
            assert!(inbox.take_frame().is_err(), "{len}");
            assert_eq!(inbox.len(), LEN_START);
        }
    }
}

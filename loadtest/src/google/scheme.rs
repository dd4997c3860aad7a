//! A slip of Google's own SDK that Google's servers overlook and a server library does not: firebase-admin for Node.js says over HTTP/2 that its
//! scheme is `https:`, with a colon.
//!
//! The library would refuse every request of such a connection. So the one value is replaced, where it passes as a Huffman-coded literal
//! (RFC 7541, sections 5.2 and 6.2.1), by a valid scheme of the same length; nobody here looks at the scheme.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `https:` as a literal: length 5 with the mark of Huffman's code, then the code (RFC 7541, appendix B).
const SLIP: [u8; 6] = [0x85, 0x9d, 0x29, 0xad, 0x17, 0x3f];
/// The last byte of the same literal for `httpsB`; all others are alike.
const MENDED: u8 = 0x7f;

/// A connection on which the slip is overlooked.
pub(super) struct Lenient<S> {
    inner: S,
    /// How many bytes of [`SLIP`] the latest ones are.
    matched: usize,
}

impl<S> Lenient<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, matched: 0 }
    }
}

/// Mends the slip in the bytes that follow `matched` bytes of it, and says how much of it the last bytes are. Its first byte occurs only
/// once in it, so a failed match begins anew there or not at all.
fn mend(bytes: &mut [u8], mut matched: usize) -> usize {
    for byte in bytes {
        matched = match SLIP.get(matched) {
            Some(wanted) if wanted == byte => matched + 1,
            _ => usize::from(*byte == SLIP[0]),
        };
        if matched == SLIP.len() {
            *byte = MENDED;
            matched = 0;
        }
    }
    matched
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        if read.is_ready() {
            this.matched = mend(&mut buf.filled_mut()[before..], this.matched);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slip_is_mended_wherever_it_is_cut_and_nothing_else_is_touched() {
        let sent = [&[0x85, 0x85], &SLIP[1..], &[0x46], &SLIP[..5], &[0, 1]].concat();
        let wanted = [&[0x85, 0x85], &SLIP[1..5], &[MENDED, 0x46], &SLIP[..5], &[0, 1]].concat();
        for cut in 0..=sent.len() {
            let mut bytes = sent.clone();
            let (head, tail) = bytes.split_at_mut(cut);
            let matched = mend(head, 0);
            mend(tail, matched);
            assert_eq!(bytes, wanted, "cut at {cut}");
        }
    }
}

//! HTTP/2 frames that Apple sends of its own accord and a server library does not offer: a changing stream limit, and GOAWAY with a reason.
//!
//! It stands between the library and TLS, follows the frames that pass in both directions (RFC 9113, section 4.1), puts its own
//! between them, and keeps the acknowledgements of its own SETTINGS to itself.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: usize = 24;
const HEADER: usize = 9;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const FLAG_ACK: u8 = 1;
const SETTINGS_MAX_CONCURRENT_STREAMS: u16 = 3;
const READ_AT_A_TIME: usize = 16 * 1024;

/// Whose SETTINGS a coming acknowledgement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settings {
    /// Ours, with this limit.
    Limit(u32),
    /// The library's.
    Library,
}

#[derive(Default)]
struct Queue {
    /// Frames of ours that wait for the next border between two frames.
    waiting: BytesMut,
    /// SETTINGS of ours inside `waiting`.
    waiting_limits: VecDeque<u32>,
    acknowledged: Option<(u32, Instant)>,
}

/// Puts frames on the wire of one connection.
#[derive(Clone, Default)]
pub(super) struct WireControl {
    queue: Arc<Mutex<Queue>>,
}

impl WireControl {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces how many streams the client may have open at a time. Sent with the connection's next flush.
    pub(super) fn limit_streams(&self, limit: u32) {
        let mut queue = self.queue();
        frame(&mut queue.waiting, SETTINGS, 6);
        queue.waiting.put_u16(SETTINGS_MAX_CONCURRENT_STREAMS);
        queue.waiting.put_u32(limit);
        queue.waiting_limits.push_back(limit);
    }

    /// Says goodbye: streams above `last_stream` were not and will not be looked at. Sent with the next flush.
    pub(super) fn go_away(&self, last_stream: u32, reason: &str) {
        let debug = format!(r#"{{"reason":"{reason}"}}"#);
        let mut queue = self.queue();
        frame(&mut queue.waiting, GOAWAY, 8 + debug.len());
        queue.waiting.put_u32(last_stream);
        queue.waiting.put_u32(0);
        queue.waiting.put_slice(debug.as_bytes());
    }

    /// The stream limit that the client has acknowledged last, and when.
    pub(super) fn acknowledged(&self) -> Option<(u32, Instant)> {
        self.queue().acknowledged
    }
}

fn frame(to: &mut BytesMut, kind: u8, length: usize) {
    to.put_uint(length as u64, 3);
    to.put_u8(kind);
    to.put_u8(0);
    to.put_u32(0);
}

/// Follows one direction: where the next frame begins.
#[derive(Default)]
struct Frames {
    head: [u8; HEADER],
    have: usize,
    left: usize,
}

impl Frames {
    fn at_border(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Takes bytes of at most one frame off `bytes`; returns how many, and the header once it is whole.
    fn step(&mut self, bytes: &[u8]) -> (usize, Option<[u8; HEADER]>) {
        if self.left > 0 {
            let taken = self.left.min(bytes.len());
            self.left -= taken;
            return (taken, None);
        }
        let taken = (HEADER - self.have).min(bytes.len());
        self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
        self.have += taken;
        if self.have < HEADER {
            return (taken, None);
        }
        self.have = 0;
        let [a, b, c, ..] = self.head;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        (taken, Some(self.head))
    }
}

/// The connection as the HTTP/2 library sees it.
pub(super) struct Wire<T> {
    inner: T,
    control: WireControl,
    sending: BytesMut,
    sent: Frames,
    /// In the order in which they went out.
    unacknowledged: VecDeque<Settings>,
    raw: BytesMut,
    ready: BytesMut,
    preface_left: usize,
    received: Frames,
}

impl<T> Wire<T> {
    /// Takes over a connection whose first SETTINGS allow `limit` streams.
    pub(super) fn new(inner: T, limit: u32) -> (Self, WireControl) {
        let control = WireControl::default();
        control.limit_streams(limit);
        let wire = Self {
            inner,
            control: control.clone(),
            sending: BytesMut::new(),
            sent: Frames::default(),
            unacknowledged: VecDeque::new(),
            raw: BytesMut::new(),
            ready: BytesMut::new(),
            preface_left: PREFACE,
            received: Frames::default(),
        };
        (wire, control)
    }

    fn note_sent(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (taken, header) = self.sent.step(bytes);
            bytes = &bytes[taken..];
            if let Some([_, _, _, SETTINGS, flags, ..]) = header
                && flags & FLAG_ACK == 0
            {
                self.unacknowledged.push_back(Settings::Library);
            }
        }
    }

    /// Moves what came in to `ready`, without the acknowledgements that are for us.
    fn sort_received(&mut self) {
        let preface = self.preface_left.min(self.raw.len());
        self.preface_left -= preface;
        self.ready.put(self.raw.split_to(preface));
        while !self.raw.is_empty() {
            let (taken, header) = self.received.step(&self.raw);
            let bytes = self.raw.split_to(taken);
            match header {
                // A header is passed on in one piece, when it is known what it is.
                Some(header) if !self.is_ours(&header) => self.ready.put_slice(&header),
                Some(_) => {}
                None if self.received.have > 0 => {}
                None => self.ready.put(bytes),
            }
        }
    }

    fn is_ours(&mut self, header: &[u8; HEADER]) -> bool {
        if header[3] != SETTINGS || header[4] & FLAG_ACK == 0 {
            return false;
        }
        match self.unacknowledged.pop_front() {
            Some(Settings::Limit(limit)) => {
                self.control.queue().acknowledged = Some((limit, Instant::now()));
                true
            }
            Some(Settings::Library) | None => false,
        }
    }
}

impl<T: AsyncWrite + Unpin> Wire<T> {
    /// Sends what waits, if the library is not in the middle of a frame.
    fn poll_ours(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.sending.is_empty() && self.sent.at_border() {
            let mut queue = self.control.queue();
            self.sending = queue.waiting.split();
            let limits = queue.waiting_limits.drain(..).map(Settings::Limit);
            self.unacknowledged.extend(limits);
        }
        while !self.sending.is_empty() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.sending))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sending.advance(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ready.is_empty() {
            this.raw.reserve(READ_AT_A_TIME);
            let read = tokio_util::io::poll_read_buf(Pin::new(&mut this.inner), cx, &mut this.raw);
            if ready!(read)? == 0 {
                return Poll::Ready(Ok(()));
            }
            this.sort_received();
        }
        let taken = this.ready.len().min(buf.remaining());
        buf.put_slice(&this.ready[..taken]);
        this.ready.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_ours(cx))?;
        let sent = ready!(Pin::new(&mut this.inner).poll_write(cx, buf))?;
        this.note_sent(&buf[..sent]);
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ours(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn bytes_of(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        frame(&mut bytes, kind, payload.len());
        bytes[4] = flags;
        bytes.put_slice(payload);
        bytes.to_vec()
    }

    #[tokio::test]
    async fn its_own_settings_go_first_and_their_acknowledgements_stay_here_byte_by_byte() {
        let (near, mut far) = tokio::io::duplex(1024);
        let (mut wire, control) = Wire::new(near, 1);
        wire.write_all(&bytes_of(SETTINGS, 0, &[0, 4, 0, 0, 1, 0])).await.unwrap();
        wire.flush().await.unwrap();
        let mut first = [0; 30];
        far.read_exact(&mut first).await.unwrap();
        assert_eq!(first[..15], bytes_of(SETTINGS, 0, &[0, 3, 0, 0, 0, 1])[..]);

        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        sent.extend(bytes_of(SETTINGS, 0, &[]));
        sent.extend(bytes_of(SETTINGS, FLAG_ACK, &[]));
        sent.extend(bytes_of(0, 0, b"hello"));
        sent.extend(bytes_of(SETTINGS, FLAG_ACK, &[]));
        let writer = tokio::spawn(async move {
            for byte in &sent {
                far.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(far);
        });
        let mut seen = Vec::new();
        wire.read_to_end(&mut seen).await.unwrap();
        writer.await.unwrap();
        let mut expected = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        expected.extend(bytes_of(SETTINGS, 0, &[]));
        expected.extend(bytes_of(0, 0, b"hello"));
        expected.extend(bytes_of(SETTINGS, FLAG_ACK, &[]));
        assert_eq!(seen, expected);
        assert_eq!(control.acknowledged().map(|(limit, _)| limit), Some(1));
    }

    #[tokio::test]
    async fn a_frame_of_its_own_waits_for_the_end_of_the_library_s() {
        let (near, mut far) = tokio::io::duplex(1024);
        let (mut wire, control) = Wire::new(near, 1);
        wire.flush().await.unwrap();
        let data = bytes_of(0, 0, b"hello");
        wire.write_all(&data[..11]).await.unwrap();
        control.go_away(7, "Shutdown");
        wire.flush().await.unwrap();
        wire.write_all(&data[11..]).await.unwrap();
        wire.flush().await.unwrap();
        drop(wire);
        let mut seen = Vec::new();
        far.read_to_end(&mut seen).await.unwrap();
        let mut goodbye = vec![0, 0, 0, 7, 0, 0, 0, 0];
        goodbye.extend(br#"{"reason":"Shutdown"}"#);
        let expected = [data, bytes_of(GOAWAY, 0, &goodbye)].concat();
        assert_eq!(seen[15..], expected[..]);
    }
}

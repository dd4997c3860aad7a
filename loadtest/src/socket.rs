//! A TCP socket that can be cut off in the middle, the way a failing network or server does it: with a reset.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that a push service serves at a time; further ones are closed at once.
const MAX_CONNECTIONS: usize = 4_096;

/// Takes connections until it is cancelled, and serves each in a task of its own.
pub(crate) async fn listen<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    cancel: CancellationToken,
    tasks: TaskTracker,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => return,
        };
        match accepted {
            Ok((tcp, peer)) if tasks.len() <= MAX_CONNECTIONS => drop(tasks.spawn(serve(tcp, peer))),
            Ok(_) => {}
            // Out of file descriptors, say: try again when some may be free.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The knife for one [`Socket`].
#[derive(Clone, Debug, Default)]
pub struct Cut(Arc<AtomicBool>);

impl Cut {
    /// From here on the socket reads and writes nothing more, and closing it sends a reset (RFC 9293, section 3.5.2).
    pub fn now(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was cut.
    pub fn is_cut(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A TCP connection with a knife at it.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    cut: Cut,
}

impl Socket {
    /// Takes over an accepted connection and switches Nagle's algorithm off.
    pub fn new(tcp: TcpStream) -> (Self, Cut) {
        // A socket that is already closed says so again at the first read.
        let _ = tcp.set_nodelay(true);
        let cut = Cut::default();
        let socket = Self { tcp, cut: cut.clone() };
        (socket, cut)
    }

    fn whole(&self) -> io::Result<()> {
        if self.cut.is_cut() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.cut.is_cut() {
            // Failing means that the other side has closed already.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.whole()?;
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.whole()?;
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.whole()?;
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

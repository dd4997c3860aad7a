//! What a connection must put up with: a bound on how many there are, and an end when nothing moves on it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::config::api::Api as ApiSettings;

/// Lets connections in, at most so many at a time.
#[derive(Clone)]
pub struct Guard {
    room: Arc<Semaphore>,
    idle: Duration,
    first_byte: Duration,
}

impl Guard {
    /// No connection yet.
    #[must_use]
    pub fn new(settings: &ApiSettings) -> Self {
        // A body that comes slowly or an answer that is not read is silence too, so a request has its own deadline before this one.
        let idle = settings.idle_timeout.max(settings.request_timeout);
        Self { room: Arc::new(Semaphore::new(settings.max_connections)), idle, first_byte: settings.read_timeout }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Guard {
    type Stream = Guarded;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Guarded, S)>>;

    /// Refuses a connection beyond the bound, and one that says nothing at first.
    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let guard = self.clone();
        Box::pin(async move {
            let room = guard.room.try_acquire_owned().map_err(|_| io::Error::other("too many connections"))?;
            stream.set_nodelay(true)?;
            let mut first = [0];
            tokio::time::timeout(guard.first_byte, stream.peek(&mut first)).await.map_err(|_| io::ErrorKind::TimedOut)??;
            Ok((Guarded { stream, idle: guard.idle, deadline: Box::pin(tokio::time::sleep(guard.idle)), _room: room }, service))
        })
    }
}

/// A connection that ends when nothing was read or written for a while.
pub struct Guarded {
    stream: TcpStream,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

impl Guarded {
    /// Something moved: the deadline begins anew. Nothing moved: is it over?
    fn watch<T>(&mut self, context: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            let next = Instant::now() + self.idle;
            self.deadline.as_mut().reset(next);
            return moved;
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watch(context, moved)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, moved)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, moved)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

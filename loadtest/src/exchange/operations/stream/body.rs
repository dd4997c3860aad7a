//! The body of a stream: pieces that become chunks, and the moment at which a notification leaves.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::sync::mpsc;

use crate::https::Body;
use crate::witness::Witness;
use crate::world::Mailbox;

/// One chunk.
pub(super) enum Piece {
    /// Bytes, and the items that a notification ending with them is about.
    Bytes(Bytes, Vec<(Arc<Mailbox>, String)>),
    /// The connection breaks here.
    Break,
}

impl Piece {
    /// A document that tells of no item.
    pub(super) fn document(text: String) -> Self {
        Self::Bytes(text.into(), Vec::new())
    }
}

/// Hands pieces to the connection as it has room for them.
pub(super) struct PieceBody {
    pieces: mpsc::Receiver<Piece>,
    witness: Arc<dyn Witness>,
}

impl PieceBody {
    /// A body and the end that feeds it.
    pub(super) fn channel(room: usize, witness: Arc<dyn Witness>) -> (mpsc::Sender<Piece>, Body) {
        let (sender, pieces) = mpsc::channel(room);
        (sender, Self { pieces, witness }.boxed())
    }
}

impl hyper::body::Body for PieceBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.pieces.poll_recv(cx).map(|piece| match piece? {
            Piece::Bytes(bytes, hints) => {
                let now = Instant::now();
                for (mailbox, item) in &hints {
                    self.witness.hint_on_wire(mailbox.smtp(), item, now);
                }
                Some(Ok(Frame::data(bytes)))
            }
            Piece::Break => Some(Err(io::ErrorKind::ConnectionReset.into())),
        })
    }
}

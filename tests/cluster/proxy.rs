//! A way through which a node reaches a server, and which the test may cut in either direction, slow down, or break off.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the way to the server may take to come about.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const PIECE: usize = 64 << 10;

/// What passes. What does not is held back as a network does that loses packets: it comes when the way is whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// From the node to the server.
    pub there: bool,
    /// From the server to the node.
    pub back: bool,
    /// By how much everything is late.
    pub delay: Duration,
}

impl Passage {
    pub const OPEN: Self = Self { there: true, back: true, delay: Duration::ZERO };
    pub const CUT: Self = Self { there: false, back: false, delay: Duration::ZERO };
    pub const DEAF: Self = Self { back: false, ..Self::OPEN };
    pub const MUTE: Self = Self { there: false, ..Self::OPEN };
}

struct Shared {
    to: SocketAddr,
    passage: watch::Sender<Passage>,
    /// Cancelled to break all connections off; then another takes its place.
    connections: Mutex<CancellationToken>,
    /// Our own ports towards the server: by them the server knows whose connection it is.
    ports: Mutex<Vec<u16>>,
}

/// The way; gone when this value is.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Proxy {
    /// To a server on this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let shared = Arc::new(Shared {
            to: SocketAddr::from(([127, 0, 0, 1], port)),
            passage: watch::Sender::new(Passage::OPEN),
            connections: Mutex::default(),
            ports: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let port = listener.local_addr().expect("it is bound").port();
        tokio::spawn(stop.clone().run_until_cancelled_owned(listen(listener, Arc::clone(&shared), stop.clone())));
        Self { port, shared, stop }
    }

    /// Where the node is to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, passage: Passage) {
        self.shared.passage.send_replace(passage);
    }

    /// Breaks all connections off; further ones are taken.
    pub fn sever(&self) {
        std::mem::take(&mut *locked(&self.shared.connections)).cancel();
    }

    /// The ports by which the server knows the node's connections.
    pub fn ports(&self) -> Vec<u16> {
        locked(&self.shared.ports).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
        self.sever();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    while let Ok((client, _)) = listener.accept().await {
        let ended = locked(&shared.connections).child_token();
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tasks.spawn(async move {
            tokio::select! { () = ended.cancelled() => {} () = stop.cancelled() => {} () = carry(client, &shared) => {} }
        });
    }
}

/// One connection, from its beginning until either side has said all.
async fn carry(client: TcpStream, shared: &Shared) {
    let mut passage = shared.passage.subscribe();
    // The first packet of a connection is lost like any other.
    if passage.wait_for(|passage| passage.there && passage.back).await.is_err() {
        return;
    }
    let Ok(Ok(server)) = tokio::time::timeout(CONNECT_DEADLINE, TcpStream::connect(shared.to)).await else { return };
    if let Ok(own) = server.local_addr() {
        locked(&shared.ports).push(own.port());
    }
    for socket in [&client, &server] {
        // Without it small answers wait for one another.
        let _ = socket.set_nodelay(true);
    }
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.into_split(), server.into_split());
    let there = pump(&mut from_client, &mut to_server, passage.clone(), |passage| passage.there);
    let back = pump(&mut from_server, &mut to_client, passage, |passage| passage.back);
    // Either side that ends ends both: a half-closed connection is nothing that nodes or servers make use of.
    tokio::select! { () = there => {} () = back => {} }
}

async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut passage: watch::Receiver<Passage>,
    open: impl Fn(&Passage) -> bool,
) {
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let due = Instant::now() + passage.borrow().delay;
        tokio::time::sleep_until(due.into()).await;
        if passage.wait_for(&open).await.is_err() || to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
    // The end of what one side says is a packet, too.
    let _ = passage.wait_for(&open).await;
}

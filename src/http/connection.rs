//! One HTTP/2 connection to one server: opened within a deadline, kept alive, and precise about what became of a request.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::{Connection as Driver, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, RecvStream, SendStream};
use http::uri::{Authority, Scheme};
use http::{Request, Uri};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service as _;

use super::answer::with_causes;
use super::lanes::{Answer, Call};
use super::{ClientOptions, HttpConnector};

/// Longest answer that is read: answers of push providers are some hundred bytes.
const MAX_ANSWER_BYTES: usize = 4096;
/// Longest explanation that is kept of a request that failed.
const MAX_TOLD: usize = 200;
/// So many requests in a row without an answer in time, and a connection is left.
pub(super) const TIMEOUTS: u32 = 3;

/// What became of a request that has no answer.
#[derive(Debug)]
pub(super) enum Fate {
    /// It never left, and this connection takes no more.
    NotSent(Arc<str>),
    /// It was provably not processed, and this connection takes no more.
    LeftBehind(Arc<str>),
    /// It was provably not processed; the connection goes on.
    Refused(Arc<str>),
    /// It was sent, and what became of it is not known.
    Unknown(Arc<str>),
    /// It had not gone out as a whole by the deadline: the peer cannot have acted on it.
    Unsent(Arc<str>),
    /// It was sent, and no answer came by the deadline.
    Unanswered,
}

/// An answer that came before the request's end.
type Early = Result<http::Response<RecvStream>, h2::Error>;

/// How connections to one server are opened.
pub(super) struct Opener {
    tcp: HttpConnector,
    tls: TlsConnector,
    name: ServerName<'static>,
    address: Uri,
    pub(super) authority: Authority,
    connect_timeout: Duration,
    keep_alive: (Duration, Duration),
}

impl Opener {
    /// For `https://authority`; `None` if that is no server's address.
    pub(super) fn new(options: &ClientOptions, authority: Authority) -> Option<Self> {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).ok()?;
        let address = Uri::builder().scheme(Scheme::HTTPS).authority(authority.clone()).path_and_query("/").build().ok()?;
        Some(Self {
            tcp: super::tcp(options),
            tls: TlsConnector::from(Arc::new(super::tls(options, &[b"h2"]))),
            name,
            address,
            authority,
            connect_timeout: options.connect_timeout,
            keep_alive: (options.keep_alive, options.keep_alive_timeout),
        })
    }

    /// Opens a connection: name, TCP (addresses of both families), TLS, HTTP/2 at once whatever ALPN says.
    pub(super) async fn open(&self) -> Result<Connection, Arc<str>> {
        let opened = tokio::time::timeout(self.connect_timeout, async {
            let tcp = self.tcp.clone().call(self.address.clone()).await.map_err(|error| told("no connection", &error))?;
            let tls = self.tls.connect(self.name.clone(), tcp.into_inner()).await;
            let tls = tls.map_err(|error| told("no connection", &error))?;
            let handshake = h2::client::Builder::new().enable_push(false).handshake(tls).await;
            handshake.map_err(|error| told("no connection", &error))
        });
        let (requests, driver) = opened.await.map_err(|_| Arc::from("no connection: not in time"))??;
        let signs = Arc::new(Signs::default());
        tokio::spawn(drive(driver, self.keep_alive, Arc::clone(&signs)));
        Ok(Connection { requests: Mutex::new(requests), signs })
    }
}

/// What a connection and the task that drives it tell each other.
#[derive(Debug, Default)]
struct Signs {
    /// It takes no more requests.
    over: AtomicBool,
    /// Something was answered since this was last looked at.
    heard: AtomicBool,
    /// A request was answered with good credentials.
    warm: AtomicBool,
    /// A request was answered.
    answered: AtomicBool,
    /// Requests in a row that got no answer in time.
    timeouts: AtomicU32,
}

/// An open connection. It lasts until the peer closes it or ceases to answer; the last request on it is answered though nobody holds it any more.
#[derive(Debug)]
pub(super) struct Connection {
    /// Held while a stream is opened, so that at most one request waits inside for the peer's stream limit and the fate of all others is plain.
    requests: Mutex<SendRequest<Bytes>>,
    signs: Arc<Signs>,
}

impl Connection {
    /// Whether it takes requests, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.signs.over.load(Ordering::Acquire)
    }

    /// Whether any request on it was answered.
    pub(super) fn was_answered(&self) -> bool {
        self.signs.answered.load(Ordering::Acquire)
    }

    /// How many requests in a row got no answer in time.
    pub(super) fn timeouts(&self) -> u32 {
        self.signs.timeouts.load(Ordering::Acquire)
    }

    /// One more got none. At the third it takes no more: a peer may acknowledge every PING and answer no request for hours.
    pub(super) fn timed_out(&self) {
        if self.signs.timeouts.fetch_add(1, Ordering::AcqRel) + 1 >= TIMEOUTS {
            self.leave();
        }
    }

    /// Whether a request on it was answered with good credentials, and none was refused unprocessed since.
    pub(super) fn is_warm(&self) -> bool {
        self.signs.warm.load(Ordering::Acquire)
    }

    /// Says so.
    pub(super) fn set_warm(&self, warm: bool) {
        self.signs.warm.store(warm, Ordering::Release);
    }

    /// Makes one request and reads its answer, by `deadline`.
    pub(super) async fn exchange(&self, authority: &Authority, deadline: Instant, call: &Call<'_>) -> Result<Answer, Fate> {
        let (response, early) = self.send(authority, deadline, call).await?;
        let answered = match early {
            Some(answered) => answered,
            None => timeout_at(deadline, response).await.map_err(|_| Fate::Unanswered)?,
        };
        let (head, body) = answered.map_err(|error| fate(&error))?.into_parts();
        self.signs.heard.store(true, Ordering::Relaxed);
        self.signs.answered.store(true, Ordering::Release);
        self.signs.timeouts.store(0, Ordering::Release);
        // The status has said whether the request was acted on; a body that is too long, late or breaks off costs only the reason.
        let body = timeout_at(deadline, read(body)).await.ok().flatten().unwrap_or_default();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Opens a stream and sends the request as a whole. An answer may come before the request's end, and is as good.
    ///
    /// Others wait until its first bytes may go: a stream that is not open yet wakes only one of those who wait for it.
    async fn send(&self, authority: &Authority, deadline: Instant, call: &Call<'_>) -> Result<(ResponseFuture, Option<Early>), Fate> {
        // What fails before a stream is open never left.
        let unsent = |error: h2::Error| Fate::NotSent(told("not sent", &error));
        let late = |_| Fate::Unsent("not sent in time".into());
        let request = request(authority, call);
        let mut guard = timeout_at(deadline, self.requests.lock()).await.map_err(late)?;
        let ready = timeout_at(deadline, std::future::poll_fn(|context| guard.poll_ready(context))).await;
        ready.map_err(late)?.map_err(unsent)?;
        let (mut response, mut body) = guard.send_request(request, call.body.is_empty()).map_err(unsent)?;
        let mut requests = Some(guard);
        let mut data = call.body.clone();
        while !data.is_empty() {
            tokio::select! {
                biased;
                () = write(&mut body, &mut data) => {}
                answered = timeout_at(deadline, &mut response) => return Ok((response, Some(answered.map_err(late)?))),
            }
            requests.take();
        }
        Ok((response, None))
    }

    /// No request goes out on it from here on.
    pub(super) fn leave(&self) {
        self.signs.over.store(true, Ordering::Release);
    }
}

/// Hands over as much of a body as the peer's limits on streams and bytes allow, and waits until that is something: a stream has room only once it is open.
/// An error is the stream's, which the answer tells as well: then nothing is left.
async fn write(stream: &mut SendStream<Bytes>, data: &mut Bytes) {
    stream.reserve_capacity(data.len());
    let room = match stream.capacity() {
        0 => match std::future::poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(room)) => room,
            Some(Err(_)) | None => return data.clear(),
        },
        room => room,
    };
    let piece = data.split_to(room.min(data.len()));
    if stream.send_data(piece, data.is_empty()).is_err() {
        data.clear();
    }
}

fn request(authority: &Authority, call: &Call<'_>) -> Request<()> {
    let mut request = Request::new(());
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTPS);
    uri.authority = Some(authority.clone());
    uri.path_and_query = Some(call.path.clone());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = Uri::from_parts(uri).expect("scheme, authority and path make an address");
    *request.headers_mut() = (call.headers)();
    request
}

/// Drives a connection to its end.
async fn drive(mut driver: Driver<TlsStream<TcpStream>, Bytes>, keep_alive: (Duration, Duration), signs: Arc<Signs>) {
    let pings = driver.ping_pong();
    let silent = async {
        match pings {
            Some(pings) => until_silent(pings, keep_alive, &signs).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = driver => if let Err(error) = ended {
            tracing::debug!(%error, "a connection to a push provider ended");
        },
        () = silent => tracing::debug!("a connection to a push provider ceased to answer"),
    }
    signs.over.store(true, Ordering::Release);
}

/// Asks a quiet connection now and then whether it lives; ends when there is no answer.
async fn until_silent(mut pings: PingPong, (interval, patience): (Duration, Duration), signs: &Signs) {
    loop {
        tokio::time::sleep(interval).await;
        if signs.heard.swap(false, Ordering::Relaxed) {
            continue;
        }
        let pong = tokio::time::timeout(patience, pings.ping(Ping::opaque())).await;
        if !matches!(pong, Ok(Ok(_))) {
            return;
        }
    }
}

async fn read(mut body: RecvStream) -> Option<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.ok()?;
        // A stream that ended needs no room.
        let _ = body.flow_control().release_capacity(chunk.len());
        if whole.len() + chunk.len() > MAX_ANSWER_BYTES {
            return None;
        }
        whole.extend_from_slice(&chunk);
    }
    Some(whole.freeze())
}

/// Whether a request whose stream was opened may have been acted on (RFC 9113, section 6.8 on GOAWAY and 8.7 on retries).
fn fate(error: &h2::Error) -> Fate {
    let text = told("the exchange broke", error);
    // A stream fails with the peer's GOAWAY only if its number is above the last one that the peer looked at.
    if error.is_go_away() && error.is_remote() {
        return Fate::LeftBehind(text);
    }
    if error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) {
        return Fate::Refused(text);
    }
    Fate::Unknown(text)
}

/// The causes, bounded and in plain letters: the peer has a say in them, and they are kept with the push.
fn told(kind: &str, error: &dyn Error) -> Arc<str> {
    let text = with_causes(format!("{kind}: {error}"), error);
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '_' };
    text.chars().take(MAX_TOLD).map(plain).collect::<String>().into()
}

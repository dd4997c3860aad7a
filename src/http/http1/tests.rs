//! Connections that are kept, left or closed; answers that are packed, too long or cut; whom the client believes.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use postrider_loadtest::tls::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::http::{TrustRoots, install_tls_provider};

const ASKED: &[u8] = b"what is asked";

/// A server that gives one answer, as it stands, to every request.
struct Server {
    authority: Authority,
    port: u16,
    connections: Arc<AtomicUsize>,
    /// What was asked last.
    head: Arc<Mutex<String>>,
    /// Told when the client has closed a connection that the server had closed.
    closed: Arc<Notify>,
}

impl Server {
    /// Answers so many requests on each connection before it closes it.
    async fn start(answer: Vec<u8>, each: usize) -> Self {
        install_tls_provider();
        let authority = Authority::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(authority.server_config(&["localhost"], &[])));
        let server = Self { authority, port, connections: Arc::default(), head: Arc::default(), closed: Arc::default() };
        let (connections, head, closed) = (Arc::clone(&server.connections), Arc::clone(&server.head), Arc::clone(&server.closed));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                connections.fetch_add(1, Ordering::Relaxed);
                let (answer, head, closed) = (answer.clone(), Arc::clone(&head), Arc::clone(&closed));
                tokio::spawn(async move {
                    for _ in 0..each {
                        let mut request = Vec::new();
                        while !request.ends_with(ASKED) {
                            if stream.read_buf(&mut request).await.unwrap_or_default() == 0 {
                                return;
                            }
                        }
                        *head.lock().unwrap() = String::from_utf8_lossy(&request).to_lowercase();
                        let _ = stream.write_all(&answer).await;
                    }
                    let _ = stream.shutdown().await;
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                    closed.notify_one();
                });
            }
        });
        server
    }

    fn client(&self, change: impl FnOnce(&mut ClientOptions)) -> Http1 {
        let roots = TrustRoots::only("test root", self.authority.ca_pem().as_bytes()).unwrap();
        let mut options = ClientOptions { compressed: true, ..ClientOptions::new(roots) };
        change(&mut options);
        Http1::new(&options)
    }

    async fn ask(&self, client: &Http1) -> Result<Reply, Http1Error> {
        ask(client, "https", self.port).await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn ask(client: &Http1, scheme: &str, port: u16) -> Result<Reply, Http1Error> {
    let to = format!("{scheme}://localhost:{port}/some-secret").parse().unwrap();
    client.post(to, HeaderMap::new(), Bytes::from_static(ASKED)).await
}

fn answer(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).as_bytes(), body].concat()
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut packing = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packing.write_all(body).unwrap();
    packing.finish().unwrap()
}

const GZIP: &str = "content-encoding: gzip\r\n";

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request_until_it_is_left() {
    let server = Server::start(answer("", b"yes"), usize::MAX).await;
    let client = server.client(|_| {});
    for _ in 0..3 {
        assert_eq!(&server.ask(&client).await.unwrap().whole(3).await.unwrap()[..], b"yes");
    }
    assert_eq!(server.connections(), 1);
    client.leave_connections();
    server.ask(&client).await.unwrap().whole(3).await.unwrap();
    assert_eq!(server.connections(), 2);
    let of_its_own = server.client(|options| options.pool_max_idle = 0);
    for _ in 0..2 {
        server.ask(&of_its_own).await.unwrap().whole(3).await.unwrap();
    }
    assert_eq!(server.connections(), 4);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_no_error() {
    let server = Server::start(answer("", b"yes"), 1).await;
    let client = server.client(|_| {});
    for connections in 1..4 {
        assert_eq!(&server.ask(&client).await.unwrap().whole(3).await.unwrap()[..], b"yes");
        assert_eq!(server.connections(), connections);
        server.closed.notified().await;
    }
}

#[tokio::test]
async fn requests_say_what_they_accept_and_redirects_are_not_followed() {
    let moved = b"HTTP/1.1 302 Found\r\nlocation: https://localhost:1/\r\ncontent-length: 2\r\n\r\nhi";
    let server = Server::start(moved.to_vec(), usize::MAX).await;
    let reply = server.ask(&server.client(|_| {})).await.unwrap();
    assert_eq!((reply.status().as_u16(), &reply.headers()["location"]), (302, &HeaderValue::from_static("https://localhost:1/")));
    let head = server.head.lock().unwrap().clone();
    let host = format!("host: localhost:{}\r\n", server.port);
    for line in ["post /some-secret http/1.1\r\n", "accept-encoding: gzip\r\n", "content-length: 13\r\n", &host, "user-agent: postrider/"] {
        assert!(head.contains(line), "{head}");
    }
    server.ask(&server.client(|options| options.compressed = false)).await.unwrap();
    assert!(!server.head.lock().unwrap().contains("accept-encoding"));
}

#[tokio::test]
async fn a_packed_answer_is_unpacked_within_the_bound() {
    let whole = [vec![b'x'; 5000], vec![b'y'; 5000]].concat();
    let in_two = [packed(&whole[..5000]), packed(&whole[5000..])].concat();
    for body in [packed(&whole), in_two] {
        let server = Server::start(answer(GZIP, &body), 1).await;
        let reply = server.ask(&server.client(|_| {})).await.unwrap();
        assert_eq!(&reply.whole(10_000).await.unwrap()[..], &whole[..]);
    }
    let server = Server::start(answer(GZIP, b""), 1).await;
    let reply = server.ask(&server.client(|_| {})).await.unwrap();
    assert!(reply.whole(10_000).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_given_up_packed_or_not() {
    let chunk = [b"400\r\n".as_slice(), &[b'x'; 1024], b"\r\n"].concat();
    let endless = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".as_slice(), &chunk.repeat(8)].concat();
    for body in [answer("", &[b'x'; 5000]), answer(GZIP, &packed(&[b'x'; 1 << 20])), answer(GZIP, &packed(b"").repeat(500)), endless] {
        let server = Server::start(body, 1).await;
        let reply = server.ask(&server.client(|_| {})).await.unwrap();
        assert!(matches!(reply.whole(4096).await, Err(BodyError::TooLong(4096))));
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_broken_packed_or_not() {
    let body = packed(b"a body of some length");
    let cut = answer("", b"yes");
    for body in
        [answer(GZIP, &body[..body.len() - 9]), answer(GZIP, &body[..5]), answer(GZIP, b"not packed"), cut[..cut.len() - 1].to_vec()]
    {
        let server = Server::start(body, 1).await;
        let reply = server.ask(&server.client(|_| {})).await.unwrap();
        let error = reply.whole(4096).await.unwrap_err();
        assert!(matches!(&error, BodyError::Broken(cause) if cause.to_string().len() > 10), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_when_a_connection_is_opened_hits_the_deadline() {
    install_tls_provider();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let roots = TrustRoots::only("test root", Authority::new().ca_pem().as_bytes()).unwrap();
    let client = Http1::new(&ClientOptions { connect_timeout: Duration::from_millis(50), ..ClientOptions::new(roots) });
    let error = ask(&client, "https", listener.local_addr().unwrap().port()).await.err().unwrap();
    assert_eq!(error, Http1Error::Broken(Cause::named("ConnectDeadline", "no connection: not in time")));
}

#[tokio::test]
async fn strangers_plain_text_and_closed_ports_are_refused_and_the_reason_is_told_without_the_address() {
    let server = Server::start(answer("", b"yes"), 1).await;
    let stranger = Server::start(answer("", b"yes"), 1).await;
    let client = server.client(|_| {});
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let cases =
        [("https", stranger.port, "invalid peer certificate"), ("http", server.port, "unsupported scheme"), ("https", closed, "refused")];
    for (scheme, port, expected) in cases {
        let error = ask(&client, scheme, port).await.err().unwrap().to_string();
        assert!(error.starts_with("no connection: ") && error.contains(expected) && !error.contains("some-secret"), "{error}");
    }
}

#[test]
fn a_connection_that_the_system_gave_up_was_silent() {
    let silent = std::io::Error::from(std::io::ErrorKind::TimedOut);
    let wrapped = std::io::Error::other(Http1ErrorCause(silent));
    assert_eq!(Http1Error::of_exchange("x".into(), &wrapped), Http1Error::Silent);
    let reset = std::io::Error::other(Http1ErrorCause(std::io::ErrorKind::ConnectionReset.into()));
    assert!(matches!(Http1Error::of_exchange("x".into(), &reset), Http1Error::Broken(_)));
}

#[derive(Debug, thiserror::Error)]
#[error("a layer")]
struct Http1ErrorCause(#[source] std::io::Error);

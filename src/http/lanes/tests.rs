//! Servers that are up and of no use: what a request to them comes to, how soon they are left, and how often they are asked in a minute.

use std::future::Future;
use std::sync::atomic::AtomicUsize;

use postrider_loadtest::tls::{ALPN_H2, Authority as Certificates};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::http::{TrustRoots, install_tls_provider};

/// A server that does the same with every connection, and counts them.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    trusted: String,
}

impl Server {
    async fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(usize, TlsStream<TcpStream>) -> F + Send + Sync + 'static,
    ) -> Self {
        install_tls_provider();
        let certificates = Certificates::new();
        let acceptor = TlsAcceptor::from(Arc::new(certificates.server_config(&["localhost"], &[ALPN_H2])));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                if let Ok(stream) = acceptor.accept(socket).await {
                    tokio::spawn(serve(number, stream));
                }
            }
        });
        Self { port, connections, trusted: certificates.ca_pem() }
    }

    fn lanes(&self, connections: usize) -> Lanes {
        let options = ClientOptions::new(TrustRoots::only("test root", self.trusted.as_bytes()).unwrap());
        let server = Authority::try_from(format!("localhost:{}", self.port)).unwrap();
        Lanes::new("test", &options, server, connections).unwrap()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Speaks HTTP/2 and acknowledges PINGs; answers the requests that it is told to.
async fn answering(stream: TlsStream<TcpStream>, builder: h2::server::Builder, answers: impl Fn(&str) -> bool) {
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let mut kept = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if answers(request.uri().path()) {
            let _ = respond.send_response(http::Response::new(()), true);
        } else {
            kept.push((request, respond));
        }
    }
}

/// Answers nothing, and reads what comes.
async fn mute(mut stream: TlsStream<TcpStream>) {
    let mut sink = [0; 1024];
    while matches!(stream.read(&mut sink).await, Ok(1..)) {}
}

async fn ask(lanes: &Lanes, path: &'static str, within: Duration) -> Result<Answer, Failure> {
    let call = Call { path: PathAndQuery::from_static(path), headers: &HeaderMap::new, body: Bytes::from_static(b"{}") };
    lanes.exchange(Instant::now() + within, &call).await
}

const SOON: Duration = Duration::from_millis(800);

#[tokio::test]
async fn connections_that_acknowledge_pings_and_answer_nothing_are_left_after_three_requests() {
    // The first two connections, one for each lane, are of that kind.
    let server = Server::start(|number, stream| answering(stream, h2::server::Builder::new(), move |_| number >= 2)).await;
    let lanes = server.lanes(2);
    let mut failed = 0;
    while ask(&lanes, "/", SOON).await.is_err() {
        failed += 1;
        assert!(failed <= 3, "three requests without an answer are enough");
    }
    let unknown = Failure::Unknown("no answer in time".into());
    let silent = Server::start(|_, stream| answering(stream, h2::server::Builder::new(), |_| false)).await;
    assert_eq!(ask(&silent.lanes(1), "/", SOON).await.unwrap_err(), unknown);
}

#[tokio::test]
async fn a_request_that_is_never_answered_keeps_no_other_from_its_answer_and_its_connection_stays() {
    let server = Server::start(|_, stream| answering(stream, h2::server::Builder::new(), |path| path != "/hangs")).await;
    let lanes = server.lanes(1);
    assert!(ask(&lanes, "/", Duration::from_secs(5)).await.is_ok());
    for _ in 0..5 {
        let hangs = ask(&lanes, "/hangs", Duration::from_millis(400));
        let good = async {
            for _ in 0..20 {
                let began = Instant::now();
                assert!(ask(&lanes, "/", Duration::from_secs(5)).await.is_ok());
                assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
            }
        };
        let (hung, ()) = tokio::join!(hangs, good);
        assert_eq!(hung.unwrap_err(), Failure::Unknown("no answer in time".into()));
        assert!(ask(&lanes, "/", Duration::from_secs(5)).await.is_ok());
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_did_not_go_out_as_a_whole_was_not_taken() {
    let mut none = h2::server::Builder::new();
    none.max_concurrent_streams(0);
    let mut no_window = h2::server::Builder::new();
    no_window.initial_window_size(0);
    for (what, builder) in [("no stream is allowed", none), ("no byte is allowed", no_window)] {
        let server = Server::start(move |_, stream| answering(stream, builder.clone(), |_| false)).await;
        let lanes = server.lanes(1);
        // Before the server's settings are here, the first request may go out under the defaults.
        let _ = ask(&lanes, "/", SOON).await;
        let failure = ask(&lanes, "/", SOON).await.unwrap_err();
        assert!(matches!(failure, Failure::NotTaken(_)), "{what}: {failure:?}");
    }
}

#[tokio::test]
async fn an_answer_before_the_request_s_end_is_an_answer() {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(0);
    let server = Server::start(move |_, stream| answering(stream, builder.clone(), |_| true)).await;
    assert!(ask(&server.lanes(1), "/", Duration::from_secs(5)).await.is_ok());
}

/// How many connections eight seconds of requests cost that all fail, one after the other.
async fn connections_of_requests(server: &Server, lanes: &Lanes) -> usize {
    let end = Instant::now() + Duration::from_secs(8);
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    while Instant::now() < end {
        assert!(ask(lanes, "/", Duration::from_millis(300)).await.is_err());
        pace.tick().await;
    }
    server.connections()
}

#[tokio::test]
async fn a_server_that_is_of_no_use_sees_few_connections_whatever_it_does() {
    let goes = |_, stream| async move {
        if let Ok(mut connection) = h2::server::handshake::<TlsStream<TcpStream>>(stream).await {
            connection.abrupt_shutdown(h2::Reason::NO_ERROR);
            while connection.accept().await.is_some() {}
        }
    };
    let table = [
        ("says goodbye at once", Server::start(goes).await),
        ("closes after the handshake", Server::start(|_, stream| async move { drop(stream) }).await),
        ("is silent after the handshake", Server::start(|_, stream| mute(stream)).await),
        ("answers nothing", Server::start(|_, stream| answering(stream, h2::server::Builder::new(), |_| false)).await),
    ];
    let counts = table.map(|(what, server)| async move {
        let lanes = server.lanes(2);
        (what, connections_of_requests(&server, &lanes).await)
    });
    for (what, count) in futures_util::future::join_all(counts).await {
        // Two at once, then after 1, 2 and 4 seconds, for each of two lanes.
        assert!((2..=10).contains(&count), "{what}: {count}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_to_a_server_of_no_use_opens_seven_connections_in_the_first_minute_and_then_one_a_minute() {
    let (began, mut opening, mut opened) = (Instant::now(), Opening::default(), Vec::new());
    while began.elapsed() < Duration::from_secs(300) {
        opened.push(began.elapsed().as_secs());
        opening.fails(None);
        tokio::time::sleep_until(opening.not_before.unwrap()).await;
    }
    assert_eq!(opened, [0, 0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
    opening.works();
    opening.fails(None);
    assert_eq!(opening.not_before, Some(Instant::now()), "one that answers ends it");
}

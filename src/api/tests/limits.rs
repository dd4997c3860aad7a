//! Limits: how often, how many at once, how slowly.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

#[tokio::test]
async fn an_address_that_asks_too_often_is_refused_before_its_key_is_looked_at() {
    let world = start(|settings| (settings.burst, settings.address_rate) = (5, 1)).await;
    let key = world.key("acme", Role::DeviceManager).await;
    for _ in 0..5 {
        world.get(DEVICES, &key).await.problem(404, "not-found");
    }
    let calls = world.store.calls(postrider_actors::testing::memory::Call::Registry);
    for credentials in [key.as_str(), "", "prk_0123456789abcdef_x"] {
        let refused = world.get(DEVICES, credentials).await;
        let wait: u64 = refused.problem(429, "rate-limited").retry_after.as_deref().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait));
    }
    assert_eq!(world.store.calls(postrider_actors::testing::memory::Call::Registry), calls);
    world.get("/healthz", "").await.is(200);
}

#[tokio::test]
async fn a_recognised_caller_has_an_allowance_of_his_own() {
    let world = start(|settings| {
        settings.trusted_proxies = vec!["127.0.0.0/8".to_owned().try_into().unwrap()];
        (settings.burst, settings.subject_rate) = (5, 1);
    })
    .await;
    let (one, other) = (world.key("acme", Role::DeviceManager).await, world.key("acme", Role::DeviceManager).await);
    let from = |n: usize, key: &str| {
        let request = world.client.get(format!("{}{DEVICES}", world.base)).bearer_auth(key);
        answer(request.header("x-forwarded-for", format!("198.51.100.{n}")))
    };
    for n in 0..5 {
        from(n, &one).await.problem(404, "not-found");
    }
    from(6, &one).await.problem(429, "rate-limited");
    from(7, &other).await.problem(404, "not-found");
}

#[tokio::test]
async fn requests_beyond_the_bound_are_answered_at_once() {
    let world = start(|settings| settings.max_requests = 1).await;
    let key = world.key("acme", Role::DeviceManager).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let held = world.client.put(format!("{}{PHONE}", world.base)).bearer_auth(&key).header("content-type", "application/json");
    let body = futures_util::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) });
    let held = tokio::spawn(answer(held.body(reqwest::Body::wrap_stream(body))));
    sender.send(Ok(GOOD.as_bytes()[..5].to_vec())).await.unwrap();
    let refused = loop {
        let answer = world.get(DEVICES, &key).await;
        if answer.status == 503 {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert!(refused.problem(503, "overloaded").retry_after.is_some());
    world.get("/healthz", "").await.is(200);
    sender.send(Ok(GOOD.as_bytes()[5..].to_vec())).await.unwrap();
    drop(sender);
    held.await.unwrap().is(201);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let world = start(|settings| settings.read_timeout = Duration::from_millis(200)).await;
    let key = world.key("acme", Role::DeviceManager).await;
    let request = world.client.put(format!("{}{PHONE}", world.base)).bearer_auth(&key).header("content-type", "application/json");
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    answer(request.body(reqwest::Body::wrap_stream(never))).await.problem(408, "slow-body");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_ended() {
    let world =
        start(|settings| (settings.request_timeout, settings.read_timeout) = (Duration::from_millis(200), Duration::from_secs(10))).await;
    let key = world.key("acme", Role::DeviceManager).await;
    let request = world.client.put(format!("{}{PHONE}", world.base)).bearer_auth(&key).header("content-type", "application/json");
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let ended = answer(request.body(reqwest::Body::wrap_stream(never))).await;
    assert!(ended.problem(503, "timeout").retry_after.is_some());
}

/// What a server says to bytes that are written to it, until it closes the connection.
fn dialogue(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the connection was not closed"),
        _ => String::from_utf8_lossy(&said).into_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_or_not_enough_are_closed() {
    let world = start(|settings| {
        (settings.read_timeout, settings.idle_timeout, settings.request_timeout) =
            (Duration::from_millis(200), Duration::from_millis(300), Duration::from_millis(200))
    })
    .await;
    let base = world.base.clone();
    let said = tokio::task::spawn_blocking(move || {
        [&b""[..], b"P", b"PRI * HT", b"GET / HTTP/1.1\r\nhost: x\r\nx: "].map(|bytes| dialogue(&base, bytes))
    });
    let said = said.await.unwrap();
    assert!(said.iter().all(|text| !text.contains("200 OK")), "{said:?}");
    world.get("/healthz", "").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_bound_are_closed_at_once() {
    let world = start(|settings| settings.max_connections = 2).await;
    let address = world.base.strip_prefix("http://").unwrap().to_owned();
    let ask = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let closed = tokio::task::spawn_blocking(move || {
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(ask).unwrap();
            let mut first = [0];
            stream.read_exact(&mut first).unwrap();
            open.push(stream);
        }
        let beyond = dialogue(&format!("http://{address}"), ask);
        (open.len(), beyond)
    });
    assert_eq!(closed.await.unwrap(), (2, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_does_no_harm() {
    let world = start(|settings| settings.read_timeout = Duration::from_millis(500)).await;
    let base = world.base.clone();
    let large = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 100_000], b"\r\n\r\n".to_vec()].concat();
    let said = tokio::task::spawn_blocking(move || {
        [vec![0; 500], vec![0x16, 3, 1, 0, 5], b"\r\n\r\n\r\n".to_vec(), large].map(|bytes| dialogue(&base, &bytes))
    });
    assert!(said.await.unwrap().iter().all(|text| !text.contains("200 OK")));
    world.get("/healthz", "").await.is(200);
}

/// What a healthy caller from another address gets.
async fn from_elsewhere(base: &str) -> u16 {
    let elsewhere = reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(no_tls())
        .local_address("127.0.0.2".parse::<std::net::IpAddr>().unwrap());
    let elsewhere = elsewhere.timeout(Duration::from_secs(10)).build().unwrap();
    elsewhere.get(format!("{base}/readyz")).send().await.map_or(0, |answer| answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_all_connections() {
    let world = start(|settings| (settings.max_connections, settings.max_connections_per_address) = (200, 50)).await;
    let address = world.base.strip_prefix("http://").unwrap().to_owned();
    let held = tokio::task::spawn_blocking(move || {
        let mut held: Vec<TcpStream> = (0..400).map(|_| TcpStream::connect(&address).unwrap()).collect();
        // Those beyond the bound were closed at once: the others wait for a request.
        let open = |stream: &mut TcpStream| {
            stream.set_nonblocking(true).unwrap();
            matches!(stream.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        };
        let patience = std::time::Instant::now() + Duration::from_secs(5);
        while held.iter_mut().filter_map(|stream| open(stream).then_some(())).count() > 50 {
            assert!(std::time::Instant::now() < patience, "they are not closed");
        }
        held
    });
    let held = held.await.unwrap();
    assert_eq!(from_elsewhere(&world.base).await, 200);
    drop(held);
}

/// HTTP/2's preface and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A PING frame.
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingping";

/// Writes `first`, then `then` again and again until the server closes the connection; says how long that took.
fn until_closed(address: &str, first: &[u8], then: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let began = std::time::Instant::now();
    stream.write_all(first).unwrap();
    let mut said = [0; 1024];
    while began.elapsed() < Duration::from_secs(20) {
        match stream.read(&mut said) {
            Ok(0) => break,
            Err(error) if !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => break,
            _ if stream.write_all(then).is_err() => break,
            _ => {}
        }
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_no_request_comes_ends_whatever_else_moves() {
    let world = start(|settings| {
        (settings.read_timeout, settings.idle_timeout, settings.request_timeout) =
            (Duration::from_millis(400), Duration::from_millis(600), Duration::from_millis(200))
    })
    .await;
    let address = world.base.strip_prefix("http://").unwrap().to_owned();
    let took = tokio::task::spawn_blocking(move || {
        let dripped = until_closed(&address, b"PRI", b"");
        [until_closed(&address, PREFACE, PING), until_closed(&address, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", b""), dripped]
    });
    let took = took.await.unwrap();
    assert!(took.iter().all(|took| *took < Duration::from_secs(5)), "with pings, after an answer, in the middle of the preface: {took:?}");
}

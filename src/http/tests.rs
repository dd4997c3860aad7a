//! Who is trusted and who is not, over real TLS; answers within bounds.

use std::io::Write;

use postrider_actors::time::Timestamp;
use postrider_loadtest::tls::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Serves one answer, as it stands, over TLS on a port of its own, as often as asked.
async fn serve(config: rustls::ServerConfig, answer: String) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(socket).await {
                let mut request = [0_u8; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    port
}

fn trusting(authority: &Authority) -> ClientOptions {
    install_tls_provider();
    ClientOptions::new(TrustRoots::only("test root", authority.ca_pem().as_bytes()).unwrap())
}

#[tokio::test]
async fn a_server_of_a_trusted_authority_is_reached_and_a_redirect_is_not_followed() {
    let authority = Authority::new();
    let answer = "HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example/\r\ncontent-length: 2\r\n\r\nhi";
    let port = serve(authority.server_config(&["localhost"], &[]), answer.to_owned()).await;
    let answer = client(&trusting(&authority)).unwrap().get(format!("https://localhost:{port}/")).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!(&body(answer, 2).await.unwrap()[..], b"hi");
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_given_up() {
    let authority = Authority::new();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{}", "x".repeat(5000));
    let port = serve(authority.server_config(&["localhost"], &[]), answer).await;
    let answer = client(&trusting(&authority)).unwrap().get(format!("https://localhost:{port}/")).send().await.unwrap();
    assert!(matches!(body(answer, 4096).await, Err(BodyError::TooLong(4096))));
}

#[tokio::test]
async fn a_stranger_an_expired_certificate_and_another_host_s_are_refused_and_the_reason_is_told() {
    let authority = Authority::new();
    let http = client(&trusting(&authority)).unwrap();
    let cases = [
        (Authority::new().server_config(&["localhost"], &[]), "invalid peer certificate"),
        (authority.expired_server_config(&["localhost"], &[]), "expired"),
        (authority.wrong_name_server_config(&[]), "not valid for name"),
    ];
    for (config, expected) in cases {
        let port = serve(config, String::new()).await;
        let error = http.get(format!("https://localhost:{port}/3/device/secret-token")).send().await.unwrap_err();
        let text = explain(&error);
        assert!(error.is_connect() && text.contains(expected), "{text}");
        assert!(!text.contains("secret-token"), "{text}");
    }
}

#[tokio::test]
async fn plain_http_is_refused() {
    let http = client(&trusting(&Authority::new())).unwrap();
    assert!(http.get("http://127.0.0.1:9/").send().await.unwrap_err().is_builder());
}

#[test]
fn a_server_may_ask_for_seconds_or_a_date() {
    let now = Timestamp(1_445_412_470_000_000);
    let asked = |text: &str| {
        let headers = [(http::header::RETRY_AFTER, text.parse().unwrap())].into_iter().collect();
        retry_after(&headers, now)
    };
    assert_eq!(asked("120"), Some(Duration::from_secs(120)));
    assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
    assert_eq!(asked("Wed, 21 Oct 2015 07:20:00 GMT"), Some(Duration::ZERO), "what is over is over");
    assert_eq!(asked("999999999"), Some(Duration::from_secs(3600)), "nobody waits for ever");
    assert_eq!(asked("soon"), None);
}

#[test]
fn files_of_roots_that_are_missing_empty_damaged_or_something_else_are_named_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(content.as_bytes()).unwrap();
        path
    };
    let good = Authority::new().ca_pem();
    let (_, key) = Authority::new().issue_pem(&["localhost"]);
    let cases = [
        (folder.path().join("missing.pem"), "cannot be read"),
        (file("empty.pem", ""), "no PEM certificate"),
        (file("key.pem", &key), "a private key"),
        (file("cut.pem", &good[..good.len() / 2]), "damaged PEM at certificate 1"),
        (file("second.pem", &format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")), "certificate 2"),
    ];
    for (path, expected) in cases {
        let text = TrustRoots::load(std::slice::from_ref(&path)).unwrap_err().to_string();
        assert!(text.contains(expected) && text.contains(&path.display().to_string()), "{text}");
    }
    assert!(TrustRoots::load(&[file("good.pem", &good)]).is_ok(), "configured roots are enough, whatever the system has");
}

//! How many pushes a second the simulated Apple takes from a bare HTTP/2 client in the same process: it must never be what limits a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postrider_loadtest::apple::{Apple, Options};
use postrider_loadtest::ledger::{Device, Ledger, Provider};
use postrider_loadtest::phones::Phones;
use postrider_loadtest::tls::{ALPN_H2, Authority};
use rcgen::KeyPair;
use rustls_pki_types::ServerName;
use serde_json::json;

const CONNECTIONS: usize = 2;
const IN_FLIGHT: usize = 200;
const REQUESTS: usize = 200_000;
const PHONES: u32 = 1_000;
const TOPIC: &str = "com.example.mail";

fn phone(number: u32) -> String {
    format!("{number:064x}")
}

async fn connect(authority: &Authority, apple: &Apple) -> h2::client::SendRequest<Bytes> {
    let tcp = tokio::net::TcpStream::connect(apple.address()).await.expect("it listens");
    tcp.set_nodelay(true).expect("a fresh socket");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(authority.client_config(&[ALPN_H2])));
    let name = ServerName::try_from("localhost").expect("a host name");
    let tls = connector.connect(name, tcp).await.expect("the authority is trusted");
    let (sender, connection) = h2::client::handshake(tls).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn push(sender: &h2::client::SendRequest<Bytes>, jwt: &str, number: usize) -> bool {
    let body = format!(
        r#"{{"aps":{{"alert":{{"title":"Ann","subtitle":"Hello {number}","body":"some words of a mail"}},"badge":1,"sound":"default"}},"pr":{{"v":1,"k":"mail","n":1,"m":["{number:08}"]}}}}"#
    );
    let request = Request::post(format!("https://localhost/3/device/{}", phone(number as u32 % PHONES)))
        .header("authorization", jwt)
        .header("apns-topic", TOPIC)
        .header("apns-push-type", "alert")
        .header("apns-priority", "10")
        .header("apns-expiration", "0")
        .body(())
        .expect("a fair request");
    let Ok(mut ready) = sender.clone().ready().await else { return false };
    let Ok((answer, mut stream)) = ready.send_request(request, false) else { return false };
    let sent = stream.send_data(Bytes::from(body), true).is_ok();
    sent && answer.await.is_ok_and(|answer| answer.status() == 200)
}

async fn client(sender: h2::client::SendRequest<Bytes>, jwt: Arc<str>) -> usize {
    assert!(push(&sender, &jwt, 0).await, "the first push must be taken");
    let (mut running, mut next, mut taken) = (FuturesUnordered::new(), 1, 0);
    while next < REQUESTS / CONNECTIONS || !running.is_empty() {
        while running.len() < IN_FLIGHT && next < REQUESTS / CONNECTIONS {
            running.push(push(&sender, &jwt, next));
            next += 1;
        }
        taken += usize::from(running.next().await == Some(true));
    }
    taken
}

#[tokio::main]
async fn main() {
    let authority = Authority::new();
    let ledger = Arc::new(Ledger::new(Duration::from_secs(3)));
    let phones = Arc::new(Phones::new(false));
    for number in 0..PHONES {
        phones.install(&phone(number), TOPIC);
        let mailbox = format!("user{number}@example.com");
        ledger.device(&Device { token: phone(number), provider: Provider::Apns, mailbox, cutoff: Duration::from_secs(3_600) });
    }
    let tls = Arc::new(authority.server_config(&["localhost"], &[ALPN_H2]));
    let apple = Apple::start(Options::new(tls, phones, Arc::clone(&ledger))).await.expect("a free port");
    let key = KeyPair::generate().expect("a P-256 key");
    apple.add_key("BENCHKEY01", "BENCHTEAM1", key.public_key_raw());
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("BENCHKEY01".to_owned());
    let claims = json!({"iss": "BENCHTEAM1", "iat": jiff::Timestamp::now().as_second()});
    let signer = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).expect("a P-256 key");
    let jwt = jsonwebtoken::encode(&header, &claims, &signer).expect("a signature");
    let jwt: Arc<str> = format!("bearer {jwt}").into();
    let begin = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(tokio::spawn(client(connect(&authority, &apple).await, Arc::clone(&jwt))));
    }
    let mut taken = 0;
    for client in clients {
        taken += client.await.expect("a client does not panic");
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{taken} pushes in {seconds:.2} s: {:.0} a second, client and server in one process", taken as f64 / seconds);
    assert!(ledger.judge().misuse.is_empty(), "{}", ledger.judge());
}

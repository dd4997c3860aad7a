//! The least that a client must do: one token, one payload, one stream for each push, and the headers of the product's pushes, so that the same bytes go
//! over the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderName, Request};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postrider::clock::SystemClock;
use postrider::notification::MAX_PAYLOAD_BYTES;
use postrider_actors::ports::Clock;
use postrider_loadtest::apple::Apple;
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::tls::ALPN_H2;
use rustls_pki_types::ServerName;

use crate::{CONNECTIONS, IN_FLIGHT, example};

/// Bare connections.
pub struct Bare {
    connections: Vec<SendRequest<Bytes>>,
    /// Those that are the same for all.
    headers: HeaderMap,
    payload: Bytes,
}

impl Bare {
    /// Opens them.
    pub async fn connect(credentials: &Credentials, apple: &Apple) -> Arc<Self> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let tcp = tokio::net::TcpStream::connect(apple.address()).await.expect("connected");
            tcp.set_nodelay(true).expect("set");
            let tls = tokio_rustls::TlsConnector::from(Arc::new(credentials.authority.client_config(&[ALPN_H2])));
            let stream = tls.connect(ServerName::try_from("localhost").expect("a name"), tcp).await.expect("trusted");
            let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            connections.push(requests);
        }
        let header = Header { kid: Some(Credentials::APNS_KID.to_owned()), ..Header::new(Algorithm::ES256) };
        let claims = serde_json::json!({"iss": Credentials::APNS_TEAM, "iat": SystemClock::default().now().epoch_seconds()});
        let key = EncodingKey::from_ec_pem(credentials.apns_key.serialize_pem().as_bytes()).expect("an EC key");
        let authorization = format!("bearer {}", jsonwebtoken::encode(&header, &claims, &key).expect("signed"));
        let fixed = [
            ("authorization", authorization.as_str()),
            ("user-agent", "bare"),
            ("content-type", "application/json"),
            ("apns-topic", Credentials::APP),
            ("apns-push-type", "alert"),
            ("apns-priority", "10"),
            ("apns-expiration", "4000000000"),
        ];
        let headers = fixed.into_iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a header"))).collect();
        let payload = Bytes::from(postrider::apns::payload::payload(&example::push(1), MAX_PAYLOAD_BYTES));
        let bare = Arc::new(Self { connections, headers, payload });
        // Apple allows one stream until it has seen a good token.
        for connection in &bare.connections {
            bare.push(connection.clone(), 0).await;
        }
        bare
    }

    /// Works a round off with as many workers as may be under way.
    pub async fn round(self: &Arc<Self>, pushes: usize) {
        let next = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..IN_FLIGHT)
            .map(|worker| {
                let (this, next) = (Arc::clone(self), Arc::clone(&next));
                tokio::spawn(async move {
                    let connection = &this.connections[worker % CONNECTIONS];
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= pushes {
                            return;
                        }
                        this.push(connection.clone(), number).await;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.expect("no panic");
        }
    }

    async fn push(&self, connection: SendRequest<Bytes>, number: usize) {
        let mut request = Request::post(format!("https://localhost/3/device/{number:064x}")).body(()).expect("a request");
        let id = uuid::Uuid::from_u128(number as u128).to_string();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert("apns-collapse-id", id[28..].parse().expect("digits"));
        headers.insert("apns-id", id.parse().expect("digits and dashes"));
        let mut connection = connection.ready().await.expect("a stream");
        let (response, mut body) = connection.send_request(request, false).expect("sent");
        body.send_data(self.payload.clone(), true).expect("sent");
        assert_eq!(response.await.expect("answered").status(), 200);
    }
}

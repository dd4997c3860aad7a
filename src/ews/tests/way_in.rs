//! Authorizations that are refused, and answers without end.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use http::HeaderValue;
use postrider_actors::ids::TenantId;
use postrider_actors::ports::mail_source::{MailSource, MailboxRef, SourceError};
use postrider_loadtest::tls::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::harness::mailbox;
use crate::clock::SystemClock;
use crate::config::ews::{Ews, Impersonation};
use crate::config::from_toml;
use crate::ews::client::Access;
use crate::ews::{EwsMailSource, EwsParts, watching};
use crate::exchange::gate::Rules;
use crate::exchange::{AuthError, Authenticator, Endpoint, HearsTracing, Hosts, LocateError, Locator, Logons};
use crate::http::{ClientOptions, TrustRoots};

/// A way in whose first authorization has gone stale.
#[derive(Default)]
struct Renewing {
    renewed: AtomicBool,
    asked: AtomicUsize,
    /// Whether the second one is good.
    good: bool,
}

#[async_trait]
impl Authenticator for Renewing {
    fn kind(&self) -> &'static str {
        "renewing"
    }

    async fn authorization(&self) -> Result<HeaderValue, AuthError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let good = self.good && self.renewed.load(Ordering::Relaxed);
        Ok(HeaderValue::from_static(if good { "Bearer good" } else { "Bearer stale" }))
    }

    fn refused(&self, _: &HeaderValue) -> bool {
        self.renewed.store(true, Ordering::Relaxed);
        true
    }
}

/// Every mailbox is at one address.
struct At(Arc<Endpoint>);

#[async_trait]
impl Locator for At {
    async fn locate(&self, _: &MailboxRef) -> Result<Arc<Endpoint>, LocateError> {
        Ok(Arc::clone(&self.0))
    }

    fn known(&self, _: &MailboxRef) -> Option<Arc<Endpoint>> {
        Some(Arc::clone(&self.0))
    }

    fn forget(&self, _: &MailboxRef) {}

    async fn trace(&self, _: &MailboxRef, _: HearsTracing<'_>) -> Result<Arc<Endpoint>, LocateError> {
        Ok(Arc::clone(&self.0))
    }
}

/// A source whose server answers whatever `answer` makes of the request's head, and closes the connection if that says so.
async fn source(auth: Arc<Renewing>, answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> EwsMailSource {
    source_with(auth, "", answer).await
}

/// The same with settings of its own.
async fn source_with(auth: Arc<Renewing>, settings: &str, answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> EwsMailSource {
    crate::http::install_tls_provider();
    let authority = Authority::new();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(authority.server_config(&["localhost"], &[])));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut head = vec![0_u8; 16 * 1024];
            let read = stream.read(&mut head).await.unwrap_or_default();
            let answer = answer(&String::from_utf8_lossy(&head[..read]));
            let _ = stream.write_all(&answer).await;
            if answer.windows(CLOSE.len()).any(|some| some == CLOSE.as_bytes()) {
                let _ = stream.shutdown().await;
            } else {
                held.push(stream);
            }
        }
    });
    let endpoint = Endpoint::new(format!("https://localhost:{port}/EWS/Exchange.asmx").parse().unwrap(), "none");
    let logons = Logons::new("test".into(), Rules { most: 3, probe: std::time::Duration::from_secs(300) });
    let access = Access { auth, logons, form: Impersonation::PrimarySmtpAddress };
    let tenant = watching::Tenant { access, hosts: Hosts::new(&[], &["localhost".to_owned()]) };
    let settings: Ews = from_toml(&format!("answer_limit = \"64 KiB\"\n{settings}")).unwrap();
    let parts = EwsParts {
        settings,
        tenants: BTreeMap::from([(TenantId("corp".into()), tenant)]),
        locator: Arc::new(At(Arc::new(endpoint))),
        http: ClientOptions::new(TrustRoots::only("test root", authority.ca_pem().as_bytes()).unwrap()),
        clock: Arc::new(SystemClock::default()),
        seed: 1,
    };
    EwsMailSource::new(parts)
}

const CLOSE: &str = "connection: close\r\n";

fn whole(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{CLOSE}{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

const UNREAD: &[u8] = b"<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><m:GetFolderResponse xmlns:m='m'><m:ResponseMessages>\
    <m:GetFolderResponseMessage ResponseClass='Success'><m:ResponseCode>NoError</m:ResponseCode><m:Folders><t:Folder xmlns:t='t'>\
    <t:UnreadCount>3</t:UnreadCount></t:Folder></m:Folders></m:GetFolderResponseMessage></m:ResponseMessages></m:GetFolderResponse></s:Body></s:Envelope>";

#[tokio::test]
async fn a_refused_authorization_is_renewed_and_the_request_made_once_more() {
    let answer = |head: &str| match head.to_ascii_lowercase().contains("bearer good") {
        true => whole("200 OK", "", UNREAD),
        false => whole("401 Unauthorized", "", b""),
    };
    let auth = Arc::new(Renewing { good: true, ..Renewing::default() });
    assert_eq!(source(Arc::clone(&auth), answer).await.unread(&mailbox(1)).await, Ok(3));
    assert_eq!(auth.asked.load(Ordering::Relaxed), 2);
    let auth = Arc::new(Renewing::default());
    let refused = source(Arc::clone(&auth), answer).await.unread(&mailbox(1)).await;
    assert_eq!(refused, Err(SourceError::Unauthorized { code: "HTTP 401".into() }));
    assert_eq!(auth.asked.load(Ordering::Relaxed), 2, "once, and not again");
}

#[tokio::test]
async fn an_answer_without_end_is_given_up_also_when_it_is_small_on_the_wire() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 64 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let gzipped = whole("200 OK", "content-encoding: gzip\r\n", &bomb);
    let long = whole("200 OK", "", &vec![b' '; 65 << 10]);
    for answer in [gzipped, long] {
        let source = source(Arc::new(Renewing::default()), move |_| answer.clone()).await;
        assert_eq!(source.unread(&mailbox(1)).await, Err(SourceError::Unavailable { code: "AnswerTooLong".into() }));
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_in_its_answer_or_before_it_hits_the_deadline() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"] {
        let auth = Arc::new(Renewing::default());
        let source = source_with(auth, "call_deadline = \"1s\"\n", move |_| answer.into()).await;
        assert_eq!(source.unread(&mailbox(1)).await, Err(SourceError::Unavailable { code: "Deadline".into() }));
    }
}

#[tokio::test]
async fn a_server_that_asks_for_years_of_silence_gets_an_hour() {
    let answer = |_: &str| whole("503 Service Unavailable", "retry-after: 99999999999\r\n", b"");
    let source = source(Arc::new(Renewing::default()), answer).await;
    let hour = std::time::Duration::from_secs(3600);
    assert_eq!(source.unread(&mailbox(1)).await, Err(SourceError::Throttled { retry_after: hour }));
}

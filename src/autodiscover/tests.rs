//! The last ways to a server: an unencrypted redirection and DNS, against the simulated Exchange server.

use std::sync::Mutex;

use http::HeaderValue;
use postrider_actors::ids::Smtp;
use postrider_loadtest::exchange::{ExchangeOptions, Server};
use postrider_loadtest::identity::Accounts;
use postrider_loadtest::tls::{ALPN_HTTP_1_1, Authority};
use postrider_loadtest::witness::NoWitness;
use postrider_loadtest::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::candidates::Srv;
use super::*;
use crate::exchange::AuthError;
use crate::exchange::gate::Rules;
use crate::http::TrustRoots;

/// A service account.
struct Account;

#[async_trait]
impl Authenticator for Account {
    fn kind(&self) -> &'static str {
        "Basic"
    }

    async fn authorization(&self) -> Result<HeaderValue, AuthError> {
        Ok(HeaderValue::from_static("Basic c3ZjOnNlY3JldA=="))
    }

    fn refused(&self, _: &HeaderValue) -> bool {
        false
    }
}

/// Last ways as a test wants them.
#[derive(Default)]
struct Scripted {
    unencrypted: Option<Url>,
    records: Vec<Srv>,
}

#[async_trait]
impl LastWays for Scripted {
    fn unencrypted(&self, _: &str) -> Option<Url> {
        self.unencrypted.clone()
    }

    async fn records(&self, _: &str) -> Result<Vec<Srv>, String> {
        if self.records.is_empty() { Err("no such record".into()) } else { Ok(self.records.clone()) }
    }

    fn draw(&self, most: u32) -> u32 {
        most
    }
}

/// A server without TLS that redirects; what it was asked.
async fn redirecting(to: String) -> (Url, Arc<Mutex<String>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/autodiscover/autodiscover.xml", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = vec![0_u8; 4096];
            let read = socket.read(&mut head).await.unwrap_or_default();
            heard.lock().unwrap().push_str(&String::from_utf8_lossy(&head[..read]));
            let answer = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (url, asked)
}

/// The mail domain is `localhost`, at whose port 443 nobody answers.
async fn exchange() -> (Server, ClientOptions) {
    let world = World::new(Arc::new(NoWitness));
    world.add_mailbox("ada@localhost");
    let authority = Authority::new();
    let accounts = Arc::new(Accounts::new([("svc".to_owned(), "secret".to_owned())]));
    let tls = Arc::new(authority.server_config(&["localhost"], &[ALPN_HTTP_1_1]));
    let server = Server::start(ExchangeOptions::new(world, accounts, tls)).await.unwrap();
    (server, ClientOptions::new(TrustRoots::only("test root", authority.ca_pem().as_bytes()).unwrap()))
}

fn locator(http: &ClientOptions, last_ways: Scripted, known: &[Url]) -> AutodiscoverLocator {
    crate::http::install_tls_provider();
    let listed = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(str::to_owned);
    let hosts = Hosts::new(&["localhost".into()], &listed).with_root_domain(true).with_addresses(known);
    let logons = Logons::new("test".into(), Rules { most: 3, probe: Duration::from_secs(300) });
    let tenant = Tenant { auth: Arc::new(Account), logons, hosts, ews_url: None, autodiscover_url: None };
    let settings = Autodiscover { root_domain: true, connect_deadline: Duration::from_secs(1), ..Autodiscover::default() };
    let tenants = BTreeMap::from([(TenantId("corp".into()), tenant)]);
    AutodiscoverLocator::new(settings, tenants, http).unwrap().with_last_ways(last_ways)
}

fn ada() -> MailboxRef {
    MailboxRef { id: MailboxId(1), tenant: TenantId("corp".into()), smtp: Arc::new(Smtp::new("ada@localhost")) }
}

/// What was tried, and what came of it.
async fn traced(locator: &AutodiscoverLocator) -> (Vec<TraceStep>, Result<Arc<Endpoint>, LocateError>) {
    let steps = std::sync::Mutex::new(Vec::new());
    let hears = |tracing: Tracing| {
        if let Tracing::Asked(step) = tracing {
            steps.lock().unwrap().push(step);
        }
    };
    let found = locator.trace(&ada(), &hears).await;
    (steps.into_inner().unwrap(), found)
}

#[tokio::test]
async fn an_unencrypted_redirection_leads_to_a_server_and_sees_no_credentials() {
    let (server, http) = exchange().await;
    let (url, asked) = redirecting(format!("{}/autodiscover/autodiscover.svc", server.base_url())).await;
    let known = [server.base_url().parse().unwrap()];
    let locator = locator(&http, Scripted { unencrypted: Some(url), ..Scripted::default() }, &known);
    let endpoint = locator.locate(&ada()).await.unwrap();
    assert_eq!(endpoint.url.as_str(), server.ews_url());
    let asked = asked.lock().unwrap().to_ascii_lowercase();
    assert!(asked.starts_with("get /autodiscover/autodiscover.xml") && !asked.contains("authorization"), "{asked}");
}

#[tokio::test]
async fn an_unencrypted_redirection_to_a_stranger_or_without_tls_is_not_followed() {
    let (_server, http) = exchange().await;
    for to in ["https://evil.example/autodiscover/autodiscover.xml", "http://localhost:1/autodiscover/autodiscover.xml"] {
        let (url, _) = redirecting(to.to_owned()).await;
        let locator = locator(&http, Scripted { unencrypted: Some(url), ..Scripted::default() }, &[]);
        let (trace, found) = traced(&locator).await;
        assert!(matches!(found, Err(LocateError::ForbiddenHost { .. })), "{found:?}");
        assert!(trace.iter().all(|step| !step.url.contains("evil")), "{trace:?}");
    }
}

#[tokio::test]
async fn dns_records_are_asked_last_by_priority_and_a_service_that_is_decidedly_not_there_is_not() {
    let (_server, http) = exchange().await;
    let record = |priority, weight, target: &str| Srv { priority, weight, port: 443, target: target.into() };
    let records = vec![record(20, 0, "127.0.0.3."), record(10, 1, "127.0.0.2."), record(10, 5, "127.0.0.1.")];
    let (trace, found) = traced(&locator(&http, Scripted { unencrypted: None, records }, &[])).await;
    assert!(matches!(found, Err(LocateError::Unavailable { .. })), "{found:?}");
    let asked: Vec<&str> = trace.iter().filter(|step| step.step.starts_with("ask")).map(|step| step.url.as_str()).collect();
    let host = |at: usize| asked[at].split('/').nth(2).unwrap();
    assert_eq!(
        (0..asked.len()).step_by(2).map(host).collect::<Vec<_>>(),
        ["localhost", "autodiscover.localhost", "127.0.0.1", "127.0.0.2", "127.0.0.3"]
    );
    let nowhere = Scripted { unencrypted: None, records: vec![record(0, 0, ".")] };
    let (_, found) = traced(&locator(&http, nowhere, &[])).await;
    assert!(matches!(found, Err(LocateError::Unavailable { .. })), "the root names no host that could be forbidden: {found:?}");
}

//! Which host and port saw credentials: real listeners with TLS that write down the head of every request.

use std::sync::Mutex;

use http::HeaderValue;
use postrider_actors::ids::Smtp;
use postrider_loadtest::tls::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::last_ways::LastWays;
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

/// No last ways.
struct Nowhere;

#[async_trait]
impl LastWays for Nowhere {
    fn unencrypted(&self, _: &str) -> Option<Url> {
        None
    }

    async fn records(&self, _: &str) -> Result<Vec<candidates::Srv>, String> {
        Err("no such record".into())
    }

    fn draw(&self, most: u32) -> u32 {
        most
    }
}

/// A server and what it saw.
struct Host {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Host {
    /// Answers what `answer` makes of a request's head: status line's rest, headers, body.
    async fn start(authority: &Authority, answer: impl Fn(&str) -> (&'static str, String, String) + Send + 'static) -> Self {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(authority.server_config(&["localhost"], &[])));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                let mut head = vec![0_u8; 16 * 1024];
                let mut read = 0;
                while !head[..read].windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut head[read..]).await {
                        Ok(more) if more > 0 => read += more,
                        _ => break,
                    }
                }
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let (status, headers, body) = answer(&head);
                heard.lock().unwrap().push(head);
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { port, heads }
    }

    /// Redirects everybody.
    async fn redirecting(authority: &Authority, to: String) -> Self {
        Self::start(authority, move |_| ("302 Found", format!("location: {to}\r\n"), String::new())).await
    }

    /// Answers those who bring credentials.
    async fn answering(authority: &Authority, inside: String) -> Self {
        Self::start(authority, move |head| match saw_credentials(head) {
            false => ("401 Unauthorized", "www-authenticate: Basic realm=\"x\"\r\n".into(), String::new()),
            true => ("200 OK", "content-type: text/xml\r\n".into(), document(&inside)),
        })
        .await
    }

    fn url(&self) -> Url {
        format!("https://localhost:{}/autodiscover/autodiscover.xml", self.port).parse().unwrap()
    }

    /// For each request whether it brought credentials.
    fn saw(&self) -> Vec<bool> {
        self.heads.lock().unwrap().iter().map(|head| saw_credentials(head)).collect()
    }
}

fn saw_credentials(head: &str) -> bool {
    head.to_ascii_lowercase().contains("\r\nauthorization:")
}

fn document(inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\
         <Response xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\"><Account>{inside}</Account></Response></Autodiscover>"
    )
}

fn ews_at(url: &str) -> String {
    format!("<Protocol><Type>EXPR</Type><EwsUrl>{url}</EwsUrl></Protocol>")
}

/// Looks for Ada with this autodiscover address and these hosts.
async fn look(authority: &Authority, first: &Host, hosts: Hosts) -> (Vec<TraceStep>, Result<Arc<Endpoint>, LocateError>) {
    crate::http::install_tls_provider();
    let url = first.url();
    let hosts = hosts.with_addresses([&url]);
    let logons = Logons::new("test".into(), Rules { most: 3, probe: Duration::from_secs(300) });
    let tenant = Tenant { auth: Arc::new(Account), logons, hosts, ews_url: None, autodiscover_url: Some(url) };
    let settings = Autodiscover { connect_deadline: Duration::from_secs(2), ..Autodiscover::default() };
    let roots = TrustRoots::only("test root", authority.ca_pem().as_bytes()).unwrap();
    let tenants = BTreeMap::from([(TenantId("corp".into()), tenant)]);
    let locator = AutodiscoverLocator::new(settings, tenants, &ClientOptions::new(roots)).unwrap().with_last_ways(Nowhere);
    let ada = MailboxRef { id: MailboxId(1), tenant: TenantId("corp".into()), smtp: Arc::new(Smtp::new("ada@corp.invalid")) };
    let steps = Mutex::new(Vec::new());
    let hears = |tracing: Tracing| {
        if let Tracing::Asked(step) = tracing {
            steps.lock().unwrap().push(step);
        }
    };
    let found = locator.trace(&ada, &hears).await;
    (steps.into_inner().unwrap(), found)
}

fn corp(listed: &[String]) -> Hosts {
    Hosts::new(&["corp.invalid".into()], listed)
}

#[tokio::test]
async fn a_listed_host_is_asked_without_credentials_first_and_what_only_redirects_never_sees_them() {
    let authority = Authority::new();
    let second = Host::answering(&authority, ews_at("https://autodiscover.corp.invalid/EWS/Exchange.asmx")).await;
    let first = Host::redirecting(&authority, second.url().to_string()).await;
    let (trace, found) = look(&authority, &first, corp(&[format!("localhost:{}", second.port)])).await;
    assert!(found.is_ok(), "{trace:?}");
    assert_eq!((first.saw(), second.saw()), (vec![false], vec![false, true]));
}

#[tokio::test]
async fn another_port_or_host_than_the_listed_ones_is_not_even_spoken_to() {
    let authority = Authority::new();
    let second = Host::answering(&authority, ews_at("https://localhost/EWS/Exchange.asmx")).await;
    for listed in [vec![], vec!["localhost".to_owned()], vec!["*.localhost".to_owned()]] {
        let first = Host::redirecting(&authority, second.url().to_string()).await;
        let (_, found) = look(&authority, &first, corp(&listed)).await;
        assert_eq!(found, Err(LocateError::ForbiddenHost { host: format!("localhost:{}", second.port) }));
        assert_eq!((first.saw(), second.saw()), (vec![false], vec![]));
    }
}

#[tokio::test]
async fn an_ews_address_that_nobody_named_is_not_believed() {
    let authority = Authority::new();
    for url in [
        "https://mail.corp.invalid/EWS/Exchange.asmx",
        "https://corp.invalid/EWS",
        "https://localhost:1/EWS",
        "http://autodiscover.corp.invalid/EWS",
    ] {
        let first = Host::answering(&authority, ews_at(url)).await;
        let (_, found) = look(&authority, &first, corp(&["mail.example.com".into()])).await;
        assert!(matches!(found, Err(LocateError::ForbiddenHost { .. })), "{url}: {found:?}");
        assert_eq!(first.saw(), [false, true], "the configured address may see them");
    }
    let first = Host::answering(&authority, ews_at("https://mail.corp.invalid/EWS/Exchange.asmx")).await;
    let (_, found) = look(&authority, &first, corp(&["mail.corp.invalid".into()])).await;
    assert_eq!(found.unwrap().url.as_str(), "https://mail.corp.invalid/EWS/Exchange.asmx");
}

#[tokio::test]
async fn an_address_of_a_foreign_domain_that_a_redirect_names_is_not_looked_for() {
    let authority = Authority::new();
    for address in ["ada@elsewhere.invalid", "ada@sub.corp.invalid", "ada@\u{1b}[2J", "ada"] {
        let first = Host::answering(&authority, format!("<Action>redirectAddr</Action><RedirectAddr>{address}</RedirectAddr>")).await;
        let (trace, found) = look(&authority, &first, corp(&[])).await;
        let first_asked = first.saw().len();
        assert!(first_asked <= 2, "{address}: asked {first_asked} times");
        assert!(trace.iter().all(|step| !step.url.contains("elsewhere") && !step.outcome.contains('\u{1b}')), "{trace:?}");
        assert!(found.is_err());
    }
}

#[tokio::test]
async fn a_token_goes_to_no_listed_host_that_its_scope_is_not_for() {
    let authority = Authority::new();
    let second = Host::answering(&authority, ews_at("https://localhost/EWS/Exchange.asmx")).await;
    let first = Host::redirecting(&authority, second.url().to_string()).await;
    let hosts = corp(&[format!("localhost:{}", second.port)]).with_tokens_for("https://outlook.office365.com/.default");
    let (_, found) = look(&authority, &first, hosts).await;
    assert_eq!(found, Err(LocateError::ForbiddenHost { host: format!("localhost:{}", second.port) }));
    assert_eq!((first.saw(), second.saw()), (vec![false], vec![]));
}

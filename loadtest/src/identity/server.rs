//! The identity provider over HTTPS.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::accounts::Accounts;
use super::clients::ClientCertificate;
use super::discovery::{self, Place};
use super::issuer::Issuer;
use super::tokens;
use crate::https::{Body, Serving, full, serve};
use crate::service_faults::{Refused, ServiceFault, ServiceFaults};
use crate::witness::{Misuse, Witness};

/// The largest token request that is read.
const MAX_REQUEST: usize = 64 * 1024;

/// An application that may ask for tokens.
#[derive(Clone)]
pub struct Client {
    /// Its client id, and the account name that Exchange sees.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What an identity provider is started with.
#[derive(Clone)]
pub struct IdentityOptions {
    /// Where tokens for Exchange are remembered; the same that the Exchange server checks against.
    pub accounts: Arc<Accounts>,
    /// Hears of misuse.
    pub witness: Arc<dyn Witness>,
    /// Certificate and key.
    pub tls: Arc<rustls::ServerConfig>,
    /// Where to listen; port 0 picks one.
    pub bind: SocketAddr,
    /// The host name in its addresses; the port is added.
    pub host: String,
    /// Tenant names and ids that exist.
    pub tenants: Vec<String>,
    /// Applications that exist.
    pub clients: Vec<Client>,
    /// Certificates by which applications may show who they are.
    pub certificates: Vec<ClientCertificate>,
    /// Resources that tokens may be for; a scope is one of them followed by `/.default`.
    pub resources: Vec<String>,
    /// How long an access token is good.
    pub token_lifetime: Duration,
    /// `aud` of phone users' tokens.
    pub audience: String,
    /// What goes wrong, whatever is asked.
    pub faults: Arc<ServiceFaults>,
}

impl fmt::Debug for IdentityOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityOptions")
            .field("bind", &self.bind)
            .field("tenants", &self.tenants)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

impl IdentityOptions {
    /// One tenant `corp.example`, no application, tokens of an hour, on a free port of the loopback interface.
    pub fn new(accounts: Arc<Accounts>, witness: Arc<dyn Witness>, tls: Arc<rustls::ServerConfig>) -> Self {
        Self {
            accounts,
            witness,
            tls,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            host: "localhost".to_owned(),
            tenants: vec!["corp.example".to_owned()],
            clients: Vec::new(),
            certificates: Vec::new(),
            resources: vec!["https://outlook.office365.com".to_owned()],
            token_lifetime: Duration::from_secs(3600),
            audience: "postrider".to_owned(),
            faults: Arc::new(ServiceFaults::none()),
        }
    }

    /// Whether a tenant of that name or id exists.
    pub(super) fn has_tenant(&self, tenant: &str) -> bool {
        self.tenants.iter().any(|known| known == tenant)
    }
}

struct Shared {
    options: IdentityOptions,
    issuer: OnceLock<Arc<Issuer>>,
    tokens: AtomicU64,
    key_requests: AtomicU64,
}

/// A running identity provider. Dropping it stops it.
pub struct Server {
    shared: Arc<Shared>,
    issuer: Arc<Issuer>,
    serving: Serving,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts an identity provider with fresh keys.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: IdentityOptions) -> io::Result<Self> {
        let (bind, tls) = (options.bind, Arc::clone(&options.tls));
        let shared = Arc::new(Shared { options, issuer: OnceLock::new(), tokens: AtomicU64::new(0), key_requests: AtomicU64::new(0) });
        let for_requests = Arc::clone(&shared);
        let serving = serve(bind, tls, move |request, cut| {
            let shared = Arc::clone(&for_requests);
            async move {
                match shared.options.faults.meet(&cut).await? {
                    Some(refused) => Ok(failing(refused)),
                    None => Ok(answer(&shared, request).await),
                }
            }
        })
        .await?;
        let url = format!("https://{}:{}", shared.options.host, serving.addr().port());
        let issuer = Arc::new(Issuer::new(url, shared.options.audience.clone()));
        let _ = shared.issuer.set(Arc::clone(&issuer));
        Ok(Self { shared, issuer, serving })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.serving.addr()
    }

    /// `https://host:port`: the authority of token requests and the issuer of phone users' tokens.
    pub fn base_url(&self) -> &str {
        self.issuer.url()
    }

    /// Mints phone users' tokens and rotates keys.
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// The next requests are answered with these statuses (429 carries `Retry-After: 1`), whatever they ask.
    pub fn fail_next(&self, statuses: impl IntoIterator<Item = u16>) {
        let status = |code| ServiceFault::Status { code, retry_after_s: (code == 429).then_some(1) };
        self.shared.options.faults.script(statuses.into_iter().map(status));
    }

    /// Access tokens given out so far.
    pub fn tokens_issued(&self) -> u64 {
        self.shared.tokens.load(Ordering::Relaxed)
    }

    /// How often the key set was fetched.
    pub fn key_requests(&self) -> u64 {
        self.shared.key_requests.load(Ordering::Relaxed)
    }

    /// Closes every connection and waits until all tasks are done.
    pub async fn stop(self) {
        self.serving.stop().await;
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let Some(issuer) = shared.issuer.get() else {
        return failing((503, None));
    };
    let (head, body) = request.into_parts();
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or(&shared.options.host);
    let place = Place { host, options: &shared.options };
    let path = head.uri.path();
    if head.method == Method::POST {
        let Some(tenant) = place.tenant_of_token_endpoint(path) else {
            return json_of(404, &json!({}));
        };
        let Ok(body) = Limited::new(body, MAX_REQUEST).collect().await else {
            return json_of(413, &json!({}));
        };
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let is_form = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let form = if is_form { form_of(&body.to_bytes()) } else { Vec::new() };
        let audiences = place.audiences(issuer.url(), tenant);
        return token(shared, tokens::issue(&shared.options, tenant, &form, header(AUTHORIZATION), &audiences));
    }
    if head.method != Method::GET {
        return json_of(405, &json!({}));
    }
    if path == "/jwks" || place.is_key_set(path) {
        shared.key_requests.fetch_add(1, Ordering::Relaxed);
        return json_of(200, &issuer.jwks());
    }
    let query = form_of(head.uri.query().unwrap_or_default().as_bytes());
    if path == "/authorize" || place.is_authorization(path) {
        return authorize(&query);
    }
    match path {
        "/.well-known/openid-configuration" => json_of(200, &issuer.discovery()),
        "/common/discovery/instance" => match discovery::instance(&place, &query) {
            Ok(document) => json_of(200, &document),
            Err(refused) => json_of(refused.status.as_u16(), &refused.json()),
        },
        path => match place.tenant_of_discovery(path) {
            Some(tenant) if shared.options.has_tenant(tenant) || discovery::FOR_ALL.contains(&tenant) => {
                json_of(200, &discovery::tenant(&place, tenant))
            }
            Some(_) => {
                let refused = tokens::Refused::no_tenant();
                json_of(refused.status.as_u16(), &refused.json())
            }
            None => json_of(404, &json!({})),
        },
    }
}

/// Nobody sits before a screen here: the browser is sent back with the word for that (OpenID Connect Core, section 3.1.2.6).
fn authorize(query: &[(String, String)]) -> Response<Body> {
    let field = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let back = field("redirect_uri").and_then(|to| reqwest::Url::parse(to).ok());
    let Some(mut back) = back else {
        return json_of(400, &json!({ "error": "invalid_request", "error_description": "AADSTS900144: redirect_uri is missing." }));
    };
    back.query_pairs_mut().append_pair("error", "login_required");
    if let Some(state) = field("state") {
        back.query_pairs_mut().append_pair("state", state);
    }
    let mut response = json_of(302, &json!({}));
    match HeaderValue::from_str(back.as_str()) {
        Ok(to) => response.headers_mut().insert(LOCATION, to),
        Err(_) => return json_of(400, &json!({ "error": "invalid_request" })),
    };
    response
}

fn token(shared: &Shared, issued: Result<Value, tokens::Refused>) -> Response<Body> {
    match issued {
        Ok(token) => {
            shared.tokens.fetch_add(1, Ordering::Relaxed);
            json_of(200, &token)
        }
        Err(refused) => {
            if refused.is_misuse {
                shared.options.witness.misuse(Misuse {
                    server: "identity",
                    rule: "token-request",
                    detail: refused.json()["error"].to_string(),
                });
            }
            json_of(refused.status.as_u16(), &refused.json())
        }
    }
}

/// The fields of a form.
pub(super) fn form_of(body: &[u8]) -> Vec<(String, String)> {
    // A relative address parses with a base; its query has the same syntax as a form.
    let mut url = reqwest::Url::parse("https://form.invalid/").expect("a constant address");
    url.set_query(std::str::from_utf8(body).ok());
    url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
}

fn failing((status, retry_after_s): Refused) -> Response<Body> {
    let mut response = json_of(status, &json!({ "error": "temporarily_unavailable" }));
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn json_of(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

//! The API as its callers see it: a listening server, a real client, stores in memory.

mod bodies;
mod identity;
mod keys;
mod limits;
mod listening;
mod stories;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use postrider_actors::ids::{MailboxId, NodeId, Session, ShardId, TenantId};
use postrider_actors::ports::registry_store::{AuditLine, Role};
use postrider_actors::ports::{Clock, RegistryStore};
use postrider_actors::snapshot::{Control, JournalLine, MailboxSnapshot, NodeSnapshot, NodeState, Phase};
use postrider_actors::testing::memory::MemoryStore;
use postrider_actors::time::{Monotonic, Timestamp};
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::auth::fetch::{Fetch, FetchError};
use crate::api::server::{Reload, ServeError};
use crate::api::{Api, ApiParts, Tenant, key};
use crate::config::api::Api as ApiSettings;
use crate::config::from_toml;
use crate::http::install_tls_provider;

/// When the tests happen: 2027-01-15 08:00 UTC.
const NOW_SECONDS: i64 = 1_800_000_000;
const DEVICES: &str = "/v1/mailboxes/ann@example.com/devices";
const PHONE: &str = "/v1/mailboxes/ann@example.com/devices/phone-1";
const GOOD: &str = r#"{"provider":"apns","app":"com.example.mail","token":"00ff"}"#;

/// A clock that stands until it is moved.
#[derive(Default)]
struct StillClock(AtomicI64);

impl StillClock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(NOW_SECONDS * 1_000_000 + self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(1_000_000_000 + self.0.load(Ordering::SeqCst))
    }
}

/// A core that notes who is woken and says what the test wants.
struct Core {
    woken: Mutex<Vec<ShardId>>,
    state: Mutex<NodeState>,
    gate_open: AtomicBool,
}

#[async_trait]
impl Control for Core {
    fn shard_changed(&self, shard: ShardId) {
        self.woken.lock().unwrap().push(shard);
    }

    fn node(&self) -> NodeSnapshot {
        NodeSnapshot {
            node: NodeId("n1".into()),
            session: Session(7),
            state: *self.state.lock().unwrap(),
            gate_open: self.gate_open.load(Ordering::SeqCst),
            sending_allowed: true,
            shards: 8,
            mailboxes: [0, 0, 0, 1, 0, 0],
        }
    }

    async fn mailbox(&self, mailbox: MailboxId) -> Option<MailboxSnapshot> {
        let journal = vec![JournalLine { at: Timestamp(NOW_SECONDS * 1_000_000 - 5), what: "the server told of new mail".into() }];
        Some(MailboxSnapshot { mailbox, phase: Phase::Live, due: None, restarts: 0, journal })
    }
}

/// What identity providers publish, by address; counts how often it is read.
#[derive(Default)]
struct Documents {
    published: Mutex<HashMap<String, Value>>,
    down: AtomicBool,
    reads: AtomicUsize,
}

impl Documents {
    fn publish(&self, url: &str, document: Value) {
        self.published.lock().unwrap().insert(url.to_owned(), document);
    }
}

#[async_trait]
impl Fetch for Documents {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(FetchError::Unreachable("down".into()));
        }
        let published = self.published.lock().unwrap();
        published.get(url).map(|document| document.to_string().into_bytes()).ok_or(FetchError::Status(404))
    }
}

/// A node's API and everything around it.
struct World {
    base: String,
    admin: String,
    store: MemoryStore,
    clock: Arc<StillClock>,
    core: Arc<Core>,
    documents: Arc<Documents>,
    client: reqwest::Client,
    reload: Reload,
    stop: CancellationToken,
    running: JoinHandle<Result<(), ServeError>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const TENANT: &str = "
allowed_domains = ['example.com', 'Example.ORG']
mail.basic = { user = 'u', password = { env = 'PATH' } }
identity = { issuer = 'https://id.example.com', audience = 'push', claim = 'upn', jwks_url = 'https://id.example.com/keys' }
";

/// A node with two tenants, after `change` to its settings.
fn parts(change: impl FnOnce(&mut ApiSettings)) -> (ApiParts, MemoryStore, Arc<StillClock>, Arc<Core>, Arc<Documents>) {
    install_tls_provider();
    let clock = Arc::new(StillClock::default());
    let store = MemoryStore::new(clock.clone());
    let core = Arc::new(Core { woken: Mutex::default(), state: Mutex::new(NodeState::Good), gate_open: AtomicBool::new(true) });
    let documents = Arc::new(Documents::default());
    let mut settings = ApiSettings { listen: "127.0.0.1:0".parse().unwrap(), ..Default::default() };
    change(&mut settings);
    let first = from_toml(TENANT).unwrap();
    let second = from_toml(
        "allowed_domains = ['other.example']\nmail.basic = { user = 'u', password = { env = 'PATH' } }\nallow_key_enrolment = false",
    )
    .unwrap();
    let parts = ApiParts {
        registry: Arc::new(store.clone()),
        cluster: Arc::new(store.clone()),
        control: core.clone(),
        clock: clock.clone(),
        settings,
        tenants: vec![Tenant::new("acme", &first), Tenant::new("other", &second)],
        metrics_text: Arc::new(|| "postrider_up 1\n".to_owned()),
        fetch: documents.clone(),
        serves: Arc::new(|channel| &*channel.app != "com.example.unknown"),
    };
    (parts, store, clock, core, documents)
}

async fn start(change: impl FnOnce(&mut ApiSettings)) -> World {
    started(parts(change)).await
}

/// A node that serves the first of the two tenants only.
async fn start_for_one_tenant() -> World {
    let mut all = parts(|_| {});
    all.0.tenants.truncate(1);
    started(all).await
}

async fn started((parts, store, clock, core, documents): (ApiParts, MemoryStore, Arc<StillClock>, Arc<Core>, Arc<Documents>)) -> World {
    let scheme = if parts.settings.tls.is_some() { "https" } else { "http" };
    let server = Api::new(parts).bind().unwrap();
    let base = format!("{scheme}://{}", server.public_address().unwrap());
    let admin = format!("{scheme}://{}", server.admin_address().unwrap());
    let stop = CancellationToken::new();
    let reload = server.reload();
    let running = tokio::spawn(server.run(stop.clone()));
    World { base, admin, store, clock, core, documents, client: client(), reload, stop, running }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(no_tls()).timeout(Duration::from_secs(20)).build().unwrap()
}

/// A client needs trust roots even for plain HTTP.
fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    kind: String,
    retry_after: Option<String>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// It is a problem with this status and code.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.kind, "application/problem+json", "{self:?}");
        let json = self.json();
        assert_eq!((self.status, json["code"].as_str(), json["status"].as_u64()), (status, Some(code), Some(status.into())), "{self:?}");
        assert!(json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{self:?}");
        assert_eq!(json["type"].as_str(), Some(format!("urn:postrider:problem:{code}").as_str()));
        self
    }

    #[track_caller]
    fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl World {
    /// Makes a key as the command line does.
    async fn key(&self, tenant: &str, role: Role) -> String {
        let (kept, shown) = key::generate(role, TenantId(tenant.into()), "", self.clock.now());
        self.store.key_create(&kept).await.unwrap();
        shown.expose().to_owned()
    }

    async fn send(&self, method: Method, path: &str, credentials: &str, body: Option<&str>) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if !credentials.is_empty() {
            request = request.bearer_auth(credentials);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        answer(request).await
    }

    async fn put(&self, path: &str, credentials: &str, body: &str) -> Answer {
        self.send(Method::PUT, path, credentials, Some(body)).await
    }

    async fn get(&self, path: &str, credentials: &str) -> Answer {
        self.send(Method::GET, path, credentials, None).await
    }

    fn audit(&self) -> Vec<AuditLine> {
        self.store.read(|model| model.audit.clone())
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (status, kind, retry_after) = (response.status().as_u16(), header("content-type").unwrap_or_default(), header("retry-after"));
    Answer { status, kind, retry_after, text: response.text().await.unwrap() }
}

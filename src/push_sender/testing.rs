//! The stage for tests of the push side: Apple and Google simulated over real TLS and HTTP/2, a server that answers by script, pushes to send.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use postrider_actors::ids::{EventKey, ItemId, TenantId};
use postrider_actors::ports::Clock;
use postrider_actors::ports::push_sender::{Channel, Content, Provider, Push, PushSender, PushToken, Verdict};
use postrider_actors::time::{Monotonic, Timestamp};
use postrider_loadtest::apple::{self, Apple};
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::google::{self, Google};
use postrider_loadtest::ledger::Ledger;
use postrider_loadtest::phones::Phones;
use postrider_loadtest::tls::{ALPN_H2, ALPN_HTTP_1_1, Authority};
use tempfile::TempDir;

use super::PushSenders;
use crate::clock::SystemClock;
use crate::config::{from_toml, push as config};

/// The app on all phones of the stage.
pub(crate) const APP: &str = Credentials::APP;

/// Making an RSA key takes a while; one set serves all tests.
pub(crate) fn credentials() -> &'static Credentials {
    static CREDENTIALS: OnceLock<Credentials> = OnceLock::new();
    CREDENTIALS.get_or_init(Credentials::generate)
}

/// The machine's clocks, set forward by a test.
#[derive(Default)]
pub(crate) struct Clocks {
    system: SystemClock,
    forward: AtomicI64,
}

impl Clocks {
    pub(crate) fn forward(&self, by: Duration) {
        self.forward.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    fn ahead(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.forward.load(Ordering::SeqCst)).unwrap())
    }
}

impl Clock for Clocks {
    fn now(&self) -> Timestamp {
        self.system.now() + self.ahead()
    }

    fn monotonic(&self) -> Monotonic {
        self.system.monotonic() + self.ahead()
    }
}

/// Both services, and senders with credentials for them.
pub(crate) struct Stage {
    pub(crate) apple: Apple,
    pub(crate) google: Google,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) senders: Arc<PushSenders>,
    pub(crate) clock: Arc<Clocks>,
    _files: TempDir,
}

pub(crate) async fn stage() -> Stage {
    stage_with(|_, _| {}, |_| {}).await
}

/// A stage with other services or another configuration.
pub(crate) async fn stage_with(
    services: impl FnOnce(&mut apple::Options, &mut google::Options),
    configure: impl FnOnce(&mut config::Push),
) -> Stage {
    let made = credentials();
    let ledger = Arc::new(Ledger::new(Duration::from_secs(3)));
    let tls = |alpn: &[&[u8]]| Arc::new(made.authority.server_config(&["localhost"], alpn));
    let phones = || Arc::new(Phones::new(true));
    let mut apple = apple::Options::new(tls(&[ALPN_H2]), phones(), Arc::clone(&ledger));
    let mut google = google::Options::new(tls(&[ALPN_H2, ALPN_HTTP_1_1]), phones(), Arc::clone(&ledger));
    services(&mut apple, &mut google);
    let (apple, google) = (Apple::start(apple).await.unwrap(), Google::start(google).await.unwrap());
    apple.add_key(Credentials::APNS_KID, Credentials::APNS_TEAM, made.apns_key.public_key_raw());
    google.set_account(Credentials::FCM_EMAIL, made.fcm_key.public_key_raw());
    let (mut push, files) = configuration(apple.address().port(), google.address().port());
    configure(&mut push);
    let clock = Arc::new(Clocks::default());
    let port: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let senders = Arc::new(PushSenders::new(&push, &port).unwrap());
    Stage { apple, google, ledger, senders, clock, _files: files }
}

/// A configuration for services on these ports, and the folder that holds its files.
pub(crate) fn configuration(apple: u16, google: u16) -> (config::Push, TempDir) {
    let made = credentials();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let root = file("root.pem", &made.authority.ca_pem());
    let key = file("key.p8", &made.apns_key.serialize_pem());
    let account = file("account.json", &made.fcm_account_json(&format!("https://localhost:{google}/token")));
    let (kid, team) = (Credentials::APNS_KID, Credentials::APNS_TEAM);
    let push = from_toml(&format!(
        r#"
        [[apns]]
        tenant = "example"
        app = "{APP}"
        team_id = "{team}"
        key_id = "{kid}"
        key = {{ file = "{key}" }}
        url = "https://localhost:{apple}"
        sandbox_url = "https://localhost:{apple}"
        roots = ["{root}"]
        [[fcm]]
        tenant = "example"
        app = "{APP}"
        service_account = {{ file = "{account}" }}
        url = "https://localhost:{google}"
        token_hosts = ["localhost"]
        roots = ["{root}"]
        "#
    ));
    (push.unwrap(), files)
}

impl Stage {
    /// Sends one push, as the core does.
    pub(crate) async fn send(&self, push: Push) -> Verdict {
        send(&self.senders, push).await
    }

    /// Sends many at once, in order of their numbers.
    pub(crate) async fn send_all(&self, pushes: impl Iterator<Item = Push>) -> Vec<Verdict> {
        let tasks: Vec<_> = pushes
            .map(|push| {
                let senders = Arc::clone(&self.senders);
                tokio::spawn(async move { send(&senders, push).await })
            })
            .collect();
        let mut verdicts = Vec::new();
        for task in tasks {
            verdicts.push(task.await.unwrap());
        }
        verdicts
    }

    /// The rules that were broken, by name.
    pub(crate) fn misuse(&self) -> Vec<String> {
        self.ledger.judge().misuse.into_iter().map(|misuse| format!("{} x {} {:?}", misuse.count, misuse.rule, misuse.examples)).collect()
    }

    /// How often a provider refused for this reason.
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.ledger.judge().refusals.iter().filter(|refusal| refusal.reason == reason).map(|refusal| refusal.count).sum()
    }
}

async fn send(senders: &PushSenders, push: Push) -> Verdict {
    match senders.permit(&push.channel).await {
        Ok(permit) => senders.send(permit, push).await,
        Err(verdict) => verdict,
    }
}

/// A push with details to the phone of this number.
pub(crate) fn mail(provider: Provider, number: u32) -> Push {
    let event = EventKey::of_item(&ItemId(format!("mail {number}").into()));
    Push {
        channel: Channel { tenant: TenantId("example".into()), provider, app: APP.into() },
        token: PushToken(format!("{number:064x}").into()),
        id: uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &number.to_be_bytes()),
        event,
        content: Content::Details { sender: "Ann Example".into(), subject: "Hello".into(), preview: "How are you?".into() },
        badge: Some(number % 100),
        count: 1,
        hashes: vec![event],
        expires_at: SystemClock::default().now() + Duration::from_secs(3600),
    }
}

/// A server of the stage's authority that answers every request as the script says, by its number from 0, path and body; `None` is never answered.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    asked: Arc<AtomicUsize>,
}

/// What a script says.
pub(crate) type Line = Option<(u16, String)>;

impl Scripted {
    pub(crate) async fn start(script: impl Fn(usize, &str, &[u8]) -> Line + Send + Sync + 'static) -> Self {
        Self::with_authority(&credentials().authority, script).await
    }

    pub(crate) async fn with_authority(authority: &Authority, script: impl Fn(usize, &str, &[u8]) -> Line + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(authority.server_config(&["localhost"], &[ALPN_H2])));
        let asked = Arc::new(AtomicUsize::new(0));
        let (script, counter) = (Arc::new(script), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, script, counter) = (acceptor.clone(), Arc::clone(&script), Arc::clone(&counter));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        serve(stream, &*script, &counter).await;
                    }
                });
            }
        });
        Self { port, asked }
    }

    /// How many requests came.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    script: &(impl Fn(usize, &str, &[u8]) -> Line + Send + Sync),
    asked: &AtomicUsize,
) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let mut unanswered = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let path = request.uri().path().to_owned();
        let mut body = request.into_body();
        let mut whole = Vec::new();
        // Requests of the tests are in one piece that came with the head, or are waited for here while the connection is driven.
        loop {
            tokio::select! {
                biased;
                piece = body.data() => match piece {
                    Some(Ok(piece)) => {
                        let _ = body.flow_control().release_capacity(piece.len());
                        whole.extend_from_slice(&piece);
                    }
                    _ => break,
                },
                _ = std::future::poll_fn(|cx| connection.poll_closed(cx)) => return,
            }
        }
        match script(asked.fetch_add(1, Ordering::SeqCst), &path, &whole) {
            None => unanswered.push(respond),
            Some((status, text)) => {
                let head = Response::builder().status(StatusCode::from_u16(status).unwrap()).body(()).unwrap();
                if let Ok(mut out) = respond.send_response(head, false) {
                    let _ = out.send_data(Bytes::from(text), true);
                }
            }
        }
    }
}

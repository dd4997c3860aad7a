//! A company with a simulated Exchange server, and the mail source that watches it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postrider_actors::ids::{ItemId, MailboxId, Smtp, SyncState, TenantId};
use postrider_actors::ports::mail_source::{Change, ChangesPage, Hint, HintSink, MailSource, MailboxRef, SubscriptionRecord};
use postrider_loadtest::exchange::{ExchangeOptions, Server};
use postrider_loadtest::identity::Accounts;
use postrider_loadtest::tls::{ALPN_HTTP_1_1, Authority};
use postrider_loadtest::witness::{Gone, MailFact, Misuse, Witness};
use postrider_loadtest::world::{MailSpec, World};
use tokio::sync::Notify;

use crate::clock::SystemClock;
use crate::config::autodiscover::Autodiscover;
use crate::config::ews::Ews;
use crate::config::from_toml;
use crate::config::tenants::Tenant;
use crate::ews::EwsMailSource;
use crate::http::{ClientOptions, TrustRoots};
use crate::mail_source::{ExchangeParts, assemble};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Remembers which rules were broken.
#[derive(Default)]
struct Rules(Mutex<Vec<String>>);

impl Witness for Rules {
    fn mail_delivered(&self, _: &MailFact) {}
    fn mail_gone(&self, _: &str, _: &str, _: Gone) {}
    fn mail_unread(&self, _: &str, _: &str) {}
    fn mail_renamed(&self, _: &str, _: &str, _: &str) {}
    fn hint_on_wire(&self, _: &str, _: &str, _: Instant) {}
    fn unread_count(&self, _: &str, _: u64) {}
    fn misuse(&self, what: Misuse) {
        self.0.lock().unwrap().push(format!("{}: {}", what.rule, what.detail));
    }
}

/// Remembers hints in order.
#[derive(Default)]
struct Hints {
    seen: Mutex<Vec<(MailboxId, Hint)>>,
    causes: Mutex<Vec<MailboxId>>,
    /// Gaps and losses of which nobody said why.
    unexplained: Mutex<Vec<(MailboxId, Hint)>>,
    gaps: Mutex<Vec<MailboxId>>,
    more: Notify,
}

impl HintSink for Hints {
    fn cause(&self, mailbox: MailboxId, code: &Arc<str>) {
        assert!(!code.is_empty());
        self.causes.lock().unwrap().push(mailbox);
    }

    fn hint(&self, mailbox: MailboxId, hint: Hint) {
        let mut causes = self.causes.lock().unwrap();
        let told = causes.len();
        if matches!(hint, Hint::Gap | Hint::SubscriptionLost { .. }) {
            causes.retain(|known| *known != mailbox);
            if causes.len() == told {
                self.unexplained.lock().unwrap().push((mailbox, hint));
            }
        }
        drop(causes);
        if hint == Hint::Gap {
            self.gaps.lock().unwrap().push(mailbox);
        }
        self.seen.lock().unwrap().push((mailbox, hint));
        self.more.notify_waiters();
    }
}

/// The company.
pub struct Company {
    pub world: Arc<World>,
    pub server: Server,
    pub source: EwsMailSource,
    rules: Arc<Rules>,
    hints: Arc<Hints>,
    roots: TrustRoots,
}

/// What differs from the usual.
pub struct Different<'a> {
    pub mailboxes: usize,
    pub ews: &'a str,
    pub mail: &'a str,
    pub options: &'a dyn Fn(&mut ExchangeOptions),
    /// Makes the server's TLS of an authority that the source trusts.
    pub tls: &'a dyn Fn(&Authority) -> rustls::ServerConfig,
}

impl Default for Different<'_> {
    fn default() -> Self {
        let tls = |authority: &Authority| authority.server_config(&["localhost"], &[ALPN_HTTP_1_1]);
        Self { mailboxes: 3, ews: "", mail: "", options: &|_| {}, tls: Box::leak(Box::new(tls)) }
    }
}

/// Settings under which tests are quick.
const QUICK: &str = "join_quiet = \"50ms\"\njoin_limit = \"300ms\"\nretry_first = \"20ms\"\nretry_limit = \"1s\"\nwait_deadline = \"10s\"\ncall_deadline = \"5s\"\n";

impl Company {
    pub async fn usual() -> Self {
        Self::different(Different::default()).await
    }

    pub async fn different(different: Different<'_>) -> Self {
        let rules = Arc::new(Rules::default());
        let world = World::new(rules.clone() as Arc<dyn Witness>);
        for n in 1..=different.mailboxes {
            world.add_mailbox(&address(n));
        }
        let authority = Authority::new();
        let accounts = Arc::new(Accounts::new([("CORP\\svc".to_owned(), "secret".to_owned())]));
        let mut options = ExchangeOptions::new(Arc::clone(&world), accounts, Arc::new((different.tls)(&authority)));
        (different.options)(&mut options);
        let server = Server::start(options).await.unwrap();
        let roots = TrustRoots::only("test root", authority.ca_pem().as_bytes()).unwrap();
        let source = source(&roots, &server.ews_url(), &different);
        let hints = Arc::new(Hints::default());
        source.set_sink(hints.clone());
        Self { world, server, source, rules, hints, roots }
    }

    /// The mail source of another node.
    pub fn another_source(&self) -> EwsMailSource {
        source(&self.roots, &self.server.ews_url(), &Different::default())
    }

    /// Watches a mailbox until its stream is open.
    pub async fn watch(&self, n: usize) -> SubscriptionRecord {
        let record = self.source.watch(&mailbox(n), None).await.unwrap();
        self.hinted(n, |hint| hint == Hint::StreamOpened).await;
        record
    }

    /// Delivers a mail.
    pub fn deliver(&self, n: usize) -> ItemId {
        let id = self.world.deliver(&address(n), MailSpec::new("Ada", "Notes", "Dear reader")).unwrap();
        ItemId(id.into())
    }

    /// Waits until a mailbox has had a hint of this kind, and forgets its hints up to it.
    pub async fn hinted(&self, n: usize, wanted: impl Fn(Hint) -> bool) -> Hint {
        let mailbox = MailboxId(i64::try_from(n).unwrap());
        let found = async {
            loop {
                let mut more = std::pin::pin!(self.hints.more.notified());
                more.as_mut().enable();
                {
                    let mut seen = self.hints.seen.lock().unwrap();
                    if let Some(at) = seen.iter().position(|(whose, hint)| *whose == mailbox && wanted(*hint)) {
                        let hint = seen[at].1;
                        let mut index = 0;
                        seen.retain(|(whose, _)| {
                            index += 1;
                            *whose != mailbox || index > at + 1
                        });
                        return hint;
                    }
                }
                more.await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("no such hint for {n}; seen {:?}", self.hints.seen.lock().unwrap()))
    }

    /// Waits for mail.
    pub async fn mail_hinted(&self, n: usize) {
        self.hinted(n, |hint| matches!(hint, Hint::Touched { mail: true, .. })).await;
    }

    /// All changes since a state.
    pub async fn drain(&self, n: usize, mut state: Option<SyncState>) -> (Vec<Change>, SyncState) {
        let mut changes = Vec::new();
        loop {
            let ChangesPage { changes: page, state: next, complete } = self.source.changes(&mailbox(n), state.as_ref()).await.unwrap();
            changes.extend(page);
            if complete {
                return (changes, next);
            }
            state = Some(next);
        }
    }

    /// None of these was ever told of a gap.
    pub fn no_gap(&self, mailboxes: impl IntoIterator<Item = usize>) {
        let gaps = self.hints.gaps.lock().unwrap();
        for n in mailboxes {
            assert!(!gaps.contains(&mailbox(n).id), "a gap for {n}");
        }
    }

    /// The server saw nothing that it would refuse.
    pub fn no_misuse(&self) {
        let unexplained = self.hints.unexplained.lock().unwrap();
        assert!(unexplained.is_empty(), "without a cause: {unexplained:?}");
        assert_eq!(*self.rules.0.lock().unwrap(), Vec::<String>::new());
    }
}

/// Waits for a condition that has no event of its own.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while !condition() {
            looks.tick().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

pub fn address(n: usize) -> String {
    format!("user{n:03}@corp.example")
}

pub fn mailbox(n: usize) -> MailboxRef {
    let id = MailboxId(i64::try_from(n).unwrap());
    MailboxRef { id, tenant: TenantId("corp".into()), smtp: Arc::new(Smtp::new(&address(n))) }
}

/// Makes a source for one tenant whose EWS address is configured.
fn source(roots: &TrustRoots, url: &str, different: &Different<'_>) -> EwsMailSource {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "secret").unwrap();
    let place = if different.mail.is_empty() {
        format!("ews_url = \"{url}\"\n")
    } else {
        different.mail.replace("BASE", url.trim_end_matches("/EWS/Exchange.asmx"))
    };
    let tenant: Tenant = from_toml(&format!(
        "allowed_domains = [\"corp.example\"]\n[mail]\n{place}[mail.basic]\nuser = 'CORP\\svc'\npassword = {{ file = '{}' }}\n",
        password.display()
    ))
    .unwrap();
    // A key given twice is a mistake, so the test's own stand in for the usual ones.
    let usual = QUICK.lines().filter(|line| !different.ews.contains(line.split(' ').next().unwrap_or_default()));
    let ews: Ews = from_toml(&format!("{}\n{}", usual.collect::<Vec<_>>().join("\n"), different.ews)).unwrap();
    let tenants = BTreeMap::from([("corp".to_owned(), tenant)]);
    let parts = ExchangeParts {
        ews: &ews,
        autodiscover: &Autodiscover { redirect_and_srv: false, connect_deadline: Duration::from_secs(1), ..Autodiscover::default() },
        tenants: &tenants,
        http: &ClientOptions::new(roots.clone()),
        clock: Arc::new(SystemClock::default()),
        seed: 1,
    };
    assemble(parts).unwrap()
}

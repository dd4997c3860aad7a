//! The push path as the node runs it: delivery actors with rows in hand, devices and marks in SQLite, the sender.
//!
//! Rows and recipients are handed to the actors from memory, and so is what the mails show: that is what "rows in hand" means. All that follows is real.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use postrider::clock::SystemClock;
use postrider::push_sender::PushSenders;
use postrider::store::{Options, SqliteStore};
use postrider_actors::context::Context;
use postrider_actors::delivery::message::{Order, Work};
use postrider_actors::delivery::run::{Begin, run};
use postrider_actors::ids::{
    Authority, DeviceId, EventKey, Generation, ItemId, MailboxId, NodeId, Session, Smtp, SyncSeq, SyncState, TenantId,
};
use postrider_actors::mailbox::message::Message;
use postrider_actors::mailbox::state::Input;
use postrider_actors::ports::cluster_store::{Features, Join};
use postrider_actors::ports::delivery_store::{Mark, Pending, Retry};
use postrider_actors::ports::device_store::{DeviceNow, Recipient};
use postrider_actors::ports::mail_source::{
    BackEnd, ChangesPage, ItemFacts, MailContent, MailSource, MailboxRef, SourceError, SubscriptionRecord,
};
use postrider_actors::ports::mailbox_store::{Commit, DeliveryKind, NewDelivery};
use postrider_actors::ports::registry_store::{Registered, Registration};
use postrider_actors::ports::{Clock, ClusterStore, DeliveryStore, DeviceStore, MailboxStore, Peers, Ports, RegistryStore, StoreError};
use postrider_actors::settings::Settings;
use postrider_actors::time::{Monotonic, Timestamp};
use postrider_loadtest::credentials::Credentials;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::IN_FLIGHT;
use crate::example::{TENANT, channel, token};

/// Mailboxes in one commit.
const BATCH: usize = 200;
const SYNC_STATE: &str = "H4sIAAAA";

/// Mailboxes of one device each, and what their deliveries share.
pub struct Path {
    shared: Arc<Shared>,
    store: SqliteStore,
    hand: Arc<Hand>,
    round: i64,
    _folder: tempfile::TempDir,
}

struct Shared {
    context: Arc<Context>,
    authority: Authority,
    mailboxes: Vec<(MailboxRef, DeviceId)>,
    owner: ActorRef<Message>,
}

impl Path {
    /// Registers so many devices.
    pub async fn start(mailboxes: usize, push: Arc<PushSenders>) -> Self {
        let folder = tempfile::TempDir::new().expect("a folder");
        let clock = Arc::new(SystemClock::default());
        let store = SqliteStore::open(&folder.path().join("bench.db"), Options::new(clock.clone())).await.expect("the file opens");
        let (node, session) = (NodeId("bench".into()), Session(1));
        let join = Join {
            node: node.clone(),
            session,
            weight: 1,
            max_users: 100_000,
            features: Features::default(),
            version: "0".into(),
            addr: String::new(),
            patience: Duration::from_secs(6),
            replaces: None,
        };
        store.join(&join).await.expect("nobody else is there");
        let mut found = Vec::with_capacity(mailboxes);
        for number in 0..mailboxes {
            found.push(register(&store, number, clock.now()).await);
        }
        let beat = store.beat(&node, session, 0).await.expect("the file works").expect("the session lives");
        let authority = Authority { fence: beat.shards[0].epoch, session };
        for seen in beat.shards {
            store.shard_adopt(seen.shard, authority).await.expect("the file works").expect("the shard is ours");
        }
        let hand = Arc::new(Hand { store: store.clone(), pending: std::sync::RwLock::default() });
        let everything = Arc::new(store.clone());
        let ports = Ports {
            clock,
            mail: hand.clone(),
            push,
            cluster: everything.clone(),
            peers: hand.clone(),
            mailboxes: everything.clone(),
            devices: hand.clone(),
            deliveries: hand.clone(),
            registry: everything,
        };
        let context = Context::new(ports, Settings::default());
        context.gate.open_until(Monotonic::NEVER, true);
        let (owner, _) = Actor::spawn(None, Owner, ()).await.expect("an actor");
        let shared = Arc::new(Shared { context, authority, mailboxes: found, owner });
        Self { shared, store, hand, round: 0, _folder: folder }
    }

    /// From the rows in hand to the last verdict marked, with as many workers as may be under way; each delivery is a task, as in the node.
    pub async fn round(&self) {
        let next = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                let (this, next) = (Arc::clone(&self.shared), Arc::clone(&next));
                tokio::spawn(async move {
                    while let Some((mailbox, _)) = this.mailboxes.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let ended = tokio::spawn(run(this.begin(mailbox))).await.expect("no panic");
                        assert!(matches!(ended, Message::Delivered(_, Input::Settled { left: false })), "a row was left behind");
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.expect("no panic");
        }
    }

    /// Commits a row for each device, which puts it in hand.
    pub async fn commit_rows(&mut self) {
        let (seq, now) = (self.round, SystemClock::default().now());
        self.round += 1;
        let mut in_hand = HashMap::new();
        for batch in self.shared.mailboxes.chunks(BATCH) {
            let authority = self.shared.authority;
            let commits: Vec<Commit> = batch.iter().map(|(mailbox, device)| commit(mailbox.id, *device, authority, seq, now)).collect();
            let committed = self.store.sync_state_commit(&commits).await.expect("the file works");
            assert_eq!(committed.inserted.len(), batch.len(), "a row of each");
            for (row, commit) in committed.inserted.iter().flat_map(|row| commits.iter().map(move |commit| (row, commit))) {
                if row.mailbox == commit.mailbox {
                    in_hand.insert(row.mailbox, pending(row.id, &commit.rows[0]));
                }
            }
        }
        *self.hand.pending.write().expect("nobody panicked") = in_hand;
    }
}

impl Shared {
    fn begin(&self, mailbox: &MailboxRef) -> Begin {
        Begin {
            context: self.context.clone(),
            mailbox: mailbox.clone(),
            authority: self.authority,
            order: Order { work: Work::Resend, hinted_at: None, unread: Some(7), badge_now: false, recount: false, hold: true },
            number: 0,
            owner: self.owner.clone(),
            journal: Arc::default(),
            place: None,
            settle: Arc::default(),
        }
    }
}

async fn register(store: &SqliteStore, number: usize, now: Timestamp) -> (MailboxRef, DeviceId) {
    let (tenant, smtp) = (TenantId(TENANT.into()), Smtp::new(&format!("user{number}@example.com")));
    let new = Registration {
        tenant: tenant.clone(),
        smtp: smtp.clone(),
        name: "phone".into(),
        provider: channel().provider,
        app: Credentials::APP.into(),
        token: token(number),
        cutoff: Duration::from_secs(43_200),
        create_mailbox: true,
    };
    let Registered::Done { mailbox, .. } = store.device_register(&new, now).await.expect("the file works") else {
        panic!("the registration was refused")
    };
    let devices = store.device_list(&tenant, &smtp).await.expect("the file works").expect("the mailbox is there");
    (MailboxRef { id: mailbox, tenant, smtp: Arc::new(smtp) }, devices[0].device)
}

fn commit(mailbox: MailboxId, device: DeviceId, authority: Authority, seq: i64, now: Timestamp) -> Commit {
    let item = ItemId(format!("AAMkAGRkN2{}{seq:0>128}", mailbox.0).into());
    let event = EventKey::of_item(&item);
    let row = NewDelivery {
        device,
        generation: Generation(1),
        event,
        group: event,
        kind: DeliveryKind::Mail,
        item: Some(item),
        received_at: now,
        count: 1,
        next_at: now,
        expires_at: now + Duration::from_secs(3600),
    };
    let sync_state = Some(SyncState(SYNC_STATE.into()));
    Commit {
        mailbox,
        authority,
        sync_seq: SyncSeq(seq),
        sync_state,
        seeded: true,
        badge_dirty: false,
        announced_until: now,
        rows: vec![row],
    }
}

fn pending(id: postrider_actors::ids::DeliveryId, row: &NewDelivery) -> Pending {
    Pending {
        id,
        device: row.device,
        generation: row.generation,
        event: row.event,
        group: row.group,
        kind: row.kind,
        item: row.item.clone(),
        received_at: row.received_at,
        count: row.count,
        attempts: 0,
        refused: false,
        next_at: row.next_at,
        expires_at: row.expires_at,
    }
}

/// What is in hand before the clock starts; all else is the store's.
struct Hand {
    store: SqliteStore,
    pending: std::sync::RwLock<HashMap<MailboxId, Pending>>,
}

impl Hand {
    fn row(&self, mailbox: MailboxId) -> Pending {
        self.pending.read().expect("nobody panicked")[&mailbox].clone()
    }
}

#[async_trait]
impl DeliveryStore for Hand {
    async fn pending(&self, mailbox: MailboxId, _: Authority) -> Result<Vec<Pending>, StoreError> {
        Ok(vec![self.row(mailbox)])
    }
    async fn mark(&self, marks: &[Mark]) -> Result<(), StoreError> {
        self.store.mark(marks).await
    }
    async fn schedule(&self, retries: &[Retry]) -> Result<(), StoreError> {
        self.store.schedule(retries).await
    }
    async fn stranded(&self, _: Session, _: Timestamp, _: u32) -> Result<Vec<MailboxId>, StoreError> {
        Ok(Vec::new())
    }
    async fn retain(&self, _: Timestamp, _: u32) -> Result<u32, StoreError> {
        Ok(0)
    }
}

#[async_trait]
impl DeviceStore for Hand {
    async fn recipients(&self, mailbox: MailboxId, _: &[EventKey]) -> Result<Vec<Recipient>, StoreError> {
        let row = self.row(mailbox);
        Ok(vec![Recipient { device: row.device, generation: row.generation, channel: channel(), known: vec![row.event] }])
    }
    async fn devices_now(&self, devices: &[DeviceId]) -> Result<Vec<DeviceNow>, StoreError> {
        self.store.devices_now(devices).await
    }
    async fn device_forget(&self, device: DeviceId, generation: Generation, since: Option<Timestamp>) -> Result<bool, StoreError> {
        self.store.device_forget(device, generation, since).await
    }
}

#[async_trait]
impl MailSource for Hand {
    async fn watch(&self, _: &MailboxRef, _: Option<SubscriptionRecord>) -> Result<SubscriptionRecord, SourceError> {
        Err(SourceError::SubscriptionsFull)
    }
    async fn warm(&self, _: &MailboxRef) -> Result<(), SourceError> {
        Err(SourceError::SubscriptionsFull)
    }
    fn unwatch(&self, _: MailboxId) {}
    fn back_end(&self, mailbox: &MailboxRef) -> BackEnd {
        BackEnd(mailbox.tenant.0.clone())
    }
    async fn changes(&self, _: &MailboxRef, _: Option<&SyncState>) -> Result<ChangesPage, SourceError> {
        Err(SourceError::SyncStateLost)
    }
    async fn received_since(&self, _: &MailboxRef, _: Timestamp, _: usize) -> Result<Vec<ItemFacts>, SourceError> {
        Ok(Vec::new())
    }
    async fn contents(&self, _: &MailboxRef, items: &[ItemId]) -> Result<Vec<Option<MailContent>>, SourceError> {
        let shown = |_| {
            Some(MailContent {
                sender: "Ann Example".into(),
                subject: "Quarterly figures".into(),
                preview: "Please find attached the figures for the quarter.".into(),
                read: false,
            })
        };
        Ok(items.iter().map(shown).collect())
    }
    async fn unread(&self, _: &MailboxRef) -> Result<u32, SourceError> {
        Ok(7)
    }
}

#[async_trait]
impl Peers for Hand {
    async fn probe(&self, _: &str) -> bool {
        false
    }
}

/// Stands in for all mailbox actors: hears that collections are over.
struct Owner;

impl Actor for Owner {
    type Msg = Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Message>, _: Message, (): &mut ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

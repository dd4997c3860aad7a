//! What most clauses begin with: a joined store, a mailbox with a device, adopted.

use std::time::Duration;

use super::members::own_all;
use super::{Fixture, Store};
use crate::ids::{
    Authority, DeliveryId, DeviceId, EventKey, Generation, ItemId, MailboxId, NodeId, Session, ShardId, Smtp, SyncSeq, SyncState, TenantId,
};
use crate::ports::cluster_store::{Beat, Features, Join};
use crate::ports::delivery_store::{Pending, Retry};
use crate::ports::mailbox_store::{Commit, Committed, DeliveryKind, NewDelivery};
use crate::ports::push_sender::{Provider, PushToken};
use crate::ports::registry_store::{Registered, Registration};
use crate::time::Timestamp;

/// A day in the suite's life.
pub const DAY: Duration = Duration::from_secs(24 * 3600);
/// When the suite plays: registrations and rows are dated relative to it.
pub const START: Timestamp = Timestamp(1_700_000_000_000_000);
/// Long enough that no clause waits for it by accident.
pub const LONG: Duration = Duration::from_secs(60);
/// Long enough for anything that is to happen at once.
pub const SOON: Duration = Duration::from_secs(10);
/// The address of the world's mailbox.
pub const ANNA: &str = "anna@example.com";

/// The suite's tenant.
#[must_use]
pub fn tenant() -> TenantId {
    TenantId("main".into())
}

/// A node's name.
#[must_use]
pub fn node() -> NodeId {
    NodeId("node-1".into())
}

/// A joining node.
#[must_use]
pub fn join(session: i64, patience: Duration) -> Join {
    Join {
        node: node(),
        session: Session(session),
        weight: 1,
        max_users: 10_000,
        features: Features::default(),
        version: "1".into(),
        addr: String::new(),
        patience,
        replaces: None,
    }
}

/// A heartbeat that must be answered.
pub async fn beat(store: &impl Store, session: i64) -> Beat {
    store.beat(&node(), Session(session), 0).await.unwrap().expect("the session is alive")
}

/// The authority over a shard, as the session's heartbeat tells it.
pub async fn authority(store: &impl Store, session: i64, shard: ShardId) -> Authority {
    let seen = beat(store, session).await.shards.into_iter().find(|seen| seen.shard == shard).expect("the shard is ours");
    Authority { fence: seen.epoch, session: Session(session) }
}

/// How often the shard's membership changed, as the session's heartbeat tells it.
pub async fn change_seq(store: &impl Store, session: i64, shard: ShardId) -> i64 {
    beat(store, session).await.shards.into_iter().find(|seen| seen.shard == shard).expect("the shard is ours").change_seq
}

/// A registration of a phone.
#[must_use]
pub fn phone(smtp: &str, name: &str, token: &str) -> Registration {
    Registration {
        tenant: tenant(),
        smtp: Smtp::new(smtp),
        name: name.into(),
        provider: Provider::Apns,
        app: "com.example.mail".into(),
        token: PushToken(token.into()),
        cutoff: Duration::from_secs(43_200),
        create_mailbox: true,
    }
}

/// Registers a phone that must be taken.
pub async fn register(store: &impl Store, smtp: &str, name: &str, token: &str, at: Timestamp) -> (MailboxId, ShardId) {
    match store.device_register(&phone(smtp, name, token), at).await.unwrap() {
        Registered::Done { mailbox, shard, .. } => (mailbox, shard),
        refused => panic!("registering was refused: {refused:?}"),
    }
}

/// A device by its name.
pub async fn device(store: &impl Store, smtp: &str, name: &str) -> Option<(DeviceId, Generation)> {
    let list = store.device_list(&tenant(), &Smtp::new(smtp)).await.unwrap()?;
    list.into_iter().find(|device| device.name == name).map(|device| (device.device, device.generation))
}

/// The event of mail number `n`.
#[must_use]
pub fn event(n: i64) -> EventKey {
    EventKey::of_item(&item(n))
}

/// The item id of mail number `n`, with a character that must be escaped.
#[must_use]
pub fn item(n: i64) -> ItemId {
    ItemId(format!("AAMk\"{n}/ä=").into())
}

/// A joined store with one watched mailbox of one device, adopted.
pub struct World<S> {
    /// The store of the process that owns everything.
    pub store: S,
    /// Its session.
    pub session: i64,
    /// Over the mailbox.
    pub authority: Authority,
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its shard.
    pub shard: ShardId,
    /// Its device `phone` with token `token-anna`.
    pub device: DeviceId,
    /// The device's registration.
    pub generation: Generation,
}

impl<S: Store> World<S> {
    /// Sets it up.
    pub async fn new(fixture: &impl Fixture<Store = S>) -> Self {
        Self::on(fixture.store().await).await
    }

    /// Sets it up on a store that nobody joined yet.
    pub async fn on(store: S) -> Self {
        own_all(&store, 1).await;
        let (mailbox, shard) = register(&store, ANNA, "phone", "token-anna", START).await;
        let (device, generation) = device(&store, ANNA, "phone").await.unwrap();
        let authority = authority(&store, 1, shard).await;
        store.shard_adopt(shard, authority).await.unwrap().expect("the shard is ours");
        Self { store, session: 1, authority, mailbox, shard, device, generation }
    }

    /// A row that announces mail number `n` on the device.
    #[must_use]
    pub fn row(&self, n: i64) -> NewDelivery {
        NewDelivery {
            device: self.device,
            generation: self.generation,
            event: event(n),
            group: event(n + 1),
            kind: DeliveryKind::Mail,
            item: Some(item(n)),
            received_at: START + Duration::from_secs(n.unsigned_abs()),
            count: 1,
            next_at: START + Duration::from_secs(n.unsigned_abs()),
            expires_at: START + DAY,
        }
    }

    /// An entry that reads commit number `seq` and covers the rows.
    #[must_use]
    pub fn entry(&self, seq: i64, rows: Vec<NewDelivery>) -> Commit {
        Commit {
            mailbox: self.mailbox,
            authority: self.authority,
            sync_seq: SyncSeq(seq),
            sync_state: Some(SyncState(format!("state \"{seq}\" ü").into())),
            seeded: true,
            badge_dirty: false,
            announced_until: START,
            rows,
        }
    }

    /// Commits one entry.
    pub async fn commit(&self, seq: i64, rows: Vec<NewDelivery>) -> Committed {
        self.store.sync_state_commit(&[self.entry(seq, rows)]).await.unwrap()
    }

    /// A row of mail 1 that was tried and definitely not taken, due at once.
    #[must_use]
    pub fn retry(&self, id: DeliveryId) -> Retry {
        let (mailbox, authority, group) = (self.mailbox, self.authority, event(2));
        Retry { id, mailbox, authority, group, next_at: START, ended: true, refused: true, reason: "429".into() }
    }

    /// The rows that wait, as the world's session reads them.
    pub async fn pending(&self) -> Vec<Pending> {
        self.store.pending(self.mailbox, self.authority).await.unwrap()
    }

    /// The number of the last commit.
    pub async fn seq(&self) -> i64 {
        self.store.mailbox_load(self.mailbox, self.authority).await.unwrap().expect("the mailbox is ours").sync_seq.0
    }

    /// Another session of the same process takes over and adopts the mailbox's shard.
    pub async fn replaced(&self, session: i64) -> Authority {
        own_all(&self.store, session).await;
        let authority = authority(&self.store, session, self.shard).await;
        self.store.shard_adopt(self.shard, authority).await.unwrap().expect("the shard is ours");
        authority
    }
}

//! The rows that the in-memory store holds: one plain value, the same tables and columns as the SQL schema has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{
    Authority, DeliveryId, DeviceId, EventKey, Fence, Generation, ItemId, MailboxId, NodeId, Session, ShardId, Smtp, SyncSeq, SyncState,
    TenantId,
};
use crate::ports::cluster_store::{AssignLine, Features, History, Manner, Target};
use crate::ports::delivery_store::Settled;
use crate::ports::mail_source::SubscriptionRecord;
use crate::ports::mailbox_store::DeliveryKind;
use crate::ports::push_sender::{Provider, PushToken};
use crate::ports::registry_store::{ApiKey, AuditLine};
use crate::snapshot::NodeState;
use crate::time::Timestamp;

/// How long a mailbox without devices keeps its state and its `watch_since`.
pub(super) const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A row of `node`.
#[derive(Debug, Clone)]
pub struct NodeRow {
    /// The life of the process behind the name.
    pub session: Session,
    /// Where it stands.
    pub state: NodeState,
    /// Heartbeats so far.
    pub hb_seq: i64,
    /// When the last one was.
    pub hb_at: Timestamp,
    /// Users as it said last.
    pub users: u32,
    /// Its share of the load.
    pub weight: u32,
    /// How many users it may own.
    pub max_users: u32,
    /// What it can do.
    pub features: Features,
    /// Its program's version.
    pub version: String,
    /// Where it answers a probe.
    pub addr: String,
}

/// A row of `shard`.
#[derive(Debug, Clone)]
pub struct ShardRow {
    /// Who owns it.
    pub owner: Option<Session>,
    /// Since which change of ownership.
    pub epoch: Fence,
    /// How often its membership changed.
    pub change_seq: i64,
    /// To whom it is to be handed over.
    pub target: Option<Target>,
    /// What its owner must be able to do.
    pub requires: Features,
}

/// A row of `mailbox`.
#[derive(Debug, Clone)]
pub struct MailboxRow {
    /// Whose settings apply.
    pub tenant: TenantId,
    /// Its address.
    pub smtp: Arc<Smtp>,
    /// Its shard.
    pub shard: ShardId,
    /// The stamp of its owner; none before its first adoption.
    pub authority: Option<Authority>,
    /// Commits so far.
    pub sync_seq: SyncSeq,
    /// Where the next sync starts.
    pub sync_state: Option<SyncState>,
    /// Whether its state was drained once.
    pub seeded: bool,
    /// Whether a badge change waits.
    pub badge_dirty: bool,
    /// Mail before this is quiet.
    pub watch_since: Timestamp,
    /// The newest receive time announced.
    pub announced_until: Timestamp,
    /// When it lost its last device; none while it has one or never had any.
    pub unwatched_at: Option<Timestamp>,
    /// The subscription of its owner.
    pub subscription: Option<SubscriptionRecord>,
}

/// A row of `device`.
#[derive(Debug, Clone)]
pub struct DeviceRow {
    /// Whose it is.
    pub mailbox: MailboxId,
    /// The app's own name of it.
    pub name: String,
    /// Its provider.
    pub provider: Provider,
    /// Its app.
    pub app: Arc<str>,
    /// Its token, one row per app and token.
    pub token: PushToken,
    /// How often token, app or provider changed.
    pub generation: Generation,
    /// When it was registered last.
    pub registered_at: Timestamp,
    /// When it was last used.
    pub last_activity: Timestamp,
    /// Its cut-off.
    pub cutoff: Duration,
}

/// A row of `delivery`.
#[derive(Debug, Clone)]
pub struct DeliveryRow {
    /// Of which mailbox.
    pub mailbox: MailboxId,
    /// For which device.
    pub device: DeviceId,
    /// The registration that was seen.
    pub generation: Generation,
    /// About what.
    pub event: EventKey,
    /// Carried by which push.
    pub group: EventKey,
    /// Mail or badge.
    pub kind: DeliveryKind,
    /// Which mail; none once settled.
    pub item: Option<ItemId>,
    /// When the mail was received.
    pub received_at: Timestamp,
    /// How many mails it stands for.
    pub count: u32,
    /// The fence that it was committed under.
    pub fence: Fence,
    /// How it ended; none while PENDING.
    pub settled: Option<Settled>,
    /// The last code.
    pub reason: Option<Arc<str>>,
    /// Answered tries.
    pub attempts: u32,
    /// Whether each of them was definitely not taken.
    pub refused: bool,
    /// Due at.
    pub next_at: Timestamp,
    /// Worthless after.
    pub expires_at: Timestamp,
    /// Committed at.
    pub created_at: Timestamp,
    /// Settled at.
    pub settled_at: Option<Timestamp>,
}

/// One matched entry of a commit, for judges.
#[derive(Debug, Clone)]
pub struct CommitRecord {
    /// When.
    pub at: Timestamp,
    /// About which mailbox.
    pub mailbox: MailboxId,
    /// Under which authority.
    pub authority: Authority,
    /// The number that it moved to.
    pub sync_seq: SyncSeq,
    /// The rows that it inserted.
    pub rows: Vec<DeliveryId>,
}

/// All tables.
#[derive(Debug, Clone)]
pub struct Model {
    /// Whether one process owns everything or many share.
    pub manner: Manner,
    /// Which database this is, and how often it was promoted.
    pub database: History,
    /// The database that was accepted.
    pub accepted: History,
    /// Who leads.
    pub leader: Option<Session>,
    /// Changes of ownership, in order.
    pub assign_log: Vec<AssignLine>,
    /// Grows with each change of ownership.
    pub assign_ver: i64,
    /// The switch that pauses all sending.
    pub sending_allowed: bool,
    /// Nodes by name.
    pub nodes: BTreeMap<NodeId, NodeRow>,
    /// All shards.
    pub shards: BTreeMap<ShardId, ShardRow>,
    /// Mailboxes.
    pub mailboxes: BTreeMap<MailboxId, MailboxRow>,
    /// Mailboxes by tenant and address.
    pub addresses: BTreeMap<(TenantId, Arc<Smtp>), MailboxId>,
    /// Devices.
    pub devices: BTreeMap<DeviceId, DeviceRow>,
    /// Delivery rows.
    pub deliveries: BTreeMap<DeliveryId, DeliveryRow>,
    /// The unique key of delivery rows.
    pub events: BTreeMap<(MailboxId, DeviceId, EventKey), DeliveryId>,
    /// API keys.
    pub keys: BTreeMap<String, ApiKey>,
    /// The audit trail.
    pub audit: Vec<AuditLine>,
    /// How many lines went before the first one.
    pub audit_gone: i64,
    /// All matched commits in order, for judges.
    pub history: Vec<CommitRecord>,
    /// The process that holds the file's lock.
    pub(super) lock: Option<u64>,
    /// Whether the owner of the shards is the one that holds (or last held) the lock.
    pub(super) owner_locked: bool,
    pub(super) last_id: i64,
}

impl Model {
    pub(super) fn new(manner: Manner, shards: u16) -> Self {
        let shard = ShardRow { owner: None, epoch: Fence(0), change_seq: 0, target: None, requires: Features::default() };
        let database = History { system_id: "memory".into(), timeline: u32::from(manner == Manner::Shared) };
        Self {
            manner,
            accepted: database.clone(),
            database,
            leader: None,
            assign_log: Vec::new(),
            assign_ver: 0,
            sending_allowed: true,
            nodes: BTreeMap::new(),
            shards: (0..shards).map(|id| (ShardId(id), shard.clone())).collect(),
            mailboxes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            devices: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            events: BTreeMap::new(),
            keys: BTreeMap::new(),
            audit: Vec::new(),
            audit_gone: 0,
            history: Vec::new(),
            lock: None,
            owner_locked: true,
            last_id: 0,
        }
    }

    /// A number that no row had before, nor one of the rows that a promotion lost: it carries the timeline.
    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        Fence::new(self.database.timeline, self.last_id).0
    }

    /// Whether the session is one that may act: known, and neither replaced, judged nor gone.
    pub(super) fn alive(&self, session: Session) -> bool {
        self.nodes.values().any(|node| node.session == session && matches!(node.state, NodeState::Good | NodeState::Draining))
    }

    /// The mailbox, if it carries the authority.
    pub(super) fn owned(&mut self, mailbox: MailboxId, authority: Authority) -> Option<&mut MailboxRow> {
        self.mailboxes.get_mut(&mailbox).filter(|row| row.authority == Some(authority))
    }

    pub(super) fn devices_of(&self, mailbox: MailboxId) -> impl Iterator<Item = (&DeviceId, &DeviceRow)> {
        self.devices.iter().filter(move |(_, row)| row.mailbox == mailbox)
    }

    pub(super) fn membership_changed(&mut self, shard: ShardId) {
        if let Some(row) = self.shards.get_mut(&shard) {
            row.change_seq += 1;
        }
    }

    /// Ends a device: its PENDING rows die of `reason`, and the watch ends if it was the last one of its mailbox.
    pub(super) fn device_end(&mut self, device: DeviceId, reason: &str, now: Timestamp) {
        let Some(row) = self.devices.remove(&device) else { return };
        for delivery in self.deliveries.values_mut().filter(|d| d.device == device && d.settled.is_none()) {
            delivery.settle(Settled::Dead, reason.into(), now);
        }
        if self.devices_of(row.mailbox).next().is_none()
            && let Some(mailbox) = self.mailboxes.get_mut(&row.mailbox)
        {
            mailbox.unwatched_at = Some(now);
            let shard = mailbox.shard;
            self.membership_changed(shard);
        }
    }

    pub(super) fn mailbox_end(&mut self, mailbox: MailboxId) -> Option<ShardId> {
        let row = self.mailboxes.remove(&mailbox)?;
        self.addresses.remove(&(row.tenant, row.smtp));
        self.devices.retain(|_, device| device.mailbox != mailbox);
        self.deliveries.retain(|_, delivery| delivery.mailbox != mailbox);
        self.events.retain(|(of, _, _), _| *of != mailbox);
        self.membership_changed(row.shard);
        Some(row.shard)
    }
}

impl DeliveryRow {
    pub(super) fn settle(&mut self, settled: Settled, reason: Arc<str>, now: Timestamp) {
        self.settled = Some(settled);
        self.reason = Some(reason);
        self.item = None;
        self.settled_at = Some(now);
    }
}

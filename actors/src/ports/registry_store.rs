//! The port through which people and phones change what is watched: mailboxes, devices, activity, API keys; and what they may look at.
//!
//! Contract. (1) A provider token belongs to one device row per tenant, provider and app: registering it elsewhere ends the old row and its
//! pending rows in the same transaction. A registration of one tenant never touches a device of another. (2) Registering anew adds one to the generation if the token, app or provider changed. (3) At most
//! [`MAX_DEVICES`] devices per mailbox. (4) Registering the first device begins the watch (`watch_since` = now unless the mailbox was watched within the last
//! 7 days), removing the last one ends it; both move the shard's `change_seq`. (5) Removing a mailbox removes everything about it.
//! (6) These writes are durable when they return. (7) The audit lines of a change are written in the change's own transaction.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{DeviceId, Generation, MailboxId, ShardId, Smtp, TenantId};
use crate::ports::error::StoreError;
use crate::ports::push_sender::{Provider, PushToken};
use crate::ports::registry_change::{AuditAsk, Change, Changed, Of, Signed};
use crate::time::Timestamp;

/// How many devices a mailbox may have.
pub const MAX_DEVICES: usize = 10;

/// A phone that registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Whose settings apply.
    pub tenant: TenantId,
    /// The mailbox.
    pub smtp: Smtp,
    /// The app's own name of the device, 1 to 128 characters of `[A-Za-z0-9._-]`; unique within the mailbox.
    pub name: String,
    /// APNs (either environment) or FCM.
    pub provider: Provider,
    /// Bundle id or package name.
    pub app: Arc<str>,
    /// The provider's token.
    pub token: PushToken,
    /// `pushDowngradeCutoffSec`, 0 to 259,200 seconds.
    pub cutoff: Duration,
    /// Whether a mailbox that is not known may be created.
    pub create_mailbox: bool,
}

/// What registering did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// It is registered.
    Done {
        /// Of which mailbox.
        mailbox: MailboxId,
        /// In which shard: its owner is to be woken.
        shard: ShardId,
        /// Whether the device row is new.
        created: bool,
    },
    /// The mailbox is not known and may not be created.
    NoMailbox,
    /// The mailbox has [`MAX_DEVICES`] devices.
    TooManyDevices,
}

/// A device as its user or an administrator sees it; the token stays inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceView {
    /// Its row.
    pub device: DeviceId,
    /// The app's own name of it.
    pub name: String,
    /// Its provider.
    pub provider: Provider,
    /// Its app.
    pub app: Arc<str>,
    /// Its registration.
    pub generation: Generation,
    /// When it was registered last.
    pub registered_at: Timestamp,
    /// When it was last unlocked and used.
    pub last_activity: Timestamp,
    /// Its cut-off.
    pub cutoff: Duration,
}

/// A mailbox as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxView {
    /// Its row.
    pub mailbox: MailboxId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its address.
    pub smtp: Smtp,
    /// Its shard.
    pub shard: ShardId,
    /// Live devices.
    pub devices: u32,
    /// Whether its state was drained once.
    pub seeded: bool,
    /// Commits so far.
    pub sync_seq: i64,
    /// Mail before this is not announced.
    pub watch_since: Timestamp,
    /// The newest receive time announced.
    pub announced_until: Timestamp,
}

/// A delivery row as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryView {
    /// Short hash of what it is about.
    pub event: String,
    /// The device's own name, if it still exists.
    pub device: Option<String>,
    /// `mail` or `badge`.
    pub kind: &'static str,
    /// `PENDING`, `SENT`, `DEAD` or `SUPERSEDED`.
    pub state: String,
    /// The last code.
    pub reason: Option<String>,
    /// How many mails it stands for.
    pub count: u32,
    /// Answered tries.
    pub attempts: u32,
    /// When the mail was received.
    pub received_at: Timestamp,
    /// When the row was committed.
    pub created_at: Timestamp,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
    /// When it is due, while PENDING.
    pub next_at: Timestamp,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Register, list and remove devices of any mailbox of the tenant (a mobile-management server).
    DeviceManager,
    /// Everything.
    Admin,
}

/// An API key as kept: only its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Public part, found by it.
    pub id: String,
    /// SHA-256 of the secret part.
    pub hash: [u8; 32],
    /// What it may do.
    pub role: Role,
    /// For which tenant.
    pub tenant: TenantId,
    /// A person's note.
    pub note: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLine {
    /// When.
    pub at: Timestamp,
    /// Which key or subject (a key id, or a hash of a user's subject), or the command line.
    pub who: String,
    /// Method and route template, or the command.
    pub what: String,
    /// The object: a shortened address, with the mailbox's number when it was found; a key's id.
    pub object: String,
    /// HTTP status, or the one that a command's outcome is like.
    pub status: u16,
    /// Of which company the caller is; the empty name for the command line.
    pub tenant: TenantId,
}

/// The port itself.
#[async_trait]
pub trait RegistryStore: Send + Sync + 'static {
    /// Carries a change out, with the lines that it leaves in the trail, in one transaction.
    async fn change(&self, change: Change<'_>, signed: Option<&Signed>) -> Result<Changed, StoreError>;
    /// Devices of a mailbox; `None` if the mailbox is not known.
    async fn device_list(&self, tenant: &TenantId, smtp: &Smtp) -> Result<Option<Vec<DeviceView>>, StoreError>;
    /// Mailboxes in order of address after `after`, at most `limit` (<= 1,000).
    async fn mailbox_list(&self, tenant: &TenantId, after: Option<&Smtp>, limit: u32) -> Result<Vec<MailboxView>, StoreError>;
    /// One mailbox.
    async fn mailbox_find(&self, tenant: &TenantId, smtp: &Smtp) -> Result<Option<MailboxView>, StoreError>;
    /// The last `limit` delivery rows of a mailbox, newest first.
    async fn delivery_list(&self, mailbox: MailboxId, limit: u32) -> Result<Vec<DeliveryView>, StoreError>;
    /// Mailboxes that lost their last device before `before` are removed, at most `limit`; says how many.
    async fn mailbox_retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError>;
    /// Finds a key by its public part.
    async fn key_find(&self, id: &str) -> Result<Option<ApiKey>, StoreError>;
    /// All keys.
    async fn key_list(&self) -> Result<Vec<ApiKey>, StoreError>;
    /// Leaves an audit line.
    async fn audit(&self, line: &AuditLine) -> Result<(), StoreError>;
    /// Lines of the trail with their numbers, newest first.
    async fn audit_list(&self, ask: &AuditAsk) -> Result<Vec<(i64, AuditLine)>, StoreError>;
    /// Audit lines left before `before` are removed, oldest first, at most `limit`; says how many.
    async fn audit_retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError>;

    /// Registers a device or registers it anew; counts as activity.
    async fn device_register(&self, registration: &Registration, now: Timestamp) -> Result<Registered, StoreError> {
        match self.change(Change::Register(registration, now), None).await? {
            Changed::Registered(registered) => Ok(registered),
            other => Err(mistaken(&other)),
        }
    }
    /// Changes the cut-off of a device; `false` if there is none.
    async fn device_update(&self, tenant: &TenantId, smtp: &Smtp, name: &str, cutoff: Duration) -> Result<bool, StoreError> {
        found(self.change(Change::Cutoff(Of { tenant, smtp, name }, cutoff), None).await?)
    }
    /// Notes that the device was unlocked and used at `at` (never moves backwards); `false` if there is none.
    async fn device_activity(&self, tenant: &TenantId, smtp: &Smtp, name: &str, at: Timestamp) -> Result<bool, StoreError> {
        found(self.change(Change::Activity(Of { tenant, smtp, name }, at), None).await?)
    }
    /// Removes a device and its pending rows; says the shard whose owner is to be woken, `None` if there was no such device.
    async fn device_remove(&self, tenant: &TenantId, smtp: &Smtp, name: &str) -> Result<Option<ShardId>, StoreError> {
        removed(self.change(Change::DeviceRemove(Of { tenant, smtp, name }), None).await?)
    }
    /// Adds a mailbox (it is watched once it has a device); `false` in the second place if it was there.
    async fn mailbox_add(&self, tenant: &TenantId, smtp: &Smtp, now: Timestamp) -> Result<(MailboxView, bool), StoreError> {
        match self.change(Change::MailboxAdd(tenant, smtp, now), None).await? {
            Changed::Mailbox(view, created) => Ok((view, created)),
            other => Err(mistaken(&other)),
        }
    }
    /// Removes a mailbox and everything about it.
    async fn mailbox_remove(&self, tenant: &TenantId, smtp: &Smtp) -> Result<Option<ShardId>, StoreError> {
        removed(self.change(Change::MailboxRemove(tenant, smtp), None).await?)
    }
    /// Keeps a key.
    async fn key_create(&self, key: &ApiKey) -> Result<(), StoreError> {
        match self.change(Change::KeyCreate(key), None).await? {
            Changed::Found(_) => Ok(()),
            other => Err(mistaken(&other)),
        }
    }
    /// Revokes a key; `false` if there is none.
    async fn key_revoke(&self, id: &str) -> Result<bool, StoreError> {
        found(self.change(Change::KeyRevoke(id), None).await?)
    }
    /// The switch that pauses all sending (also set on a restored copy).
    async fn sending_allow(&self, allowed: bool) -> Result<(), StoreError> {
        found(self.change(Change::Sending(allowed), None).await?).map(drop)
    }
}

fn found(changed: Changed) -> Result<bool, StoreError> {
    match changed {
        Changed::Found(found) => Ok(found),
        other => Err(mistaken(&other)),
    }
}

fn removed(changed: Changed) -> Result<Option<ShardId>, StoreError> {
    match changed {
        Changed::Removed(shard) => Ok(shard),
        other => Err(mistaken(&other)),
    }
}

/// A store that answers another question than it was asked.
#[must_use]
pub fn mistaken(answer: &Changed) -> StoreError {
    StoreError::Unusable(format!("the store answered another change than it was asked for, which is a mistake in the program: {answer:?}"))
}

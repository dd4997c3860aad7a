//! The borders of the core: one trait a file; the contract of each stands in its comment.

pub mod clock;
pub mod cluster_store;
pub mod delivery_store;
pub mod device_store;
pub mod error;
pub mod mail_source;
pub mod mailbox_store;
pub mod peers;
pub mod push_sender;
pub mod registry_change;
pub mod registry_store;

pub use clock::Clock;
pub use cluster_store::ClusterStore;
pub use delivery_store::DeliveryStore;
pub use device_store::DeviceStore;
pub use error::StoreError;
pub use mail_source::{HintSink, MailSource};
pub use mailbox_store::MailboxStore;
pub use peers::Peers;
pub use push_sender::PushSender;
pub use registry_store::RegistryStore;

use std::sync::Arc;

/// Everything that the core reaches the outside through.
#[derive(Clone)]
pub struct Ports {
    /// Both clocks.
    pub clock: Arc<dyn Clock>,
    /// Exchange or Graph, by mailbox.
    pub mail: Arc<dyn MailSource>,
    /// APNs or FCM, by device.
    pub push: Arc<dyn PushSender>,
    /// Membership and ownership.
    pub cluster: Arc<dyn ClusterStore>,
    /// The other nodes, directly.
    pub peers: Arc<dyn Peers>,
    /// Sync states.
    pub mailboxes: Arc<dyn MailboxStore>,
    /// Devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Delivery rows.
    pub deliveries: Arc<dyn DeliveryStore>,
    /// What people and phones change; the core only lets it age.
    pub registry: Arc<dyn RegistryStore>,
}

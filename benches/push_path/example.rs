//! A push like most, as all benches of the push side have it.

use std::time::Duration;

use postrider::clock::SystemClock;
use postrider_actors::ids::{EventKey, ItemId, TenantId};
use postrider_actors::ports::Clock as _;
use postrider_actors::ports::push_sender::{Channel, Content, Provider, Push, PushToken};
use postrider_loadtest::credentials::Credentials;

/// The tenant of all pushes.
pub const TENANT: &str = "example";

/// Where all pushes go.
pub fn channel() -> Channel {
    Channel { tenant: TenantId(TENANT.into()), provider: Provider::Apns, app: Credentials::APP.into() }
}

/// A device token.
pub fn token(number: usize) -> PushToken {
    PushToken(format!("{number:064x}").into())
}

/// A push like most.
pub fn push(number: usize) -> Push {
    let event = EventKey::of_item(&ItemId(format!("mail {number}").into()));
    Push {
        channel: channel(),
        token: token(number),
        id: uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &number.to_be_bytes()),
        event,
        content: Content::Details {
            sender: "Ann Example".into(),
            subject: "Quarterly figures".into(),
            preview: "Please find attached the figures for the quarter.".into(),
        },
        badge: Some(7),
        count: 1,
        hashes: vec![event],
        expires_at: SystemClock::default().now() + Duration::from_secs(3600),
    }
}

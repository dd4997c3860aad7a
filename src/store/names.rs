//! How enumerations are written in rows.

use postrider_actors::ids::EventKey;
use postrider_actors::ports::StoreError;
use postrider_actors::ports::delivery_store::Settled;
use postrider_actors::ports::mailbox_store::DeliveryKind;
use postrider_actors::ports::push_sender::Provider;
use postrider_actors::ports::registry_store::Role;

pub(in crate::store) fn kind(kind: DeliveryKind) -> &'static str {
    match kind {
        DeliveryKind::Mail => "mail",
        DeliveryKind::Badge => "badge",
    }
}

pub(in crate::store) fn kind_of(text: &str) -> Result<DeliveryKind, StoreError> {
    [DeliveryKind::Mail, DeliveryKind::Badge].into_iter().find(|k| kind(*k) == text).ok_or_else(|| unknown("kind"))
}

pub(in crate::store) fn settled(settled: Settled) -> &'static str {
    match settled {
        Settled::Sent => "SENT",
        Settled::Dead => "DEAD",
        Settled::Superseded => "SUPERSEDED",
    }
}

pub(in crate::store) fn provider_of(text: &str) -> Result<Provider, StoreError> {
    let all = [Provider::Apns, Provider::ApnsSandbox, Provider::Fcm];
    all.into_iter().find(|provider| provider.as_str() == text).ok_or_else(|| unknown("provider"))
}

pub(in crate::store) fn role(role: Role) -> &'static str {
    match role {
        Role::DeviceManager => "device_manager",
        Role::Admin => "admin",
    }
}

pub(in crate::store) fn role_of(text: &str) -> Result<Role, StoreError> {
    [Role::DeviceManager, Role::Admin].into_iter().find(|r| role(*r) == text).ok_or_else(|| unknown("role"))
}

pub(in crate::store) fn event_of(bytes: &[u8]) -> Result<EventKey, StoreError> {
    bytes.try_into().map(EventKey).map_err(|_| unknown("event key"))
}

pub(in crate::store) fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

fn unknown(what: &str) -> StoreError {
    StoreError::Unusable(format!("a row holds a {what} that this version of the program does not know: use the newer one"))
}

//! How often the push tokens of one mailbox may change: whoever registers made-up tokens again and again makes the push providers wonder about all of us.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postrider_actors::ports::registry_store::{MAX_DEVICES, Registration};
use postrider_actors::time::Monotonic;

use crate::api::error::ApiError;
use crate::telemetry::metrics::{LimitedBy, api_limited};

/// What the limit is for.
const HOUR: Duration = Duration::from_secs(3_600);
/// How many mailboxes are known; beyond, the one that changed longest ago is forgotten.
const MAILBOXES_MAX: usize = 20_000;

/// A mailbox: its tenant and its address.
type Key = (Box<str>, Box<str>);

#[derive(Default)]
struct Known {
    /// When tokens changed in the last hour, oldest first.
    changes: VecDeque<Monotonic>,
    /// Hashes of devices, and of what each was registered with last.
    devices: VecDeque<(u64, u64)>,
}

/// The limit on one node.
pub struct TokenChanges {
    per_hour: usize,
    mailboxes: Mutex<BTreeMap<Key, Known>>,
}

impl TokenChanges {
    /// Nothing was changed yet.
    #[must_use]
    pub fn new(per_hour: usize) -> Self {
        Self { per_hour, mailboxes: Mutex::default() }
    }

    /// Takes one change from the mailbox's allowance, unless the device is registered with what it had.
    ///
    /// # Errors
    /// `RateLimited`, with the time until the next change may be made.
    pub fn take(&self, registration: &Registration, now: Monotonic) -> Result<(), ApiError> {
        let device = hash(&registration.name);
        let what = hash(&(registration.provider, &registration.app, &*registration.token.0));
        let key: Key = (registration.tenant.0.as_ref().into(), registration.smtp.as_str().into());
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if mailboxes.len() >= MAILBOXES_MAX && !mailboxes.contains_key(&key) {
            let oldest = mailboxes.iter().min_by_key(|(_, known)| known.changes.back().copied()).map(|(key, _)| key.clone());
            oldest.map(|oldest| mailboxes.remove(&oldest));
        }
        let known = mailboxes.entry(key).or_default();
        if known.devices.contains(&(device, what)) {
            return Ok(());
        }
        while known.changes.front().is_some_and(|at| now.since(*at) >= HOUR) {
            known.changes.pop_front();
        }
        if known.changes.len() >= self.per_hour {
            api_limited(LimitedBy::Tokens, 1);
            let oldest = known.changes.front().copied().unwrap_or(now);
            return Err(ApiError::TokenChanges(HOUR.saturating_sub(now.since(oldest))));
        }
        known.changes.push_back(now);
        known.devices.retain(|(of, _)| *of != device);
        if known.devices.len() >= MAX_DEVICES {
            known.devices.pop_front();
        }
        known.devices.push_back((device, what));
        Ok(())
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use postrider_actors::ids::{Smtp, TenantId};
    use postrider_actors::ports::push_sender::{Provider, PushToken};
    use postrider_actors::settings::CUTOFF_DEFAULT;

    use super::*;

    fn registration(smtp: &str, device: &str, token: &str) -> Registration {
        Registration {
            tenant: TenantId("example".into()),
            smtp: Smtp::new(smtp),
            name: device.into(),
            provider: Provider::Apns,
            app: "com.example.mail".into(),
            token: PushToken(token.into()),
            cutoff: CUTOFF_DEFAULT,
            create_mailbox: true,
        }
    }

    #[test]
    fn twenty_changes_an_hour_are_allowed_and_repeats_and_other_mailboxes_are_none() {
        let limit = TokenChanges::new(20);
        let at = |seconds: u64| Monotonic(1) + Duration::from_secs(seconds);
        for n in 0..20 {
            let registration = registration("ada@example.com", "phone", &format!("token {n}"));
            assert_eq!(limit.take(&registration, at(n)), Ok(()), "change {n}");
            assert_eq!(limit.take(&registration, at(n)), Ok(()), "the same again");
        }
        let more = registration("ada@example.com", "tablet", "token 20");
        assert_eq!(limit.take(&more, at(100)), Err(ApiError::TokenChanges(Duration::from_secs(3_500))));
        assert_eq!(limit.take(&registration("ada@example.com", "phone", "token 19"), at(100)), Ok(()), "what it has, it may say");
        assert_eq!(limit.take(&registration("bob@example.com", "phone", "token 20"), at(100)), Ok(()));
        assert_eq!(limit.take(&more, at(3_600)), Ok(()));
        assert!(limit.take(&registration("ada@example.com", "phone", "token 21"), at(3_600)).is_err());
    }

    #[test]
    fn the_memory_for_mailboxes_is_bounded() {
        let limit = TokenChanges::new(20);
        for n in 0..MAILBOXES_MAX + 50 {
            let _ = limit.take(&registration(&format!("user{n}@example.com"), "phone", "token"), Monotonic(i64::try_from(n).unwrap()));
        }
        assert_eq!(limit.mailboxes.lock().unwrap().len(), MAILBOXES_MAX);
    }
}

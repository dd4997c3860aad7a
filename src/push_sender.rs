//! Hands a push to the credential of its channel: tenant, provider and app.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_actors::ids::TenantId;
use postrider_actors::ports::Clock;
use postrider_actors::ports::push_sender::{Channel, Permit, Provider, Push, PushSender, Verdict};

use crate::apns::{ApnsError, ApnsSender, Environment, ProviderTokens};
use crate::config::push as config;
use crate::fcm::{FcmError, FcmSender};
use crate::http;
use crate::probe::Step;
use crate::telemetry::metrics;

/// How long a push rests whose channel has no credential: a person has to put it back.
const NO_CREDENTIAL_PAUSE: Duration = Duration::from_secs(600);
/// How long a channel rests first, where nothing else is configured.
const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// Why the push side cannot start, and with which entry of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// An APNs credential.
    #[error("push.apns[{entry}] (tenant {tenant}, app {app}): {error}")]
    Apns {
        /// Its place in the list, from 0.
        entry: usize,
        /// Its tenant.
        tenant: String,
        /// Its app.
        app: String,
        /// What is wrong.
        error: ApnsError,
    },
    /// An FCM credential.
    #[error("push.fcm[{entry}] (tenant {tenant}, app {app}): {error}")]
    Fcm {
        /// Its place in the list, from 0.
        entry: usize,
        /// Its tenant.
        tenant: String,
        /// Its app.
        app: String,
        /// What is wrong.
        error: FcmError,
    },
}

#[derive(Debug)]
enum Sender {
    Apns(ApnsSender),
    Fcm(FcmSender),
}

/// All credentials, by channel.
pub struct PushSenders {
    by_channel: BTreeMap<Channel, Sender>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for PushSenders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(&self.by_channel).finish()
    }
}

impl PushSenders {
    /// Sets every credential up. Nothing is opened before the first push.
    ///
    /// # Errors
    /// [`PushError`] names the entry and what would be right.
    pub fn new(push: &config::Push, clock: &Arc<dyn Clock>) -> Result<Self, PushError> {
        Self::resting(push, FIRST_PAUSE, clock)
    }

    /// The same for channels that rest for `pause` first when their credentials are refused.
    ///
    /// # Errors
    /// [`PushError`] names the entry and what would be right.
    pub fn resting(push: &config::Push, pause: Duration, clock: &Arc<dyn Clock>) -> Result<Self, PushError> {
        http::install_tls_provider();
        let mut by_channel = BTreeMap::new();
        let mut tokens = ProviderTokens::new(pause);
        for (entry, apns) in push.apns.iter().enumerate() {
            for (provider, environment) in [(Provider::Apns, Environment::Production), (Provider::ApnsSandbox, Environment::Sandbox)] {
                let sender = ApnsSender::new(push, apns, environment, &mut tokens, Arc::clone(clock));
                let sender =
                    sender.map_err(|error| PushError::Apns { entry, tenant: apns.tenant.clone(), app: apns.app.clone(), error })?;
                by_channel.insert(channel(&apns.tenant, provider, &apns.app), Sender::Apns(sender));
            }
        }
        for (entry, fcm) in push.fcm.iter().enumerate() {
            let sender = FcmSender::new(push, fcm, Arc::clone(clock));
            let sender = sender.map_err(|error| PushError::Fcm { entry, tenant: fcm.tenant.clone(), app: fcm.app.clone(), error })?;
            by_channel.insert(channel(&fcm.tenant, Provider::Fcm, &fcm.app), Sender::Fcm(sender));
        }
        Ok(Self { by_channel, clock: Arc::clone(clock) })
    }

    /// The channels that have a credential: what a device may register for.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.by_channel.keys()
    }

    /// Whether a channel has a credential.
    #[must_use]
    pub fn serves(&self, channel: &Channel) -> bool {
        self.by_channel.contains_key(channel)
    }

    /// Checks the credentials of a tenant (of all tenants if `None`) against the services themselves.
    pub async fn check(&self, tenant: Option<&TenantId>) -> Vec<Step> {
        let steps = std::sync::Mutex::new(Vec::new());
        self.check_each(tenant, &|step| steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(step)).await;
        steps.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The same; each step is told when its credential was checked. Says how many there were.
    pub async fn check_each(&self, tenant: Option<&TenantId>, hears: &(dyn Fn(Step) + Send + Sync)) -> usize {
        let mut told = 0;
        for (channel, sender) in &self.by_channel {
            if tenant.is_some_and(|tenant| *tenant != channel.tenant) {
                continue;
            }
            let steps = match sender {
                Sender::Apns(apns) => apns.check().await,
                Sender::Fcm(fcm) => fcm.check().await,
            };
            told += steps.len();
            steps.into_iter().for_each(hears);
        }
        told
    }
}

#[async_trait]
impl PushSender for PushSenders {
    async fn permit(&self, channel: &Channel) -> Result<Permit, Verdict> {
        match self.by_channel.get(channel) {
            Some(Sender::Apns(apns)) => apns.permit().await,
            Some(Sender::Fcm(fcm)) => fcm.permit().await,
            None => Err(no_credential()),
        }
    }

    async fn send(&self, permit: Permit, push: Push) -> Verdict {
        let provider = push.channel.provider;
        let (_under_way, begin) = (metrics::push_in_flight(provider), self.clock.monotonic());
        let verdict = match self.by_channel.get(&push.channel) {
            Some(Sender::Apns(apns)) => apns.send(&push).await,
            Some(Sender::Fcm(fcm)) => fcm.send(&push).await,
            None => no_credential(),
        };
        drop(permit);
        metrics::push_seconds(provider, self.clock.monotonic().since(begin).as_secs_f64());
        verdict
    }
}

fn channel(tenant: &str, provider: Provider, app: &str) -> Channel {
    Channel { tenant: TenantId(tenant.into()), provider, app: app.into() }
}

/// Registering wants a credential, so this one was taken out of the configuration: what waits for it is kept until it expires, not given up.
fn no_credential() -> Verdict {
    Verdict::Later { after: Some(NO_CREDENTIAL_PAUSE), reason: "no-credential".into() }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

//! One device of a channel: how long it rests after what its provider said to it. Other devices wait for none of this.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::DeviceId;
use crate::settings::Settings;
use crate::time::Monotonic;

/// How many devices are known; beyond, those that were heard of longest ago are not.
const MOST: usize = 2_048;
/// So many tries in a row without an answer that settles anything, and what was tried before waits for its turn.
const AWAY_AFTER: u32 = 5;
/// Longest rest of a device that nobody asked for: new mail may find out that it is well again.
const LONGEST_REST: Duration = Duration::from_secs(5);
/// A push that is under way for longer than this keeps others of its device from the provider, so that a device without answers holds little room.
const SLOW: Duration = Duration::from_secs(1);
/// How long they wait.
const SLOW_REST: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Device {
    /// Pushes under way, and since when there are any.
    sending: u32,
    since: Monotonic,
    /// Tries in a row that settled nothing.
    failures: u32,
    /// Nothing is sent before this.
    rests_until: Monotonic,
    /// Whether the provider, or the breaker, wants it so: a success elsewhere does not end it.
    wanted: bool,
    /// When what was tried before has its turn.
    turn_at: Monotonic,
    heard: Monotonic,
}

/// The devices in trouble and those that are being sent to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Devices(BTreeMap<DeviceId, Device>);

impl Devices {
    /// How long a push to the device has to wait.
    pub(super) fn rests(&self, now: Monotonic, device: DeviceId) -> Option<Duration> {
        let device = self.0.get(&device)?;
        if device.sending > 0 && now.since(device.since) > SLOW {
            return Some(SLOW_REST);
        }
        (now < device.rests_until).then(|| device.rests_until.since(now))
    }

    /// How long a push that was tried before has to wait until its turn.
    pub(super) fn waits(&self, now: Monotonic, device: DeviceId) -> Option<Duration> {
        let turn_at = self.0.get(&device).filter(|device| device.failures >= AWAY_AFTER).map(|device| device.turn_at);
        turn_at.filter(|at| now < *at).map(|at| at.since(now)).or_else(|| self.rests(now, device))
    }

    /// Its turn was taken.
    pub(super) fn took_turn(&mut self, now: Monotonic, device: DeviceId, settings: &Settings) {
        if let Some(device) = self.0.get_mut(&device).filter(|device| device.failures >= AWAY_AFTER) {
            device.turn_at = now + settings.push_retry_max;
        }
    }

    /// A push to the device begins.
    pub(super) fn begins(&mut self, now: Monotonic, device: DeviceId) {
        if self.0.len() >= MOST && !self.0.contains_key(&device) {
            return;
        }
        let device = self.0.entry(device).or_default();
        if device.sending == 0 {
            device.since = now;
        }
        device.sending += 1;
        device.heard = now;
    }

    /// It ended, however.
    pub(super) fn ended(&mut self, device: DeviceId) {
        if let Some(known) = self.0.get_mut(&device) {
            known.sending = known.sending.saturating_sub(1);
            if known.sending == 0 && known.failures == 0 && known.rests_until == Monotonic(0) {
                self.0.remove(&device);
            }
        }
    }

    /// A push was not taken, or not answered.
    pub(super) fn failed(&mut self, now: Monotonic, device: DeviceId, asked: Option<Duration>, settings: &Settings) {
        let known = self.of(now, device);
        known.failures = known.failures.saturating_add(1);
        // At most half of what the push itself rests, so that it meets nothing here when it is tried again.
        let own = settings.push_retry_base.saturating_mul(1 << (known.failures - 1).min(20)) / 2;
        let own = own.min(LONGEST_REST).min(settings.push_retry_max / 2);
        known.wanted = asked.is_some_and(|asked| asked > own);
        known.rests_until = known.rests_until.max(now + asked.unwrap_or_default().max(own));
        if known.failures == AWAY_AFTER {
            known.turn_at = now + settings.push_retry_max;
        }
    }

    /// Nothing is sent to the device for so long; a success elsewhere ends that, unless it is `wanted`.
    pub(super) fn rest(&mut self, now: Monotonic, device: DeviceId, rest: Duration, wanted: bool) {
        let known = self.of(now, device);
        known.wanted = wanted;
        known.rests_until = known.rests_until.max(now + rest);
    }

    /// A push to the device was answered for good.
    pub(super) fn settled(&mut self, device: DeviceId) {
        if let Some(known) = self.0.get_mut(&device) {
            (known.failures, known.rests_until) = (0, Monotonic(0));
            if known.sending == 0 {
                self.0.remove(&device);
            }
        }
    }

    /// The provider is back: devices rest no longer for its sake.
    pub(super) fn forgive(&mut self) {
        for known in self.0.values_mut() {
            known.failures = 0;
            if !known.wanted {
                known.rests_until = Monotonic(0);
            }
        }
    }

    fn of(&mut self, now: Monotonic, device: DeviceId) -> &mut Device {
        if self.0.len() >= MOST && !self.0.contains_key(&device) {
            let oldest = self.0.iter().filter(|(_, known)| known.sending == 0).min_by_key(|(_, known)| known.heard);
            let oldest = oldest.or_else(|| self.0.iter().next()).map(|(device, _)| *device);
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let known = self.0.entry(device).or_default();
        known.heard = now;
        known
    }
}

//! What a mailbox hears of its subscription and its stream, and what it makes of it.

use std::time::Duration;

use super::{Effect, Mailbox, Watch};
use crate::delivery::retry::backoff;
use crate::ports::mail_source::{Hint, SourceError};
use crate::settings::Settings;
use crate::time::Monotonic;

impl Mailbox {
    pub(super) fn hint(&mut self, now: Monotonic, hint: Hint, settings: &Settings) {
        match hint {
            Hint::Touched { mail, unread, at } => {
                self.unread = unread.or(self.unread);
                if mail {
                    self.mail_mark.get_or_insert(at);
                } else {
                    self.badge_at.get_or_insert(now + settings.badge_delay);
                }
            }
            Hint::StreamOpened => match &mut self.watch {
                Watch::Asking { opened, lost, .. } => (*opened, *lost) = (true, false),
                Watch::Silent | Watch::Streaming => self.opened(),
                Watch::Due(_) | Watch::Full(_) | Watch::Parked(_) => {}
            },
            Hint::Gap => {
                self.unread = None;
                if self.watch == Watch::Streaming {
                    self.watch = Watch::Silent;
                }
                self.caught_up = false;
                self.sync_by = self.sync_by.min(now + self.chance.around(settings.poll));
            }
            Hint::SubscriptionLost { .. } => {
                self.unread = None;
                self.caught_up = false;
                self.sync_mark = true;
                if !matches!(self.watch, Watch::Full(_)) {
                    self.subscribe_again(now, settings);
                }
            }
        }
    }

    pub(super) fn subscribe_again(&mut self, now: Monotonic, settings: &Settings) {
        match &mut self.watch {
            // One request at a time; what is lost may be the former subscription or the one asked for.
            Watch::Asking { opened, lost, .. } => (*opened, *lost) = (false, true),
            Watch::Parked(_) => {}
            _ => self.watch = Watch::Due(now + self.watch_backoff(settings)),
        }
    }

    /// Events flow from here on; what happened before is found by a sync.
    pub(super) fn opened(&mut self) {
        self.watch = Watch::Streaming;
        self.watch_failures = 0;
        self.caught_up = false;
        self.sync_mark = true;
    }

    pub(super) fn watched(&mut self, now: Monotonic, answer: Result<(), SourceError>, settings: &Settings, effects: &mut Vec<Effect>) {
        let Watch::Asking { opened, lost, .. } = self.watch else {
            // Parked while it was asked for.
            if matches!(self.watch, Watch::Parked(_)) && answer.is_ok() {
                effects.push(Effect::Unwatch);
            }
            return;
        };
        match answer {
            Ok(()) if lost => self.watch = Watch::Due(now + self.watch_backoff(settings)),
            Ok(()) if opened => self.opened(),
            Ok(()) => {
                self.watch = Watch::Silent;
                self.sync_by = self.sync_by.min(now + self.chance.around(settings.poll));
            }
            Err(SourceError::Throttled { retry_after }) => {
                self.watch = Watch::Due(now + retry_after + self.chance.below(settings.retry_base))
            }
            Err(SourceError::SubscriptionsFull) => {
                self.watch = Watch::Full(now + self.chance.around(settings.poll * 5));
                self.sync_by = now;
            }
            Err(SourceError::Refused { .. }) => self.park(now, settings, effects),
            Err(
                SourceError::SyncStateLost | SourceError::Moved { .. } | SourceError::Unauthorized { .. } | SourceError::Unavailable { .. },
            ) => {
                self.watch = Watch::Due(now + self.watch_backoff(settings));
                self.sync_by = self.sync_by.min(now + self.chance.around(settings.poll));
            }
        }
    }

    pub(super) fn watch_backoff(&mut self, settings: &Settings) -> Duration {
        self.watch_failures = self.watch_failures.saturating_add(1);
        backoff(self.watch_failures, settings.retry_base, settings.retry_max, &mut self.chance)
    }

    pub(super) fn park(&mut self, now: Monotonic, settings: &Settings, effects: &mut Vec<Effect>) {
        self.watch = Watch::Parked(now + self.chance.around(settings.park));
        effects.push(Effect::Unwatch);
    }
}

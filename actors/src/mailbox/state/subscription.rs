//! What a mailbox hears of its subscription and its stream, and what it makes of it.

use std::time::Duration;

use super::collecting::rest_after;
use super::{Effect, Mailbox, Watch};
use crate::delivery::retry::backoff;
use crate::ports::mail_source::{Hint, SourceError};
use crate::settings::Settings;
use crate::time::Monotonic;

impl Mailbox {
    pub(super) fn hint(&mut self, now: Monotonic, hint: Hint, settings: &Settings) {
        match hint {
            Hint::Touched { mail, unread, at } => {
                // A count says nothing any more once something else changed.
                self.unread = unread;
                if mail {
                    self.mail_mark.get_or_insert(at);
                } else {
                    self.badge_at.get_or_insert(now + settings.badge_delay);
                }
            }
            Hint::StreamOpened => match &mut self.watch {
                Watch::Asking { opened, lost, .. } => (*opened, *lost) = (true, false),
                Watch::Silent | Watch::Streaming => self.opened(now),
                Watch::Due(_) | Watch::Full(_) | Watch::Parked(_) => {}
            },
            Hint::Gap => {
                self.forget_count();
                if self.watch == Watch::Streaming {
                    self.stream_ends(now, settings);
                    self.watch = Watch::Silent;
                }
                self.caught_up = false;
                self.sync_by = self.sync_by.min(now + self.chance.around(settings.poll));
            }
            Hint::SubscriptionLost { .. } => {
                self.forget_count();
                self.caught_up = false;
                self.sync_mark = true;
                if !matches!(self.watch, Watch::Full(_)) {
                    self.subscribe_again(now, settings);
                }
            }
        }
    }

    /// A count heard before a gap says nothing after it.
    fn forget_count(&mut self) {
        self.unread = None;
        if let Some(running) = &mut self.collecting {
            running.unread = None;
        }
    }

    /// Only a stream that lasted is a success: a server that ends each subscription as soon as it is made is asked ever more rarely.
    fn stream_ends(&mut self, now: Monotonic, settings: &Settings) {
        if self.watch == Watch::Streaming && now.since(self.streams_since) >= settings.retry_max {
            self.watch_failures = 0;
        }
    }

    pub(super) fn subscribe_again(&mut self, now: Monotonic, settings: &Settings) {
        self.stream_ends(now, settings);
        match &mut self.watch {
            // One request at a time; what is lost may be the former subscription or the one asked for.
            Watch::Asking { opened, lost, .. } => (*opened, *lost) = (false, true),
            Watch::Parked(_) => {}
            _ => self.watch = Watch::Due(now + self.watch_backoff(settings)),
        }
    }

    /// Events flow from here on; what happened before is found by a sync.
    pub(super) fn opened(&mut self, now: Monotonic) {
        if self.watch != Watch::Streaming {
            self.streams_since = now;
        }
        self.watch = Watch::Streaming;
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
            Ok(()) if opened => self.opened(now),
            Ok(()) => {
                self.watch = Watch::Silent;
                self.sync_by = self.sync_by.min(now + self.chance.around(settings.poll));
            }
            Err(SourceError::Throttled { retry_after }) => {
                let rest = rest_after(retry_after, &mut self.watch_failures, settings, &mut self.chance);
                self.watch = Watch::Due(now + retry_after + rest)
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

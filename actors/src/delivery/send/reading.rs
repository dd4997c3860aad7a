//! What a push needs before it asks for room: what its newest mail shows, and the unread count.

use super::{CONTENT_TRIES, Effect, Known, Sending, Step, Unread};
use crate::delivery::message::{Moment, code};
use crate::ids::{EventKey, ItemId};
use crate::ports::delivery_store::{Mark, Settled};
use crate::ports::mail_source::{MailContent, SourceError};
use crate::ports::mailbox_store::DeliveryKind;
use crate::settings::Settings;

impl Sending {
    pub(super) fn contents(
        &mut self,
        moment: Moment,
        asked: &[EventKey],
        answer: Result<Vec<Option<MailContent>>, SourceError>,
        settings: &Settings,
    ) {
        match answer {
            Ok(shown) => {
                for (event, mail) in asked.iter().zip(shown) {
                    let known = match mail {
                        None => Known::Gone("gone"),
                        Some(mail) if mail.read => Known::Gone("read"),
                        Some(mail) => Known::Shows(mail),
                    };
                    self.contents.set(*event, known);
                }
            }
            Err(error) => {
                self.content_failures += 1;
                let long = matches!(&error, SourceError::Throttled { retry_after } if *retry_after > settings.retry_base * 4);
                if long || self.content_failures >= CONTENT_TRIES {
                    asked.iter().for_each(|event| self.contents.set(*event, Known::Unreadable));
                } else {
                    self.contents.forget(asked);
                    self.content_retry = Some(moment.at + settings.retry_base + self.chance.below(settings.retry_base));
                }
            }
        }
    }

    /// What a push needs before it asks for room: its newest mail's content, and the badge.
    pub(super) fn read(
        &mut self,
        moment: Moment,
        place: usize,
        wanted: &mut Vec<(EventKey, ItemId)>,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.flights[place].push.channel.clone() else {
            return self.settle(place, Settled::Superseded, "device_gone");
        };
        loop {
            let Some(newest) = self.flights[place].push.rows.first() else {
                self.flights[place].step = Step::Over;
                return;
            };
            let Some(item) = &newest.item else { break };
            match self.contents.of(newest.event) {
                Some(Known::Shows(_) | Known::Unreadable) => break,
                Some(Known::Asked) => return,
                None => {
                    // At most ten items a call; the others are asked for when these are known.
                    if wanted.len() < 10 && wanted.iter().all(|(event, _)| *event != newest.event) {
                        wanted.push((newest.event, item.clone()));
                    }
                    return;
                }
                Some(Known::Gone(why)) => {
                    let mark = Mark { id: newest.id, settled: Settled::Superseded, reason: code(why) };
                    self.marks.push(mark);
                    self.flights[place].push.rows.remove(0);
                }
            }
        }
        if matches!(self.unread, Unread::Asked | Unread::Wanted) {
            return;
        }
        if self.flights[place].push.kind == DeliveryKind::Badge && self.unread == Unread::Known(None) {
            self.unread = Unread::Wanted;
            return self.rest(moment, place, None, true, &code("unread_unknown"), settings);
        }
        let flight = &mut self.flights[place];
        flight.step = Step::Room;
        effects.push(Effect::Room(place, channel, flight.push.device));
    }
}

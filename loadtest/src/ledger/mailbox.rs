//! One mailbox in the books: its mails, its phones, and which phone heard of which mail.

use std::collections::HashMap;

use super::push::{Expiry, Push, PushKind, ShortHash};

/// Microseconds on the ledger's own monotonic clock.
pub(super) type Tick = u64;

/// How far past its cut-off a detailed push may arrive before it counts: clocks and the wire take time.
pub(super) const CONTENT_GRACE_MS: i64 = 1_000;

/// A mail received so shortly before it was delivered is news, and not an older one that was moved or copied.
const FRESH_MS: i64 = 10_000;

/// How a mail came to be announced to one phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// By its short hash, in the push with this (hashed) id.
    Named(u64),
    /// As one of "and N more" behind the hashes that fitted.
    Counted,
}

#[derive(Debug)]
pub(super) struct Mail {
    pub(super) hash: ShortHash,
    pub(super) delivered: Tick,
    hinted: Option<Tick>,
    /// It came after quiet: no other mail was hinted and no push of mail accepted within the window before its hint. Others may wait for the window on purpose.
    after_quiet: bool,
    /// When a phone first heard of it.
    told: Option<Tick>,
    to_announce: bool,
    /// Not to be announced, and seen at once: it came read, as a draft, or is no mail. (Else it was moved or copied.)
    never: bool,
    received_ms: i64,
    gone: bool,
    /// Once read and then unread again: whether it is announced is a matter of timing, so both are right.
    open_to_both: bool,
    /// By index of the device.
    announced: Vec<(u16, How)>,
}

#[derive(Debug)]
pub(super) struct Phone {
    pub(super) token: u64,
    pub(super) token_shown: Box<str>,
    cutoff_ms: i64,
    last_activity_ms: i64,
    since: Tick,
    since_ms: i64,
    forgotten: bool,
    badge: Option<u64>,
}

/// What one accepted push did to the books.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Mails that this phone had not heard of, named or counted.
    pub(super) announced: u32,
    /// Named before in a push with the same id.
    pub(super) repeats: u32,
    /// Named before in another push.
    pub(super) doubled: u32,
    /// Named, but no mail of this mailbox.
    pub(super) unknown: u32,
    /// Named, though it was not to be announced.
    pub(super) unwanted: u32,
    /// Later than window + 2 s after the hint.
    pub(super) late: u32,
    /// Announced without a hint having been sent (found by a sync).
    pub(super) unhinted: u32,
    /// It showed details, or may show them, past the phone's cut-off.
    pub(super) too_much_content: bool,
    /// Hint on the wire to push on the wire, in microseconds, one for each mail that was announced; and whether the mail came after quiet.
    pub(super) from_hint: Vec<(u64, bool)>,
    /// Delivered to push on the wire, likewise.
    pub(super) from_delivery: Vec<u64>,
}

/// A mail that a phone never heard of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) hash: ShortHash,
    pub(super) phone: u16,
    pub(super) delivered: Tick,
}

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    mails: Vec<Mail>,
    by_hash: HashMap<ShortHash, u32>,
    pub(super) phones: Vec<Phone>,
    /// Mails that somebody may still have to hear of.
    open: Vec<u32>,
    pub(super) unread: Option<u64>,
    /// The last hint about a mail, and the last push of mail that was accepted.
    last_hint: Option<Tick>,
    last_push: Option<Tick>,
}

impl Mailbox {
    pub(super) fn deliver(&mut self, hash: ShortHash, at: Tick, at_ms: i64, received_ms: i64, to_announce: bool) {
        let index = self.mails.len() as u32;
        self.mails.push(Mail {
            hash,
            delivered: at,
            hinted: None,
            after_quiet: false,
            told: None,
            to_announce,
            never: !to_announce && at_ms - received_ms < FRESH_MS,
            received_ms,
            gone: false,
            open_to_both: false,
            announced: Vec::new(),
        });
        self.by_hash.insert(hash, index);
        if to_announce {
            self.open.push(index);
        }
    }

    pub(super) fn holds(&self, hash: ShortHash) -> bool {
        self.by_hash.contains_key(&hash)
    }

    fn mail(&mut self, hash: ShortHash) -> Option<&mut Mail> {
        let index = *self.by_hash.get(&hash)?;
        self.mails.get_mut(index as usize)
    }

    /// Returns whether the mail was known and there until now.
    pub(super) fn gone(&mut self, hash: ShortHash) -> bool {
        self.mail(hash).is_some_and(|mail| !std::mem::replace(&mut mail.gone, true))
    }

    pub(super) fn unread_again(&mut self, hash: ShortHash) {
        if let Some(mail) = self.mail(hash) {
            mail.open_to_both = true;
        }
    }

    pub(super) fn renamed(&mut self, old: ShortHash, new: ShortHash) {
        if let Some(&index) = self.by_hash.get(&old) {
            self.by_hash.insert(new, index);
        }
    }

    /// The first hint counts: a second one about the same mail is no excuse for being late. The mail came after quiet if nothing of the mailbox was on the wire
    /// within `window` before.
    pub(super) fn hinted(&mut self, hash: ShortHash, at: Tick, window: Tick) {
        let before = self.last_hint.max(self.last_push);
        let quiet = before.is_none_or(|before| at.saturating_sub(before) > window);
        let Some(mail) = self.mail(hash) else { return };
        if mail.hinted.is_none() {
            (mail.hinted, mail.after_quiet) = (Some(at), quiet);
            self.last_hint = Some(at);
        }
    }

    /// Adds a phone, or takes its registration again: that counts as use, and what was forgotten is remembered.
    pub(super) fn register(&mut self, token: u64, shown: &str, cutoff_ms: i64, at: Tick, at_ms: i64) -> u16 {
        if let Some(index) = self.phones.iter().position(|phone| phone.token == token) {
            let phone = &mut self.phones[index];
            if std::mem::replace(&mut phone.forgotten, false) {
                phone.since = at;
            }
            phone.cutoff_ms = cutoff_ms;
            phone.last_activity_ms = phone.last_activity_ms.max(at_ms);
            return index as u16;
        }
        self.phones.push(Phone {
            token,
            token_shown: shown.into(),
            cutoff_ms,
            last_activity_ms: at_ms,
            since: at,
            since_ms: at_ms,
            forgotten: false,
            badge: None,
        });
        (self.phones.len() - 1) as u16
    }

    pub(super) fn used(&mut self, phone: u16, at_ms: i64) {
        if let Some(phone) = self.phones.get_mut(usize::from(phone)) {
            phone.last_activity_ms = phone.last_activity_ms.max(at_ms);
        }
    }

    pub(super) fn forget(&mut self, phone: u16) {
        if let Some(phone) = self.phones.get_mut(usize::from(phone)) {
            phone.forgotten = true;
        }
    }

    /// Books a push that the provider accepted for `phone`; `late_after` is the window and two seconds, in microseconds.
    pub(super) fn push(&mut self, phone: u16, push: &Push<'_>, id: u64, at: Tick, late_after: u64) -> Judged {
        let mut judged = Judged { too_much_content: self.too_much_content(phone, push), ..Judged::default() };
        if let Some(phone) = self.phones.get_mut(usize::from(phone)) {
            phone.badge = push.badge.or(phone.badge);
        }
        if push.kind == PushKind::Badge {
            return judged;
        }
        self.last_push = Some(at);
        let mut oldest: Option<u32> = None;
        for hash in push.hashes {
            let Some(&index) = self.by_hash.get(hash) else {
                judged.unknown += 1;
                continue;
            };
            oldest = Some(oldest.map_or(index, |before| before.min(index)));
            self.name(index, phone, id, at, late_after, &mut judged);
        }
        let more = push.count.saturating_sub(push.hashes.len() as u32);
        if let (Some(oldest), true) = (oldest, more > 0) {
            self.count_older(oldest, more, phone, at, late_after, &mut judged);
        }
        judged
    }

    fn name(&mut self, index: u32, phone: u16, id: u64, at: Tick, late_after: u64, judged: &mut Judged) {
        // An older mail that came into the inbox may be news to a product that watches since before it was received.
        let watched_ms = self.phones.iter().map(|phone| phone.since_ms).min();
        let mail = &mut self.mails[index as usize];
        let older = watched_ms.is_none_or(|watched_ms| mail.received_ms < watched_ms);
        if !mail.to_announce && !mail.open_to_both && (mail.never || older) {
            judged.unwanted += 1;
        }
        let earlier = mail.announced.iter_mut().find(|(who, _)| *who == phone);
        match earlier {
            None => {
                mail.announced.push((phone, How::Named(id)));
                mail.measure(at, late_after, judged);
            }
            Some((_, how @ How::Counted)) => *how = How::Named(id),
            Some((_, How::Named(before))) if *before == id => judged.repeats += 1,
            Some((_, How::Named(_))) => judged.doubled += 1,
        }
    }

    /// "You have 20 new mails" with 16 hashes stands for the next four older ones that the phone had not heard of. Exchange tells receive times
    /// in whole seconds: within the second of the oldest one named, nobody can know which is older.
    fn count_older(&mut self, oldest: u32, more: u32, phone: u16, at: Tick, late_after: u64, judged: &mut Judged) {
        let mut left = more;
        let second = self.mails[oldest as usize].received_ms.div_euclid(1_000);
        for mail in self.mails.iter_mut().rev().skip_while(|mail| mail.received_ms.div_euclid(1_000) > second) {
            if left == 0 {
                break;
            }
            let heard = mail.announced.iter().any(|(who, _)| *who == phone);
            if mail.to_announce && !mail.gone && !heard {
                mail.announced.push((phone, How::Counted));
                mail.measure(at, late_after, judged);
                left -= 1;
            }
        }
    }

    fn too_much_content(&self, phone: u16, push: &Push<'_>) -> bool {
        let Some(phone) = self.phones.get(usize::from(phone)) else {
            return false;
        };
        if !push.details {
            return false;
        }
        if phone.cutoff_ms == 0 {
            return true;
        }
        let end = phone.last_activity_ms + phone.cutoff_ms + CONTENT_GRACE_MS;
        push.arrived_ms > end
            || match push.expiry {
                Expiry::AtOnce => false,
                Expiry::At(until) => until > end,
                Expiry::Unbounded => true,
            }
    }

    /// Whether `mail` is owed to the phone at `index` and it has not heard of it.
    fn owed(mail: &Mail, index: usize, phone: &Phone) -> bool {
        mail.to_announce
            && !mail.gone
            && !phone.forgotten
            && mail.delivered >= phone.since
            && !mail.announced.iter().any(|(who, _)| usize::from(*who) == index)
    }

    /// Pairs of mail and phone for which a push is still owed. Forgets about settled mails, so that asking often is cheap.
    pub(super) fn missing(&mut self) -> Vec<Missing> {
        let (mails, phones) = (&self.mails, &self.phones);
        let mut missing = Vec::new();
        self.open.retain(|&index| {
            let mail = &mails[index as usize];
            let before = missing.len();
            for (number, phone) in phones.iter().enumerate() {
                if Self::owed(mail, number, phone) {
                    missing.push(Missing { hash: mail.hash, phone: number as u16, delivered: mail.delivered });
                }
            }
            // Without a phone nothing is owed yet, nor will be: a phone is owed what comes after it.
            missing.len() > before
        });
        missing
    }

    /// When a phone first heard of a mail that was delivered at `since` or later.
    pub(super) fn told_since(&self, since: Tick) -> Option<Tick> {
        self.mails.iter().rev().take_while(|mail| mail.delivered >= since).filter_map(|mail| mail.told).min()
    }

    /// Phones whose icon shows another number than the inbox has unread mails.
    pub(super) fn badges_behind(&self) -> u64 {
        let Some(unread) = self.unread else { return 0 };
        let behind = |phone: &&Phone| !phone.forgotten && phone.badge.is_some_and(|b| b != unread);
        self.phones.iter().filter(behind).count() as u64
    }
}

impl Mail {
    fn measure(&mut self, at: Tick, late_after: u64, judged: &mut Judged) {
        judged.announced += 1;
        self.told.get_or_insert(at);
        judged.from_delivery.push(at.saturating_sub(self.delivered));
        match self.hinted {
            None => judged.unhinted += 1,
            Some(hinted) => {
                let took = at.saturating_sub(hinted);
                judged.from_hint.push((took, self.after_quiet));
                judged.late += u32::from(took > late_after);
            }
        }
    }
}

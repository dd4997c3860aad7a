//! The account of every mail and every push: what was announced, what was not, what came twice, late, or said too much.
//!
//! The definitions are the product's own: **lost** is a mail to be announced that is in no accepted push and was neither read nor
//! deleted before; **doubled** is a mail announced to one phone in two accepted pushes (a *repeat* when both carry the same id, so
//! that the phone shows one); **late** is more than the window and two seconds after the hint; **too much content** is a push that
//! shows, or may come to show, details past the cut-off of its phone. A push that counts more mails than it names stands for the
//! next older ones that its phone had not heard of. A phone is owed what is delivered after it was entered here.

mod again;
mod mailbox;
mod misuse;
mod push;
mod totals;
mod verdict;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::witness::{Gone, MailFact, Misuse, Witness};

use mailbox::{Mailbox, Tick};
use misuse::MisuseBook;
pub(crate) use push::says_only_that_there_is_mail;
pub use push::{Device, Expiry, Provider, Push, PushKind, ShortHash};
use totals::{Totals, add, read};
pub use verdict::{Latency, Lost, MisuseCount, RefusalCount, Snapshot, Verdict};

/// The books are split in so many parts, each with its own lock, so that pushes for different mailboxes do not wait for one another.
const SHARDS: usize = 64;
/// A mail that is announced later than this after its hint, on top of the coalescing window, is late (`product.md` 8.7).
const LATE_SLACK: Duration = Duration::from_secs(2);
/// Latencies above ten minutes are counted as ten minutes: the histograms stay small.
const LATENCY_CEILING_US: u64 = 600_000_000;
/// Samples for a display are taken not more often than this.
const SAMPLE_EVERY_US: u64 = 200_000;
/// A cut-off that never comes: a thousand years.
const NEVER: Duration = Duration::from_secs(1_000 * 365 * 86_400);
/// So many lost mails are listed by name; all are counted.
const LISTED: usize = 1_000;

struct Shard {
    mailboxes: HashMap<Box<str>, Mailbox>,
    times: Times,
}

/// How long it took until mails were announced.
struct Times {
    from_hint: Histogram<u64>,
    /// Of these, mails after quiet, and those that may have waited for the window.
    first: Histogram<u64>,
    in_window: Histogram<u64>,
    from_delivery: Histogram<u64>,
}

impl Times {
    fn new() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, LATENCY_CEILING_US, 2).expect("one microsecond to ten minutes at two digits are fair bounds");
        Self { from_hint: histogram(), first: histogram(), in_window: histogram(), from_delivery: histogram() }
    }

    fn add(&mut self, judged: &mailbox::Judged) {
        for &(took, after_quiet) in &judged.from_hint {
            self.from_hint.saturating_record(took.max(1));
            let part = if after_quiet { &mut self.first } else { &mut self.in_window };
            part.saturating_record(took.max(1));
        }
        for &took in &judged.from_delivery {
            self.from_delivery.saturating_record(took.max(1));
        }
    }
}

impl Shard {
    fn new() -> Self {
        Self { mailboxes: HashMap::new(), times: Times::new() }
    }
}

#[derive(Clone)]
struct Place {
    mailbox: Arc<str>,
    phone: u16,
}

/// How often a provider refused, by status and its own word.
type Refusals = HashMap<(Provider, u16, Box<str>), u64>;

/// The account of every mail and every push of one run.
///
/// Takes about 150 bytes for a mail and 100 for a phone; nothing of a mail's content is kept but one sample payload.
pub struct Ledger {
    start: Instant,
    late_after_us: u64,
    adopting: bool,
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    places: Vec<RwLock<HashMap<u64, Place>>>,
    totals: Totals,
    refusals: Mutex<Refusals>,
    misuse: MisuseBook,
    remarks: MisuseBook,
    sample: Mutex<Option<String>>,
    sample_due_us: AtomicU64,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The books hold no invariant across a panic that a later reader could trip over.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Opens the books for a product whose coalescing window is `window`.
    pub fn new(window: Duration) -> Self {
        Self {
            start: Instant::now(),
            late_after_us: (window + LATE_SLACK).as_micros() as u64,
            adopting: false,
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect(),
            places: (0..SHARDS).map(|_| RwLock::default()).collect(),
            totals: Totals::default(),
            refusals: Mutex::default(),
            misuse: MisuseBook::default(),
            remarks: MisuseBook::default(),
            sample: Mutex::default(),
            sample_due_us: AtomicU64::new(0),
        }
    }

    /// With this a phone that nobody entered is entered by the first push that names a mail: it belongs to that mail's mailbox, and
    /// may show details for ever.
    #[must_use]
    pub fn adopting(self, adopting: bool) -> Self {
        Self { adopting, ..self }
    }

    fn tick(&self, at: Instant) -> Tick {
        at.saturating_duration_since(self.start).as_micros() as u64
    }

    fn shard(&self, mailbox: &str) -> MutexGuard<'_, Shard> {
        locked(&self.shards[self.hasher.hash_one(mailbox) as usize % SHARDS])
    }

    fn with_mailbox<R>(&self, mailbox: &str, act: impl FnOnce(&mut Mailbox) -> R) -> R {
        let mut shard = self.shard(mailbox);
        if !shard.mailboxes.contains_key(mailbox) {
            shard.mailboxes.insert(mailbox.into(), Mailbox::default());
        }
        let found = shard.mailboxes.get_mut(mailbox);
        act(found.expect("it was put there under the same lock"))
    }

    fn token_key(&self, token: &str) -> u64 {
        self.hasher.hash_one(token)
    }

    fn place(&self, token: &str) -> Option<Place> {
        let key = self.token_key(token);
        let part = self.places[key as usize % SHARDS].read();
        part.unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// Enters a phone, or its registration once more. From here on it is owed every mail; registering counts as use.
    pub fn device(&self, device: &Device) {
        let at_ms = jiff::Timestamp::now().as_millisecond();
        self.device_at(device, Instant::now(), at_ms);
    }

    fn device_at(&self, device: &Device, at: Instant, at_ms: i64) {
        let key = self.token_key(&device.token);
        let cutoff_ms = device.cutoff.as_millis() as i64;
        let mailbox = device.mailbox.to_lowercase();
        let before = self.place(&device.token);
        if let Some(before) = before.filter(|place| *place.mailbox != *mailbox) {
            self.with_mailbox(&before.mailbox, |former| former.forget(before.phone));
        }
        let tick = self.tick(at);
        let phone = self.with_mailbox(&mailbox, |books| books.register(key, &shortened(&device.token), cutoff_ms, tick, at_ms));
        let place = Place { mailbox: mailbox.into(), phone };
        let mut part = self.places[key as usize % SHARDS].write().unwrap_or_else(PoisonError::into_inner);
        part.insert(key, place);
    }

    /// The phone was unlocked and used. Tell it when the product's API is called, not when it has answered.
    pub fn activity(&self, token: &str, at: jiff::Timestamp) {
        if let Some(place) = self.place(token) {
            let at_ms = at.as_millisecond();
            self.with_mailbox(&place.mailbox, |books| books.used(place.phone, at_ms));
        }
    }

    /// The phone is gone: removed by its user, or the provider said so. Nothing is owed to it any more.
    pub fn forgotten(&self, token: &str) {
        if let Some(place) = self.place(token) {
            self.with_mailbox(&place.mailbox, |books| books.forget(place.phone));
        }
    }

    /// A provider accepted a push.
    pub fn push_accepted(&self, push: &Push<'_>) {
        let totals = &self.totals;
        add(
            match push.provider {
                Provider::Apns => &totals.apns,
                Provider::Fcm => &totals.fcm,
            },
            1,
        );
        add(&totals.badge_pushes, u64::from(push.kind == PushKind::Badge));
        if let Some(badge) = push.badge {
            totals.last_badge.store(badge, Ordering::Relaxed);
        }
        let at = self.tick(push.arrived);
        self.take_sample(push, at);
        let Some(place) = self.place(push.token).or_else(|| self.adopt(push)) else {
            add(&totals.unknown_phones, 1);
            return;
        };
        let id = self.token_key(push.id);
        let mut shard = self.shard(&place.mailbox);
        let Some(books) = shard.mailboxes.get_mut(&*place.mailbox) else {
            return;
        };
        let judged = books.push(place.phone, push, id, at, self.late_after_us);
        shard.times.add(&judged);
        drop(shard);
        self.totals.add_judged(&judged);
    }

    fn adopt(&self, push: &Push<'_>) -> Option<Place> {
        let named = push.hashes.first().filter(|_| self.adopting)?;
        let owner = self.shards.iter().find_map(|shard| {
            let shard = locked(shard);
            shard.mailboxes.iter().find(|(_, books)| books.holds(*named)).map(|(address, _)| address.to_string())
        });
        let device = Device { token: push.token.to_owned(), provider: push.provider, mailbox: owner?, cutoff: NEVER };
        self.device_at(&device, push.arrived, push.arrived_ms);
        self.place(push.token)
    }

    fn take_sample(&self, push: &Push<'_>, at: Tick) {
        let due = self.sample_due_us.load(Ordering::Relaxed);
        if push.kind != PushKind::Mail || at < due {
            return;
        }
        self.sample_due_us.store(at + SAMPLE_EVERY_US, Ordering::Relaxed);
        if let Ok(mut sample) = self.sample.try_lock() {
            *sample = Some(String::from_utf8_lossy(push.payload).into_owned());
        }
    }

    /// A provider refused a push, by design or by fault; `reason` is the provider's own word.
    pub fn push_refused(&self, provider: Provider, status: u16, reason: &str) {
        let mut refusals = locked(&self.refusals);
        *refusals.entry((provider, status, reason.into())).or_default() += 1;
    }

    /// How many pairs of mail and phone still wait for their push.
    pub fn outstanding(&self) -> u64 {
        let count = |shard: &Mutex<Shard>| -> u64 {
            let mut shard = locked(shard);
            let open = shard.mailboxes.values_mut();
            open.map(|books| books.missing().len() as u64).sum()
        };
        self.shards.iter().map(count).sum()
    }

    /// Waits until nothing is outstanding, at most for `deadline`, and closes the books.
    pub async fn verdict(&self, deadline: Duration) -> Verdict {
        let until = tokio::time::Instant::now() + deadline;
        while self.outstanding() > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.judge()
    }

    /// The verdict as things stand.
    pub fn judge(&self) -> Verdict {
        let times = self.times();
        let mut verdict = Verdict {
            from_hint: Latency::of(&times.from_hint),
            first: Latency::of(&times.first),
            in_window: Latency::of(&times.in_window),
            from_delivery: Latency::of(&times.from_delivery),
            misuse: self.misuse.counts(),
            remarks: self.remarks.counts(),
            refusals: self.refusal_counts(),
            ..Verdict::default()
        };
        self.totals.copy_to(&mut verdict);
        let now = self.tick(Instant::now());
        for shard in &self.shards {
            for (address, books) in &mut locked(shard).mailboxes {
                verdict.mailboxes += 1;
                verdict.devices += books.phones.len() as u64;
                verdict.badges_behind += books.badges_behind();
                for missing in books.missing() {
                    verdict.lost_count += 1;
                    if verdict.lost.len() < LISTED {
                        let phone = &books.phones[usize::from(missing.phone)];
                        verdict.lost.push(Lost {
                            mailbox: address.to_string(),
                            mail: missing.hash.to_string(),
                            device: phone.token_shown.to_string(),
                            age_ms: now.saturating_sub(missing.delivered) / 1_000,
                        });
                    }
                }
            }
        }
        verdict
    }

    fn times(&self) -> Times {
        let mut all = Times::new();
        for shard in &self.shards {
            let shard = locked(shard);
            all.from_hint += &shard.times.from_hint;
            all.first += &shard.times.first;
            all.in_window += &shard.times.in_window;
            all.from_delivery += &shard.times.from_delivery;
        }
        all
    }

    fn refusal_counts(&self) -> Vec<RefusalCount> {
        let mut counts: Vec<RefusalCount> = locked(&self.refusals)
            .iter()
            .map(|((provider, status, reason), count)| RefusalCount {
                provider: *provider,
                status: *status,
                reason: reason.to_string(),
                count: *count,
            })
            .collect();
        counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.reason.cmp(&b.reason)));
        counts
    }

    /// Pairs of mail and phone announced so far; costs nothing to ask.
    pub fn announced(&self) -> u64 {
        read(&self.totals.announced)
    }

    /// Waits until more than `seen` pairs of mail and phone are announced; says how many.
    pub async fn announced_beyond(&self, seen: u64) -> u64 {
        self.totals.announced_beyond(seen).await
    }

    /// A cheap look at the running totals, for a display.
    pub fn snapshot(&self) -> Snapshot {
        let times = self.times();
        Snapshot {
            mails: read(&self.totals.mails),
            pushes: read(&self.totals.apns) + read(&self.totals.fcm),
            announced: read(&self.totals.announced),
            latency: Latency::of(&times.from_hint),
            first: Latency::of(&times.first),
            in_window: Latency::of(&times.in_window),
            last_badge: read(&self.totals.last_badge),
            misuse: self.misuse.total(),
            sample: locked(&self.sample).clone(),
        }
    }
}

/// Enough of a token to find a phone by, too little to send to it.
fn shortened(token: &str) -> String {
    token.chars().take(12).collect()
}

impl Witness for Ledger {
    fn mail_delivered(&self, mail: &MailFact) {
        add(&self.totals.mails, 1);
        add(&self.totals.to_announce, u64::from(mail.to_announce));
        let (hash, at) = (ShortHash::of_item(&mail.item_id), self.tick(mail.at));
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let received_ms = mail.received_at.as_millisecond();
        self.with_mailbox(&mail.mailbox, |books| {
            books.deliver(hash, at, at_ms, received_ms, mail.to_announce);
        });
    }

    fn mail_gone(&self, mailbox: &str, item_id: &str, _why: Gone) {
        let hash = ShortHash::of_item(item_id);
        let first = self.with_mailbox(mailbox, |books| books.gone(hash));
        add(&self.totals.gone, u64::from(first));
    }

    fn mail_unread(&self, mailbox: &str, item_id: &str) {
        let hash = ShortHash::of_item(item_id);
        self.with_mailbox(mailbox, |books| books.unread_again(hash));
    }

    fn mail_renamed(&self, mailbox: &str, old_id: &str, new_id: &str) {
        let (old, new) = (ShortHash::of_item(old_id), ShortHash::of_item(new_id));
        self.with_mailbox(mailbox, |books| books.renamed(old, new));
    }

    fn hint_on_wire(&self, mailbox: &str, item_id: &str, at: Instant) {
        let (hash, at) = (ShortHash::of_item(item_id), self.tick(at));
        let window = self.late_after_us.saturating_sub(LATE_SLACK.as_micros() as u64);
        self.with_mailbox(mailbox, |books| books.hinted(hash, at, window));
    }

    fn unread_count(&self, mailbox: &str, unread: u64) {
        self.with_mailbox(mailbox, |books| books.unread = Some(unread));
    }

    fn misuse(&self, what: Misuse) {
        self.misuse.enter(what);
    }

    fn remark(&self, what: Misuse) {
        self.remarks.enter(what);
    }
}

#[cfg(test)]
mod tests;

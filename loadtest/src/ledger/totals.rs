//! The numbers of the account that are added up while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

use super::mailbox::Judged;
use super::verdict::Verdict;

/// The numbers that are added up while it runs.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) mails: AtomicU64,
    pub(super) to_announce: AtomicU64,
    pub(super) gone: AtomicU64,
    pub(super) apns: AtomicU64,
    pub(super) fcm: AtomicU64,
    pub(super) badge_pushes: AtomicU64,
    pub(super) announced: AtomicU64,
    /// Tells those who wait that more was announced.
    pub(super) news: tokio::sync::Notify,
    pub(super) doubled: AtomicU64,
    pub(super) repeats: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) unhinted: AtomicU64,
    pub(super) unknown_mails: AtomicU64,
    pub(super) unwanted: AtomicU64,
    pub(super) too_much_content: AtomicU64,
    pub(super) unknown_phones: AtomicU64,
    pub(super) last_badge: AtomicU64,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, by: u64) {
    if by > 0 {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

/// Reads a counter.
pub(super) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Totals {
    /// Adds what one push did to the books.
    pub(super) fn add_judged(&self, judged: &Judged) {
        let totals = self;
        add(&totals.announced, u64::from(judged.announced));
        if judged.announced > 0 {
            totals.news.notify_waiters();
        }
        add(&totals.repeats, u64::from(judged.repeats));
        add(&totals.doubled, u64::from(judged.doubled));
        add(&totals.late, u64::from(judged.late));
        add(&totals.unhinted, u64::from(judged.unhinted));
        add(&totals.unknown_mails, u64::from(judged.unknown));
        add(&totals.unwanted, u64::from(judged.unwanted));
        add(&totals.too_much_content, u64::from(judged.too_much_content));
    }

    /// Waits until more than `seen` were announced; says how many.
    pub(super) async fn announced_beyond(&self, seen: u64) -> u64 {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            let announced = read(&self.announced);
            if announced > seen {
                return announced;
            }
            news.await;
        }
    }

    /// Copies everything into a verdict.
    pub(super) fn copy_to(&self, verdict: &mut Verdict) {
        let totals = self;
        verdict.mails = read(&totals.mails);
        verdict.to_announce = read(&totals.to_announce);
        verdict.gone = read(&totals.gone);
        verdict.pushes_apns = read(&totals.apns);
        verdict.pushes_fcm = read(&totals.fcm);
        verdict.badge_pushes = read(&totals.badge_pushes);
        verdict.announced = read(&totals.announced);
        verdict.doubled = read(&totals.doubled);
        verdict.repeats = read(&totals.repeats);
        verdict.late = read(&totals.late);
        verdict.unhinted = read(&totals.unhinted);
        verdict.unknown_mails = read(&totals.unknown_mails);
        verdict.unwanted = read(&totals.unwanted);
        verdict.too_much_content = read(&totals.too_much_content);
        verdict.unknown_phones = read(&totals.unknown_phones);
    }
}

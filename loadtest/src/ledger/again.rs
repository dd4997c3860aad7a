//! How soon mailboxes are pushed again after something went wrong.

use std::time::{Duration, Instant};

use super::Ledger;

impl Ledger {
    /// How long after `since` each of these mailboxes was first pushed a mail that was delivered since then; `None`: it was not yet.
    pub fn pushed_again<'a>(&self, since: Instant, mailboxes: impl IntoIterator<Item = &'a str>) -> Vec<Option<Duration>> {
        let since = self.tick(since);
        let told = |mailbox: &str| self.shard(mailbox).mailboxes.get(mailbox).and_then(|books| books.told_since(since));
        mailboxes.into_iter().map(|mailbox| told(mailbox).map(|at| Duration::from_micros(at - since))).collect()
    }
}

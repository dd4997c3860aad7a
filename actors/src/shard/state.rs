//! The state machine of an owned shard: which mailboxes run, which are to be started when, when the store is asked again.

use std::collections::{BTreeMap, BTreeSet};

use crate::delivery::retry::{Chance, backoff};
use crate::ids::MailboxId;
use crate::ports::StoreError;
use crate::ports::cluster_store::{AdoptedShard, OwnedMailbox};
use crate::settings::Settings;
use crate::supervision::restart::Restarts;
use crate::time::Monotonic;

/// What a shard is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The heartbeat (or somebody beside us) saw this `change_seq`; `None`: look whatever it is.
    Changed(Option<i64>),
    /// The answer of the store; `None`: the shard is not ours.
    Rows(Result<Option<AdoptedShard>, StoreError>),
    /// A mailbox actor failed.
    Failed(MailboxId),
    /// A mailbox actor ended by itself: the mailbox is not ours, or was.
    Ended(MailboxId),
    /// The time of [`Shard::due`] came.
    Alarm,
}

/// What a shard wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Stamp and load.
    Adopt,
    /// Load again.
    Reload,
    /// Start a mailbox; how often it was restarted.
    Start(OwnedMailbox, u32),
    /// Stop a mailbox and end its subscription.
    Stop(MailboxId),
    /// The shard is not ours: stop everything.
    Release,
}

/// An owned shard.
#[derive(Debug)]
pub struct Shard {
    adopted: bool,
    asking: bool,
    again: bool,
    change_seq: i64,
    ask_at: Monotonic,
    failures: u32,
    rows: BTreeMap<MailboxId, OwnedMailbox>,
    running: BTreeSet<MailboxId>,
    waiting: BTreeSet<(Monotonic, MailboxId)>,
    restarts: BTreeMap<MailboxId, Restarts>,
    chance: Chance,
}

impl Shard {
    /// A shard that is to be adopted at once.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            adopted: false,
            asking: false,
            again: true,
            change_seq: i64::MIN,
            ask_at: Monotonic(0),
            failures: 0,
            rows: BTreeMap::new(),
            running: BTreeSet::new(),
            waiting: BTreeSet::new(),
            restarts: BTreeMap::new(),
            chance: Chance::new(seed),
        }
    }

    /// When the shard acts by itself next.
    #[must_use]
    pub fn due(&self) -> Monotonic {
        let start = self.waiting.first().map_or(Monotonic::NEVER, |(at, _)| *at);
        if self.again && !self.asking { start.min(self.ask_at) } else { start }
    }

    /// Takes one input. `slot` reserves the moment at which one more mailbox of this node may be started.
    pub fn step(&mut self, now: Monotonic, input: Input, settings: &Settings, slot: &mut dyn FnMut() -> Monotonic) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Changed(seen) => self.again |= seen.is_none_or(|seen| seen != self.change_seq),
            Input::Rows(answer) => {
                self.asking = false;
                match answer {
                    Ok(Some(shard)) => self.rows(shard, slot, &mut effects),
                    Ok(None) => return vec![Effect::Release],
                    Err(_) => {
                        self.failures = self.failures.saturating_add(1);
                        self.again = true;
                        self.ask_at = now + backoff(self.failures, settings.retry_base, settings.retry_max, &mut self.chance);
                    }
                }
            }
            Input::Failed(mailbox) => {
                self.running.remove(&mailbox);
                if self.rows.contains_key(&mailbox) {
                    let delay = self.restarts.entry(mailbox).or_default().failed(now, settings);
                    self.waiting.insert((now + delay, mailbox));
                }
            }
            Input::Ended(mailbox) => {
                // It lost its authority, or it was told to stop and is wanted again: the store knows.
                if self.running.remove(&mailbox) {
                    self.rows.remove(&mailbox);
                    self.again = true;
                    self.ask_at = now + settings.retry_base;
                }
            }
            Input::Alarm => {}
        }
        self.advance(now, &mut effects);
        effects
    }

    fn rows(&mut self, shard: AdoptedShard, slot: &mut dyn FnMut() -> Monotonic, effects: &mut Vec<Effect>) {
        self.adopted = true;
        self.failures = 0;
        self.change_seq = shard.change_seq;
        let wanted: BTreeSet<MailboxId> = shard.mailboxes.iter().map(|row| row.mailbox.id).collect();
        let gone: Vec<MailboxId> = self.rows.keys().filter(|id| !wanted.contains(id)).copied().collect();
        for id in gone {
            self.rows.remove(&id);
            self.restarts.remove(&id);
            self.waiting.retain(|(_, waiting)| *waiting != id);
            if self.running.remove(&id) {
                effects.push(Effect::Stop(id));
            }
        }
        for row in shard.mailboxes {
            let id = row.mailbox.id;
            if self.rows.insert(id, row).is_none() {
                self.waiting.insert((slot(), id));
            }
        }
    }

    fn advance(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        if self.again && !self.asking && now >= self.ask_at {
            self.again = false;
            self.asking = true;
            effects.push(if self.adopted { Effect::Reload } else { Effect::Adopt });
        }
        while let Some(&(at, id)) = self.waiting.first()
            && at <= now
        {
            self.waiting.pop_first();
            if let Some(row) = self.rows.get(&id)
                && self.running.insert(id)
            {
                let restarts = self.restarts.get(&id).map_or(0, |restarts| restarts.total);
                effects.push(Effect::Start(row.clone(), restarts));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::{Smtp, TenantId};
    use crate::ports::mail_source::MailboxRef;
    use crate::time::Timestamp;

    fn row(id: i64) -> OwnedMailbox {
        let smtp = Arc::new(Smtp::new("a@example.com"));
        let mailbox = MailboxRef { id: MailboxId(id), tenant: TenantId(Arc::from("t")), smtp };
        OwnedMailbox { mailbox, seeded: true, badge_dirty: false, pending: false, announced_until: Timestamp(0) }
    }

    fn loaded(change_seq: i64, ids: &[i64]) -> Input {
        Input::Rows(Ok(Some(AdoptedShard { change_seq, mailboxes: ids.iter().map(|id| row(*id)).collect() })))
    }

    /// Steps at a second; slots are a tenth of a second apart from there.
    fn step(shard: &mut Shard, second: i64, input: Input) -> Vec<Effect> {
        let now = Monotonic(second * 1_000_000);
        let mut next = now;
        let mut slot = || {
            let slot = next;
            next = next + std::time::Duration::from_millis(100);
            slot
        };
        shard.step(now, input, &Settings::default(), &mut slot)
    }

    fn started(effects: &[Effect]) -> Vec<(i64, u32)> {
        effects
            .iter()
            .filter_map(|effect| if let Effect::Start(row, times) = effect { Some((row.mailbox.id.0, *times)) } else { None })
            .collect()
    }

    #[test]
    fn a_shard_is_adopted_and_its_mailboxes_start_at_the_nodes_pace() {
        let mut shard = Shard::new(1);
        assert_eq!(step(&mut shard, 0, Input::Alarm), [Effect::Adopt]);
        assert_eq!(started(&step(&mut shard, 1, loaded(5, &[1, 2, 3]))), [(1, 0)]);
        assert_eq!(shard.due(), Monotonic(1_100_000));
        assert_eq!(started(&step(&mut shard, 2, Input::Alarm)), [(2, 0), (3, 0)]);
        assert_eq!(step(&mut shard, 3, Input::Changed(Some(5))), []);
    }

    #[test]
    fn a_mailbox_added_or_removed_through_anybody_is_started_or_stopped() {
        let mut shard = Shard::new(1);
        step(&mut shard, 0, Input::Alarm);
        step(&mut shard, 1, loaded(5, &[1]));
        assert_eq!(step(&mut shard, 2, Input::Changed(Some(6))), [Effect::Reload]);
        assert_eq!(step(&mut shard, 2, Input::Changed(Some(7))), [], "one look at a time");
        let effects = step(&mut shard, 3, loaded(6, &[2]));
        assert_eq!(effects[0], Effect::Stop(MailboxId(1)));
        assert_eq!(effects[1], Effect::Reload, "what changed meanwhile is looked at again");
        assert_eq!(started(&effects), [(2, 0)]);
    }

    #[test]
    fn a_mailbox_that_fails_is_started_again_later_each_time_and_alone() {
        let mut shard = Shard::new(1);
        step(&mut shard, 0, Input::Alarm);
        step(&mut shard, 1, loaded(5, &[1, 2]));
        step(&mut shard, 2, Input::Alarm);
        assert_eq!(step(&mut shard, 3, Input::Failed(MailboxId(1))), []);
        assert_eq!(shard.due(), Monotonic(3_100_000));
        assert_eq!(started(&step(&mut shard, 4, Input::Alarm)), [(1, 1)]);
        step(&mut shard, 5, Input::Failed(MailboxId(1)));
        assert_eq!(shard.due(), Monotonic(5_200_000));
    }

    #[test]
    fn a_store_that_fails_is_asked_again_and_a_lost_shard_is_released() {
        let mut shard = Shard::new(1);
        step(&mut shard, 0, Input::Alarm);
        assert_eq!(step(&mut shard, 1, Input::Rows(Err(StoreError::Unavailable(String::new())))), []);
        assert!(shard.due() > Monotonic(1_000_000) && shard.due() < Monotonic(2_000_000));
        assert_eq!(step(&mut shard, 2, Input::Alarm), [Effect::Adopt]);
        assert_eq!(step(&mut shard, 3, Input::Rows(Ok(None))), [Effect::Release]);
    }
}

//! An owned shard: adopting it, which of its mailboxes run, and what is done when the store and the heartbeat disagree.

use std::collections::BTreeSet;

use super::{Effect, Shard};
use crate::ids::{Fence, MailboxId};
use crate::ports::StoreError;
use crate::ports::cluster_store::{AdoptedShard, ShardSeen};
use crate::settings::Settings;
use crate::time::Monotonic;

/// How often the store may deny what the heartbeat says before the shard is let go.
const DENIALS: u32 = 3;

impl Shard {
    pub(super) fn owned(&mut self, now: Monotonic, seen: ShardSeen, effects: &mut Vec<Effect>) {
        if self.epoch != Some(seen.epoch) {
            if self.epoch.is_none() {
                // What of the warm-up has not been answered goes on; the mailbox that starts takes over what came of it.
                self.asking = false;
            }
            self.epoch = Some(seen.epoch);
            self.adopted = false;
            self.denied = 0;
            self.again = true;
            self.ask_at = now;
        } else {
            self.again |= seen.change_seq != self.change_seq;
        }
        let ready = seen.target.is_some_and(|target| target.ready);
        if self.giving.wanted(ready) {
            effects.push(Effect::Unhold);
            self.go_on(effects);
        }
    }

    /// The answer to a look; says whether the shard is to be let go.
    pub(super) fn rows(
        &mut self,
        now: Monotonic,
        epoch: Fence,
        answer: Result<Option<AdoptedShard>, StoreError>,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) -> bool {
        self.asking = false;
        if self.epoch != Some(epoch) {
            // Asked under an epoch that is over.
            self.again = true;
            return false;
        }
        match answer {
            Ok(Some(shard)) => self.loaded(now, epoch, shard, settings, effects),
            Ok(None) => {
                self.denied += 1;
                if self.denied >= DENIALS || self.running.is_empty() {
                    return true;
                }
                // The next heartbeat may name another epoch, under which what runs goes on.
                self.adopted = false;
                self.again = true;
                self.ask_at = now + settings.heartbeat;
            }
            Err(_) => self.ask_later(now, settings),
        }
        false
    }

    fn loaded(&mut self, now: Monotonic, epoch: Fence, shard: AdoptedShard, settings: &Settings, effects: &mut Vec<Effect>) {
        let anew = !std::mem::replace(&mut self.adopted, true);
        (self.failures, self.denied) = (0, 0);
        self.ask_at = now + settings.retry_base;
        self.change_seq = shard.change_seq;
        let wanted: BTreeSet<MailboxId> = shard.mailboxes.iter().map(|row| row.mailbox.id).collect();
        effects.extend(self.warming.take().difference(&wanted).copied().map(Effect::Cool));
        let gone: Vec<MailboxId> = self.rows.keys().filter(|id| !wanted.contains(id)).copied().collect();
        for id in gone {
            self.rows.remove(&id);
            self.restarts.remove(&id);
            self.waiting.remove(&id);
            self.later.retain(|(_, later)| *later != id);
            self.giving.at_rest(id);
            if self.running.remove(&id) {
                effects.push(Effect::Stop(id));
            }
        }
        let doubted = std::mem::take(&mut self.doubted);
        for row in shard.mailboxes {
            let id = row.mailbox.id;
            if self.running.contains(&id) && (anew || doubted.contains(&id)) {
                effects.push(Effect::Restamp(row.clone(), epoch));
            }
            let new = !self.rows.contains_key(&id) && self.waiting.insert(id);
            if new || anew && self.waiting.contains(&id) {
                effects.push(Effect::AskTurn(row.mailbox.clone(), row.announced_until));
            }
            self.rows.insert(id, row);
        }
    }

    /// The turn of a mailbox that is to be watched came. While the shard is held, or not stamped, it waits and asks again.
    pub(super) fn turn(&mut self, mailbox: MailboxId, effects: &mut Vec<Effect>) {
        if self.adopted && !self.giving.holds() && self.waiting.remove(&mailbox) {
            self.start(mailbox, effects);
        }
    }

    /// The shard stays ours: those whose turn came meanwhile ask again.
    pub(super) fn go_on(&mut self, effects: &mut Vec<Effect>) {
        let rows = self.waiting.iter().filter_map(|id| self.rows.get(id));
        effects.extend(rows.map(|row| Effect::AskTurn(row.mailbox.clone(), row.announced_until)));
    }

    fn start(&mut self, mailbox: MailboxId, effects: &mut Vec<Effect>) {
        if let Some(row) = self.rows.get(&mailbox)
            && self.running.insert(mailbox)
        {
            let restarts = self.restarts.get(&mailbox).map_or(0, |restarts| restarts.total);
            effects.push(Effect::Start(row.clone(), restarts));
        }
    }

    pub(super) fn failed(&mut self, now: Monotonic, mailbox: MailboxId, settings: &Settings) {
        self.running.remove(&mailbox);
        self.giving.at_rest(mailbox);
        if self.rows.contains_key(&mailbox) {
            let delay = self.restarts.entry(mailbox).or_default().failed(now, settings);
            self.later.insert((now + delay, mailbox));
        }
    }

    /// It was told to stop and is wanted again, or it ended by a bug: the store knows.
    pub(super) fn ended(&mut self, now: Monotonic, mailbox: MailboxId, settings: &Settings) {
        if self.running.remove(&mailbox) {
            self.giving.at_rest(mailbox);
            self.rows.remove(&mailbox);
            self.again = true;
            self.ask_at = now + settings.retry_base;
        }
    }

    pub(super) fn advance(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        if let Some(epoch) = self.epoch
            && self.again
            && !self.asking
            && now >= self.ask_at
        {
            self.again = false;
            self.asking = true;
            effects.push(if self.adopted { Effect::Reload(epoch) } else { Effect::Adopt(epoch) });
        }
        while self.adopted
            && !self.giving.holds()
            && let Some(&(at, mailbox)) = self.later.first()
            && at <= now
        {
            self.later.pop_first();
            self.start(mailbox, effects);
        }
    }
}

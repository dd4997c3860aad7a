//! Mail that arrives at a rate, from one seed: a Poisson stream over the users, some of it read, deleted or moved soon after.

mod corpus;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::world::{MailSpec, World};

/// How long after its arrival something happens to a mail, in milliseconds.
const FOLLOW_UP_MS: std::ops::Range<u64> = 100..6_000;
/// How old a mail is that somebody drags into the inbox, in seconds: three hours to a month.
const DRAGGED_AGE_S: std::ops::Range<i64> = 10_800..2_592_000;

/// What else happens, in chances out of a thousand mails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mix {
    /// The owner reads it elsewhere soon after.
    pub read: u32,
    /// The owner deletes it soon after.
    pub deleted: u32,
    /// The owner moves it to another folder soon after.
    pub moved: u32,
    /// It is an old mail that somebody drags into the inbox, and not a new one.
    pub dragged_in: u32,
    /// It was read when it came (a rule did that).
    pub came_read: u32,
    /// It is no mail: a calendar item, a note.
    pub other_class: u32,
    /// It comes with nineteen more to the same user in the same moment.
    pub bursts: u32,
}

impl Mix {
    /// Nothing but new mails, each for itself.
    pub fn plain() -> Self {
        Self::default()
    }

    /// A bit of everything.
    pub fn varied() -> Self {
        Self { read: 40, deleted: 20, moved: 20, dragged_in: 10, came_read: 10, other_class: 10, bursts: 3 }
    }
}

/// What the owner does to a mail after it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Then {
    Read,
    Delete,
    Move,
}

/// How a mail comes into an inbox.
#[derive(Clone, Debug)]
enum Coming {
    Delivered,
    DraggedIn { age_s: i64 },
}

/// One entry of the plan.
#[derive(Clone, Debug)]
struct Arrival {
    after: Duration,
    user: usize,
    mail: MailSpec,
    coming: Coming,
    then: Option<(Duration, Then)>,
}

/// The plan: the same seed, users and rate make the same mails in the same order.
struct Plan {
    rng: StdRng,
    users: usize,
    rate: f64,
    mix: Mix,
    left: u64,
    elapsed: Duration,
    burst: Option<(usize, u32)>,
}

impl Plan {
    fn new(seed: u64, users: usize, rate: f64, mix: Mix, mails: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), users, rate, mix, left: mails, elapsed: Duration::ZERO, burst: None }
    }

    fn user(&mut self) -> usize {
        match self.burst.take() {
            Some((user, left)) => {
                self.burst = left.checked_sub(1).map(|left| (user, left));
                user
            }
            None => {
                let uniform: f64 = self.rng.random();
                // Time between two events of a Poisson process; `1 - uniform` is never zero.
                self.elapsed += Duration::from_secs_f64(-(1.0 - uniform).ln() / self.rate);
                let user = self.rng.random_range(0..self.users);
                if self.chance(self.mix.bursts) {
                    self.burst = Some((user, 18));
                }
                user
            }
        }
    }

    fn chance(&mut self, per_thousand: u32) -> bool {
        self.rng.random_ratio(per_thousand.min(1_000), 1_000)
    }

    fn then(&mut self) -> Option<(Duration, Then)> {
        let Mix { read, deleted, moved, .. } = self.mix;
        let draw = self.rng.random_range(0..1_000);
        let then = if draw < read {
            Then::Read
        } else if draw < read + deleted {
            Then::Delete
        } else if draw < read + deleted + moved {
            Then::Move
        } else {
            return None;
        };
        let after = self.rng.random_range(FOLLOW_UP_MS);
        Some((Duration::from_millis(after), then))
    }
}

impl Iterator for Plan {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.left = self.left.checked_sub(1)?;
        let user = self.user();
        let mut mail = corpus::mail(&mut self.rng);
        mail.is_read = self.chance(self.mix.came_read);
        if self.chance(self.mix.other_class) {
            mail.class = "IPM.StickyNote".to_owned();
        }
        let coming = if self.chance(self.mix.dragged_in) {
            let age_s = self.rng.random_range(DRAGGED_AGE_S);
            Coming::DraggedIn { age_s }
        } else {
            Coming::Delivered
        };
        let then = self.then();
        Some(Arrival { after: self.elapsed, user, mail, coming, then })
    }
}

/// Mail for many users.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// From which everything is drawn.
    pub seed: u64,
    /// The users' addresses.
    pub users: Vec<String>,
    /// How many mails.
    pub mails: u64,
    /// Mails a second, over all users.
    pub rate: f64,
    /// What else happens.
    pub mix: Mix,
}

/// A follow-up that waits for its time: when, what, to whose, which mail.
type FollowUp = Reverse<(Instant, Then, usize, String)>;

impl Arrivals {
    /// Lets all mail arrive, and what follows happen; `on_mail` is called after each mail. Ends early when cancelled.
    pub async fn run(&self, world: &World, cancel: &CancellationToken, on_mail: impl Fn()) {
        if self.users.is_empty() || self.rate <= 0.0 {
            return;
        }
        let begin = Instant::now();
        let mut waiting: BinaryHeap<FollowUp> = BinaryHeap::new();
        let plan = Plan::new(self.seed, self.users.len(), self.rate, self.mix, self.mails);
        for arrival in plan {
            let due = begin + arrival.after;
            while let Some(first) = waiting.peek().map(|Reverse(next)| next.0)
                && first <= due
            {
                if !until(first, cancel).await {
                    return;
                }
                self.follow_up(world, &mut waiting);
            }
            if !until(due, cancel).await {
                return;
            }
            self.arrive(world, arrival, &mut waiting);
            on_mail();
        }
        while let Some(first) = waiting.peek().map(|Reverse(next)| next.0) {
            if !until(first, cancel).await {
                return;
            }
            self.follow_up(world, &mut waiting);
        }
    }

    fn arrive(&self, world: &World, arrival: Arrival, waiting: &mut BinaryHeap<FollowUp>) {
        let smtp = &self.users[arrival.user];
        let id = match arrival.coming {
            Coming::Delivered => world.deliver(smtp, arrival.mail),
            Coming::DraggedIn { age_s } => {
                let age = jiff::SignedDuration::from_secs(age_s);
                world.move_in(smtp, arrival.mail, jiff::Timestamp::now() - age)
            }
        };
        // A user without a mailbox gets no mail; who asks for that gets what he asks for.
        if let (Ok(id), Some((after, then))) = (id, arrival.then) {
            waiting.push(Reverse((Instant::now() + after, then, arrival.user, id)));
        }
    }

    fn follow_up(&self, world: &World, waiting: &mut BinaryHeap<FollowUp>) {
        let Some(Reverse((_, then, user, id))) = waiting.pop() else {
            return;
        };
        let smtp = &self.users[user];
        let done = match then {
            Then::Read => world.mark_read(smtp, &id),
            Then::Delete => world.delete(smtp, &id),
            Then::Move => world.move_out(smtp, &id),
        };
        // A mailbox move may have changed the id meanwhile; then the mail stays.
        let _ = done;
    }
}

/// Waits until `due`; false when cancelled first.
async fn until(due: Instant, cancel: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = cancel.cancelled() => false,
        () = tokio::time::sleep_until(due) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn told(seed: u64) -> Vec<String> {
        Plan::new(seed, 10, 5.0, Mix::varied(), 300).map(|a| format!("{a:?} {} {}", a.mail.subject, a.mail.sender_name)).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_mail_and_another_seed_other_mail() {
        assert_eq!(told(1), told(1));
        assert_ne!(told(1), told(2));
    }

    #[test]
    fn the_rate_is_kept_on_average() {
        let last = Plan::new(7, 100, 50.0, Mix::plain(), 5_000).last().unwrap();
        let seconds = last.after.as_secs_f64();
        assert!((90.0..110.0).contains(&seconds), "5000 mails at 50/s took {seconds} s");
    }

    #[test]
    fn the_corpus_holds_empty_long_right_to_left_and_forbidden_text() {
        let mails: Vec<_> = Plan::new(1, 1, 1.0, Mix::plain(), 2_000).map(|a| a.mail).collect();
        assert!(mails.iter().any(|m| m.subject.is_empty()));
        assert!(mails.iter().any(|m| m.subject.len() > 4_096));
        assert!(mails.iter().any(|m| m.subject.contains('\u{202e}')));
        assert!(mails.iter().any(|m| m.preview.contains('\u{b}')));
        assert!(mails.iter().all(|m| m.preview.chars().count() <= 255));
    }

    #[tokio::test(start_paused = true)]
    async fn mails_arrive_and_some_are_read_or_deleted_again() {
        let ledger = Arc::new(Ledger::new(Duration::from_secs(3)));
        let world = World::new(Arc::clone(&ledger) as Arc<_>);
        let users: Vec<String> = (0..5).map(|n| format!("user{n}@example.com")).collect();
        for user in &users {
            world.add_mailbox(user);
        }
        let mix = Mix { read: 500, deleted: 200, moved: 100, dragged_in: 100, ..Mix::plain() };
        let arrivals = Arrivals { seed: 3, users, mails: 400, rate: 100.0, mix };
        let seen = AtomicU64::new(0);
        let count = || {
            seen.fetch_add(1, Ordering::Relaxed);
        };
        arrivals.run(&world, &CancellationToken::new(), count).await;
        let verdict = ledger.judge();
        assert_eq!((seen.load(Ordering::Relaxed), verdict.mails), (400, 400));
        assert!((330..390).contains(&verdict.to_announce), "{}", verdict.to_announce);
        assert!((280..350).contains(&verdict.gone), "{}", verdict.gone);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_run_ends_at_once() {
        let world = World::new(Arc::new(crate::witness::NoWitness));
        world.add_mailbox("a@example.com");
        let users = vec!["a@example.com".to_owned()];
        let arrivals = Arrivals { seed: 3, users, mails: 400, rate: 0.001, mix: Mix::plain() };
        let cancel = CancellationToken::new();
        cancel.cancel();
        let begin = Instant::now();
        arrivals.run(&world, &cancel, || {}).await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}

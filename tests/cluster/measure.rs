//! What a story measures: how soon users are pushed again, what was lost or doubled, who moved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use postrider_loadtest::ledger::Verdict;

use super::Cluster;
use crate::node::process::ADOPTED;
use crate::node::until;

/// The course of a takeover.
#[derive(Debug, Clone)]
pub struct Takeover {
    /// Users whose owner died.
    pub orphans: usize,
    /// Rows committed and not marked, read from the table right after the kill.
    pub unmarked: i64,
    /// From the kill to the first and the last of them that was pushed a mail which came after it.
    pub first: Option<Duration>,
    pub last: Option<Duration>,
    /// Users who were never pushed again.
    pub missing: usize,
    /// Users whose owner changed, and those among them who need not have moved.
    pub moved: usize,
    pub needless: usize,
}

/// All of a takeover that is judged.
#[derive(Debug, Clone)]
pub struct Judged {
    pub takeover: Takeover,
    pub lost: u64,
    /// Announced twice to a phone, under another id or the same.
    pub doubled: u64,
    pub repeats: u64,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Option<Duration>| time.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        let Takeover { orphans, unmarked, first, last, missing, moved, needless } = &self.takeover;
        write!(
            f,
            "first {} last {} missing {missing} lost {} doubled {} repeated {} unmarked at the kill {unmarked} orphans {orphans} moved {moved} needlessly {needless}",
            seconds(*first),
            seconds(*last),
            self.lost,
            self.doubled,
            self.repeats,
        )
    }
}

impl Judged {
    pub fn of(takeover: Takeover, verdict: &Verdict) -> Self {
        Self { takeover, lost: verdict.lost_count, doubled: verdict.doubled, repeats: verdict.repeats }
    }

    /// What was promised, times `slack`: first within 10 s, last within 20 s, nothing lost, no more doubled than was unmarked, only orphans moved.
    pub fn mistakes(&self, slack: u32) -> Vec<String> {
        let Takeover { orphans, unmarked, first, last, missing, moved, needless } = &self.takeover;
        let late = |time: &Option<Duration>, seconds: u64| time.is_none_or(|time| time > Duration::from_secs(seconds) * slack);
        let rules = [
            (*orphans == 0, "nobody was orphaned: nothing was tried"),
            (late(first, 10), "the first was pushed again too late"),
            (late(last, 20) || *missing > 0, "the last was pushed again too late"),
            (self.lost > 0, "mail was lost"),
            (i64::try_from(self.doubled + self.repeats).is_ok_and(|twice| twice > *unmarked), "more was pushed twice than was unmarked"),
            (*needless > 0 || moved != orphans, "not exactly the orphans moved"),
        ];
        rules.into_iter().filter(|(broken, _)| *broken).map(|(_, rule)| format!("{rule}: {self}")).collect()
    }
}

/// Epoch and session of every adoption that a log tells of.
pub fn adoptions(log: &str) -> Vec<(String, String)> {
    let field = |line: &str, name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::to_owned);
    log.lines().filter(|line| line.contains(ADOPTED)).filter_map(|line| Some((field(line, "epoch=")?, field(line, "session=")?))).collect()
}

/// Owners that changed because the former one was judged dead.
pub const FAILED: &str = "failed";
/// Owners that let go what nobody took over in time.
pub const LEFT: &str = "leave";

impl Cluster {
    /// Users whose owner changed for that reason since that version of the assignments, by the former owner's name.
    pub async fn moved_for(&self, reason: &str, since: i64) -> BTreeMap<String, i64> {
        let text = "SELECT from_node, count(*) FROM (SELECT DISTINCT l.from_node, m.mailbox_id FROM assign_log l JOIN mailbox m USING (shard_id) \
             WHERE l.reason = $1 AND l.ver > $2 AND l.from_node IS NOT NULL) AS moved GROUP BY from_node";
        let mut connection = self.server().connect(&self.database.name).await;
        let rows: Vec<(String, i64)> = sqlx::query_as(text).bind(reason).bind(since).fetch_all(&mut connection).await.expect("it is up");
        rows.into_iter().collect()
    }

    /// The version of the assignments.
    pub async fn assigned(&self) -> i64 {
        self.number("SELECT assign_ver FROM cluster").await
    }

    /// When the node's present session first took a mailbox over, by what the triggers noted; none if it did not since they do.
    pub async fn first_stamp(&self, node: &str) -> Option<Instant> {
        let text = "SELECT extract(epoch FROM clock_timestamp() - min(at))::float8 FROM test_authority \
             WHERE what = 'stamp' AND session = (SELECT session FROM node WHERE node_id = $1)";
        let mut connection = self.server().connect(&self.database.name).await;
        let ago: Option<f64> = sqlx::query_scalar(text).bind(node).fetch_one(&mut connection).await.expect("it is up");
        Instant::now().checked_sub(Duration::from_secs_f64(ago?.max(0.0)))
    }

    /// Kills nodes and follows their users until each was pushed a mail again that came afterwards, or the deadline passed.
    pub async fn kill_and_follow(&mut self, victims: &[usize], deadline: Duration) -> Takeover {
        let before = self.owners().await;
        let names: Vec<String> = victims.iter().map(|place| self.nodes[*place].name.clone()).collect();
        let orphans: Vec<String> = names.iter().filter_map(|name| before.get(name)).flatten().cloned().collect();
        let at = Instant::now();
        for place in victims {
            self.nodes[*place].kill();
        }
        let unmarked = self.number("SELECT count(*) FROM delivery WHERE state = 'PENDING'").await;
        for user in &orphans {
            self.deliver(user);
        }
        self.pushed_again(&orphans, at, deadline).await;
        let times = self.simulators.ledger().pushed_again(at, orphans.iter().map(String::as_str));
        let (moved, needless) = self.moved(&before, &names).await;
        let told = || times.iter().flatten().copied();
        Takeover {
            orphans: orphans.len(),
            unmarked,
            first: told().min(),
            last: told().max(),
            missing: times.len() - told().count(),
            moved,
            needless,
        }
    }

    /// Waits until each of these users was pushed a mail that came since.
    pub async fn pushed_again(&self, users: &[String], since: Instant, deadline: Duration) -> bool {
        let ledger = self.simulators.ledger();
        until(deadline, async || ledger.pushed_again(since, users.iter().map(String::as_str)).iter().all(Option::is_some)).await
    }

    /// Users who have another owner than before, and those among them whose former owner was none of the dead.
    pub async fn moved(&self, before: &BTreeMap<String, Vec<String>>, dead: &[String]) -> (usize, usize) {
        let pairs = |owners: &BTreeMap<String, Vec<String>>| -> BTreeSet<(String, String)> {
            owners.iter().flat_map(|(node, users)| users.iter().map(|user| (user.clone(), node.clone()))).collect()
        };
        let (before, after) = (pairs(before), pairs(&self.owners().await));
        let gone: Vec<_> = before.difference(&after).collect();
        (gone.len(), gone.iter().filter(|(_, node)| !dead.contains(node)).count())
    }
}

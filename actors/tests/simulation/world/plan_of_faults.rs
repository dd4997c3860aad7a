//! The plan of a run: how large the cluster is, how long it lives, and which faults strike when; drawn from the seed.

use super::dice::Dice;
use super::faults::Rates;
use super::scheduler::{MILLI, Micros, SECOND};
use super::steps::{Aim, Step};

/// One large fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A node dies and comes back.
    Kill,
    /// Half of the nodes die.
    KillHalf,
    /// All die.
    KillAll,
    /// A node is stopped for so long.
    Pause(Micros),
    /// A wall clock is set.
    ClockJump,
    /// A node's way to the database is cut.
    Cut,
    /// Everybody's is.
    CutAll,
    /// The database answers nothing for a while.
    Stall,
    /// It is slow.
    Slow,
    /// A node's pool is exhausted.
    Pool,
    /// The database is down for a while.
    Down,
    /// A standby is promoted; whether its last seconds are lost.
    Promote(bool),
    /// The former primary answers for a while, and the promoted one does not.
    OldPrimary,
    /// The leader dies.
    KillLeader,
    /// The leader is stopped.
    PauseLeader,
    /// A node dies and comes back again and again.
    Flap,
    /// Nodes are drained and started again, one after the other.
    RollingRestart,
    /// A node that was not there joins.
    Join,
    /// The provider is in a mood.
    Provider,
    /// The mail server is away.
    SourceAway,
    /// A stream breaks, falls silent or is lost.
    Stream,
    /// Sync states are refused.
    States,
}

/// A large fault at its time.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// When.
    pub at: Micros,
    /// What.
    pub kind: Kind,
}

/// The plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Machines.
    pub nodes: usize,
    /// Mailboxes at the beginning.
    pub mailboxes: usize,
    /// Time between mails.
    pub mail_every: Micros,
    /// Time between changes of devices; zero: none.
    pub change_every: Micros,
    /// Small faults.
    pub rates: Rates,
    /// Large faults, in no order.
    pub faults: Vec<Fault>,
    /// Faults that wait for a step of the protocol.
    pub aims: Vec<Aim>,
    /// Whether clocks run wrong.
    pub drift: bool,
    /// When the last fault may begin.
    pub faults_end: Micros,
    /// When the run ends.
    pub end: Micros,
}

/// The groups of faults of which a seed has some: swarm testing finds what one mixture of everything hides.
const GROUPS: [&[Kind]; 9] = [
    &[Kind::Kill, Kind::KillHalf, Kind::KillAll],
    &[Kind::Pause(3 * SECOND), Kind::Pause(7 * SECOND), Kind::Pause(60 * SECOND)],
    &[Kind::ClockJump],
    &[Kind::Cut, Kind::CutAll],
    &[Kind::Stall, Kind::Slow, Kind::Pool, Kind::Down],
    &[Kind::Promote(false), Kind::Promote(true), Kind::OldPrimary],
    &[Kind::KillLeader, Kind::PauseLeader],
    &[Kind::Flap, Kind::RollingRestart, Kind::Join],
    &[Kind::Provider, Kind::SourceAway, Kind::Stream, Kind::States],
];

impl Plan {
    /// Draws the plan of a run.
    pub fn draw(dice: &mut Dice) -> Self {
        let faults_end = dice.between(60, 160) * SECOND;
        let mut faults = Vec::new();
        for group in GROUPS {
            if !dice.percent(35) {
                continue;
            }
            for _ in 0..dice.between(1, 4) {
                let (at, kind) = (dice.between(5 * SECOND, faults_end), group[dice.index(group.len())]);
                faults.push(Fault { at, kind });
            }
        }
        Self {
            nodes: usize::try_from(dice.between(1, 5)).unwrap_or(1),
            mailboxes: usize::try_from(dice.between(2, 10)).unwrap_or(2),
            mail_every: dice.between(300, 4_000) * MILLI,
            change_every: if dice.percent(50) { dice.between(2, 15) * SECOND } else { 0 },
            rates: Rates::draw(dice),
            faults,
            aims: aims(dice),
            drift: dice.percent(50),
            faults_end,
            end: faults_end + 320 * SECOND,
        }
    }

    /// A run in which nothing goes wrong.
    pub fn calm(nodes: usize, mailboxes: usize) -> Self {
        Self {
            nodes,
            mailboxes,
            mail_every: SECOND,
            change_every: 0,
            rates: Rates::default(),
            faults: Vec::new(),
            aims: Vec::new(),
            drift: false,
            faults_end: 60 * SECOND,
            end: 120 * SECOND,
        }
    }
}

/// What is aimed at steps of the protocol: what ends, stops or cuts off whoever takes the step, or the database that it is asked of.
const AIMED: [Kind; 10] = [
    Kind::Kill,
    Kind::Kill,
    Kind::Pause(7 * SECOND),
    Kind::Pause(60 * SECOND),
    Kind::Cut,
    Kind::Promote(true),
    Kind::Promote(true),
    Kind::Promote(false),
    Kind::OldPrimary,
    Kind::Down,
];

/// Draws faults that wait for their moment. Half of the seeds have some; these have one step that several of them are aimed at, or several steps.
fn aims(dice: &mut Dice) -> Vec<Aim> {
    if !dice.percent(50) {
        return Vec::new();
    }
    let favourite = dice.percent(50).then(|| Step::ALL[dice.index(Step::ALL.len())]);
    (0..dice.between(1, 5))
        .map(|_| {
            let step = favourite.unwrap_or_else(|| Step::ALL[dice.index(Step::ALL.len())]);
            // Heartbeats and commits are many, the other steps few.
            let many = matches!(step, Step::Beat | Step::Commit | Step::Mark);
            let pass = u32::try_from(dice.between(0, if many { 60 } else { 4 })).unwrap_or(0);
            Aim { step, pass, after: dice.between(0, 8 * MILLI), kind: AIMED[dice.index(AIMED.len())] }
        })
        .collect()
}

impl Rates {
    /// The small faults by name.
    pub fn parts(&mut self) -> [(&'static str, &mut u32); 19] {
        [
            ("refused", &mut self.refused),
            ("request_lost", &mut self.request_lost),
            ("request_held", &mut self.request_held),
            ("answer_lost", &mut self.answer_lost),
            ("panic", &mut self.panic),
            ("busy", &mut self.busy),
            ("source_slow", &mut self.source_slow),
            ("source_fails", &mut self.source_fails),
            ("throttled", &mut self.throttled),
            ("stream_late", &mut self.stream_late),
            ("full", &mut self.full),
            ("hint_late", &mut self.hint_late),
            ("hint_lost", &mut self.hint_lost),
            ("hint_doubled", &mut self.hint_doubled),
            ("push_lost", &mut self.push_lost),
            ("push_answer_lost", &mut self.push_answer_lost),
            ("push_refused", &mut self.push_refused),
            ("push_later", &mut self.push_later),
            ("race_adoption", &mut self.race_adoption),
        ]
    }

    /// Draws the small faults of a run; most runs have few of them.
    fn draw(dice: &mut Dice) -> Self {
        let mut rate = |percent: u32, most: i64| if dice.percent(percent) { u32::try_from(dice.between(1, most)).unwrap_or(0) } else { 0 };
        Self {
            refused: rate(20, 30_000),
            request_lost: rate(20, 15_000),
            request_held: rate(15, 5_000),
            answer_lost: rate(20, 15_000),
            panic: rate(20, 3_000),
            busy: rate(50, 100_000),
            source_slow: rate(20, 30_000),
            source_fails: rate(25, 60_000),
            throttled: rate(25, 60_000),
            stream_late: rate(25, 300_000),
            full: rate(10, 200_000),
            hint_late: rate(25, 200_000),
            hint_lost: rate(15, 200_000),
            hint_doubled: rate(25, 200_000),
            push_lost: rate(20, 100_000),
            push_answer_lost: rate(20, 100_000),
            push_refused: rate(10, 50_000),
            push_later: rate(25, 200_000),
            race_adoption: rate(40, 500_000),
            uninstalls: rate(25, 2) > 0,
        }
    }
}

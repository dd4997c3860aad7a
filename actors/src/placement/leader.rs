//! The state machine of placement at one node: it observes the others, leads when nobody alive does, and then plans.
//!
//! Two leaders are harmless, because every plan is committed by comparing what it was made from; whatever a leader learned is observed anew by the next.

use std::collections::BTreeMap;

use super::guard::Guard;
use super::memory::Memory;
use super::observe::{Observer, beats};
use super::report::{Reporter, Told};
use super::round::Round;
use crate::delivery::retry::Chance;
use crate::ids::{NodeId, Session};
use crate::ports::StoreError;
use crate::ports::cluster_store::{ClusterView, Depth, NodeSeen, PlanCommit};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::time::Monotonic;

/// In a large cluster every so many looks of a follower go to all nodes, so that it notices when the cluster became small.
const LOOKS_AT_ALL: u32 = 32;

/// What placement is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Where this node stands itself.
    Stands(NodeState),
    /// The answer to [`Effect::Look`], which was sent at that moment.
    Seen(Monotonic, Result<ClusterView, StoreError>),
    /// The answer to [`Effect::Lead`].
    Led(Result<bool, StoreError>),
    /// The answer to [`Effect::Commit`].
    Committed(Result<Option<i64>, StoreError>),
    /// The answers to [`Effect::Ask`]: who answered.
    Asked(Vec<(Session, bool)>),
    /// The time of [`Leader::due`] came.
    Alarm,
}

/// What placement wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Look at the cluster.
    Look(Depth),
    /// Take leadership from whom it was seen with.
    Lead(Option<Session>),
    /// Commit a plan.
    Commit(PlanCommit),
    /// Ask these nodes directly whether they can act: session, name, address.
    Ask(Vec<(Session, NodeId, String)>),
    /// Tell operators about a planning round.
    Tell(Told),
    /// This node leads from here on, or does not any more.
    Leads(bool),
}

/// What is under way at the store; one thing at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    Look(Depth),
    Lead,
    Commit,
}

/// Placement at one node.
#[derive(Debug)]
pub struct Leader {
    me: Session,
    state: NodeState,
    /// One process owns everything: there is nothing to observe or to plan.
    embedded: bool,
    asking: Option<Asking>,
    next_at: Monotonic,
    chance: Chance,
    looks: u32,
    /// So many nodes that followers observe only the leader.
    crowd: bool,
    observer: Observer,
    guard: Guard,
    asked: bool,
    reporter: Reporter,
    members: BTreeMap<Session, NodeState>,
    quiet_since: Monotonic,
    leading: Option<Leading>,
}

/// What a leader has beside an observer.
#[derive(Debug)]
struct Leading {
    memory: Memory,
    /// When to look at all shards and plan.
    plan_at: Monotonic,
    assign_ver: i64,
    told_at: Option<Monotonic>,
}

impl Leading {
    fn new(now: Monotonic) -> Self {
        Self { memory: Memory::default(), plan_at: now, assign_ver: 0, told_at: None }
    }
}

impl Leader {
    /// Placement before its node joined.
    #[must_use]
    pub fn new(me: Session) -> Self {
        Self {
            me,
            state: NodeState::Joining,
            embedded: false,
            asking: None,
            next_at: Monotonic(0),
            chance: Chance::new(me.0.unsigned_abs()),
            looks: 0,
            crowd: false,
            observer: Observer::default(),
            guard: Guard::default(),
            asked: false,
            reporter: Reporter::default(),
            members: BTreeMap::new(),
            quiet_since: Monotonic(0),
            leading: None,
        }
    }

    /// Whether it leads, as far as it knows.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leading.is_some()
    }

    /// When it acts by itself next.
    #[must_use]
    pub fn due(&self) -> Monotonic {
        if self.asking.is_some() || !self.acts() {
            return Monotonic::NEVER;
        }
        self.leading.as_ref().map_or(self.next_at, |leading| leading.plan_at.min(self.next_at))
    }

    /// Takes one input and says what is to be done.
    pub fn step(&mut self, now: Monotonic, input: Input, settings: &Settings) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Stands(state) => self.state = state,
            Input::Seen(sent, answer) => self.seen(now, sent, answer, settings, &mut effects),
            Input::Led(answer) => self.led(now, &answer, settings, &mut effects),
            Input::Committed(answer) => self.committed(now, &answer, settings),
            Input::Asked(answers) => {
                self.asked = false;
                answers.into_iter().for_each(|(session, answered)| self.guard.probed(now, session, answered));
                self.plan_by(now);
            }
            Input::Alarm => {}
        }
        if !self.acts() {
            self.follow(&mut effects);
        } else if self.asking.is_none() && now >= self.due() {
            let depth = self.depth(now);
            self.looks = self.looks.wrapping_add(1);
            self.asking = Some(Asking::Look(depth));
            effects.push(Effect::Look(depth));
        }
        effects
    }

    /// Whether this node takes part at all. One that drains goes on leading until it leaves.
    fn acts(&self) -> bool {
        !self.embedded && matches!(self.state, NodeState::Good | NodeState::Draining)
    }

    fn depth(&self, now: Monotonic) -> Depth {
        match &self.leading {
            Some(leading) if now >= leading.plan_at => Depth::Shards,
            None if self.crowd && !self.looks.is_multiple_of(LOOKS_AT_ALL) => Depth::Leader,
            _ => Depth::Nodes,
        }
    }

    fn seen(
        &mut self,
        now: Monotonic,
        sent: Monotonic,
        answer: Result<ClusterView, StoreError>,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Asking::Look(depth)) = self.asking.take() else { return };
        self.next_at = (sent + self.chance.around(settings.heartbeat)).max(now + settings.heartbeat / 10);
        let Ok(view) = answer else {
            self.observer.failed();
            if let Some(leading) = &mut self.leading {
                leading.memory.failed();
                leading.plan_at = leading.plan_at.max(self.next_at);
            }
            return;
        };
        if view.history.timeline == 0 {
            // PostgreSQL's timelines begin with 1: this is an embedded database.
            self.embedded = true;
            return;
        }
        self.observer.seen(sent, now, &view, settings);
        if depth != Depth::Leader {
            self.members(now, &view, settings);
        }
        if view.leader != Some(self.me) {
            self.follow(effects);
            if self.state == NodeState::Good && self.leaderless(&view, settings) && self.is_good(&view, depth) {
                self.asking = Some(Asking::Lead);
                effects.push(Effect::Lead(view.leader));
            }
            return;
        }
        self.lead(now, depth, &view, settings, effects);
    }

    /// The old leader's timer lives on only in looks at all nodes: the next one must be such.
    fn led(&mut self, now: Monotonic, answer: &Result<bool, StoreError>, settings: &Settings, effects: &mut Vec<Effect>) {
        self.asking = None;
        self.looks = 0;
        self.next_at = now + settings.placement.debounce;
        if *answer == Ok(true) && self.acts() {
            effects.push(Effect::Leads(true));
            self.leading = Some(Leading::new(now));
        }
    }

    /// Takes note of who there is.
    fn members(&mut self, now: Monotonic, view: &ClusterView, settings: &Settings) {
        let members: BTreeMap<Session, NodeState> =
            view.nodes.iter().filter(|row| beats(row.state)).map(|row| (row.session, row.state)).collect();
        self.crowd = members.len() > settings.placement.everybody;
        self.guard.seen(now, view, &self.observer, settings);
        self.reporter.seen(view);
        if self.members != members {
            self.members = members;
            self.quiet_since = now;
            self.plan_by(now + settings.placement.debounce);
            if let Some(leading) = &mut self.leading {
                leading.told_at = None;
            }
        }
    }

    /// Whether the leader's session is absent, over or dead.
    fn leaderless(&self, view: &ClusterView, settings: &Settings) -> bool {
        let Some(leader) = view.leader else { return true };
        let live = view.nodes.iter().any(|row| row.session == leader && beats(row.state));
        !live || self.observer.is_dead(leader, settings)
    }

    /// Whether the table says that we are GOOD, where it was looked at.
    fn is_good(&self, view: &ClusterView, depth: Depth) -> bool {
        depth == Depth::Leader || view.nodes.iter().any(|row| row.session == self.me && row.state == NodeState::Good)
    }

    /// Leads no more, if it did.
    fn follow(&mut self, effects: &mut Vec<Effect>) {
        if self.leading.take().is_some() {
            effects.push(Effect::Leads(false));
        }
    }

    fn lead(&mut self, now: Monotonic, depth: Depth, view: &ClusterView, settings: &Settings, effects: &mut Vec<Effect>) {
        let leading = self.leading.get_or_insert_with(|| {
            // Its actor was started again, or the answer to its taking leadership was lost.
            effects.push(Effect::Leads(true));
            Leading::new(now)
        });
        let moved = leading.assign_ver != view.assign_ver;
        leading.assign_ver = view.assign_ver;
        if depth == Depth::Shards {
            self.round(now, view, settings, effects);
        } else if moved || !self.observer.dead(view, self.me, settings).is_empty() {
            self.plan_by(now + settings.placement.debounce);
        }
    }

    /// Plans on a look at everything.
    fn round(&mut self, now: Monotonic, view: &ClusterView, settings: &Settings, effects: &mut Vec<Effect>) {
        let tuning = &settings.placement;
        let Some(leading) = &mut self.leading else { return };
        leading.memory.seen(now, &view.shards, tuning.cooldown);
        let dead: Vec<&NodeSeen> = self.observer.dead(view, self.me, settings);
        let judgement = self.guard.judge(now, view, &dead, self.asked, &self.observer, settings);
        if !judgement.ask.is_empty() {
            self.asked = true;
            let asked = dead.iter().filter(|row| judgement.ask.contains(&row.session));
            effects.push(Effect::Ask(asked.map(|row| (row.session, row.node.clone(), row.addr.clone())).collect()));
        }
        let round = Round {
            me: self.me,
            view,
            memory: &leading.memory,
            observer: &self.observer,
            victims: &judgement.released,
            quiet: now.since(self.quiet_since) >= tuning.quiet,
            now,
            settings,
        };
        let (plan, commit) = round.decide();
        let mut told = self.reporter.tell(view, &plan, commit.as_ref(), &judgement.held, &self.observer, settings);
        told.lines |= leading.told_at.is_none_or(|at| now.since(at) >= tuning.tell);
        if told.lines {
            leading.told_at = Some(now);
        }
        let restless = told.under_way > 0 || !judgement.held.is_empty() || commit.is_some();
        leading.plan_at = now + if restless { settings.heartbeat } else { tuning.look };
        effects.push(Effect::Tell(told));
        if let Some(commit) = commit {
            self.asking = Some(Asking::Commit);
            effects.push(Effect::Commit(commit));
        }
    }

    /// Whatever became of a plan, the next look tells; a plan that was carried out is simply not made again.
    fn committed(&mut self, now: Monotonic, answer: &Result<Option<i64>, StoreError>, settings: &Settings) {
        self.asking = None;
        let rest = match answer {
            Ok(_) | Err(StoreError::OutcomeUnknown(_)) => settings.placement.debounce,
            Err(_) => settings.heartbeat,
        };
        if let Some(leading) = &mut self.leading {
            leading.plan_at = now + rest;
        }
    }

    /// Plans at the latest then.
    fn plan_by(&mut self, at: Monotonic) {
        if let Some(leading) = &mut self.leading {
            leading.plan_at = leading.plan_at.min(at);
        }
    }
}

//! What a planning round tells operators: the facts about every node, what was decided, what is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use super::observe::{Observer, beats};
use super::plan::Plan;
use crate::ids::{NodeId, Session};
use crate::ports::cluster_store::{ClusterView, Features, NodeSeen, PlanCommit, Reason};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::time::Timestamp;

/// How far below a threshold a node must fall before it is warned about again, in per cent of its capacity.
const HYSTERESIS: u64 = 5;

/// The facts about one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its name.
    pub node: NodeId,
    /// The life of its process.
    pub session: Session,
    /// Where it stands.
    pub state: NodeState,
    /// The last state that it reported itself.
    pub last_state: NodeState,
    /// Users of its shards.
    pub users: u64,
    /// Users that it may own.
    pub capacity: u32,
    /// What it can do.
    pub features: Features,
    /// Its program's version.
    pub version: String,
    /// Its last heartbeat.
    pub hb_seq: i64,
    /// When that was, by the database's clock.
    pub hb_at: Timestamp,
    /// Until when it could act at most, by the same clock: its last heartbeat and the time that one grants.
    pub cut_off: Timestamp,
    /// How long its heartbeat is known to have stood still.
    pub silent: Duration,
    /// Whether it leads.
    pub leads: bool,
}

impl Worker {
    /// Its users as a share of its capacity, in per cent, rounded down.
    #[must_use]
    pub fn percent(&self) -> u64 {
        self.users * 100 / u64::from(self.capacity.max(1))
    }
}

/// How full a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Fullness {
    /// There is room.
    #[default]
    Room,
    /// Nearly full.
    Nearly,
    /// Full or beyond.
    Full,
}

/// One planning round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The database's wall clock.
    pub now: Timestamp,
    /// Every node, in order of name.
    pub workers: Vec<Worker>,
    /// Whether a line for each of them is due: something was decided, or it is time again.
    pub lines: bool,
    /// Nodes that became fuller or emptier than a threshold.
    pub fuller: Vec<(NodeId, Fullness)>,
    /// What is to be committed: shards and users by reason.
    pub moves: BTreeMap<Reason, (u64, u64)>,
    /// Nodes that are judged BAD in this round.
    pub judged: Vec<NodeId>,
    /// Nodes that are dead but doubted: the mass guard holds.
    pub held: Vec<NodeId>,
    /// Shards that need an owner and that nobody has room or features for.
    pub unplaced: u64,
    /// Their users.
    pub unplaced_users: u64,
    /// Shards of draining nodes that nobody has room or features for.
    pub stuck: u64,
    /// Shards on their way.
    pub under_way: u64,
}

/// What is remembered from round to round.
#[derive(Debug, Default)]
pub struct Reporter {
    last_states: BTreeMap<Session, NodeState>,
    fullness: BTreeMap<NodeId, Fullness>,
}

impl Reporter {
    /// Takes note of what states the nodes report themselves.
    pub fn seen(&mut self, view: &ClusterView) {
        let before = std::mem::take(&mut self.last_states);
        let states = view.nodes.iter().map(|row| {
            let last = if beats(row.state) { row.state } else { before.get(&row.session).copied().unwrap_or(row.state) };
            (row.session, last)
        });
        self.last_states = states.collect();
    }

    /// The facts of a round.
    pub fn tell(
        &mut self,
        view: &ClusterView,
        plan: &Plan,
        commit: Option<&PlanCommit>,
        held: &[Session],
        observer: &Observer,
        settings: &Settings,
    ) -> Told {
        let judged = |session: Session| commit.is_some_and(|commit| commit.victims.iter().any(|victim| victim.session == session));
        let mut users: BTreeMap<Session, u64> = BTreeMap::new();
        for row in &view.shards {
            if let Some(owner) = row.owner {
                *users.entry(owner).or_default() += u64::from(row.users);
            }
        }
        let worker = |row: &NodeSeen| Worker {
            node: row.node.clone(),
            session: row.session,
            state: if judged(row.session) { NodeState::Bad } else { row.state },
            last_state: self.last_states.get(&row.session).copied().unwrap_or(row.state),
            users: users.get(&row.session).copied().unwrap_or(0),
            capacity: row.max_users,
            features: row.features.clone(),
            version: row.version.clone(),
            hb_seq: row.hb_seq,
            hb_at: row.hb_at,
            cut_off: row.hb_at + settings.observe_dead.saturating_sub(settings.margin),
            silent: observer.still(row.session),
            leads: view.leader == Some(row.session),
        };
        let workers: Vec<Worker> = view.nodes.iter().map(worker).collect();
        let names =
            |wanted: &dyn Fn(Session) -> bool| view.nodes.iter().filter(|row| wanted(row.session)).map(|row| row.node.clone()).collect();
        let load = |wanted: &dyn Fn(&crate::ports::cluster_store::ShardView) -> bool| -> u64 {
            view.shards.iter().filter(|row| wanted(row)).map(|row| u64::from(row.users)).sum()
        };
        Told {
            now: view.now,
            fuller: self.fuller(&workers, settings),
            workers,
            lines: commit.is_some(),
            moves: commit.map(|commit| moves(view, commit)).unwrap_or_default(),
            judged: names(&judged),
            held: names(&|session| held.contains(&session)),
            unplaced: plan.unplaced.len() as u64,
            unplaced_users: load(&|row| plan.unplaced.contains(&row.shard)),
            stuck: plan.stuck.len() as u64,
            under_way: view.shards.iter().filter(|row| row.target.is_some()).count() as u64,
        }
    }

    /// Nodes that passed a threshold. A warning ends only some way below it, so that it is not given again and again.
    fn fuller(&mut self, workers: &[Worker], settings: &Settings) -> Vec<(NodeId, Fullness)> {
        let thresholds = [(Fullness::Full, 100), (Fullness::Nearly, u64::from(settings.placement.warn_percent))];
        let before = std::mem::take(&mut self.fullness);
        let mut changed = Vec::new();
        for worker in workers.iter().filter(|worker| beats(worker.state)) {
            let was = before.get(&worker.node).copied().unwrap_or_default();
            let over = |(level, percent): &&(Fullness, u64)| worker.percent() + if was >= *level { HYSTERESIS } else { 0 } >= *percent;
            let is = thresholds.iter().find(over).map_or(Fullness::Room, |(level, _)| *level);
            if is != was {
                changed.push((worker.node.clone(), is));
            }
            self.fullness.insert(worker.node.clone(), is);
        }
        changed
    }
}

/// Shards and users that a commit moves, by reason.
fn moves(view: &ClusterView, commit: &PlanCommit) -> BTreeMap<Reason, (u64, u64)> {
    let decided = commit.assigns.iter().map(|assign| (assign.shard, assign.reason));
    let decided = decided.chain(commit.retargets.iter().map(|retarget| (retarget.shard, retarget.reason)));
    let mut moves: BTreeMap<Reason, (u64, u64)> = BTreeMap::new();
    for (shard, reason) in decided {
        let users = view.shards.binary_search_by_key(&shard, |row| row.shard).map_or(0, |found| view.shards[found].users);
        let entry = moves.entry(reason).or_default();
        entry.0 += 1;
        entry.1 += u64::from(users);
    }
    moves
}

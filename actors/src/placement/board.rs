//! The running account of a planning round: what each node holds, what is on its way to it, and who of them takes a shard best.

use std::cmp::Ordering;

use super::rendezvous;
use super::view::{Node, Params, Shard};
use crate::ids::Session;
use crate::snapshot::NodeState;

/// What shards are spread by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Their users.
    Load,
    /// Their number: for shards without users, so that the next users are spread as well.
    Count,
}

impl Measure {
    /// What counts for this shard.
    #[must_use]
    pub fn of(shard: &Shard) -> Self {
        if shard.load == 0 { Self::Count } else { Self::Load }
    }

    /// How much the shard weighs.
    #[must_use]
    pub fn size(self, shard: &Shard) -> u64 {
        match self {
            Self::Load => u64::from(shard.load),
            Self::Count => 1,
        }
    }
}

/// How full a receiver may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Up to its capacity.
    Capacity,
    /// Beyond it, by the overflow.
    Overflow,
}

/// The account of one node.
#[derive(Debug, Clone, Copy, Default)]
struct Seat {
    /// Load when everything under way has arrived.
    load: u64,
    /// Load that it holds with what is under way to it and what has not left it yet.
    held: u64,
    /// Load under way to it.
    arriving: u64,
    /// Shards without load.
    empties: u64,
}

/// All accounts.
#[derive(Debug)]
pub struct Board<'a> {
    /// In the order of their names' hashes, so that no tie is decided by how they were listed.
    nodes: Vec<Node>,
    params: &'a Params,
    seats: Vec<Seat>,
    places: Vec<(Session, usize)>,
    receivers: Vec<usize>,
}

impl<'a> Board<'a> {
    /// Empty accounts.
    #[must_use]
    pub fn new(nodes: &[Node], params: &'a Params) -> Self {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable_by_key(|node| (node.key, node.session));
        let mut places: Vec<(Session, usize)> = nodes.iter().enumerate().map(|(place, node)| (node.session, place)).collect();
        places.sort_unstable();
        let receives = |place: &usize| nodes[*place].state == NodeState::Good && nodes[*place].weight > 0;
        let receivers = (0..nodes.len()).filter(receives).collect();
        Self { seats: vec![Seat::default(); nodes.len()], nodes, params, places, receivers }
    }

    /// The place of a session among the nodes.
    #[must_use]
    pub fn find(&self, session: Session) -> Option<usize> {
        let found = self.places.binary_search_by_key(&session, |(session, _)| *session).ok()?;
        Some(self.places[found].1)
    }

    /// The node at a place.
    #[must_use]
    pub fn node(&self, place: usize) -> &Node {
        &self.nodes[place]
    }

    /// The nodes that may be given shards.
    #[must_use]
    pub fn receivers(&self) -> &[usize] {
        &self.receivers
    }

    /// Whether the node at `place` may own the shard at all.
    #[must_use]
    pub fn suits(&self, place: usize, shard: &Shard) -> bool {
        let node = &self.nodes[place];
        node.state == NodeState::Good && node.features.cover(shard.needs)
    }

    /// The shard stays where it is.
    pub fn keep(&mut self, place: usize, shard: &Shard) {
        let seat = &mut self.seats[place];
        seat.load += u64::from(shard.load);
        seat.held += u64::from(shard.load);
        seat.empties += u64::from(shard.load == 0);
    }

    /// The shard leaves for another node and is still held until it is there.
    pub fn leave(&mut self, place: usize, shard: &Shard) {
        self.seats[place].held += u64::from(shard.load);
    }

    /// The shard is under way to that node.
    pub fn arrive(&mut self, place: usize, shard: &Shard) {
        self.keep(place, shard);
        self.seats[place].arriving += u64::from(shard.load);
    }

    /// A shard that was kept leaves after all; it is held until it is there.
    pub fn give_up(&mut self, place: usize, shard: &Shard) {
        let seat = &mut self.seats[place];
        seat.load -= u64::from(shard.load);
        if shard.load == 0 {
            seat.empties -= 1;
        }
    }

    /// Whether the node has room for the shard.
    #[must_use]
    pub fn fits(&self, place: usize, shard: &Shard, room: Room) -> bool {
        let cap = u64::from(self.nodes[place].cap);
        let most = match room {
            Room::Capacity => cap,
            Room::Overflow => cap + cap * u64::from(self.params.overflow_percent) / 100,
        };
        shard.load == 0 || self.seats[place].held + u64::from(shard.load) <= most
    }

    /// Whether so much may be under way to the node beside the shard; one shard always may, however large.
    #[must_use]
    pub fn within(&self, place: usize, shard: &Shard, budget: u32) -> bool {
        let arriving = self.seats[place].arriving;
        arriving == 0 || arriving + u64::from(shard.load) <= u64::from(budget)
    }

    /// What the node weighs by this measure.
    #[must_use]
    pub fn value(&self, place: usize, measure: Measure) -> u64 {
        match measure {
            Measure::Load => self.seats[place].load,
            Measure::Count => self.seats[place].empties,
        }
    }

    /// Compares how full two nodes are for their weight, each with so much more.
    #[must_use]
    pub fn compare(&self, a: usize, b: usize, measure: Measure, more: u64) -> Ordering {
        let full = |place: usize, by: usize| u128::from(self.value(place, measure) + more) * u128::from(self.nodes[by].weight);
        full(a, b).cmp(&full(b, a))
    }

    /// What all receivers weigh, and the sum of their weights: the mean, as a fraction.
    #[must_use]
    pub fn totals(&self, measure: Measure) -> (u128, u128) {
        let sum = |of: &dyn Fn(usize) -> u64| self.receivers.iter().map(|place| u128::from(of(*place))).sum();
        (sum(&|place| self.value(place, measure)), sum(&|place| u64::from(self.nodes[place].weight)))
    }

    /// The best receiver for the shard among those that suit it and are `open` to it: the one that is the least full with it.
    #[must_use]
    pub fn best(&self, shard: &Shard, open: impl Fn(usize) -> bool) -> Option<usize> {
        let (measure, size) = (Measure::of(shard), Measure::of(shard).size(shard));
        let draw = |place: usize| rendezvous::draw(shard.id, self.nodes[place].key);
        let open = self.receivers.iter().copied().filter(|place| self.suits(*place, shard) && open(*place));
        open.min_by(|a, b| self.compare(*a, *b, measure, size).then_with(|| draw(*b).cmp(&draw(*a))).then_with(|| a.cmp(b)))
    }
}

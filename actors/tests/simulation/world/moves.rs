//! What a node in the simulation tells the store about moves: new epochs, shards that it warmed up, shards that it hands over.

use std::cell::Cell;
use std::rc::Rc;

use postrider_actors::ids::{Fence, ShardId};
use postrider_actors::node::state::Input;
use postrider_actors::ports::cluster_store::ClusterStore;

use super::World;
use super::database::{PATIENCE, Way, at_once};
use super::machine::Uid;
use super::steps::Step;

impl World {
    /// Takes new epochs for all that is ours.
    pub fn reclaim(&mut self, node: usize, uid: Uid) {
        let session = self.session(node);
        self.step_begins(node, Step::Reclaim);
        let run = move |world: &mut World| at_once(world.db.store.reclaim(session, None));
        self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| world.node_tell(node, uid, Input::Reclaimed(answer)));
    }

    /// Takes new epochs for shards of which it is not known whether they went.
    pub fn retake(&mut self, node: usize, uid: Uid, shards: Vec<ShardId>) {
        let (session, asked) = (self.session(node), shards.clone());
        self.step_begins(node, Step::Retake);
        let run = move |world: &mut World| at_once(world.db.store.reclaim(session, Some(&asked)));
        self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| world.node_tell(node, uid, Input::Retaken(shards, answer)));
    }

    /// Says that shards are warmed up.
    pub fn say_ready(&mut self, node: usize, uid: Uid, shards: Vec<ShardId>) {
        let session = self.session(node);
        self.step_begins(node, Step::Ready);
        let run = move |world: &mut World| at_once(world.db.store.shards_ready(session, &shards));
        self.ask(node, Way::Pool, PATIENCE, run, move |world, _| world.node_tell(node, uid, Input::SaidReady));
    }

    /// Writes what waits to be written, for at most a heartbeat, then hands over.
    pub fn hand_over(&mut self, node: usize, uid: Uid, offered: Vec<(ShardId, Fence)>) {
        let once = Rc::new(Cell::new(Some(offered)));
        let late = once.clone();
        let patience = self.settings.heartbeat.as_micros() as i64;
        self.flush(node, move |world| world.hand_over_now(node, uid, &once));
        self.after_on(node, patience, move |world| world.hand_over_now(node, uid, &late));
    }

    fn hand_over_now(&mut self, node: usize, uid: Uid, offered: &Cell<Option<Vec<(ShardId, Fence)>>>) {
        let Some(offered) = offered.take() else { return };
        if self.node_actor(node, uid).is_none() {
            return;
        }
        let (session, asked) = (self.session(node), offered.clone());
        self.step_begins(node, Step::HandOver);
        let run = move |world: &mut World| at_once(world.db.store.hand_over(session, &asked));
        self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| {
            world.node_tell(node, uid, Input::HandedOver(offered, answer));
        });
    }
}

//! The node's state machine by scripts: joining, beating, promotions, moves, the end.

use super::state::{Effect, Ended, Input, Membership, Node};
use crate::ids::{Fence, Session, ShardId};
use crate::ports::StoreError;
use crate::ports::cluster_store::{Beat, History, Joined, Manner, ShardSeen};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::time::{Monotonic, Timestamp};

const SECOND: i64 = 1_000_000;
const NOON: Timestamp = Timestamp(1_000_000 * SECOND);

fn history(timeline: u32) -> History {
    History { system_id: "test".into(), timeline }
}

fn joined(manner: Manner) -> Input {
    Input::Joined(NOON, Ok(Joined::Done { history: history(1), now: NOON, manner }))
}

fn occupied(hb_seq: i64) -> Input {
    Input::Joined(NOON, Ok(Joined::Occupied { session: Session(7), hb_seq }))
}

fn beat(state: NodeState, timeline: u32, shards: &[(u16, i64)]) -> Beat {
    let seen = |(shard, epoch): &(u16, i64)| ShardSeen { shard: ShardId(*shard), epoch: Fence(*epoch), change_seq: 0, target: None };
    Beat {
        hb_seq: 1,
        state,
        assign_ver: 1,
        sending_allowed: true,
        now: NOON,
        history: history(timeline),
        shards: shards.iter().map(seen).collect(),
        users: shards.len() as u64,
        incoming: Vec::new(),
    }
}

fn away() -> StoreError {
    StoreError::Unavailable(String::new())
}

struct Script {
    node: Node,
    settings: Settings,
}

impl Script {
    fn new() -> Self {
        Self { node: Node::new(1, None), settings: Settings::default() }
    }

    /// A node that joined and whose first heartbeat is under way.
    fn joined(manner: Manner) -> Self {
        let mut script = Self::new();
        assert_eq!(script.at(0, Input::Alarm), [Effect::Join(None)]);
        let first = script.at(0, joined(manner));
        let expected = if manner == Manner::Shared { vec![Effect::Enter, Effect::Beat] } else { vec![Effect::Beat] };
        assert_eq!(first, expected);
        script
    }

    /// A GOOD node of a shared database that owns shard 3.
    fn good() -> Self {
        let mut script = Self::joined(Manner::Shared);
        script.at(0, Input::Entered(Ok(true)));
        script.beaten(0, NodeState::Good, 1, &[(3, 5)]);
        script
    }

    /// Steps at so many milliseconds.
    fn at(&mut self, millis: i64, input: Input) -> Vec<Effect> {
        self.node.step(Monotonic(millis * 1_000), input, &self.settings)
    }

    /// A heartbeat that was sent and answered at that moment.
    fn beaten(&mut self, millis: i64, state: NodeState, timeline: u32, shards: &[(u16, i64)]) -> Vec<Effect> {
        self.at(millis, Input::Beaten(Monotonic(millis * 1_000), Ok(Some(beat(state, timeline, shards)))))
    }
}

fn names(effects: &[Effect]) -> Vec<&'static str> {
    let name = |effect: &Effect| match effect {
        Effect::Join(_) => "join",
        Effect::Enter => "enter",
        Effect::Beat => "beat",
        Effect::Open(..) => "open",
        Effect::Suspend => "suspend",
        Effect::Shards(..) => "shards",
        Effect::Reclaim => "reclaim",
        Effect::SayReady(_) => "ready",
        Effect::HandOver(_) => "hand over",
        Effect::Retake(_) => "retake",
        Effect::Given(_) => "given",
        Effect::Kept(_) => "kept",
        Effect::End(_) => "end",
    };
    effects.iter().map(name).collect()
}

#[test]
fn the_gate_opens_from_the_moment_of_sending_for_t_less_margin_and_after_ownership_is_told() {
    let mut script = Script::joined(Manner::Embedded);
    let sent = Monotonic(SECOND);
    let effects = script.at(2_000, Input::Beaten(sent, Ok(Some(beat(NodeState::Good, 1, &[])))));
    assert_eq!(effects[..2], [Effect::Shards(Vec::new(), Vec::new()), Effect::Open(Monotonic(6 * SECOND), true)]);
}

#[test]
fn one_beat_is_under_way_at_a_time_and_the_next_follows_after_h() {
    let mut script = Script::joined(Manner::Embedded);
    assert_eq!(script.at(5_000, Input::Alarm), [], "still waiting for the first");
    script.at(100, Input::Beaten(Monotonic(0), Ok(Some(beat(NodeState::Good, 1, &[])))));
    let due = script.node.due();
    assert!((9 * SECOND / 10..=11 * SECOND / 10).contains(&due.0), "{due:?}");
    assert_eq!(script.at(due.0 / 1_000 + 1, Input::Alarm), [Effect::Beat]);
}

#[test]
fn a_database_away_ends_nothing_and_a_replaced_session_is_over_for_ever() {
    let mut script = Script::joined(Manner::Embedded);
    for second in 1..60 {
        assert_eq!(script.at(second * 1_000, Input::Beaten(Monotonic(second * SECOND), Err(away()))), []);
        assert_eq!(script.at(script.node.due().0 / 1_000 + 1, Input::Alarm), [Effect::Beat]);
    }
    assert_eq!(script.at(61_000, Input::Beaten(Monotonic(60 * SECOND), Ok(None))), [Effect::End(Ended::Replaced)]);
    assert_eq!(script.node.state(), NodeState::Bad);
    assert_eq!(script.beaten(62_000, NodeState::Good, 1, &[]), []);
    assert_eq!(script.node.due(), Monotonic::NEVER);
}

#[test]
fn joining_is_tried_again_unless_only_a_person_can_help() {
    let mut script = Script::new();
    script.at(0, Input::Alarm);
    assert_eq!(script.at(0, Input::Joined(NOON, Err(away()))), []);
    let due = script.node.due().0 / 1_000 + 1;
    assert_eq!(script.at(due, Input::Alarm), [Effect::Join(None)]);
    let full = StoreError::Unusable("disk full".into());
    assert_eq!(script.at(due, Input::Joined(NOON, Err(full))), [Effect::End(Ended::Unusable("disk full".into()))]);
}

#[test]
fn a_namesake_that_stands_still_for_t_is_replaced() {
    let mut script = Script::new();
    script.at(0, Input::Alarm);
    let mut now = 0;
    while script.at(now, occupied(40)).is_empty() {
        now = script.node.due().0 / 1_000 + 1;
        let effects = script.at(now, Input::Alarm);
        if effects == [Effect::Join(Some((Session(7), 40)))] {
            break;
        }
        assert_eq!(effects, [Effect::Join(None)]);
    }
    assert!((6_000..8_000).contains(&now), "{now}");
    assert_eq!(script.node.state(), NodeState::Joining);
    assert_eq!(names(&script.at(now, joined(Manner::Shared))), ["enter", "beat"]);
}

#[test]
fn a_namesake_that_moves_is_told_of() {
    let mut script = Script::new();
    script.at(0, Input::Alarm);
    script.at(0, occupied(40));
    script.at(1_200, Input::Alarm);
    assert_eq!(script.at(1_200, occupied(41)), [], "it may have been under way when its process died");
    script.at(2_400, Input::Alarm);
    let effects = script.at(2_400, occupied(42));
    let [Effect::End(Ended::Unusable(why))] = &effects[..] else { panic!("{effects:?}") };
    assert!(why.contains("node.name"), "{why}");
}

#[test]
fn a_clock_that_is_off_does_not_enter() {
    for (wall, side) in [(NOON.0 + 3_600 * SECOND, "3600 s ahead of"), (NOON.0 - 31 * SECOND, "31 s behind")] {
        let mut script = Script::new();
        script.at(0, Input::Alarm);
        let done = Joined::Done { history: history(1), now: NOON, manner: Manner::Shared };
        let effects = script.at(0, Input::Joined(Timestamp(wall), Ok(done)));
        let [Effect::End(Ended::Unusable(why))] = &effects[..] else { panic!("{effects:?}") };
        assert!(why.contains(side), "{why}");
    }
}

#[test]
fn entering_is_asked_again_with_the_next_heartbeat_that_is_answered() {
    let mut script = Script::joined(Manner::Shared);
    script.at(10, Input::Entered(Err(away())));
    assert_eq!(names(&script.beaten(20, NodeState::Joining, 1, &[])), ["shards", "open", "enter"]);
    assert_eq!(script.node.state(), NodeState::Joining);
    assert_eq!(script.at(30, Input::Entered(Ok(true))), [Effect::Beat]);
    assert_eq!(script.node.state(), NodeState::Good);
    let mut script = Script::joined(Manner::Shared);
    assert_eq!(script.at(10, Input::Entered(Ok(false))), [Effect::End(Ended::Replaced)]);
}

#[test]
fn a_session_that_was_judged_before_it_heard_that_it_had_joined_is_over() {
    let mut script = Script::new();
    assert_eq!(script.at(0, Input::Alarm), [Effect::Join(None)]);
    script.at(1_000, Input::Joined(NOON, Err(away())));
    assert_eq!(script.at(60_000, Input::Alarm), [Effect::Join(None)]);
    assert_eq!(script.at(60_010, Input::Joined(NOON, Ok(Joined::Over))), [Effect::End(Ended::Replaced)]);
    assert_eq!(script.node.due(), Monotonic::NEVER);
}

#[test]
fn a_node_whose_actor_failed_before_it_entered_enters_and_one_that_had_entered_goes_on() {
    let membership = || Some(Membership { manner: Manner::Shared, history: history(1) });
    let mut script = Script { node: Node::new(1, membership()), settings: Settings::default() };
    assert_eq!(script.at(0, Input::Alarm), [Effect::Beat]);
    assert_eq!(names(&script.beaten(0, NodeState::Joining, 1, &[])), ["shards", "open", "enter"]);
    script.at(10, Input::Entered(Ok(true)));
    assert_eq!(script.node.state(), NodeState::Good);
    let mut script = Script { node: Node::new(1, membership()), settings: Settings::default() };
    script.at(0, Input::Alarm);
    assert_eq!(names(&script.beaten(0, NodeState::Good, 1, &[(3, 5)])), ["shards", "open"]);
    assert_eq!(script.node.state(), NodeState::Good);
}

#[test]
fn a_database_that_is_not_ours_suspends_at_once_and_ends_nothing() {
    let mut script = Script::good();
    let foreign = StoreError::Unusable("another database".into());
    assert_eq!(script.at(1_000, Input::Beaten(Monotonic(SECOND), Err(foreign))), [Effect::Suspend]);
    script.at(3_000, Input::Alarm);
    assert_eq!(names(&script.beaten(3_000, NodeState::Good, 0, &[(3, 5)])), ["suspend"], "an older copy");
    assert_eq!(names(&script.beaten(4_000, NodeState::Good, 1, &[(3, 5)])), ["shards", "open"]);
}

#[test]
fn after_a_promotion_nothing_begins_until_everything_has_new_epochs() {
    let mut script = Script::good();
    assert_eq!(names(&script.beaten(1_000, NodeState::Good, 2, &[(3, 5)])), ["suspend", "reclaim"]);
    assert_eq!(names(&script.beaten(2_000, NodeState::Good, 2, &[(3, 5)])), ["suspend"], "one at a time");
    assert_eq!(names(&script.at(3_000, Input::Reclaimed(Err(away())))), ["beat"]);
    assert_eq!(names(&script.beaten(4_000, NodeState::Good, 2, &[(3, 5)])), ["suspend", "reclaim"]);
    assert_eq!(names(&script.at(5_000, Input::Reclaimed(Ok(())))), ["beat"]);
    let late = Input::Beaten(Monotonic(4_900_000), Ok(Some(beat(NodeState::Good, 2, &[(3, 5)]))));
    assert_eq!(names(&script.at(5_100, late)), [] as [&str; 0], "it was sent before");
    let effects = script.beaten(6_000, NodeState::Good, 2, &[(3, 9)]);
    assert_eq!(names(&effects), ["shards", "open"]);
    assert_eq!(script.node.membership(), Some(&Membership { manner: Manner::Shared, history: history(2) }));
    assert_eq!(names(&script.beaten(7_000, NodeState::Good, 1, &[(3, 9)])), ["suspend"], "back on the old primary");
}

/// A GOOD node of shard 3 that met a promotion a second after its last heartbeat, and has new epochs two seconds later.
fn promoted(shards: &[(u16, i64)]) -> Script {
    let mut script = Script::good();
    script.beaten(1_000, NodeState::Good, 2, shards);
    script.at(3_000, Input::Reclaimed(Ok(())));
    script
}

/// The shards that a heartbeat lets the node work on.
fn begun(effects: &[Effect]) -> Vec<u16> {
    let shards = effects.iter().find_map(|effect| if let Effect::Shards(ours, _) = effect { Some(ours) } else { None });
    shards.into_iter().flatten().map(|seen| seen.shard.0).collect()
}

#[test]
fn a_shard_that_a_lost_tail_gives_back_is_begun_when_whoever_had_it_acts_no_more() {
    // Shard 4 went to another node in the tail that was lost; its gate may be open for T less margin after the promotion.
    let mut script = promoted(&[(3, 8), (4, 8)]);
    assert_eq!(begun(&script.beaten(3_100, NodeState::Good, 2, &[(3, 9), (4, 9)])), [3]);
    assert_eq!(begun(&script.beaten(8_900, NodeState::Good, 2, &[(3, 9), (4, 9)])), [3]);
    assert_eq!(begun(&script.beaten(9_000, NodeState::Good, 2, &[(3, 9), (4, 9)])), [3, 4], "T after the new epochs");
}

#[test]
fn a_shard_whose_hand_over_was_in_a_lost_tail_is_begun_as_one_that_came_back() {
    for answer in [Ok(vec![ShardId(3)]), Err(StoreError::OutcomeUnknown(String::new()))] {
        let mut script = Script::good();
        assert!(names(&script.at(500, Input::Offered(ShardId(3), Fence(5)))).contains(&"hand over"));
        script.at(700, Input::HandedOver(vec![(ShardId(3), Fence(5))], answer));
        script.beaten(1_000, NodeState::Good, 2, &[(3, 5)]);
        script.at(3_000, Input::Reclaimed(Ok(())));
        assert_eq!(begun(&script.beaten(3_100, NodeState::Good, 2, &[(3, 9)])), [] as [u16; 0]);
        assert_eq!(begun(&script.beaten(9_000, NodeState::Good, 2, &[(3, 9)])), [3]);
    }
}

#[test]
fn a_node_whose_entering_was_in_a_lost_tail_enters_again() {
    let mut script = promoted(&[]);
    assert!(names(&script.beaten(3_100, NodeState::Joining, 2, &[])).contains(&"enter"), "else it would never lead, and nobody would plan");
    assert!(!names(&script.beaten(4_100, NodeState::Joining, 2, &[])).contains(&"enter"), "once at a time");
    script.at(4_200, Input::Entered(Ok(true)));
    assert_eq!(script.node.state(), NodeState::Good);
}

#[test]
fn a_drain_that_was_in_a_lost_tail_is_over_unless_the_process_ends() {
    let mut script = Script::good();
    script.beaten(500, NodeState::Draining, 1, &[(3, 5)]);
    script.beaten(1_000, NodeState::Good, 2, &[(3, 5)]);
    script.at(3_000, Input::Reclaimed(Ok(())));
    script.beaten(3_100, NodeState::Good, 2, &[(3, 9)]);
    assert_eq!(script.node.state(), NodeState::Good, "an operator's wish that the database does not know");
    script.at(3_200, Input::Drain);
    script.beaten(4_100, NodeState::Good, 2, &[(3, 9)]);
    assert_eq!(script.node.state(), NodeState::Draining, "its own end");
}

#[test]
fn a_node_that_drains_ends_when_it_is_empty() {
    let mut script = Script::good();
    assert_eq!(names(&script.beaten(1_000, NodeState::Draining, 1, &[(3, 5)])), ["shards", "open"]);
    assert_eq!(script.node.state(), NodeState::Draining);
    assert_eq!(script.beaten(2_000, NodeState::Draining, 1, &[]), [Effect::End(Ended::Drained)]);
    assert_eq!(script.node.state(), NodeState::Left);
    assert_eq!(script.node.due(), Monotonic::NEVER);
}

#[test]
fn a_node_that_drains_waits_for_nobody_who_takes_shards_without_users() {
    let mut script = Script::good();
    let empty = Beat { users: 0, ..beat(NodeState::Draining, 1, &[(3, 5)]) };
    let good = Beat { state: NodeState::Good, ..empty.clone() };
    assert_eq!(names(&script.at(1_000, Input::Beaten(Monotonic(1_000_000), Ok(Some(good))))), ["shards", "open"]);
    assert_eq!(script.at(2_000, Input::Beaten(Monotonic(2_000_000), Ok(Some(empty)))), [Effect::End(Ended::Drained)]);
}

#[test]
fn shards_that_are_ready_or_offered_while_a_call_is_under_way_go_with_the_next() {
    let mut script = Script::good();
    assert_eq!(script.at(100, Input::Ready(ShardId(1))), [Effect::SayReady(vec![ShardId(1)])]);
    assert_eq!(script.at(110, Input::Ready(ShardId(2))), []);
    assert_eq!(script.at(120, Input::Ready(ShardId(4))), []);
    assert_eq!(script.at(130, Input::SaidReady), [Effect::SayReady(vec![ShardId(2), ShardId(4)])]);
    let one = vec![(ShardId(3), Fence(5))];
    assert_eq!(script.at(200, Input::Offered(ShardId(3), Fence(5))), [Effect::HandOver(one.clone())]);
    script.at(210, Input::Offered(ShardId(6), Fence(5)));
    let effects = script.at(220, Input::HandedOver(one, Ok(vec![ShardId(3)])));
    assert_eq!(effects, [Effect::Given(vec![ShardId(3)]), Effect::HandOver(vec![(ShardId(6), Fence(5))])]);
    let refused = Input::HandedOver(vec![(ShardId(6), Fence(5))], Ok(Vec::new()));
    assert_eq!(script.at(230, refused), [Effect::Kept(vec![ShardId(6)])]);
}

#[test]
fn a_hand_over_of_unknown_outcome_is_made_impossible_before_the_work_goes_on() {
    let mut script = Script::good();
    let (given, kept) = (ShardId(3), ShardId(4));
    script.at(200, Input::Offered(given, Fence(5)));
    script.at(200, Input::Offered(kept, Fence(5)));
    let unknown = || StoreError::OutcomeUnknown(String::new());
    let effects = script.at(300, Input::HandedOver(vec![(given, Fence(5))], Err(unknown())));
    assert_eq!(effects, [Effect::HandOver(vec![(kept, Fence(5))]), Effect::Retake(vec![given])]);
    assert_eq!(script.at(300, Input::HandedOver(vec![(kept, Fence(5))], Err(unknown()))), []);
    // The database may still carry it out, whatever a heartbeat says before.
    assert_eq!(names(&script.beaten(1_000, NodeState::Good, 1, &[(3, 5), (4, 5)])), ["shards", "open"]);
    assert_eq!(script.at(1_100, Input::Retaken(vec![given], Err(unknown()))), [], "not before a heartbeat is answered");
    let effects = script.beaten(2_000, NodeState::Good, 1, &[(3, 5), (4, 5)]);
    assert_eq!(names(&effects), ["shards", "open", "retake"]);
    assert_eq!(effects[2], Effect::Retake(vec![given, kept]));
    assert_eq!(script.at(2_900, Input::Retaken(vec![given, kept], Ok(()))), []);
    let before = Input::Beaten(Monotonic(2_850_000), Ok(Some(beat(NodeState::Good, 1, &[(3, 5), (4, 5)]))));
    assert_eq!(names(&script.at(2_950, before)), ["shards", "open"], "it was sent before");
    let effects = script.beaten(4_000, NodeState::Good, 1, &[(4, 7)]);
    assert_eq!(effects[..2], [Effect::Given(vec![given]), Effect::Kept(vec![kept])]);
    assert_eq!(names(&script.beaten(5_000, NodeState::Good, 1, &[(4, 7)])), ["shards", "open"]);
}

#[test]
fn a_heartbeat_whose_answer_lay_there_for_a_minute_puts_no_clock_back() {
    let beat = beat(NodeState::Good, 1, &[]);
    assert_eq!(beat.latest(Monotonic(5 * SECOND), Monotonic(65 * SECOND)), Timestamp(NOON.0 + 60 * SECOND));
    assert_eq!(beat.latest(Monotonic(5 * SECOND), Monotonic(5 * SECOND)), NOON);
}

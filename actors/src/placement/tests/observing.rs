//! The accuracy rule: what counts towards a node's death, and what never does.

use std::time::Duration;

use crate::ids::{NodeId, Session};
use crate::placement::observe::Observer;
use crate::ports::cluster_store::{ClusterView, Features, History, NodeSeen};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::time::{Monotonic, Timestamp};

const PEER: Session = Session(2);

fn millis(millis: i64) -> Monotonic {
    Monotonic(millis * 1_000)
}

fn view(hb_seq: i64, link: u64, timeline: u32) -> ClusterView {
    let peer = NodeSeen {
        node: NodeId("two".into()),
        session: PEER,
        state: NodeState::Good,
        hb_seq,
        hb_at: Timestamp(0),
        weight: 1,
        max_users: 1,
        users: 0,
        features: Features::default(),
        version: String::new(),
        addr: String::new(),
    };
    ClusterView {
        assign_ver: 0,
        leader: None,
        history: History { system_id: "s".into(), timeline },
        link,
        sending_allowed: true,
        now: Timestamp(0),
        nodes: vec![peer],
        shards: Vec::new(),
    }
}

/// Runs looks given as (sent, answered, heartbeat, link, timeline), a heartbeat of -1 being a look that failed; says how long the peer stood still, in milliseconds.
fn still(looks: &[(i64, i64, i64, u64, u32)]) -> u128 {
    let (mut observer, settings) = (Observer::default(), Settings::default());
    for (sent, answered, hb_seq, link, timeline) in looks {
        if *hb_seq < 0 {
            observer.failed();
        } else {
            observer.seen(millis(*sent), millis(*answered), &view(*hb_seq, *link, *timeline), &settings);
        }
    }
    observer.still(PEER).as_millis()
}

#[test]
fn time_counts_from_an_answer_to_the_next_sending_and_a_heartbeat_begins_it_anew() {
    assert_eq!(still(&[(0, 10, 7, 1, 1), (1_000, 1_010, 7, 1, 1), (2_000, 2_300, 7, 1, 1), (3_000, 3_010, 7, 1, 1)]), 990 + 990 + 700);
    assert_eq!(still(&[(0, 10, 7, 1, 1), (1_000, 1_010, 7, 1, 1), (2_000, 2_010, 8, 1, 1), (3_000, 3_010, 8, 1, 1)]), 990);
}

#[test]
fn one_look_counts_for_two_heartbeats_at_most() {
    assert_eq!(still(&[(0, 0, 7, 1, 1), (60_000, 60_000, 7, 1, 1)]), 2_000, "we ourselves stood still for a minute");
}

#[test]
fn a_failed_look_and_a_reconnect_count_for_nothing() {
    assert_eq!(still(&[(0, 0, 7, 1, 1), (1_000, 1_000, -1, 1, 1), (2_000, 2_000, 7, 1, 1)]), 0);
    assert_eq!(still(&[(0, 0, 7, 1, 1), (1_000, 1_000, 7, 2, 1), (2_000, 2_000, 7, 2, 1)]), 1_000);
}

#[test]
fn after_a_promotion_nothing_counts_for_t() {
    let mut looks: Vec<(i64, i64, i64, u64, u32)> = (0..4).map(|second| (second * 1_000, second * 1_000, 7, 1, 1)).collect();
    assert_eq!(still(&looks), 3_000);
    looks.extend((4..=9).map(|second| (second * 1_000, second * 1_000, 7, 1, 2)));
    assert_eq!(still(&looks), 0, "promoted at second 4: what stood still in the former tables says nothing of these");
    looks.extend((10..=12).map(|second| (second * 1_000, second * 1_000, 7, 1, 2)));
    assert_eq!(still(&looks), 3_000);
}

#[test]
fn heartbeats_of_two_histories_that_are_equal_by_chance_are_no_stand_still() {
    // Heartbeat 7 was written to a primary that came back and stood still there for 5.9 s; the promoted one, whose tables are older, is at 7 as well by then.
    let looks: Vec<(i64, i64, i64, u64, u32)> =
        (0..=6).map(|look| (look * 990, look * 990, 7, 1, 2)).chain([(6_500, 6_500, 7, 2, 3)]).collect();
    assert_eq!(still(&looks), 0);
}

#[test]
fn a_node_is_dead_at_t_and_silent_from_half_of_it_on() {
    let (mut observer, settings) = (Observer::default(), Settings::default());
    let mut turned = Vec::new();
    for second in 0..=6 {
        observer.seen(millis(second * 1_000), millis(second * 1_000), &view(7, 1, 1), &settings);
        turned.push((observer.is_silent(PEER, &settings), observer.is_dead(PEER, &settings)));
    }
    assert_eq!(turned.iter().position(|(silent, _)| *silent), Some(3));
    assert_eq!(turned.iter().position(|(_, dead)| *dead), Some(6));
    assert_eq!(observer.dead(&view(7, 1, 1), Session(1), &settings).len(), 1);
    assert_eq!(observer.dead(&view(7, 1, 1), PEER, &settings).len(), 0, "nobody judges himself");
}

#[test]
fn a_node_that_joins_is_given_ten_times_as_long() {
    let (mut observer, settings) = (Observer::default(), Settings::default());
    let mut seen = view(0, 1, 1);
    seen.nodes[0].state = NodeState::Joining;
    for second in 0..60 {
        observer.seen(millis(second * 1_000), millis(second * 1_000), &seen, &settings);
        assert!(observer.dead(&seen, Session(1), &settings).is_empty(), "{second}");
    }
    observer.seen(millis(60_000), millis(60_000), &seen, &settings);
    assert_eq!(observer.dead(&seen, Session(1), &settings).len(), 1);
    assert_eq!(observer.still(PEER), Duration::from_secs(60));
}

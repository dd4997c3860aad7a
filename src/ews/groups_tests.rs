//! How mailboxes form groups.

use super::*;

fn mailbox(id: i64, smtp: &str) -> MailboxRef {
    MailboxRef { id: MailboxId(id), tenant: TenantId("t".into()), smtp: Arc::new(Smtp::new(smtp)) }
}

fn endpoint(host: &str, grouping: &str) -> Arc<Endpoint> {
    Arc::new(Endpoint::new(format!("https://{host}/EWS/Exchange.asmx").parse().unwrap(), grouping))
}

fn join(groups: &mut Groups, id: i64, smtp: &str, at: &Arc<Endpoint>) -> Ticket {
    let (ticket, _, _) = groups.enter(&mailbox(id, smtp), at);
    assert!(groups.joined(&ticket, format!("sub-{id}").into(), Some("cookie".into())));
    ticket
}

#[test]
fn groups_hold_at_most_their_size_and_one_endpoint_each() {
    let mut groups = Groups::new(2);
    let (a, b) = (endpoint("a", "X"), endpoint("a", "Y"));
    let of = |groups: &mut Groups, id, at: &Arc<Endpoint>| groups.enter(&mailbox(id, &format!("u{id}@x")), at).0.group;
    let first = of(&mut groups, 1, &a);
    assert_eq!(of(&mut groups, 2, &a), first);
    let second = of(&mut groups, 3, &a);
    assert_ne!(second, first);
    assert_ne!(of(&mut groups, 4, &b), second, "another grouping information");
    groups.leave(MailboxId(1));
    assert_eq!(of(&mut groups, 5, &a), first, "room is used again");
    assert_eq!(groups.counts(), (4, 3));
    for id in 2..=5 {
        groups.leave(MailboxId(id));
    }
    assert_eq!(groups.counts(), (0, 0));
    assert!(groups.by_key.is_empty());
}

#[test]
fn the_first_address_founds_the_group_and_the_others_wait_for_its_cookie() {
    let mut groups = Groups::new(200);
    let at = endpoint("a", "X");
    let (late, _, _) = groups.enter(&mailbox(1, "zoe@x"), &at);
    let (anchor, _, _) = groups.enter(&mailbox(2, "ada@x"), &at);
    assert!(matches!(groups.next(&late), Next::Wait));
    let Next::Found(affinity) = groups.next(&anchor) else { panic!() };
    assert_eq!((&*affinity.anchor, affinity.cookie), ("ada@x", None));
    assert!(groups.joined(&anchor, "s".into(), Some("c".into())));
    let Next::Join(affinity) = groups.next(&late) else { panic!() };
    assert_eq!((&*affinity.anchor, affinity.cookie.as_deref()), ("ada@x", Some("c")));
}

#[test]
fn a_founder_that_gives_up_leaves_the_founding_to_the_next() {
    let mut groups = Groups::new(200);
    let at = endpoint("a", "X");
    let (anchor, _, _) = groups.enter(&mailbox(1, "ada@x"), &at);
    let (next, _, _) = groups.enter(&mailbox(2, "bob@x"), &at);
    assert!(matches!(groups.next(&anchor), Next::Found(_)));
    assert!(matches!(groups.next(&next), Next::Wait));
    groups.abandon(&anchor);
    assert!(matches!(groups.next(&next), Next::Found(_)));
    assert!(matches!(groups.next(&anchor), Next::Void));
}

#[test]
fn without_a_cookie_the_founder_stays_the_anchor_and_with_one_the_first_address_is() {
    let mut groups = Groups::new(200);
    let at = endpoint("a", "X");
    let (founder, _, _) = groups.enter(&mailbox(1, "mia@x"), &at);
    groups.joined(&founder, "s1".into(), None);
    join(&mut groups, 2, "ada@x", &endpoint("b", "X"));
    let (earlier, _, _) = groups.enter(&mailbox(3, "ada@x"), &at);
    let Next::Join(affinity) = groups.next(&earlier) else { panic!() };
    assert_eq!(&*affinity.anchor, "mia@x");
    groups.joined(&earlier, "s3".into(), Some("c".into()));
    let snapshot = groups.snapshot(founder.group).unwrap();
    assert_eq!((&*snapshot.affinity.anchor, snapshot.act_for.as_str()), ("ada@x", "ada@x"));
    groups.pass_anchor_over(founder.group);
    assert_eq!(groups.snapshot(founder.group).unwrap().act_for.as_str(), "mia@x");
}

#[test]
fn watching_again_makes_the_former_watch_void_and_names_its_subscription() {
    let mut groups = Groups::new(200);
    let at = endpoint("a", "X");
    let first = join(&mut groups, 1, "ada@x", &at);
    let (second, left, _) = groups.enter(&mailbox(1, "ada@x"), &at);
    assert_eq!(&*left.unwrap().subscription, "sub-1");
    assert!(!groups.joined(&first, "late".into(), None));
    assert!(matches!(groups.next(&second), Next::Found(_)));
    groups.abandon(&first);
    assert!(matches!(groups.next(&second), Next::Found(_)), "a void watch abandons nothing");
}

#[test]
fn lost_subscriptions_leave_and_the_others_stay() {
    let mut groups = Groups::new(200);
    let at = endpoint("a", "X");
    let group = join(&mut groups, 1, "ada@x", &at).group;
    join(&mut groups, 2, "bob@x", &at);
    assert_eq!(groups.lose(group, ["sub-1", "unknown", "sub-1"], Lost::Refused), [mailbox(1, "ada@x")]);
    let snapshot = groups.snapshot(group).unwrap();
    assert_eq!(snapshot.subscriptions, ["sub-2".into()]);
    assert!(groups.has_joined(group, &[]) && !groups.has_joined(group, &snapshot.subscriptions));
    assert_eq!(groups.lose(group, ["sub-2"], Lost::Refused), [mailbox(2, "bob@x")]);
    assert!(groups.snapshot(group).is_none() && !groups.is_open(group));
}

/// A group whose subscriptions are lost; says how many share the next group.
fn lose_all_but(groups: &mut Groups, at: &Arc<Endpoint>, total: i64, kept: i64, how: Lost) -> usize {
    let mut group = None;
    for id in 1..=total {
        group = Some(join(groups, id, &format!("u{id}@x"), at).group);
    }
    let subscriptions: Vec<String> = (kept + 1..=total).map(|id| format!("sub-{id}")).collect();
    groups.lose(group.unwrap(), subscriptions.iter().map(String::as_str), how);
    (1..=total).for_each(|id| drop(groups.leave(MailboxId(id))));
    let first = groups.enter(&mailbox(1, "u1@x"), at).0.group;
    let shares = (2..=total).filter(|id| groups.enter(&mailbox(*id, &format!("u{id}@x")), at).0.group == first).count();
    (1..=total).for_each(|id| drop(groups.leave(MailboxId(id))));
    shares + 1
}

#[tokio::test(start_paused = true)]
async fn groups_of_a_server_that_refuses_most_of_a_stream_twice_are_smaller_for_an_hour() {
    let at = endpoint("a", "X");
    for (kept, then) in [(1, 1), (4, 4), (0, 5)] {
        let mut groups = Groups::new(200);
        assert_eq!(lose_all_but(&mut groups, &at, 10, kept, Lost::Refused), 10, "once may be an accident");
        assert_eq!(lose_all_but(&mut groups, &at, 10, kept, Lost::Refused), then);
        tokio::time::advance(Duration::from_secs(3_601)).await;
        assert_eq!(lose_all_but(&mut groups, &at, 10, kept, Lost::Refused), 10, "it is tried again");
    }
    let mut groups = Groups::new(200);
    for _ in 0..5 {
        assert_eq!(lose_all_but(&mut groups, &at, 10, 0, Lost::GivenUp), 10, "a server that is away is not helped by smaller groups");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_whose_subscription_ends_early_three_times_has_a_stream_of_its_own_for_an_hour() {
    let (mut groups, at) = (Groups::new(200), endpoint("a", "X"));
    let group = join(&mut groups, 1, "ada@x", &at).group;
    join(&mut groups, 3, "eve@x", &at);
    for _ in 0..3 {
        let ticket = join(&mut groups, 2, "bob@x", &at);
        assert_eq!(ticket.group, group);
        groups.speaks(group, &["sub-2".into()], true);
        groups.lose(group, ["sub-2"], Lost::Refused);
    }
    let own = join(&mut groups, 2, "bob@x", &at).group;
    assert_ne!(own, group);
    assert_ne!(join(&mut groups, 4, "zoe@x", &at).group, own, "nobody joins it");
    assert!(groups.snapshot(own).unwrap().full);
    groups.leave(MailboxId(2));
    tokio::time::advance(Duration::from_secs(3_601)).await;
    assert_eq!(join(&mut groups, 2, "bob@x", &at).group, group);
    assert!(groups.has_ended("sub-2") && !groups.has_ended("sub-77"));
}

#[tokio::test(start_paused = true)]
async fn while_nothing_speaks_few_subscriptions_are_made() {
    let (mut groups, at) = (Groups::new(200), endpoint("a", "X"));
    let mut made = 0;
    for _ in 0..60_000 {
        tokio::time::advance(Duration::from_millis(1)).await;
        let (ticket, _, _) = groups.enter(&mailbox(1, "ada@x"), &at);
        if groups.pause(&ticket).is_none() {
            made += 1;
            groups.joined(&ticket, "sub".into(), None);
            groups.lose(ticket.group, ["sub"], Lost::Refused);
        }
    }
    assert!((30..=60).contains(&made), "{made} in a minute");
    let (ticket, _, _) = groups.enter(&mailbox(1, "ada@x"), &at);
    groups.joined(&ticket, "sub".into(), None);
    groups.speaks(ticket.group, &["sub".into()], true);
    assert!((0..100).all(|_| groups.pause(&ticket).is_none()), "one that speaks ends it");
}

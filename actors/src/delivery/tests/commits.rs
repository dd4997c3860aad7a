//! Batches of commits: who is answered what when a state written behind meets a commit with rows.

use super::*;
use crate::delivery::commit::Committer;
use crate::delivery::fanout;
use crate::delivery::message::CommitAnswer;
use crate::gate::Gate;
use crate::ids::NodeId;
use crate::ports::cluster_store::{ClusterStore, Features, Join};
use crate::ports::mailbox_store::{Commit, MailboxStore};
use crate::ports::{Clock, Ports};
use crate::settings::Settings;
use crate::shard::directory::Directory;
use crate::testing::memory::Call;
use crate::testing::world::World;

/// A mailbox that this node owns, and everything to write about it.
async fn owned(world: &World) -> (MailboxId, Authority, Committer) {
    let mailbox = world.register("ada@example.com", "phone").await;
    let (node, session, patience) = (NodeId(Arc::from("one")), Session(1), seconds(6));
    let join = Join {
        node: node.clone(),
        session,
        weight: 1,
        max_users: 1,
        features: Features::default(),
        version: "test".into(),
        addr: String::new(),
        patience,
        replaces: None,
    };
    world.store.join(&join).await.expect("it joins");
    let beat = world.store.beat(&node, session, 0).await.expect("it beats").expect("it is alive");
    let shard = world.store.read(|model| model.mailboxes[&mailbox].shard);
    let epoch = beat.shards.iter().find(|seen| seen.shard == shard).expect("it is ours").epoch;
    let authority = Authority { fence: epoch, session };
    world.store.shard_adopt(shard, authority).await.expect("it is adopted");
    let gate = Gate::new(world.clock.clone());
    gate.open_until(world.clock.monotonic() + seconds(60), true);
    let store = Arc::new(world.store.clone());
    let ports = Ports {
        clock: world.clock.clone(),
        mail: world.mail.source(Arc::new(Directory::default())),
        push: Arc::new(world.push.clone()),
        cluster: store.clone(),
        peers: Arc::new(world.peers.clone()),
        mailboxes: store.clone(),
        devices: store.clone(),
        deliveries: store.clone(),
        registry: store,
    };
    (mailbox, authority, Committer::start(&ports, gate, &Settings::default()))
}

#[tokio::test(start_paused = true)]
async fn a_commit_with_rows_gets_its_answer_though_a_state_written_behind_is_in_the_same_batch() {
    let world = World::new();
    let (mailbox, authority, committer) = owned(&world).await;
    let row = world.store.mailbox_load(mailbox, authority).await.expect("it is read").expect("it is ours");
    let device = world.store.read(|model| *model.devices.keys().next().expect("there is one"));
    let behind = Commit {
        mailbox,
        authority,
        sync_seq: row.sync_seq,
        sync_state: Some(SyncState("behind".into())),
        seeded: true,
        badge_dirty: false,
        announced_until: row.announced_until,
        rows: Vec::new(),
    };
    let mails = fanout::new_mails(&[mail(1, world.now())], &row, world.now(), &Settings::default());
    let rows = fanout::mail_rows(&mails, &recipient(device.0, &[]), world.now(), &Settings::default());
    let commit = Commit { sync_state: Some(SyncState("ahead".into())), rows, ..behind.clone() };
    committer.write_behind(behind);
    let ((), answer) = tokio::join!(committer.flush(), committer.commit(commit));
    assert_eq!(world.store.calls(Call::SyncStateCommit), 1, "one batch");
    assert!(matches!(&answer, CommitAnswer::Matched(inserted) if inserted.len() == 1), "{answer:?}");
    let state = world.store.read(|model| model.mailboxes[&mailbox].sync_state.clone());
    assert_eq!(state, Some(SyncState("ahead".into())));
}

#[tokio::test(start_paused = true)]
async fn behind_a_closed_gate_nothing_is_committed() {
    let world = World::new();
    let (mailbox, authority, committer) = owned(&world).await;
    world.pass(seconds(61)).await;
    let row = world.store.mailbox_load(mailbox, authority).await.expect("it is read").expect("it is ours");
    let commit = Commit {
        mailbox,
        authority,
        sync_seq: row.sync_seq,
        sync_state: None,
        seeded: false,
        badge_dirty: false,
        announced_until: row.announced_until,
        rows: Vec::new(),
    };
    assert_eq!(committer.commit(commit).await, CommitAnswer::Gate);
    assert_eq!(world.store.calls(Call::SyncStateCommit), 0);
}

//! One mail, end to end: from the server's hint to the accepted push, through the real actors, in stopped time.

use std::time::Duration;

use postrider_actors::ids::EventKey;
use postrider_actors::testing::world::World;

const ADA: &str = "ada@example.com";

#[tokio::test(start_paused = true)]
async fn the_first_mail_after_quiet_is_pushed_at_once() {
    let world = World::new();
    let (_system, _) = world.one(ADA).await;
    world.pass(Duration::from_secs(60)).await;
    let began = tokio::time::Instant::now();
    let item = world.mail.deliver(ADA);
    let sent = world.push.until_accepted(1).await;
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    assert_eq!(sent[0].subject(), Some("mail 1"));
    assert_eq!(sent[0].push.badge, Some(1));
    assert_eq!(sent[0].push.hashes, [EventKey::of_item(&item)]);
    assert_eq!(sent[0].push.count, 1);
}

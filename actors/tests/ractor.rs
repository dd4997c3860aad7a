//! What the core relies on in ractor: were one of these to change, a version could not be taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent};
use tokio::sync::mpsc;

#[derive(Debug)]
enum Told {
    Count,
    Fail,
    Panic,
    Wait(Duration),
}

/// Says when it is dropped.
struct Witness(Arc<AtomicBool>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

struct Child;

struct ChildState {
    counted: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    _witness: Witness,
}

#[derive(Clone, Default)]
struct Seen {
    counted: Arc<AtomicUsize>,
    dropped: Arc<AtomicBool>,
    post_stop: Arc<AtomicBool>,
}

impl Actor for Child {
    type Msg = Told;
    type State = ChildState;
    type Arguments = Seen;

    async fn pre_start(&self, _: ActorRef<Told>, seen: Seen) -> Result<ChildState, ActorProcessingErr> {
        Ok(ChildState { counted: seen.counted, stopped: seen.post_stop, _witness: Witness(seen.dropped) })
    }

    async fn handle(&self, _: ActorRef<Told>, message: Told, state: &mut ChildState) -> Result<(), ActorProcessingErr> {
        match message {
            Told::Count => drop(state.counted.fetch_add(1, Ordering::AcqRel)),
            Told::Fail => return Err("as the test wants".into()),
            Told::Panic => panic!("as the test wants"),
            Told::Wait(time) => tokio::time::sleep(time).await,
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Told>, state: &mut ChildState) -> Result<(), ActorProcessingErr> {
        state.stopped.store(true, Ordering::Release);
        Ok(())
    }
}

struct Parent;

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Started,
    Failed(String),
    Terminated,
}

impl Actor for Parent {
    type Msg = Told;
    type State = mpsc::UnboundedSender<Event>;
    type Arguments = mpsc::UnboundedSender<Event>;

    async fn pre_start(&self, _: ActorRef<Told>, events: Self::Arguments) -> Result<Self::State, ActorProcessingErr> {
        Ok(events)
    }

    async fn handle(&self, _: ActorRef<Told>, message: Told, _: &mut Self::State) -> Result<(), ActorProcessingErr> {
        match message {
            Told::Panic => panic!("as the test wants"),
            _ => Err("as the test wants".into()),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Told>,
        event: SupervisionEvent,
        events: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let _ = events.send(match event {
            SupervisionEvent::ActorStarted(_) => Event::Started,
            SupervisionEvent::ActorFailed(_, error) => Event::Failed(error.to_string()),
            SupervisionEvent::ActorTerminated(..) => Event::Terminated,
            SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        });
        Ok(())
    }
}

struct Family {
    parent: ActorRef<Told>,
    child: ActorRef<Told>,
    seen: Seen,
    events: mpsc::UnboundedReceiver<Event>,
}

async fn family() -> Family {
    let (tell, mut events) = mpsc::unbounded_channel();
    let (parent, _) = Actor::spawn(None, Parent, tell).await.expect("it starts");
    let seen = Seen::default();
    let (child, _) = Actor::spawn_linked(None, Child, seen.clone(), parent.get_cell()).await.expect("it starts");
    assert_eq!(events.recv().await, Some(Event::Started));
    Family { parent, child, seen, events }
}

async fn until(holds: impl Fn() -> bool) {
    let reached = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(7_200), reached).await.expect("the condition never held");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_handler_is_told_to_the_supervisor_and_drops_the_state() {
    let mut family = family().await;
    family.child.cast(Told::Panic).unwrap();
    let event = family.events.recv().await;
    assert!(matches!(&event, Some(Event::Failed(error)) if error.contains("as the test wants")), "{event:?}");
    until(|| family.seen.dropped.load(Ordering::Acquire)).await;
    assert!(!family.seen.post_stop.load(Ordering::Acquire), "post_stop is skipped");
    assert_eq!(family.parent.get_status(), ActorStatus::Running, "the supervisor goes on");
}

#[tokio::test(start_paused = true)]
async fn an_error_from_a_handler_is_a_failure_like_a_panic() {
    let mut family = family().await;
    family.child.cast(Told::Fail).unwrap();
    assert!(matches!(family.events.recv().await, Some(Event::Failed(_))));
    until(|| family.seen.dropped.load(Ordering::Acquire)).await;
    assert!(family.child.cast(Told::Count).is_err(), "an actor that ended takes no message");
}

#[tokio::test(start_paused = true)]
async fn children_end_with_a_supervisor_that_panics() {
    let family = family().await;
    family.parent.cast(Told::Panic).unwrap();
    until(|| family.seen.dropped.load(Ordering::Acquire)).await;
    assert_eq!(family.child.get_status(), ActorStatus::Stopped);
}

#[tokio::test(start_paused = true)]
async fn children_end_with_a_supervisor_that_stops_or_is_killed() {
    for kill in [false, true] {
        let family = family().await;
        if kill {
            family.parent.kill()
        } else {
            family.parent.stop(None)
        }
        until(|| family.seen.dropped.load(Ordering::Acquire)).await;
        assert_eq!(family.child.get_status(), ActorStatus::Stopped, "kill: {kill}");
    }
}

#[tokio::test(start_paused = true)]
async fn stop_drops_what_is_queued_and_is_told_as_an_end() {
    let mut family = family().await;
    family.child.cast(Told::Wait(Duration::from_secs(1))).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    for _ in 0..10 {
        family.child.cast(Told::Count).unwrap();
    }
    family.child.stop(None);
    assert_eq!(family.events.recv().await, Some(Event::Terminated));
    assert_eq!(family.seen.counted.load(Ordering::Acquire), 0);
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_sender_come_in_their_order_and_stopped_time_drives_everything() {
    let family = family().await;
    let began = tokio::time::Instant::now();
    family.child.cast(Told::Wait(Duration::from_secs(60))).unwrap();
    family.child.cast(Told::Count).unwrap();
    until(|| family.seen.counted.load(Ordering::Acquire) == 1).await;
    assert!(began.elapsed() >= Duration::from_secs(60));
}

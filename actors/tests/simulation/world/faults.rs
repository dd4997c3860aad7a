//! What goes wrong in a run: drawn from its seed, with rates that differ from seed to seed, and counted when it really hits.

use super::World;
use super::history::What;
use super::ledger::Trouble;
use super::plan_of_faults::Plan;
use super::scheduler::Micros;

/// Chances of small faults, in millionths of the occasions.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// A call to the database is refused at once.
    pub refused: u32,
    /// A request is lost.
    pub request_lost: u32,
    /// A request is held back by the network for a while.
    pub request_held: u32,
    /// An answer is lost.
    pub answer_lost: u32,
    /// A step of an actor panics.
    pub panic: u32,
    /// A message waits because the process is busy.
    pub busy: u32,
    /// A call to the mail server takes seconds.
    pub source_slow: u32,
    /// It fails.
    pub source_fails: u32,
    /// It asks for silence.
    pub throttled: u32,
    /// A stream opens seconds after its subscription was made.
    pub stream_late: u32,
    /// There is no room for a subscription.
    pub full: u32,
    /// A hint comes seconds late.
    pub hint_late: u32,
    /// It never comes.
    pub hint_lost: u32,
    /// It comes twice.
    pub hint_doubled: u32,
    /// A push never arrives.
    pub push_lost: u32,
    /// The answer to a push is lost.
    pub push_answer_lost: u32,
    /// A push is refused for good.
    pub push_refused: u32,
    /// A push is asked to come later.
    pub push_later: u32,
    /// Somebody registers or goes while his shard is adopted.
    pub race_adoption: u32,
    /// Whether apps are removed from phones.
    pub uninstalls: bool,
}

macro_rules! hits {
    ($($name:ident $fault:literal $text:literal),* $(,)?) => {
        /// A fault that hit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the text beside says it")]
        pub enum Hit { $($name),* }

        impl Hit {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The fault of the protocol's list, and what it is.
            pub fn tell(self) -> (&'static str, &'static str) {
                match self { $(Self::$name => ($fault, $text)),* }
            }
        }
    };
}

hits!(
    Kill "F1" "a node killed",
    KillMany "F1" "half of the nodes or all killed at once",
    Pause "F2" "a node stopped for 3, 7 or 60 s, with something to do meanwhile",
    ClockJump "F3" "a wall clock set an hour off",
    LinkCut "F4" "a request or an answer met a cut way to the database",
    AnswerLost "F4" "the answer of the database lost",
    DatabaseStalled "F5" "a call met a stalled database",
    DatabaseSlow "F5" "a slow database",
    PoolExhausted "F5" "a call found no free connection",
    DatabaseAway "F5" "a call met a database that was down",
    Promotion "F6" "a promotion that lost nothing",
    LostTail "F6" "a promotion that lost its tail",
    OldPrimary "F6" "a call met the old primary, which was back",
    ConnectionBroken "F7" "a connection broke under a call",
    RequestHeld "F7" "a request to the database held back by the network",
    RequestLost "F7" "a request to the database lost",
    CallRefused "F7" "a call to the database refused",
    LeaderKilled "F8" "the leader killed",
    LeaderPaused "F8" "the leader stopped",
    Flap "F9" "a node that flaps",
    LateJoin "F9" "a node that joins late",
    Restart "F9" "a node drained and started again",
    PushLater "F10" "the provider asked to come later",
    PushRefused "F10" "a push refused for good",
    DeviceGone "F10" "a device gone",
    Credentials "F10" "credentials refused",
    PushAnswerLost "F10" "the answer to a push lost",
    HintLost "F11" "a hint lost",
    HintDoubled "F11" "a hint doubled",
    HintLate "F11" "a hint late",
    StateRefused "F11" "a sync state refused",
    Throttled "F11" "a call to the mail server throttled",
    SourceFails "F11" "a call to the mail server failed",
    SourceSlow "F11" "a slow call to the mail server",
    SourceAway "F11" "a call met a mail server that was away",
    StreamLate "F11" "a stream opened seconds after its subscription",
    SubscriptionsFull "F11" "no room for a subscription",
    StreamGap "F11" "a stream broke",
    StreamSilent "F11" "a stream fell silent",
    SubscriptionLost "F11" "a subscription lost",
    Panic "F12" "an actor panicked",
    AdoptionRaced "F13" "somebody came or went while his shard was adopted",
);

impl World {
    /// Counts a fault that hit.
    pub fn hit(&mut self, hit: Hit) {
        *self.hits.entry(hit).or_default() += 1;
        self.met(hit);
    }

    /// Notes that something is wrong everywhere in that span.
    pub fn fault_from_to(&mut self, what: &'static str, from: Micros, to: Micros) {
        self.trouble(what, None, from, to);
    }

    /// Notes that something went wrong for a moment.
    pub fn fault_now(&mut self, what: &'static str) {
        self.trouble(what, None, self.now, self.now);
    }

    /// Notes that something is wrong on one machine in that span, or everywhere.
    pub fn trouble(&mut self, what: &'static str, node: Option<usize>, from: Micros, to: Micros) {
        self.ledger.troubles.push(Trouble { what, node, from, to });
        if to > from {
            self.note(node, What::Fault(what));
        }
    }

    /// All faults of the plan are entered.
    pub fn faults_begin(&mut self, plan: &Plan) {
        for fault in plan.faults.clone() {
            self.enter(fault.at - self.now, super::scheduler::To::World, move |world| world.strike(fault.kind));
        }
    }
}

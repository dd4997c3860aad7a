//! Steps of the protocol that a fault may fall into: which are under way, which pairs of fault and step were ever met, and faults that wait for their step.

use std::collections::VecDeque;

use super::World;
use super::faults::Hit;
use super::plan_of_faults::Kind;
use super::scheduler::{MILLI, Micros, SECOND, To};

/// A fault this long after the beginning of a step counts as one that fell into it.
const WITHIN: Micros = 400 * MILLI;
/// Nothing is aimed at what happens before.
const FROM: Micros = 3 * SECOND;

macro_rules! steps {
    ($($name:ident $text:literal),* $(,)?) => {
        /// A step of the protocol: a request to the database and its answer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the text beside says it")]
        pub enum Step { $($name),* }

        impl Step {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What it is, in a word.
            pub fn tell(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

steps!(
    Join "join",
    Enter "enter",
    Beat "heartbeat",
    Adopt "adopt",
    Commit "commit",
    Mark "mark",
    Retry "schedule",
    Reclaim "reclaim",
    Retake "retake",
    Ready "warmed up",
    HandOver "hand-over",
    Lead "lead",
    Plan "plan",
    Drain "drain",
    Leave "leave",
);

/// A fault that waits for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim {
    /// Which step.
    pub step: Step,
    /// So many of them pass before.
    pub pass: u32,
    /// So long after the request left.
    pub after: Micros,
    /// What strikes; where it strikes a node, the one that takes the step.
    pub kind: Kind,
}

/// Steps that began lately, and the aims that are left.
#[derive(Debug, Default)]
pub struct Steps {
    lately: VecDeque<(Micros, Step)>,
    aims: Vec<Aim>,
}

impl Steps {
    /// Nothing has happened yet.
    pub fn aiming(aims: Vec<Aim>) -> Self {
        Self { lately: VecDeque::new(), aims }
    }
}

impl World {
    /// A node asks the database for a step of the protocol.
    pub fn step_begins(&mut self, node: usize, step: Step) {
        self.steps.lately.push_back((self.now, step));
        while self.steps.lately.front().is_some_and(|(at, _)| at + WITHIN < self.now) {
            self.steps.lately.pop_front();
        }
        if self.now < FROM || self.now > self.faults_end {
            return;
        }
        let mut struck = Vec::new();
        self.steps.aims.retain_mut(|aim| {
            let fires = aim.step == step && aim.pass == 0;
            aim.pass -= u32::from(aim.step == step && !fires);
            if fires {
                struck.push(*aim);
            }
            !fires
        });
        for aim in struck {
            self.enter(aim.after, To::World, move |world| world.strike_at(aim.kind, node));
        }
    }

    /// A fault hit: notes the steps that it fell into.
    pub fn met(&mut self, hit: Hit) {
        let now = self.now;
        let lately = self.steps.lately.iter().filter(|(at, _)| at + WITHIN >= now);
        self.pairs.extend(lately.map(|(_, step)| (hit, *step)));
    }
}

//! Push providers that answer by script and remember what they were sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::ports::Clock;
use crate::ports::push_sender::{Channel, Content, Permit, Push, PushSender, Verdict};
use crate::time::{Monotonic, Timestamp};

/// How long a test waits, in its stopped time, before it gives up.
const PATIENCE: Duration = Duration::from_secs(4 * 3_600);

/// A scripted answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How long it takes.
    pub after: Duration,
    /// What it says.
    pub verdict: Verdict,
}

impl Answer {
    /// Taken, within 5 ms.
    #[must_use]
    pub fn accepted() -> Self {
        Self::saying(Verdict::Accepted)
    }

    /// Definitely not taken; again later.
    #[must_use]
    pub fn later(after: Option<Duration>) -> Self {
        Self::saying(Verdict::Later { after, reason: Arc::from("TooManyRequests") })
    }

    /// The connection broke after the request.
    #[must_use]
    pub fn unknown() -> Self {
        Self::saying(Verdict::Unknown { reason: Arc::from("connection_reset") })
    }

    /// The device is gone.
    #[must_use]
    pub fn gone(since: Option<Timestamp>) -> Self {
        Self::saying(Verdict::DeviceGone { since, certain: false, reason: Arc::from("BadDeviceToken") })
    }

    /// Refused for good.
    #[must_use]
    pub fn refused() -> Self {
        Self::saying(Verdict::Refused { reason: Arc::from("PayloadTooLarge") })
    }

    /// The credentials are refused.
    #[must_use]
    pub fn credentials() -> Self {
        Self::saying(Verdict::Credentials { reason: Arc::from("InvalidProviderToken") })
    }

    /// That verdict, within 5 ms.
    #[must_use]
    pub fn saying(verdict: Verdict) -> Self {
        Self { after: Duration::from_millis(5), verdict }
    }

    /// The same answer, after that time.
    #[must_use]
    pub fn slow(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }
}

/// One push as a provider got it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// When it came.
    pub at: Monotonic,
    /// What the wall clock showed.
    pub now: Timestamp,
    /// The push.
    pub push: Push,
    /// What was answered, or will be.
    pub verdict: Verdict,
}

impl Sent {
    /// Whether it was taken.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.verdict == Verdict::Accepted
    }

    /// The subject that it shows, if it shows any.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        if let Content::Details { subject, .. } = &self.push.content { Some(subject) } else { None }
    }

    /// Whether it only corrects the badge.
    #[must_use]
    pub fn is_badge(&self) -> bool {
        self.push.content == Content::BadgeOnly
    }
}

#[derive(Default)]
struct Script {
    sent: Vec<Sent>,
    next: VecDeque<Answer>,
    by_token: BTreeMap<String, Answer>,
    always: Option<Answer>,
}

/// The providers; clones are the same ones.
#[derive(Clone)]
pub struct ScriptedPush {
    script: Arc<Mutex<Script>>,
    clock: Arc<dyn Clock>,
    count: Arc<watch::Sender<usize>>,
}

impl ScriptedPush {
    /// Providers that take everything within 5 ms.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { script: Arc::default(), clock, count: Arc::new(watch::Sender::new(0)) }
    }

    /// The next push gets that answer; asked twice, the two next ones do.
    pub fn next(&self, answer: Answer) {
        self.lock().next.push_back(answer);
    }

    /// From here on every push gets that answer; `None`: everything is taken.
    pub fn always(&self, answer: Option<Answer>) {
        self.lock().always = answer;
    }

    /// From here on pushes to that token get that answer.
    pub fn always_to(&self, token: &str, answer: Option<Answer>) {
        let mut script = self.lock();
        match answer {
            Some(answer) => drop(script.by_token.insert(token.to_owned(), answer)),
            None => drop(script.by_token.remove(token)),
        }
    }

    /// Everything that was sent, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.lock().sent.clone()
    }

    /// What was taken, in order.
    #[must_use]
    pub fn accepted(&self) -> Vec<Sent> {
        self.sent().into_iter().filter(Sent::accepted).collect()
    }

    /// Waits until what was sent satisfies the condition, and returns it.
    ///
    /// # Panics
    /// When it does not within four hours of the test's time.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&[Sent]) -> bool) -> Vec<Sent> {
        let mut count = self.count.subscribe();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                count.mark_unchanged();
                let sent = self.sent();
                if holds(&sent) {
                    return sent;
                }
                let _ = count.changed().await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("never came: {what}; sent: {:#?}", self.sent()))
    }

    /// Waits for so many accepted pushes.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn until_accepted(&self, count: usize) -> Vec<Sent> {
        let enough = |sent: &[Sent]| sent.iter().filter(|sent| sent.accepted()).count() >= count;
        let sent = self.until(&format!("{count} accepted pushes"), enough).await;
        sent.into_iter().filter(Sent::accepted).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PushSender for ScriptedPush {
    async fn permit(&self, _: &Channel) -> Result<Permit, Verdict> {
        Ok(Permit::unlimited())
    }

    async fn send(&self, permit: Permit, push: Push) -> Verdict {
        let answer = {
            let mut script = self.lock();
            let by_token = script.by_token.get(&*push.token.0).cloned();
            let answer = script.next.pop_front().or(by_token).or_else(|| script.always.clone()).unwrap_or_else(Answer::accepted);
            script.sent.push(Sent { at: self.clock.monotonic(), now: self.clock.now(), push, verdict: answer.verdict.clone() });
            answer
        };
        self.count.send_modify(|count| *count += 1);
        tokio::time::sleep(answer.after).await;
        drop(permit);
        answer.verdict
    }
}

//! Batches that form by themselves: what queued while the last call ran goes into the next; a single request waits for no timer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

/// How many requests may wait; who comes later waits for a place.
const QUEUE: usize = 4_096;

/// Carries out a batch of requests with one call.
#[async_trait]
pub trait Run: Send + Sync + 'static {
    /// One request.
    type Ask: Send + 'static;
    /// Its answer.
    type Answer: Send + 'static;

    /// Answers all requests, in their order.
    async fn run(&self, asks: Vec<Self::Ask>) -> Vec<Self::Answer>;
}

/// The way into a batch.
pub struct Batcher<R: Run> {
    queue: mpsc::Sender<(R::Ask, oneshot::Sender<R::Answer>)>,
}

impl<R: Run> Clone for Batcher<R> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<R: Run> std::fmt::Debug for Batcher<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher").field("waiting", &(QUEUE - self.queue.capacity())).finish()
    }
}

impl<R: Run> Batcher<R> {
    /// Starts a batcher that runs one batch of at most `most` requests at a time; it ends when its last handle is dropped.
    #[must_use]
    pub fn start(run: R, most: usize) -> Self {
        let (queue, mut asks) = mpsc::channel::<(R::Ask, oneshot::Sender<R::Answer>)>(QUEUE);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(most);
            while let Some(first) = asks.recv().await {
                batch.push(first);
                // Tasks that are ready at this moment ask first, so that under load one call serves many; with nothing else to run it costs nothing.
                tokio::task::yield_now().await;
                if most > 1 {
                    // Whoever asks at this very moment is heard next time.
                    let _ = asks.recv_many(&mut batch, most - 1).now_or_never();
                }
                let (asked, replies): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
                // A panic of an edge costs one batch and not the batcher.
                let answers = AssertUnwindSafe(run.run(asked)).catch_unwind().await.unwrap_or_default();
                for (reply, answer) in replies.into_iter().zip(answers) {
                    // Whoever asked may be gone.
                    let _ = reply.send(answer);
                }
            }
        });
        Self { queue }
    }

    /// Asks, and waits for the answer; `None` when the batch was lost (its outcome is not known).
    pub async fn ask(&self, ask: R::Ask) -> Option<R::Answer> {
        let (reply, answer) = oneshot::channel();
        self.queue.send((ask, reply)).await.ok()?;
        answer.await.ok()
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        QUEUE - self.queue.capacity()
    }
}

/// Bytes of content that deliveries at rest may hold, for the whole node.
#[derive(Debug)]
pub struct HoldBudget {
    left: AtomicUsize,
    all: usize,
}

/// A share of the budget; given back when dropped.
#[derive(Debug)]
pub struct Held {
    budget: Arc<HoldBudget>,
    bytes: usize,
}

impl HoldBudget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(bytes), all: bytes })
    }

    /// Takes a share if there is room.
    #[must_use]
    pub fn take(this: &Arc<Self>, bytes: usize) -> Option<Held> {
        let took = this.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes));
        took.ok().map(|_| Held { budget: this.clone(), bytes })
    }

    /// Bytes taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.all - self.left.load(Ordering::Acquire).min(self.all)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

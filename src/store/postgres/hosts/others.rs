//! Whether another host was promoted while the one in use goes on: a former primary that nobody stopped answers as ever, and whoever stayed with it would act
//! beside those who follow the new one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::Connection as _;
use tokio::time::{Instant, timeout};

use super::{Greeting, Hosts};

/// How often the others are asked: whoever was left behind is to learn of it before the new primary's nodes can judge it dead, which takes T (6 s).
const EVERY: Duration = Duration::from_secs(4);

impl Hosts {
    /// Has the hosts that are not in use asked in the background, unless they just were. One that takes writes at a higher timeline of the same database is
    /// used from then on; what is under way at the former one ends there.
    pub(in super::super) fn look_at_others(self: &Arc<Self>) {
        if self.targets.len() < 2 {
            return;
        }
        let now = Instant::now();
        let mut known = self.known();
        if known.others_asked.is_some_and(|asked| now.duration_since(asked) < EVERY) {
            return;
        }
        known.others_asked = Some(now);
        drop(known);
        // It ends before the next one begins.
        let hosts = Arc::clone(self);
        tokio::spawn(async move { timeout(EVERY, hosts.follow_promotion()).await });
    }

    async fn follow_promotion(&self) {
        let Some(used) = self.known().primary.clone() else { return };
        let others = (0..self.targets.len()).filter(|host| *host != used.host);
        let answers = join_all(others.map(|host| async move { (host, self.greet(host).await) })).await;
        let mut best = None;
        for (host, answer) in answers {
            let Ok((connection, greeting)) = answer else { continue };
            // Only asked; whoever needs a connection opens its own.
            let _ = connection.close().await;
            let grew =
                greeting.history.system_id == used.greeting.history.system_id && greeting.history.timeline > used.greeting.history.timeline;
            if grew && best.as_ref().is_none_or(|(_, found): &(usize, Greeting)| found.history.timeline < greeting.history.timeline) {
                best = Some((host, greeting));
            }
        }
        let Some((host, greeting)) = best else { return };
        let _look = self.looking.lock().await;
        if self.generation() == used.generation {
            tracing::warn!(
                former = %self.targets[used.host].0,
                host = %self.targets[host].0,
                "another database server was promoted while the former one still takes writes: it is left"
            );
            self.use_host(host, greeting);
        }
    }
}

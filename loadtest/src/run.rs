//! One load test from beginning to end: phones register, mail arrives, faults fly, and the books are closed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::arrivals::{Arrivals, Mix};
use crate::driver::{ApiError, Caller, Driver};
use crate::fleet::{Fleet, FleetMix};
use crate::ledger::Verdict;
use crate::simulators::{FaultLevel, Simulators};

/// How long a product may take to say that it is healthy.
const HEALTHY_DEADLINE: Duration = Duration::from_secs(30);

/// What is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The product's API, `http://host:port`.
    pub api: String,
    /// As whom the phones register.
    pub caller: Caller,
    /// From which fleet and mail are drawn.
    pub seed: u64,
    /// How many users.
    pub users: usize,
    /// Their mail domain; the product must allow it.
    pub domain: String,
    /// How many mails.
    pub mails: u64,
    /// Mails a second, over all users.
    pub rate: f64,
    /// Which variety of phones and mail: plain without faults, varied in a storm.
    pub variety: FaultLevel,
    /// How long the product may take to watch all mailboxes.
    pub live_deadline: Duration,
    /// How long the last mail may take to be announced.
    pub settle_deadline: Duration,
}

/// Why a run came to no verdict.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The product's API is not there.
    #[error("the product at {api} is not healthy after {} s", HEALTHY_DEADLINE.as_secs())]
    NotHealthy {
        /// Where it should be.
        api: String,
    },
    /// The product does not take a phone.
    #[error("{failed} of {all} phones were not registered; the first: {first}")]
    NotRegistered {
        /// How many.
        failed: usize,
        /// Out of how many.
        all: usize,
        /// Why.
        first: ApiError,
    },
    /// The product does not watch the mailboxes.
    #[error("only {live} of {users} mailboxes have a subscription")]
    NotLive {
        /// How many have.
        live: usize,
        /// How many should.
        users: usize,
    },
    /// The product's API cannot be spoken to at all.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// The verdict, and what only the product's API can tell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What the books say.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Phones that the product forgot though their provider had not given them up; the first few.
    pub forgotten_without_reason: Vec<String>,
}

impl Report {
    /// Nothing lost, no rule broken, nothing shown that should not be, nobody forgotten: what holds in a storm, too. Whether mail came in time, once, and with the right
    /// badge beside that is said by [`Verdict::promises`].
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.forgotten_without_reason.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verdict.fmt(f)?;
        for phone in &self.forgotten_without_reason {
            writeln!(f, "  FORGOTTEN {phone}")?;
        }
        let forgotten = [("no phone is forgotten without a reason", self.forgotten_without_reason.len() as u64)];
        let mut broken = 0;
        for (promise, times) in self.verdict.promises().into_iter().chain(forgotten) {
            broken += u32::from(times > 0);
            let how = if times == 0 { "kept".to_owned() } else { format!("BROKEN {times} times") };
            writeln!(f, "  {promise:<42} {how}")?;
        }
        match (broken, self.is_clean()) {
            (0, _) => writeln!(f, "clean: every promise was kept"),
            // Lateness, repeats and badges are what faults may cost.
            (_, true) => writeln!(f, "no mail lost, no rule broken, but not clean: see what was BROKEN above"),
            (_, false) => writeln!(f, "NOT CLEAN: see what was BROKEN above"),
        }
    }
}

/// Drives a product that runs against `simulators` (started with the same faults) and judges it.
///
/// # Errors
/// When the product cannot be brought so far that there is something to judge.
pub async fn run(plan: &Plan, simulators: Arc<Simulators>, bar: &ProgressBar) -> Result<Report, RunError> {
    let driver = Driver::new(&plan.api, plan.caller.clone(), Arc::clone(&simulators))?;
    if !driver.wait_healthy(HEALTHY_DEADLINE).await {
        return Err(RunError::NotHealthy { api: plan.api.clone() });
    }
    let (fleet_mix, mail_mix) = match plan.variety {
        FaultLevel::None => (FleetMix::plain(), Mix::plain()),
        FaultLevel::Storm => (FleetMix::varied(), Mix::varied()),
    };
    let fleet = Fleet::plan(plan.seed, plan.users, "user", &plan.domain, fleet_mix);
    register(&driver, &fleet, bar).await?;
    wait_live(&simulators, plan, bar).await?;
    let cancel = CancellationToken::new();
    let stop_using = cancel.clone().drop_guard();
    let using = driver.use_phones(&fleet.phones, &cancel);
    tokio::select! {
        () = async { using.await; std::future::pending().await } => {}
        () = deliver(plan, &fleet, mail_mix, &simulators, bar) => {}
    }
    drop(stop_using);
    simulators.set_faults_active(false);
    bar.set_message("waiting for the last pushes");
    let verdict = simulators.ledger().verdict(plan.settle_deadline).await;
    let forgotten_without_reason = driver.forgotten_without_reason(&fleet.phones).await;
    bar.finish_and_clear();
    Ok(Report { verdict, forgotten_without_reason })
}

async fn register(driver: &Driver, fleet: &Fleet, bar: &ProgressBar) -> Result<(), RunError> {
    bar.set_prefix("phones");
    let mut registered = driver.register_all(&fleet.phones, bar).await;
    let failed = fleet.phones.len() - registered.phones;
    if failed > 0 && !registered.failures.is_empty() {
        let first = registered.failures.swap_remove(0);
        return Err(RunError::NotRegistered { failed, all: fleet.phones.len(), first });
    }
    Ok(())
}

async fn wait_live(simulators: &Simulators, plan: &Plan, bar: &ProgressBar) -> Result<(), RunError> {
    bar.set_prefix("mailboxes");
    bar.set_length(plan.users as u64);
    let all_live = async {
        loop {
            let live = simulators.exchange().subscriptions();
            bar.set_position(live as u64);
            if live >= plan.users && simulators.exchange().streams() > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(plan.live_deadline, all_live)
        .await
        .map_err(|_| RunError::NotLive { live: simulators.exchange().subscriptions(), users: plan.users })
}

async fn deliver(plan: &Plan, fleet: &Fleet, mix: Mix, simulators: &Simulators, bar: &ProgressBar) {
    bar.set_prefix("mails");
    bar.set_position(0);
    bar.set_length(plan.mails);
    let arrivals = Arrivals { seed: plan.seed, users: fleet.users.clone(), mails: plan.mails, rate: plan.rate, mix };
    arrivals.run(simulators.world(), &CancellationToken::new(), || bar.inc(1)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_is_said_only_when_every_promise_was_kept() {
        let report = |late, badges_behind, lost_count| Report {
            verdict: Verdict { late, badges_behind, lost_count, ..Verdict::default() },
            ..Report::default()
        };
        let last = |report: &Report| report.to_string().lines().last().unwrap_or_default().to_owned();
        assert_eq!(last(&report(0, 0, 0)), "clean: every promise was kept");
        let late = report(133, 12, 0);
        assert!(late.is_clean() && last(&late).contains("not clean"), "{late}");
        let text = late.to_string();
        assert!(text.contains("every mail is announced in time            BROKEN 133 times"), "{text}");
        assert!(text.contains("badges show what is unread                 BROKEN 12 times"), "{text}");
        assert!(text.contains("no mail is lost                            kept"), "{text}");
        assert!(last(&report(0, 0, 1)).starts_with("NOT CLEAN"));
    }
}

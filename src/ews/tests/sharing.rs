//! What several share survives any one of them: a server's budget and a tenant's credential, against the simulated Exchange.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use postrider_actors::ports::mail_source::{Hint, MailSource, SourceError};
use postrider_loadtest::exchange::{ExchangeFaults, ExchangeOptions, OperationName, RequestFault};
use postrider_loadtest::identity::Accounts;
use tokio::time::interval;

use super::harness::{Company, Different, address, mailbox};

/// How long the bad ones go on.
const LONG: Duration = Duration::from_secs(3);

/// A company of so many, whose faults and accounts the test holds.
async fn company(mailboxes: usize, ews: &str) -> (Company, Arc<ExchangeFaults>, Arc<Accounts>) {
    let faults = Arc::new(ExchangeFaults::none());
    let accounts: OnceLock<Arc<Accounts>> = OnceLock::new();
    let options = |options: &mut ExchangeOptions| {
        options.faults = Arc::clone(&faults);
        let _ = accounts.set(Arc::clone(&options.accounts));
    };
    let company = Company::different(Different { mailboxes, ews, options: &options, ..Different::default() }).await;
    let accounts = accounts.get().cloned().unwrap();
    (company, faults, accounts)
}

/// Asks for a mailbox again and again; says how often that failed and the longest time from wanting to having an answer.
async fn keep_asking(company: &Company, n: usize, every: Duration) -> (u32, Duration) {
    let (began, mut failed, mut worst) = (Instant::now(), 0, Duration::ZERO);
    let mut looks = interval(every);
    let mut wanted = None;
    while began.elapsed() < LONG {
        looks.tick().await;
        let since = *wanted.get_or_insert_with(Instant::now);
        match company.source.unread(&mailbox(n)).await {
            Ok(_) => worst = worst.max(wanted.take().map_or(since.elapsed(), |since| since.elapsed())),
            Err(_) => failed += 1,
        }
    }
    (failed, worst.max(wanted.map_or(Duration::ZERO, |since| since.elapsed())))
}

#[tokio::test]
async fn mailboxes_without_a_database_hold_up_no_good_one() {
    let faults_of: [RequestFault; 4] = [
        RequestFault::Status(503),
        RequestFault::Status(500),
        RequestFault::Reset,
        RequestFault::Fault { code: "ErrorMailboxStoreUnavailable", text: "", is_ok: false },
    ];
    for fault in faults_of {
        let (company, faults, _) = company(14, "").await;
        (1..=10).for_each(|bad| faults.break_mailbox(&address(bad), fault.clone()));
        let (bad, good) = futures_util::future::join(
            futures_util::future::join_all((1..=10).map(|n| keep_asking(&company, n, Duration::from_millis(10)))),
            futures_util::future::join_all((11..=14).map(|n| keep_asking(&company, n, Duration::from_millis(100)))),
        )
        .await;
        assert!(bad.iter().all(|(failed, _)| *failed > 0), "{fault:?}: {bad:?}");
        assert!(good.iter().all(|(failed, worst)| *failed == 0 && *worst < Duration::from_secs(2)), "{fault:?}: {good:?}");
        company.no_misuse();
    }
}

#[tokio::test]
async fn one_back_end_of_three_that_is_dead_is_hardly_noticed() {
    let (company, faults, _) = company(10, "").await;
    faults.one_in(3, RequestFault::Status(503));
    let all = futures_util::future::join_all((1..=10).map(|n| keep_asking(&company, n, Duration::from_millis(50)))).await;
    assert!(all.iter().all(|(_, worst)| *worst < Duration::from_secs(2)), "{all:?}");
    company.no_misuse();
}

#[tokio::test]
async fn a_stream_whose_anchor_has_no_database_is_opened_in_the_name_of_another() {
    let (company, faults, _) = company(3, "").await;
    let anchor = address(1);
    faults.script(Some(OperationName::GetStreamingEvents), Some(&anchor), usize::MAX, RequestFault::Status(503));
    let all: Vec<_> = (1..=3).map(mailbox).collect();
    let watched = futures_util::future::join_all(all.iter().map(|mailbox| company.source.watch(mailbox, None))).await;
    assert!(watched.iter().all(Result::is_ok), "{watched:?}");
    for n in 1..=3 {
        company.hinted(n, |hint| hint == Hint::StreamOpened).await;
        company.deliver(n);
        company.mail_hinted(n).await;
    }
    company.no_misuse();
}

#[tokio::test]
async fn forty_seven_logons_with_a_wrong_password_are_three() {
    let (company, _, accounts) = company(47, "refused_probe = \"1s\"").await;
    for known in [false, true] {
        if known {
            assert!(company.source.unread(&mailbox(1)).await.is_ok());
            // The acceptance is a moment old when the next come.
            interval_of(Duration::from_millis(1_100)).await;
        }
        accounts.set_password("CORP\\svc", "changed");
        let before = accounts.refused_logons();
        let mailboxes: Vec<_> = (1..=47).map(mailbox).collect();
        let asked = futures_util::future::join_all(mailboxes.iter().map(|mailbox| company.source.unread(mailbox))).await;
        assert!(
            asked.iter().all(|answer| matches!(answer, Err(SourceError::Unauthorized { .. } | SourceError::Unavailable { .. }))),
            "{asked:?}"
        );
        assert_eq!(accounts.refused_logons() - before, 3, "known before: {known}");
        let again = company.source.unread(&mailbox(1)).await;
        assert_eq!(again, Err(SourceError::Unauthorized { code: "CredentialRefused".into() }));
        accounts.set_password("CORP\\svc", "secret");
        let probed = async {
            let mut looks = interval(Duration::from_millis(20));
            while company.source.unread(&mailbox(2)).await.is_err() {
                looks.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), probed).await.expect("a probe is let in");
        assert!(accounts.refused_logons() - before <= 4);
        let asked = futures_util::future::join_all(mailboxes[4..].iter().map(|mailbox| company.source.unread(mailbox))).await;
        assert!(asked.iter().all(Result::is_ok), "{asked:?}");
    }
    company.no_misuse();
}

#[tokio::test]
async fn a_mailbox_that_is_refused_while_others_get_in_is_refused_alone() {
    let (company, faults, _) = company(5, "").await;
    faults.break_mailbox(&address(1), RequestFault::Status(401));
    let (bad, good) = futures_util::future::join(
        keep_asking(&company, 1, Duration::from_millis(20)),
        futures_util::future::join_all((2..=5).map(|n| keep_asking(&company, n, Duration::from_millis(50)))),
    )
    .await;
    assert!(bad.0 > 0);
    assert!(good.iter().all(|(failed, worst)| *failed == 0 && *worst < Duration::from_secs(2)), "{good:?}");
}

/// Lets this much time go by.
async fn interval_of(time: Duration) {
    let mut ticks = interval(time);
    ticks.tick().await;
    ticks.tick().await;
}

//! Every answer in the list becomes the verdict beside it.

use std::time::Duration;

use postrider_actors::ports::push_sender::Verdict;

use crate::fcm::verdict::{Reading, read};

fn expected(text: &str) -> Reading {
    let (verdict, reason) = text.split_once(' ').unwrap_or((text, ""));
    let (certain, reason) = (reason == "UNREGISTERED", reason.into());
    let (verdict, seconds) = verdict.split_once('+').map_or((verdict, None), |(verdict, s)| (verdict, Some(s.parse().unwrap())));
    let after = seconds.map(Duration::from_secs);
    match verdict {
        "accepted" => Reading::Settled(Verdict::Accepted),
        "later" => Reading::Settled(Verdict::Later { after, reason }),
        "quota" => Reading::QuotaExceeded(Verdict::Later { after, reason }),
        "gone" => Reading::Settled(Verdict::DeviceGone { since: None, certain, reason }),
        "undeliverable" => Reading::Settled(Verdict::Undeliverable { reason }),
        "refused" => Reading::Settled(Verdict::Refused { reason }),
        "credentials" => Reading::Settled(Verdict::Credentials { reason }),
        "renew" => Reading::TokenRefused(Verdict::Credentials { reason }),
        other => panic!("{other}"),
    }
}

#[test]
fn every_answer_becomes_its_verdict() {
    let mut count = 0;
    for line in include_str!("../fixtures/answers.txt").lines().filter(|line| !line.starts_with('#')) {
        let (answer, verdict) = line.split_once(" => ").unwrap();
        let mut parts = answer.splitn(3, ' ');
        let status = parts.next().unwrap().parse().unwrap();
        let retry_after = parts.next().unwrap().parse().ok().map(Duration::from_secs);
        assert_eq!(read(status, retry_after, parts.next().unwrap_or("").as_bytes()), expected(verdict), "{line}");
        count += 1;
    }
    assert!(count > 20);
}

//! Every answer in the list becomes the verdict beside it.

use std::time::Duration;

use postrider_actors::ports::push_sender::Verdict;
use postrider_actors::time::Timestamp;

use crate::apns::verdict::{Reading, read};

fn expected(text: &str) -> Reading {
    let (verdict, reason) = text.split_once(' ').unwrap_or((text, ""));
    let reason = reason.into();
    if verdict == "invalid" {
        return Reading::TokenInvalid(Verdict::Credentials { reason });
    }
    if let Some(since) = verdict.strip_prefix("gone@") {
        return Reading::Settled(Verdict::DeviceGone { since: Some(Timestamp(since.parse().unwrap())), certain: true, reason });
    }
    if let Some(seconds) = verdict.strip_prefix("later+") {
        return Reading::Settled(Verdict::Later { after: Some(Duration::from_secs(seconds.parse().unwrap())), reason });
    }
    match verdict {
        "accepted" => Reading::Settled(Verdict::Accepted),
        "later" => Reading::Settled(Verdict::Later { after: None, reason }),
        "gone" => Reading::Settled(Verdict::DeviceGone { since: None, certain: false, reason }),
        "refused" => Reading::Settled(Verdict::Refused { reason }),
        "credentials" => Reading::Settled(Verdict::Credentials { reason }),
        "renew" => Reading::TokenExpired(Verdict::Credentials { reason }),
        "shorten" => Reading::TooLarge(Verdict::Refused { reason }),
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
    assert!(count > 40);
}

#[test]
fn a_reason_is_bounded() {
    let body = format!(r#"{{"reason":"{}"}}"#, "x".repeat(5000));
    let Reading::Settled(Verdict::Refused { reason }) = read(400, None, body.as_bytes()) else { panic!() };
    assert_eq!(reason.len(), 64);
}

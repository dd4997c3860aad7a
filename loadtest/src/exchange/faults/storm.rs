//! A storm: every kind of fault now and then, by dice from one seed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::kinds::{ErrorStatus, Flavour, HintFate, NamedIds, RequestFault, StreamFault, StreamPlan};
use crate::exchange::request::OperationName;

/// Of so many requests one meets a fault.
const REQUEST_ODDS: u32 = 12;
/// Of so many streams all but one meet a fault.
const STREAM_ODDS: u32 = 4;
/// Faults that one mailbox may meet without a success in between.
const IN_A_ROW: u8 = 2;
/// A back-off stops everybody, so they keep this distance.
const BETWEEN_BACK_OFFS: Duration = Duration::from_secs(15);
/// Mailbox moves make every mail of a mailbox look new; one that moves all the time shows nothing.
const MOVES: u32 = 20;
/// Faults that end every subscription of a stream; making two hundred anew takes its time.
const HEAVY: u32 = 5;

/// The dice and what they said lately.
#[derive(Debug)]
pub(super) struct Storm {
    rng: SmallRng,
    in_a_row: HashMap<String, u8>,
    last_back_off: Option<Instant>,
    moves_left: u32,
    heavy_requests: u32,
    heavy_streams: u32,
}

impl Storm {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            in_a_row: HashMap::new(),
            last_back_off: None,
            moves_left: MOVES,
            heavy_requests: HEAVY,
            heavy_streams: HEAVY,
        }
    }

    pub(super) fn request(&mut self, operation: OperationName, mailbox: &str) -> Option<RequestFault> {
        let so_far = self.in_a_row.entry(mailbox.to_owned()).or_default();
        if *so_far >= IN_A_ROW || !self.rng.random_ratio(1, REQUEST_ODDS) {
            *so_far = 0;
            return None;
        }
        *so_far += 1;
        Some(self.request_fault(operation))
    }

    fn request_fault(&mut self, operation: OperationName) -> RequestFault {
        let choice = self.rng.random_range(0..16_u8);
        match choice {
            0 => RequestFault::Status(503),
            1 => RequestFault::Status(401),
            2 => RequestFault::Status(500),
            3 => RequestFault::ErrorPage,
            4 => RequestFault::Reset,
            5 => self.lose_answer(operation),
            6 if operation != OperationName::Subscribe => RequestFault::Truncate,
            7 => RequestFault::WrongAnswer,
            8 => RequestFault::Slow(self.millis(50, 1_500)),
            9 => self.back_off(),
            10 => RequestFault::Challenge,
            11..=13 => self.transient_code(),
            _ => self.code_of(operation),
        }
    }

    /// A lost answer to Subscribe leaves a subscription that nobody knows of; more than a few would look like the client's leak.
    fn lose_answer(&mut self, operation: OperationName) -> RequestFault {
        if operation == OperationName::Subscribe {
            return RequestFault::Reset;
        }
        RequestFault::LoseAnswer
    }

    fn back_off(&mut self) -> RequestFault {
        let length = self.millis(2_000, 3_500);
        let inside = self.rng.random();
        let now = Instant::now();
        let early = |last: Instant| now.duration_since(last) < BETWEEN_BACK_OFFS;
        if self.last_back_off.is_some_and(early) {
            return RequestFault::Status(503);
        }
        self.last_back_off = Some(now);
        if inside { RequestFault::BusyInside(length) } else { RequestFault::Busy(length) }
    }

    /// Codes that any operation may meet and that pass by themselves.
    fn transient_code(&mut self) -> RequestFault {
        let codes = [
            "ErrorInternalServerTransientError",
            "ErrorMailboxStoreUnavailable",
            "ErrorMailboxMoveInProgress",
            "ErrorTimeoutExpired",
            "ErrorADUnavailable",
            "ErrorConnectionFailed",
            "ErrorInternalServerError",
        ];
        let code = codes[self.rng.random_range(0..codes.len())];
        let text = "The operation could not be completed. Try again later.";
        if self.rng.random() { RequestFault::Code { code, text } } else { RequestFault::Fault { code, text, is_ok: false } }
    }

    /// Codes that belong to the operation.
    fn code_of(&mut self, operation: OperationName) -> RequestFault {
        let code = |code, text| RequestFault::Code { code, text };
        match operation {
            OperationName::GetStreamingEvents => {
                let heavy = match self.rng.random_range(0..8_u8) {
                    0 => RequestFault::WrongBackEnd,
                    1 => code(
                        "ErrorProxyRequestNotAllowed",
                        "The Service instance doesn't have sufficient permissions to perform the request.",
                    ),
                    2 => RequestFault::Fault { code: "ErrorInvalidSubscription", text: "The subscription is invalid.", is_ok: true },
                    3 => code("ErrorReadEventsFailed", "The events couldn't be read."),
                    4 => code("ErrorSubscriptionAccessDenied", "You don't have permission to access the subscription."),
                    _ => return RequestFault::LoseSubscription,
                };
                few(&mut self.heavy_requests, heavy, RequestFault::LoseSubscription)
            }
            OperationName::SyncFolderItems => {
                code("ErrorInvalidSyncStateData", "Synchronization state data is corrupt or otherwise invalid.")
            }
            OperationName::Subscribe => {
                code("ErrorExceededSubscriptionCount", "You have exceeded the available subscriptions for your account.")
            }
            OperationName::Unsubscribe => code("ErrorSubscriptionNotFound", "The specified subscription was not found."),
            _ => RequestFault::Status(503),
        }
    }

    pub(super) fn stream(&mut self) -> Option<StreamPlan> {
        if self.rng.random_ratio(1, STREAM_ODDS) {
            return None;
        }
        let fault = self.stream_fault();
        Some(StreamPlan { after: self.millis(50, 8_000), fault })
    }

    fn stream_fault(&mut self) -> StreamFault {
        let error = |code, ids, status| StreamFault::Error { code, ids, status };
        match self.rng.random_range(0..17_u8) {
            0 => StreamFault::Silence,
            1 | 2 => StreamFault::Reset,
            3 => StreamFault::Close { twice: false },
            4 => StreamFault::Close { twice: true },
            5 => error("ErrorInvalidSubscription", NamedIds::One, ErrorStatus::Absent),
            6 => error("ErrorExpiredSubscription", NamedIds::One, ErrorStatus::Closed),
            7 => few(&mut self.heavy_streams, error("ErrorReadEventsFailed", NamedIds::All, ErrorStatus::Closed), StreamFault::Reset),
            8 => error("ErrorInternalServerError", NamedIds::Absent, ErrorStatus::Closed),
            9 => error("ErrorSubscriptionNotFound", NamedIds::One, ErrorStatus::Ok),
            10 => few(&mut self.heavy_streams, error("ErrorMailboxFailover", NamedIds::Empty, ErrorStatus::Closed), StreamFault::Reset),
            11 => StreamFault::Missed,
            12 => StreamFault::Deaf(self.millis(100, 2_000)),
            13 if self.moves_left > 0 => {
                self.moves_left -= 1;
                StreamFault::MoveMailbox
            }
            14 => few(&mut self.heavy_streams, StreamFault::Restart, StreamFault::Reset),
            15 => error("ErrorNewEventStreamConnectionOpened", NamedIds::Absent, ErrorStatus::Closed),
            _ => StreamFault::Burst,
        }
    }

    pub(super) fn flavour(&mut self) -> Flavour {
        Flavour { gzip: self.rng.random_ratio(1, 4), forbidden: self.rng.random_ratio(1, 8), wordy: self.rng.random_ratio(1, 4) }
    }

    pub(super) fn hint(&mut self) -> HintFate {
        match self.rng.random_range(0..20_u8) {
            0 | 1 => HintFate::Doubled,
            2 | 3 => HintFate::Late(self.millis(20, 800)),
            _ => HintFate::Sent,
        }
    }

    /// Cuts inside the end tag, inside a character, and anywhere.
    pub(super) fn cuts(&mut self, document: &str) -> Vec<usize> {
        let length = document.len();
        if length < 2 || self.rng.random() {
            return Vec::new();
        }
        let mut cuts = vec![self.rng.random_range(1..length)];
        if let Some(end_tag) = document.rfind("</Envelope>") {
            cuts.push(end_tag + self.rng.random_range(1..11));
        }
        let wide = document.char_indices().find(|(_, c)| c.len_utf8() > 1);
        cuts.extend(wide.map(|(at, _)| at + 1));
        cuts.retain(|&cut| cut > 0 && cut < length);
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(low..high))
    }
}

/// The heavy fault as long as some are left, then the light one.
fn few<F>(left: &mut u32, heavy: F, light: F) -> F {
    if *left == 0 {
        return light;
    }
    *left -= 1;
    heavy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mailbox_meets_more_than_two_faults_in_a_row() {
        for seed in 0..20 {
            let mut storm = Storm::new(seed);
            let mut row = 0;
            for _ in 0..2_000 {
                match storm.request(OperationName::SyncFolderItems, "anna@corp.example") {
                    Some(_) => row += 1,
                    None => row = 0,
                }
                assert!(row <= 2, "seed {seed}");
            }
        }
    }

    /// What the dice say to a thousand requests and streams.
    fn throw(seed: u64) -> (Vec<Option<RequestFault>>, Vec<Option<StreamPlan>>) {
        let mut storm = Storm::new(seed);
        let one = |_| (storm.request(OperationName::GetStreamingEvents, "a"), storm.stream());
        (0..1_000).map(one).unzip()
    }

    #[test]
    fn one_seed_throws_the_same_dice_and_in_some_seeds_every_kind_comes_up() {
        assert_eq!(throw(5), throw(5));
        assert_ne!(throw(5), throw(6));
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let (requests, streams) = throw(seed);
            kinds.extend(requests.iter().flatten().map(RequestFault::kind));
            kinds.extend(streams.iter().flatten().map(|plan| plan.fault.kind()));
        }
        let expected = [
            "reset",
            "wrong-answer",
            "wrong-back-end",
            "truncated",
            "answer-lost",
            "error-page",
            "back-off",
            "challenge",
            "slow",
            "http-status",
            "subscription-lost",
            "ErrorInvalidSubscription",
            "ErrorSubscriptionAccessDenied",
            "stream-silence",
            "stream-reset",
            "stream-closed-early",
            "stream-closed-twice",
            "stream-error",
            "stream-missed-events",
            "stream-deaf",
            "mailbox-moved",
            "back-end-restart",
            "stream-burst",
        ];
        for kind in expected {
            assert!(kinds.contains(kind), "{kind} is missing from {kinds:?}");
        }
    }

    #[test]
    fn documents_are_cut_inside_the_end_tag_and_inside_characters() {
        let document = "<Envelope>Überwacht</Envelope>";
        let mut storm = Storm::new(1);
        let cuts = std::iter::repeat_with(|| storm.cuts(document)).find(|cuts| !cuts.is_empty()).unwrap();
        assert!(cuts.iter().any(|&cut| !document.is_char_boundary(cut)));
        let end_tag = document.rfind("</").unwrap();
        assert!(cuts.iter().any(|&cut| cut > end_tag && cut < document.len()));
    }
}

//! What can go wrong at a push provider, drawn from one seed: refusals that pass, cut connections, goodbyes, slow answers, phones that are gone.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What happens to one push request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is treated as it deserves.
    None,
    /// 429: this device, or the quota.
    TooMany,
    /// 500.
    Internal,
    /// 503, with `Retry-After` or without.
    Unavailable {
        /// Seconds to wait; 0 stands for no `Retry-After`.
        retry_after_s: u32,
    },
    /// The connection is reset before the request was looked at.
    CutBefore,
    /// The push is taken, and the connection is reset before the answer: the sender cannot know.
    CutAfter,
    /// The provider says goodbye and closes; streams that it did not look at may be sent again elsewhere.
    GoAway,
    /// The answer takes this long.
    Slow(Duration),
    /// The credentials are refused, for everybody, for a moment.
    Forbidden,
    /// Every access token given out so far is void from here on.
    ExpireTokens,
    /// The app was just removed from this phone.
    Gone,
}

/// Chances in ten thousand requests, and how often at most where that is limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// [`Fault::TooMany`].
    pub too_many: u32,
    /// [`Fault::Internal`].
    pub internal: u32,
    /// [`Fault::Unavailable`].
    pub unavailable: u32,
    /// [`Fault::CutBefore`].
    pub cut_before: u32,
    /// [`Fault::CutAfter`].
    pub cut_after: u32,
    /// [`Fault::GoAway`].
    pub go_away: u32,
    /// [`Fault::Slow`].
    pub slow: u32,
    /// [`Fault::Gone`].
    pub gone: u32,
    /// The beginning of a burst of [`Fault::Forbidden`]; at most `bursts` of them.
    pub forbidden: u32,
    /// [`Fault::ExpireTokens`]; at most `bursts` times.
    pub expire_tokens: u32,
    /// The beginning of an outage, [`Fault::Unavailable`] for everybody; at most `bursts` of them.
    pub outage: u32,
    /// How many bursts and outages of each kind there are at most.
    pub bursts: u32,
    /// How long one lasts, in milliseconds.
    pub burst_ms: u64,
}

/// The faults of one provider.
#[derive(Debug)]
pub struct PushFaults {
    seed: u64,
    rates: Rates,
    active: AtomicBool,
    drawn: AtomicU64,
    begin: Instant,
    forbidden_until_ms: AtomicU64,
    outage_until_ms: AtomicU64,
    forbidden_left: AtomicU32,
    outage_left: AtomicU32,
    expire_left: AtomicU32,
}

impl PushFaults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::with_rates(0, Rates::default())
    }

    /// Everything in this file goes wrong, now and then, in an order that the seed decides.
    pub fn storm(seed: u64) -> Self {
        Self::with_rates(
            seed,
            Rates {
                too_many: 150,
                internal: 100,
                unavailable: 100,
                cut_before: 25,
                cut_after: 25,
                go_away: 40,
                slow: 150,
                gone: 15,
                forbidden: 10,
                expire_tokens: 10,
                outage: 10,
                bursts: 2,
                burst_ms: 700,
            },
        )
    }

    /// Faults at chosen rates.
    pub fn with_rates(seed: u64, rates: Rates) -> Self {
        Self {
            seed,
            rates,
            active: AtomicBool::new(true),
            drawn: AtomicU64::new(0),
            begin: Instant::now(),
            forbidden_until_ms: AtomicU64::new(0),
            outage_until_ms: AtomicU64::new(0),
            forbidden_left: AtomicU32::new(rates.bursts),
            outage_left: AtomicU32::new(rates.bursts),
            expire_left: AtomicU32::new(rates.bursts),
        }
    }

    /// Switches the faults off (a storm passes) or on again.
    pub fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }

    /// Draws what happens to the next request.
    pub fn next(&self) -> Fault {
        if self.rates == Rates::default() || !self.active.load(Ordering::Relaxed) {
            return Fault::None;
        }
        let now_ms = self.begin.elapsed().as_millis() as u64;
        if now_ms < self.forbidden_until_ms.load(Ordering::Relaxed) {
            return Fault::Forbidden;
        }
        if now_ms < self.outage_until_ms.load(Ordering::Relaxed) {
            return Fault::Unavailable { retry_after_s: 1 };
        }
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let chance = mixed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.draw(chance, now_ms)
    }

    fn draw(&self, chance: u64, now_ms: u64) -> Fault {
        let Rates { burst_ms, .. } = self.rates;
        let mut left = (chance % 10_000) as u32;
        let mut hit = |rate: u32| {
            let hit = left < rate;
            left = left.saturating_sub(rate);
            // A burst that may not begin any more is no fault at all, not the next one in line.
            if hit {
                left = u32::MAX;
            }
            hit
        };
        let rates = &self.rates;
        if hit(rates.too_many) {
            return Fault::TooMany;
        }
        if hit(rates.internal) {
            return Fault::Internal;
        }
        if hit(rates.unavailable) {
            let retry_after_s = (chance >> 32) as u32 % 3;
            return Fault::Unavailable { retry_after_s };
        }
        if hit(rates.cut_before) {
            return Fault::CutBefore;
        }
        if hit(rates.cut_after) {
            return Fault::CutAfter;
        }
        if hit(rates.go_away) {
            return Fault::GoAway;
        }
        if hit(rates.slow) {
            return Fault::Slow(Duration::from_millis(50 + (chance >> 32) % 1_500));
        }
        if hit(rates.gone) {
            return Fault::Gone;
        }
        if hit(rates.forbidden) && one_of(&self.forbidden_left) {
            self.forbidden_until_ms.store(now_ms + burst_ms, Ordering::Relaxed);
            return Fault::Forbidden;
        }
        if hit(rates.outage) && one_of(&self.outage_left) {
            self.outage_until_ms.store(now_ms + burst_ms, Ordering::Relaxed);
            return Fault::Unavailable { retry_after_s: 1 };
        }
        if hit(rates.expire_tokens) && one_of(&self.expire_left) {
            return Fault::ExpireTokens;
        }
        Fault::None
    }
}

fn one_of(left: &AtomicU32) -> bool {
    let take = |left: u32| left.checked_sub(1);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
}

/// The finalizer of splitmix64: neighbouring numbers come out unrelated.
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(faults: &PushFaults, many: usize) -> Vec<Fault> {
        (0..many).map(|_| faults.next()).collect()
    }

    #[test]
    fn none_means_none() {
        assert!(first(&PushFaults::none(), 1_000).iter().all(|f| *f == Fault::None));
    }

    #[test]
    fn a_storm_that_has_passed_is_over_until_it_comes_again() {
        let faults = PushFaults::with_rates(1, Rates { internal: 10_000, ..Rates::default() });
        faults.set_active(false);
        assert_eq!(faults.next(), Fault::None);
        faults.set_active(true);
        assert_eq!(faults.next(), Fault::Internal);
    }

    #[test]
    fn the_same_seed_draws_the_same_faults_and_another_seed_others() {
        let rates = Rates { too_many: 500, slow: 500, cut_after: 500, ..Rates::default() };
        let of = |seed| first(&PushFaults::with_rates(seed, rates), 500);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn every_fault_comes_about_as_often_as_it_should() {
        let rates = Rates { too_many: 1_000, gone: 1_000, ..Rates::default() };
        let drawn = first(&PushFaults::with_rates(1, rates), 20_000);
        for fault in [Fault::TooMany, Fault::Gone] {
            let count = drawn.iter().filter(|f| **f == fault).count();
            assert!((1_700..2_300).contains(&count), "{fault:?}: {count}");
        }
    }

    #[test]
    fn a_503_says_when_to_come_back_or_does_not() {
        let drawn = first(&PushFaults::with_rates(1, Rates { unavailable: 10_000, ..Rates::default() }), 200);
        for wanted in 0..3 {
            assert!(drawn.contains(&Fault::Unavailable { retry_after_s: wanted }), "{wanted}");
        }
    }

    #[test]
    fn a_storm_has_a_bounded_number_of_bursts() {
        let rates = Rates { expire_tokens: 10_000, bursts: 2, ..Rates::default() };
        let drawn = first(&PushFaults::with_rates(1, rates), 100);
        assert_eq!(drawn.iter().filter(|f| **f == Fault::ExpireTokens).count(), 2);
    }
}

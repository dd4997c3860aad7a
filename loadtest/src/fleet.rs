//! The phones of a simulated company: who has which, how cautious each is with details, all from one seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::ledger::{Device, Provider};

/// Twelve hours: the product's default.
const USUAL_CUTOFF: Duration = Duration::from_secs(43_200);

/// What kinds of phones there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetMix {
    /// Out of a hundred users, how many have a second phone.
    pub second_phone: u32,
    /// Out of a hundred phones, how many are Apple's.
    pub apple: u32,
    /// Out of a hundred phones, how many have a cut-off of a few seconds.
    pub short_cutoff: u32,
    /// Out of a hundred phones, how many never show details.
    pub no_details: u32,
}

impl FleetMix {
    /// One phone a user, half of them Apple's, with the usual cut-off.
    pub fn plain() -> Self {
        Self { second_phone: 0, apple: 50, short_cutoff: 0, no_details: 0 }
    }

    /// Some users with two phones, some phones with a cut-off of seconds or none at all.
    pub fn varied() -> Self {
        Self { second_phone: 20, apple: 60, short_cutoff: 15, no_details: 5 }
    }
}

/// One phone of the fleet.
#[derive(Clone, Debug)]
pub struct FleetPhone {
    /// The name under which its user's app registers it with the product.
    pub id: String,
    /// What the books know of it.
    pub device: Device,
}

/// All phones.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// The users' addresses.
    pub users: Vec<String>,
    /// Their phones.
    pub phones: Vec<FleetPhone>,
}

impl Fleet {
    /// `count` users `prefix1@domain`, `prefix2@domain`, ... and their phones; the same arguments make the same fleet.
    pub fn plan(seed: u64, count: usize, prefix: &str, domain: &str, mix: FleetMix) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x0066_6c65_6574);
        let mut fleet = Self::default();
        for number in 1..=count {
            let user = format!("{prefix}{number}@{domain}").to_lowercase();
            let phones = 1 + u32::from(rng.random_ratio(mix.second_phone.min(100), 100));
            for phone in 1..=phones {
                fleet.phones.push(FleetPhone { id: format!("phone-{phone}"), device: device(&mut rng, &user, mix) });
            }
            fleet.users.push(user);
        }
        fleet
    }
}

fn device(rng: &mut StdRng, user: &str, mix: FleetMix) -> Device {
    let provider = if rng.random_ratio(mix.apple.min(100), 100) { Provider::Apns } else { Provider::Fcm };
    let draw = rng.random_range(0..100);
    let cutoff = if draw < mix.no_details {
        Duration::ZERO
    } else if draw < mix.no_details + mix.short_cutoff {
        Duration::from_secs(rng.random_range(3..12))
    } else {
        USUAL_CUTOFF
    };
    Device { token: token(rng, provider), provider, mailbox: user.to_owned(), cutoff }
}

/// A device token in the form that the provider gives out.
pub fn token(rng: &mut impl Rng, provider: Provider) -> String {
    let (high, low): (u128, u128) = (rng.random(), rng.random());
    match provider {
        Provider::Apns => format!("{high:032x}{low:032x}"),
        Provider::Fcm => format!("f{high:032x}:APA91b{low:032x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_same_seed_makes_the_same_phones_and_every_token_differs() {
        let plan = |seed| Fleet::plan(seed, 500, "user", "example.com", FleetMix::varied());
        let tokens = |fleet: &Fleet| fleet.phones.iter().map(|p| p.device.token.clone()).collect::<Vec<_>>();
        assert_eq!(tokens(&plan(1)), tokens(&plan(1)));
        assert_ne!(tokens(&plan(1)), tokens(&plan(2)));
        let fleet = plan(1);
        let different: HashSet<_> = tokens(&fleet).into_iter().collect();
        assert_eq!(different.len(), fleet.phones.len());
        assert!((560..640).contains(&fleet.phones.len()));
    }

    #[test]
    fn a_varied_fleet_has_phones_of_both_makers_and_all_kinds_of_cut_off() {
        let fleet = Fleet::plan(5, 500, "user", "example.com", FleetMix::varied());
        let count = |test: &dyn Fn(&Device) -> bool| fleet.phones.iter().filter(|p| test(&p.device)).count();
        assert!(count(&|d| d.provider == Provider::Apns) > 200);
        assert!(count(&|d| d.provider == Provider::Fcm) > 150);
        assert!(count(&|d| d.cutoff == Duration::ZERO) > 5);
        assert!(count(&|d| (3..12).contains(&d.cutoff.as_secs())) > 40);
    }
}

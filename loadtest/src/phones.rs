//! The device tokens that a push provider knows: which app each belongs to, and which are gone.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

const PARTS: usize = 64;

/// What a provider knows about one device token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phone {
    /// The app is installed: APNs knows it by its topic, FCM by its sender (project).
    Installed {
        /// Bundle id or project.
        app: Box<str>,
    },
    /// An iPhone or a browser behind FCM, which is reached through another provider, and the project's credential for that one is wrong.
    ThirdParty,
    /// The app was removed at this time (milliseconds since 1970-01-01 UTC).
    Gone {
        /// When the provider learnt it.
        since_ms: i64,
    },
}

/// So many strangers are told apart; further ones are unknown everywhere.
const MAX_STRANGERS: usize = 1_000_000;

/// Which environment each stranger belongs to: the first that was asked for it, and no other ever.
#[derive(Debug, Default)]
pub struct Strangers {
    homes: Mutex<HashMap<Box<str>, &'static str>>,
}

impl Strangers {
    /// Whether the token is at home in this environment; if nobody knows it yet, it is from here on.
    fn at_home(&self, token: &str, environment: &'static str) -> bool {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        match homes.get(token) {
            Some(home) => *home == environment,
            None if homes.len() < MAX_STRANGERS => {
                homes.insert(token.into(), environment);
                true
            }
            None => false,
        }
    }
}

/// The tokens of one provider (for Apple: of one environment), split so that look-ups do not wait for one another.
#[derive(Debug)]
pub struct Phones {
    hasher: RandomState,
    parts: Vec<RwLock<HashMap<Box<str>, Phone>>>,
    take_strangers: bool,
    /// Shared with the other environments, and the name of this one.
    strangers: Option<(Arc<Strangers>, &'static str)>,
}

impl Phones {
    /// An empty list. With `take_strangers` a well-formed token that nobody entered counts as installed for whatever app is named, but for one
    /// whose bits are all set: no provider gives such a token out, and clients send it to have their credentials judged.
    pub fn new(take_strangers: bool) -> Self {
        Self { hasher: RandomState::new(), parts: (0..PARTS).map(|_| RwLock::default()).collect(), take_strangers, strangers: None }
    }

    /// Of several environments, in which a token belongs to one.
    #[must_use]
    pub fn of_environment(self, strangers: &Arc<Strangers>, name: &'static str) -> Self {
        Self { strangers: Some((Arc::clone(strangers), name)), ..self }
    }

    fn is_ours(&self, token: &str) -> bool {
        self.strangers.as_ref().is_none_or(|(strangers, name)| strangers.at_home(token, name))
    }

    fn part(&self, token: &str) -> &RwLock<HashMap<Box<str>, Phone>> {
        &self.parts[self.hasher.hash_one(token) as usize % PARTS]
    }

    /// The app `app` is installed on the phone with this token.
    pub fn install(&self, token: &str, app: &str) {
        self.is_ours(token);
        let phone = Phone::Installed { app: app.into() };
        let mut part = self.part(token).write().unwrap_or_else(PoisonError::into_inner);
        part.insert(token.into(), phone);
    }

    /// The app was removed from the phone at this time.
    pub fn remove(&self, token: &str, since_ms: i64) {
        let mut part = self.part(token).write().unwrap_or_else(PoisonError::into_inner);
        part.insert(token.into(), Phone::Gone { since_ms });
    }

    /// The phone with this token is reached through another provider, where the sender's credential is wrong.
    pub fn lock_out(&self, token: &str) {
        let mut part = self.part(token).write().unwrap_or_else(PoisonError::into_inner);
        part.insert(token.into(), Phone::ThirdParty);
    }

    /// Looks a token up; `None` means that this provider never gave it out.
    pub fn find(&self, token: &str, app: &str) -> Option<Phone> {
        let part = self.part(token).read().unwrap_or_else(PoisonError::into_inner);
        match part.get(token) {
            Some(phone) => Some(phone.clone()),
            None if self.take_strangers && !is_made_up(token) && self.is_ours(token) => Some(Phone::Installed { app: app.into() }),
            None => None,
        }
    }
}

/// Whether all its bits are set.
fn is_made_up(token: &str) -> bool {
    token.bytes().all(|digit| digit.eq_ignore_ascii_case(&b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_taken_unless_nobody_can_have_such_a_token() {
        let installed = Some(Phone::Installed { app: "app".into() });
        assert_eq!(Phones::new(true).find(&"0f".repeat(32), "app"), installed);
        assert_eq!(Phones::new(true).find(&"f".repeat(64), "app"), None);
        assert_eq!(Phones::new(false).find(&"0a".repeat(32), "app"), None);
    }

    #[test]
    fn a_stranger_is_at_home_in_the_environment_that_was_asked_first() {
        let strangers = Arc::default();
        let production = Phones::new(true).of_environment(&strangers, "production");
        let sandbox = Phones::new(true).of_environment(&strangers, "sandbox");
        let (one, other) = ("0a".repeat(32), "0b".repeat(32));
        assert!(production.find(&one, "app").is_some() && sandbox.find(&one, "app").is_none());
        assert!(sandbox.find(&other, "app").is_some() && production.find(&other, "app").is_none());
        production.install("entered", "app");
        assert!(sandbox.find("entered", "app").is_none() && production.find("entered", "app").is_some());
    }
}

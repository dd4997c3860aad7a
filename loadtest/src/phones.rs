//! The device tokens that a push provider knows: which app each belongs to, and which are gone.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::PoisonError;
use std::sync::RwLock;

const PARTS: usize = 64;

/// What a provider knows about one device token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phone {
    /// The app is installed: APNs knows it by its topic, FCM by its sender (project).
    Installed {
        /// Bundle id or project.
        app: Box<str>,
    },
    /// The app was removed at this time (milliseconds since 1970-01-01 UTC).
    Gone {
        /// When the provider learnt it.
        since_ms: i64,
    },
}

/// The tokens of one provider (for Apple: of one environment), split so that look-ups do not wait for one another.
#[derive(Debug)]
pub struct Phones {
    hasher: RandomState,
    parts: Vec<RwLock<HashMap<Box<str>, Phone>>>,
    take_strangers: bool,
}

impl Phones {
    /// An empty list. With `take_strangers` a well-formed token that nobody entered counts as installed for whatever app is named, but for one
    /// whose bits are all set: no provider gives such a token out, and clients send it to have their credentials judged.
    pub fn new(take_strangers: bool) -> Self {
        Self { hasher: RandomState::new(), parts: (0..PARTS).map(|_| RwLock::default()).collect(), take_strangers }
    }

    fn part(&self, token: &str) -> &RwLock<HashMap<Box<str>, Phone>> {
        &self.parts[self.hasher.hash_one(token) as usize % PARTS]
    }

    /// The app `app` is installed on the phone with this token.
    pub fn install(&self, token: &str, app: &str) {
        let phone = Phone::Installed { app: app.into() };
        let mut part = self.part(token).write().unwrap_or_else(PoisonError::into_inner);
        part.insert(token.into(), phone);
    }

    /// The app was removed from the phone at this time.
    pub fn remove(&self, token: &str, since_ms: i64) {
        let mut part = self.part(token).write().unwrap_or_else(PoisonError::into_inner);
        part.insert(token.into(), Phone::Gone { since_ms });
    }

    /// Looks a token up; `None` means that this provider never gave it out.
    pub fn find(&self, token: &str, app: &str) -> Option<Phone> {
        let part = self.part(token).read().unwrap_or_else(PoisonError::into_inner);
        match part.get(token) {
            Some(phone) => Some(phone.clone()),
            None if self.take_strangers && !is_made_up(token) => Some(Phone::Installed { app: app.into() }),
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
}

//! Where hints for a mailbox are folded together, so that a hundred of them are one message.

use std::sync::{Arc, Mutex, PoisonError};

use crate::ports::mail_source::Hint;
use crate::time::Monotonic;

/// What was heard and not yet looked at. At most one entry of each kind.
#[derive(Debug, Default)]
pub struct Slot {
    heard: Mutex<Heard>,
    cause: Mutex<Option<Arc<str>>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Heard {
    touched: Option<(bool, Option<u32>, Monotonic)>,
    gap: bool,
    lost: Option<bool>,
    opened: bool,
}

impl Slot {
    /// Keeps the code of the next gap or loss; the last one counts.
    pub fn because(&self, code: Arc<str>) {
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
    }

    /// Takes that code.
    #[must_use]
    pub fn cause(&self) -> Option<Arc<str>> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Folds a hint in; says whether the actor must be woken (it has not been since it last looked).
    #[must_use]
    pub fn fold(&self, hint: Hint) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = *heard == Heard::default();
        match hint {
            Hint::Touched { mail, unread, at } => {
                // The newest count alone is true, and none if something changed after it.
                let (mail_before, _, since) = heard.touched.unwrap_or((false, None, at));
                heard.touched = Some((mail || mail_before, unread, since));
            }
            // A count heard before a gap says nothing after it.
            Hint::Gap => {
                heard.gap = true;
                heard.opened = false;
                if let Some((_, unread, _)) = &mut heard.touched {
                    *unread = None;
                }
            }
            Hint::SubscriptionLost { rediscover } => {
                heard.lost = Some(rediscover || heard.lost.unwrap_or(false));
                heard.opened = false;
            }
            Hint::StreamOpened => heard.opened = true,
        }
        quiet
    }

    /// Takes all that was heard, in the order in which it matters.
    #[must_use]
    pub fn take(&self) -> Vec<Hint> {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        let gap = heard.gap.then_some(Hint::Gap);
        let lost = heard.lost.map(|rediscover| Hint::SubscriptionLost { rediscover });
        let opened = heard.opened.then_some(Hint::StreamOpened);
        let touched = heard.touched.map(|(mail, unread, at)| Hint::Touched { mail, unread, at });
        gap.into_iter().chain(lost).chain(opened).chain(touched).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_hints_wake_once_and_are_one() {
        let slot = Slot::default();
        let woken =
            (0..100).filter(|i| slot.fold(Hint::Touched { mail: *i == 50, unread: Some(*i), at: Monotonic(i64::from(*i)) })).count();
        assert_eq!(woken, 1);
        assert_eq!(slot.take(), [Hint::Touched { mail: true, unread: Some(99), at: Monotonic(0) }]);
        assert_eq!(slot.take(), []);
        assert!(slot.fold(Hint::StreamOpened));
    }

    #[test]
    fn a_lost_subscription_outlives_an_older_opening_but_not_a_newer_one() {
        let slot = Slot::default();
        assert!(slot.fold(Hint::StreamOpened));
        assert!(!slot.fold(Hint::SubscriptionLost { rediscover: false }));
        assert_eq!(slot.take(), [Hint::SubscriptionLost { rediscover: false }]);
    }
}

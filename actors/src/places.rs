//! Places for collections: so many a node, of which those at one back end may take half, so that a server that hangs leaves the others theirs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ports::mail_source::BackEnd;

/// All places of a node.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    share: usize,
    /// The shares of back ends that are in use.
    shares: Mutex<BTreeMap<BackEnd, Arc<Semaphore>>>,
}

/// A place; given back when dropped.
#[derive(Debug)]
#[allow(dead_code, reason = "held for its Drop")]
pub struct Place(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

impl From<OwnedSemaphorePermit> for Place {
    /// Room of another kind that stands for a place.
    fn from(room: OwnedSemaphorePermit) -> Self {
        Self(room, None)
    }
}

impl Places {
    /// So many places.
    #[must_use]
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { all: Arc::new(Semaphore::new(places)), share: places.div_ceil(2), shares: Mutex::default() })
    }

    /// Takes a place if there is one.
    #[must_use]
    pub fn try_take(&self, back_end: BackEnd) -> Option<Place> {
        let share = self.share(back_end).try_acquire_owned().ok()?;
        Some(Place(self.all.clone().try_acquire_owned().ok()?, Some(share)))
    }

    /// Waits for a place. Who waits for the share of a back end keeps no place from others.
    ///
    /// # Panics
    /// Never: the places are not closed.
    pub async fn take(&self, back_end: BackEnd) -> Place {
        let share = self.share(back_end).acquire_owned().await.expect("a share is never closed");
        Place(self.all.clone().acquire_owned().await.expect("the places are never closed"), Some(share))
    }

    fn share(&self, back_end: BackEnd) -> Arc<Semaphore> {
        // The map is whole after any of its operations.
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&back_end) {
            return share.clone();
        }
        // Whoever holds or awaits a part of a share holds the share too.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let share = Arc::new(Semaphore::new(self.share));
        shares.insert(back_end, share.clone());
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str) -> BackEnd {
        BackEnd(name.into())
    }

    #[tokio::test]
    async fn one_back_end_takes_half_of_all_places_and_waiting_for_its_share_takes_none() {
        let places = Places::new(4);
        let mut hung: Vec<Place> = (0..2).map(|_| places.try_take(at("hung")).expect("its share")).collect();
        assert!(places.try_take(at("hung")).is_none());
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.take(at("hung")).await }
        });
        tokio::task::yield_now().await;
        let others: Vec<Place> = (0..2).map(|_| places.try_take(at("well")).expect("theirs")).collect();
        assert!(places.try_take(at("third")).is_none(), "all are taken");
        hung.pop();
        drop(others);
        waiting.await.expect("its turn came");
    }

    #[test]
    fn shares_that_nobody_uses_are_forgotten() {
        let places = Places::new(4);
        let held = places.try_take(at("held"));
        for name in 0..100 {
            drop(places.try_take(at(&name.to_string())));
        }
        let shares = places.shares.lock().expect("whole");
        assert!(held.is_some() && shares.contains_key(&at("held")) && shares.len() <= 2, "{}", shares.len());
    }

    #[test]
    fn a_single_place_is_one() {
        assert!(Places::new(1).try_take(at("any")).is_some());
    }
}

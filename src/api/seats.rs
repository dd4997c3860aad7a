//! How many connections there may be, and how many of one address. Rule: whatever one address opens, others still come in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::limit::network_of;
use crate::config::api::Network;

/// This part of the seats is for addresses that have no connection yet.
const RESERVED_PART: usize = 16;

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSeat {
    /// The address has as many connections as one may have.
    Address,
    /// All seats are taken, or those that are left are for others.
    All,
}

/// The seats of one address listened on.
pub struct Seats {
    all: usize,
    of_one: usize,
    proxies: Vec<Network>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<String, usize>,
}

/// A connection's place; given back when it is dropped.
pub struct Seat {
    seats: Arc<Seats>,
    network: String,
}

impl Seats {
    /// So many seats, and so many of one network (an IPv4 address, or an IPv6 /64); proxies that are listed may take more.
    #[must_use]
    pub fn new(all: usize, of_one: usize, proxies: Vec<Network>) -> Arc<Self> {
        Arc::new(Self { all, of_one, proxies, taken: Mutex::default() })
    }

    /// Takes a seat for a connection.
    ///
    /// # Errors
    /// Why there is none.
    pub fn take(self: &Arc<Self>, peer: IpAddr) -> Result<Seat, NoSeat> {
        let (network, proxy) = (network_of(peer), self.proxies.iter().any(|proxies| proxies.contains(peer)));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by.get(&network).copied().unwrap_or(0);
        if own >= self.of_one && !proxy {
            return Err(NoSeat::Address);
        }
        let room = if own == 0 { self.all } else { self.all - self.all / RESERVED_PART };
        if taken.all >= room {
            return Err(NoSeat::All);
        }
        taken.all += 1;
        taken.by.insert(network.clone(), own + 1);
        drop(taken);
        Ok(Seat { seats: self.clone(), network })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        match taken.by.get_mut(&self.network) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.by.remove(&self.network)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_leaves_seats_for_others_and_gives_its_own_back() {
        let seats = Seats::new(100, 30, Vec::new());
        for peers in [["192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9"]] {
            let held: Vec<_> = (0..1_300).filter_map(|n| seats.take(ip(peers[n % 2])).ok()).collect();
            assert_eq!(held.len(), 30, "{peers:?} are one");
            assert_eq!(seats.take(ip(peers[0])).err(), Some(NoSeat::Address));
            assert!(seats.take(ip("203.0.113.9")).is_ok());
            drop(held);
        }
        let taken = seats.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by.len()), (0, 0));
    }

    #[test]
    fn the_last_seats_are_for_those_who_have_none() {
        let seats = Seats::new(32, 20, vec![Network::try_from("10.0.0.0/8".to_owned()).unwrap()]);
        let held: Vec<_> = (0..100).filter_map(|_| seats.take(ip("10.0.0.1")).ok()).collect();
        assert_eq!(held.len(), 30, "a proxy may take more than others");
        let (first, second) = (seats.take(ip("192.0.2.1")), seats.take(ip("192.0.2.2")));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(seats.take(ip("192.0.2.3")).err(), Some(NoSeat::All));
    }
}

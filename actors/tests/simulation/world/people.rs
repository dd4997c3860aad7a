//! People and phones: mails come, are read and deleted; devices and mailboxes are registered and removed, also while a shard is being adopted.

use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ids::{EventKey, ShardId, Smtp, TenantId};
use postrider_actors::ports::Clock;
use postrider_actors::ports::push_sender::{Provider, PushToken};
use postrider_actors::ports::registry_store::{Registered, Registration, RegistryStore};
use postrider_actors::shard::state::Input as ShardInput;
use postrider_actors::testing::scripted::Mail as Item;
use postrider_actors::time::Timestamp;

use super::World;
use super::clocks::DatabaseClock;
use super::database::at_once;
use super::faults::Hit;
use super::history::What;
use super::ledger::Mail;
use super::scheduler::{Action, MILLI, Micros, SECOND, To};

/// The people of a run.
#[derive(Default)]
pub struct People {
    /// Addresses.
    pub addresses: Vec<String>,
    /// Time between two mails to anybody, on the average.
    pub mail_every: Micros,
    /// Time between two changes of devices and mailboxes, on the average; zero: none.
    pub change_every: Micros,
    /// Tokens drawn so far.
    pub tokens: u64,
}

fn tenant() -> TenantId {
    TenantId(Arc::from("acme"))
}

impl World {
    /// The database's clock.
    pub fn true_now(&self) -> Timestamp {
        DatabaseClock(self.time.clone()).now()
    }

    /// People begin to use the cluster.
    pub fn people_begin(&mut self, mailboxes: usize) {
        for number in 0..mailboxes {
            let address = format!("u{number}@example.com");
            self.people.addresses.push(address.clone());
            let old = if self.dice.percent(15) { self.dice.between(1, 1_300) } else { self.dice.between(0, 3) };
            for _ in 0..old {
                let received = Timestamp(self.true_now().0 - self.dice.between(3_600, 2_000_000) * SECOND);
                self.source.inbox(&address).add(&address, Item::at(received));
            }
            for device in 0..self.dice.between(1, 2) {
                self.register(&address, device);
            }
        }
        self.next_mail();
        self.next_change();
    }

    fn soon(&mut self, every: Micros) -> Micros {
        self.dice.between(MILLI, 2 * every)
    }

    fn next_mail(&mut self) {
        let after = self.soon(self.people.mail_every);
        self.enter(after, To::World, |world| {
            if world.now < world.workload_ends {
                world.mail_event();
                world.next_mail();
            }
        });
    }

    fn next_change(&mut self) {
        if self.people.change_every == 0 {
            return;
        }
        let after = self.soon(self.people.change_every);
        self.enter(after, To::World, |world| {
            if world.now < world.workload_ends {
                world.registry_change();
                world.next_change();
            }
        });
    }

    fn mail_event(&mut self) {
        let address = self.people.addresses[self.dice.index(self.people.addresses.len())].clone();
        match self.dice.below(20) {
            0 => self.read_or_delete(&address, true),
            1 => self.read_or_delete(&address, false),
            2 => {
                let received = Timestamp(self.true_now().0 - 48 * 3_600 * SECOND);
                self.source.inbox(&address).add(&address, Item::at(received));
                self.touched(&address, false);
            }
            3 => {
                for _ in 0..self.dice.between(2, 8) {
                    self.mail(&address);
                }
            }
            _ => self.mail(&address),
        }
    }

    fn mail(&mut self, address: &str) {
        let item = Item::at(self.true_now());
        let item = self.source.inbox(address).add(address, item);
        let event = EventKey::of_item(&item);
        let mail = Mail { address: address.to_owned(), item, event, at: self.now, announced: true, settled: None };
        self.ledger.mails.push(mail);
        if let Some(mailbox) = self.mailbox_of(address) {
            self.note(None, What::Arrived { mailbox, event });
        }
        self.touched(address, true);
    }

    fn read_or_delete(&mut self, address: &str, read: bool) {
        let now = self.now;
        let Some(mail) = self.ledger.mails.iter_mut().rev().find(|mail| mail.address == address && mail.settled.is_none()) else { return };
        mail.settled = Some(now);
        let item = mail.item.clone();
        let inbox = self.source.inbox(address);
        if read {
            inbox.mark_read(&item, true)
        } else {
            inbox.remove(&item)
        }
        self.touched(address, false);
    }

    /// The key of an address's mailbox.
    pub fn mailbox_of(&self, address: &str) -> Option<postrider_actors::ids::MailboxId> {
        let key = (tenant(), Arc::new(Smtp::new(address)));
        self.db.store.read(|model| model.addresses.get(&key).copied())
    }

    fn registry_change(&mut self) {
        if !self.db.up || self.now < self.db.stalled_until {
            return;
        }
        let address = self.people.addresses[self.dice.index(self.people.addresses.len())].clone();
        let device = self.dice.between(0, 1);
        match self.dice.below(8) {
            0 => {
                let number = self.people.addresses.len();
                if number < 16 {
                    let address = format!("n{number}@example.com");
                    self.people.addresses.push(address.clone());
                    self.register(&address, 0);
                }
            }
            1 => self.remove_device(&address, device),
            2 => self.remove_mailbox(&address),
            3 => self.uninstall(&address, device),
            _ => self.register(&address, device),
        }
    }

    /// A phone registers, or registers anew, sometimes with another token.
    pub fn register(&mut self, address: &str, device: i64) {
        let known = self.token_of(address, device);
        let token = match known {
            Some(token) if self.dice.percent(50) && !self.provider.gone.contains_key(&token) => token,
            _ => {
                self.people.tokens += 1;
                format!("token-{}", self.people.tokens)
            }
        };
        let registration = Registration {
            tenant: tenant(),
            smtp: Smtp::new(address),
            name: format!("phone-{device}"),
            provider: if device == 0 { Provider::Apns } else { Provider::Fcm },
            app: Arc::from("com.example.mail"),
            token: PushToken(token.clone().into()),
            cutoff: Duration::from_secs(43_200),
            create_mailbox: true,
        };
        let before = self.token_of(address, device);
        let now = self.true_now();
        let answer = at_once(self.db.store.device_register(&registration, now));
        if let Ok(Registered::Done { shard, .. }) = answer {
            // A new token of the same phone keeps what its user may expect.
            let before = before.filter(|before| !self.provider.gone.contains_key(before));
            let since = before.and_then(|before| self.ledger.devices.remove(&before)).unwrap_or(self.now);
            self.ledger.devices.insert(token, since);
            self.wake(shard);
        }
    }

    fn token_of(&self, address: &str, device: i64) -> Option<String> {
        let (mailbox, name) = (self.mailbox_of(address)?, format!("phone-{device}"));
        self.db
            .store
            .read(|model| model.devices.values().find(|row| row.mailbox == mailbox && row.name == name).map(|row| row.token.0.to_string()))
    }

    fn remove_device(&mut self, address: &str, device: i64) {
        let name = format!("phone-{device}");
        let token = self.token_of(address, device);
        let Some(token) = token else { return };
        if let Ok(Some(shard)) = at_once(self.db.store.device_remove(&tenant(), &Smtp::new(address), &name)) {
            self.ledger.removed.push((token, self.now));
            self.wake(shard);
        }
    }

    fn remove_mailbox(&mut self, address: &str) {
        let Some(mailbox) = self.mailbox_of(address) else { return };
        let of = |row: &&postrider_actors::testing::memory::DeviceRow| row.mailbox == mailbox;
        let tokens: Vec<String> =
            self.db.store.read(|model| model.devices.values().filter(of).map(|row| row.token.0.to_string()).collect());
        if let Ok(Some(shard)) = at_once(self.db.store.mailbox_remove(&tenant(), &Smtp::new(address))) {
            self.ledger.removed.extend(tokens.into_iter().map(|token| (token, self.now)));
            self.wake(shard);
        }
    }

    /// An app is removed from its phone: the provider says so from here on.
    fn uninstall(&mut self, address: &str, device: i64) {
        if self.rates.uninstalls
            && let Some(token) = self.token_of(address, device)
        {
            self.provider.gone.insert(token, self.true_now());
        }
    }

    /// The node that took the request tells the owner, if it is the owner itself.
    fn wake(&mut self, shard: ShardId) {
        let node = self.dice.index(self.machines.len());
        if !self.machines[node].paused && self.dice.percent(50) {
            self.shard_tell(node, shard, ShardInput::Look);
        }
    }

    /// While a shard is being adopted, somebody of it registers or goes.
    pub fn race_adoption(&mut self, shard: ShardId) {
        if !self.dice.hits(self.rates.race_adoption) || self.now > self.workload_ends {
            return;
        }
        let shards = u16::try_from(self.db.store.read(|model| model.shards.len())).unwrap_or(1);
        let of_shard = |address: &String| ShardId::of_address(&Smtp::new(address), shards) == shard;
        let after = self.dice.between(0, 8 * MILLI);
        let fresh = (0..400).map(|number| format!("r{number}@example.com")).filter(of_shard).find(|a| !self.people.addresses.contains(a));
        let known = self.people.addresses.iter().find(|address| of_shard(address)).cloned();
        let race: Action = match (self.dice.below(3), fresh, known) {
            (0, Some(fresh), _) => Box::new(move |world| {
                world.people.addresses.push(fresh.clone());
                world.register(&fresh, 0);
            }),
            (1, _, Some(known)) => Box::new(move |world| world.remove_device(&known, 0)),
            (2, _, Some(known)) => Box::new(move |world| world.register(&known, 1)),
            _ => return,
        };
        self.enter(after, To::World, move |world| {
            if world.db.up && world.now >= world.db.stalled_until {
                world.hit(Hit::AdoptionRaced);
                race(world);
            }
        });
    }
}

//! What people may expect at the end: which mail on which device.

use std::collections::BTreeMap;

use postrider_actors::ids::{DeliveryId, DeviceId, EventKey, MailboxId};
use postrider_actors::testing::memory::{DeliveryRow, Model};

use crate::world::World;
use crate::world::ledger::Mail;
use crate::world::provider::Send;
use crate::world::scheduler::Micros;

/// A mail that a device is to be told of.
pub struct Expected<'a> {
    /// The mail.
    pub mail: &'a Mail,
    /// In which mailbox.
    pub mailbox: MailboxId,
    /// The device.
    pub device: DeviceId,
    /// Its row, if there is one.
    pub row: Option<(DeliveryId, DeliveryRow)>,
    /// Whether a row that counts several mails may stand for it.
    pub counted: bool,
    /// When a push that tells of it was taken first.
    pub taken: Option<Micros>,
}

/// All that is expected: mails that nobody read or deleted, on devices that were registered before and still are.
pub fn expected(world: &World) -> Vec<Expected<'_>> {
    let mut by_event: BTreeMap<(MailboxId, EventKey), Vec<&Send>> = BTreeMap::new();
    for send in world.provider.sends.iter().filter(|send| send.accepted.is_some()) {
        for event in &send.events {
            by_event.entry((send.mailbox, *event)).or_default().push(send);
        }
    }
    world.db.store.read(|model| {
        let mut found = Vec::new();
        for (device, row) in &model.devices {
            let token = row.token.0.to_string();
            let Some(since) = world.ledger.devices.get(&token) else { continue };
            if world.provider.gone.contains_key(&token) {
                continue;
            }
            let Some(mailbox) = model.mailboxes.get(&row.mailbox) else { continue };
            // Its user removed it, and the tail that was lost knew of that: of what had come by then it needs to be told no more.
            let removed = world.ledger.removed.iter().filter(|(of, at)| *of == token && world.ledger.tail_lost(*at, world.now));
            let since = removed.map(|(_, at)| *at).max().map_or(*since, |at| at.max(*since));
            let mails = world.ledger.mails.iter().filter(|mail| mail.address == mailbox.smtp.as_str());
            for mail in mails.filter(|mail| mail.announced && mail.at > since && mail.settled.is_none()) {
                found.push(one(model, world, mail, row.mailbox, *device, &by_event));
            }
        }
        found
    })
}

fn one<'a>(
    model: &Model,
    world: &'a World,
    mail: &'a Mail,
    mailbox: MailboxId,
    device: DeviceId,
    by_event: &BTreeMap<(MailboxId, EventKey), Vec<&Send>>,
) -> Expected<'a> {
    let row = model.events.get(&(mailbox, device, mail.event)).and_then(|id| Some((*id, model.deliveries.get(id)?.clone())));
    let of = |send: &&Send| send.device.is_none_or(|of| of == device);
    let named = by_event.get(&(mailbox, mail.event)).into_iter().flatten().copied().filter(of).filter_map(|send| send.accepted).min();
    // A push names at most sixteen mails and counts the others.
    let counts = |send: &&Send| send.mailbox == mailbox && of(send) && send.count as usize > send.events.len() && send.began > mail.at;
    let taken = named.or_else(|| world.provider.sends.iter().filter(counts).filter_map(|send| send.accepted).min());
    let counted = model.deliveries.values().any(|row| row.mailbox == mailbox && row.device == device && row.count > 1);
    Expected { mail, mailbox, device, row, counted, taken }
}

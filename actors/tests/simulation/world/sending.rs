//! The shell of a delivery in the simulation, its sending part: content, room, device, gate, send, mark.

use postrider_actors::delivery::breaker::Whose;
use postrider_actors::delivery::channels::waiting;
use postrider_actors::delivery::message::{Sent, code};
use postrider_actors::delivery::send::Effect;
use postrider_actors::ids::{DeviceId, EventKey, Generation, ItemId};
use postrider_actors::mailbox::state::Input;
use postrider_actors::ports::DeviceStore;
use postrider_actors::ports::push_sender::{Channel, Permit, Push, PushToken, Verdict};
use postrider_actors::time::Timestamp;

use super::World;
use super::database::{PATIENCE, Way, at_once};
use super::machine::Uid;
use super::scheduler::MILLI;

impl World {
    /// An answer to the sending part.
    fn sent(&mut self, node: usize, uid: Uid, answer: Sent) {
        self.cast(node, uid, move |world| {
            if world.trips() {
                return world.delivery_panics(node, uid);
            }
            world.sending_step(node, uid, answer);
        });
    }

    /// One step of the sending part.
    pub fn sending_step(&mut self, node: usize, uid: Uid, input: Sent) {
        let (moment, settings) = (self.moment(node), self.settings.clone());
        let Some(sending) = self.delivery(node, uid).and_then(|actor| actor.sending.as_mut()) else { return };
        let effects = sending.step(moment, input, &settings);
        effects.into_iter().for_each(|effect| self.send_effect(node, uid, effect));
        self.rearm(node, uid);
    }

    /// Moves the timer to when the sending part acts next.
    pub fn rearm(&mut self, node: usize, uid: Uid) {
        let Some(actor) = self.delivery(node, uid) else { return };
        let Some(due) = actor.sending.as_ref().map(|sending| sending.due()) else { return };
        let alarm = actor.alarm.clone();
        self.set_alarm(node, &alarm, due, move |world| world.delivery_alarm(node, uid));
    }

    /// Carries out an effect of the sending part.
    pub fn send_effect(&mut self, node: usize, uid: Uid, effect: Effect) {
        let Some(actor) = self.delivery(node, uid) else { return };
        let mailbox = actor.mailbox.clone();
        match effect {
            Effect::Contents(asked) => self.contents(node, uid, asked),
            Effect::Unread => self.ask_unread(node, &mailbox, move |world, answer| world.sent(node, uid, Sent::Unread(answer))),
            Effect::Turn(place, channel, device) => {
                let (now, settings, whose) = (self.mono(node), self.settings.clone(), Whose { mailbox: mailbox.id, device });
                let turn = self.process(node).map_or(Ok(()), |process| process.channels.turn(&channel, whose, now, &settings));
                self.sent(node, uid, Sent::Turn(place, turn.map_err(|waits| waits.left)));
            }
            Effect::Begin(place, retries) => {
                self.write(node, Vec::new(), retries, move |world, answer| world.sent(node, uid, Sent::Begun(place, answer)));
            }
            Effect::Room(place, channel, device) => {
                let (now, settings, whose) = (self.mono(node), self.settings.clone(), Whose { mailbox: mailbox.id, device });
                let room = self.process(node).map_or(Ok(()), |process| process.channels.room(&channel, whose, now, &settings));
                self.sent(node, uid, Sent::Room(place, room.map(|()| Permit::unlimited()).map_err(waiting)));
            }
            Effect::Device(place, device) => self.device(node, uid, place, device),
            Effect::Send { place, device, push, .. } => {
                let delay = self.dice.between(0, MILLI / 4);
                let to = self.whom(node);
                self.enter(delay, to, move |world| world.transmit(node, uid, place, device, push));
            }
            Effect::Forget(device, generation, since, _) => self.forget_device(node, uid, device, generation, since),
            Effect::Write(marks, retries) => {
                self.write(node, marks, retries, move |world, answer| world.sent(node, uid, Sent::Written(answer)));
            }
            Effect::Done { left } => {
                let (parent, number) = (actor.parent, actor.number);
                self.delivered(node, parent, number, Input::Settled { left });
                self.delivery_drop(node, uid);
            }
        }
    }

    fn contents(&mut self, node: usize, uid: Uid, asked: Vec<(EventKey, ItemId)>) {
        let Some(actor) = self.delivery(node, uid) else { return };
        if let Some(early) = actor.early.as_mut().filter(|early| early.asked == asked) {
            early.awaited = true;
            if early.answer.is_some() {
                self.early_contents(node, uid);
            }
            return;
        }
        actor.early = None;
        let mailbox = actor.mailbox.clone();
        let (events, items): (Vec<EventKey>, Vec<ItemId>) = asked.into_iter().unzip();
        self.ask_contents(node, &mailbox, items, move |world, answer| world.sent(node, uid, Sent::Contents(events, answer)));
    }

    /// The content that was asked for early is there, and awaited.
    pub fn early_contents(&mut self, node: usize, uid: Uid) {
        let Some(early) = self.delivery(node, uid).and_then(|actor| actor.early.take()) else { return };
        let events: Vec<EventKey> = early.asked.iter().map(|(event, _)| *event).collect();
        if let Some(answer) = early.answer {
            self.sent(node, uid, Sent::Contents(events, answer));
        }
    }

    fn device(&mut self, node: usize, uid: Uid, place: usize, device: DeviceId) {
        let run = move |world: &mut World| at_once(world.db.store.devices_now(&[device])).map(|found| found.into_iter().next());
        self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| world.sent(node, uid, Sent::Device(place, answer)));
    }

    fn forget_device(&mut self, node: usize, uid: Uid, device: DeviceId, generation: Generation, since: Option<Timestamp>) {
        let run = move |world: &mut World| at_once(world.db.store.device_forget(device, generation, since));
        self.ask(node, Way::Pool, PATIENCE, run, move |world, _| world.sent(node, uid, Sent::Forgotten));
    }

    /// Sends one push if the gate still lets it out, and passes the verdict by the breaker.
    fn transmit(&mut self, node: usize, uid: Uid, place: usize, device: DeviceId, push: Push) {
        let Some(actor) = self.delivery(node, uid) else { return };
        let mailbox = actor.mailbox.id;
        if !self.lets_pushes_out(node) {
            let reason = code("gate_closed");
            return self.sent(node, uid, Sent::Answer(place, Verdict::Later { after: None, reason }));
        }
        let (channel, token, whose) = (push.channel.clone(), push.token.clone(), Whose { mailbox, device });
        self.ask_push(node, uid, mailbox, push, move |world, verdict| {
            let verdict = world.judge_verdict(node, &channel, (whose, &token), verdict);
            world.sent(node, uid, Sent::Answer(place, verdict));
        });
    }

    fn judge_verdict(&mut self, node: usize, channel: &Channel, push: (Whose, &PushToken), verdict: Verdict) -> Verdict {
        let (now, settings) = (self.mono(node), self.settings.clone());
        let Some(process) = self.process(node) else { return verdict };
        process.channels.judge(channel, push, now, verdict, &settings).0
    }
}

//! Opening the gate, and waking whoever waited for it.

use super::State;
use crate::mailbox::state::Input as MailboxInput;
use crate::shard::state::Input as ShardInput;
use crate::telemetry::metrics;
use crate::time::Monotonic;

impl State {
    /// Effects may begin until then, and pushes among them if that is allowed.
    pub(super) fn open(&self, until: Monotonic, sending: bool) {
        let gate = &self.begin.context.gate;
        let (closed, kept_in) = (!gate.is_open(), !gate.lets_pushes_out());
        gate.open_until(until, sending);
        if closed && gate.is_open() {
            self.shards.keys().for_each(|shard| self.tell(*shard, ShardInput::Reopened));
        }
        if kept_in && gate.lets_pushes_out() {
            self.begin.directory.tell_all(&MailboxInput::Reopened);
        }
        metrics::sending_allowed(f64::from(u8::from(sending)));
    }
}

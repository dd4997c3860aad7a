//! What people did and what they may expect: mails that came, devices that were registered, and the times at which something was wrong.

use std::collections::{BTreeMap, BTreeSet};

use postrider_actors::ids::{DeviceId, EventKey, ItemId, MailboxId};

use super::scheduler::Micros;

/// The trouble with a primary that is back.
pub const OLD_PRIMARY: &str = "database of the past";

/// Devices by token: since when their user may expect pushes.
pub type Devices = BTreeMap<String, Micros>;

/// A mail that came.
#[derive(Debug, Clone)]
pub struct Mail {
    /// To which address.
    pub address: String,
    /// Which item.
    pub item: ItemId,
    /// Its key.
    pub event: EventKey,
    /// When.
    pub at: Micros,
    /// Whether it is one to be announced (not moved in from elsewhere).
    pub announced: bool,
    /// Since when it is read, deleted or moved away.
    pub settled: Option<Micros>,
}

/// A time at which something was wrong.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    /// What.
    pub what: &'static str,
    /// Where; none: for all.
    pub node: Option<usize>,
    /// Since when.
    pub from: Micros,
    /// Until when.
    pub to: Micros,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Mails in order.
    pub mails: Vec<Mail>,
    /// Devices by token.
    pub devices: Devices,
    /// Tokens of devices that were removed by their user, and when the database was told.
    pub removed: Vec<(String, Micros)>,
    /// Troubles, in order of their beginning.
    pub troubles: Vec<Trouble>,
    /// Rows that were ever committed.
    pub committed: BTreeSet<(MailboxId, DeviceId, EventKey)>,
    /// Promotions: when, and the time of the tables that were left.
    pub promotions: Vec<(Micros, Micros)>,
}

impl Ledger {
    /// How much of a span the database was out of reach for all; the first poll after each time is credited with at most `credit`.
    pub fn database_away(&self, from: Micros, to: Micros, rests: &[(Micros, Micros)], credit: Micros) -> Micros {
        let spans = self
            .troubles
            .iter()
            .filter(|trouble| trouble.node.is_none() && trouble.what.starts_with("database"))
            // A slow one answers, and the old primary answers those who never met the promoted one.
            .filter(|trouble| !matches!(trouble.what, "database slow" | OLD_PRIMARY));
        let mut covered: Vec<(Micros, Micros)> = spans.map(|trouble| (trouble.from, trouble.to)).chain(rests.iter().copied()).collect();
        covered.iter_mut().for_each(|span| *span = (span.0.max(from), span.1.min(to)));
        covered.retain(|(from, to)| from < to);
        covered.sort_unstable();
        let (mut sum, mut reached) = (0, from);
        for (from, to) in covered {
            sum += (to - from.max(reached) - credit).max(0);
            reached = reached.max(to);
        }
        sum
    }

    /// Whether a tail was lost in that span.
    pub fn tail_lost(&self, from: Micros, to: Micros) -> bool {
        self.promotions.iter().any(|(at, tables_of)| *at >= from && *at <= to && tables_of < at)
    }
}

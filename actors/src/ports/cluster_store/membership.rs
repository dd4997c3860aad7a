//! Who joins, on which database, and what comes of it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{NodeId, Session};
use crate::time::Timestamp;

/// What a node can do, as short names; a shard is owned only by nodes that have all the features it requires.
#[derive(Debug, Clone, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Features(BTreeSet<Arc<str>>);

impl Features {
    /// Reads names separated by commas; empty ones are ignored.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Arc::from).collect())
    }

    /// Whether all of `required` are among them.
    #[must_use]
    pub fn cover(&self, required: &Self) -> bool {
        required.0.is_subset(&self.0)
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// Which database this is and how often it was promoted: equal histories have the same past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// PostgreSQL's system identifier, or the random name of an embedded database.
    pub system_id: Arc<str>,
    /// PostgreSQL's timeline, read from the position of its log; 0 for an embedded database.
    pub timeline: u32,
}

/// Whether one node owns everything or many share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// One process owns all shards by joining; there is no leader and nothing to plan.
    Embedded,
    /// Joining owns nothing; a leader assigns shards.
    Shared,
}

/// A node that wants to join.
#[derive(Debug, Clone)]
pub struct Join {
    /// Its name.
    pub node: NodeId,
    /// The new life of its process.
    pub session: Session,
    /// Its share of the load relative to the others.
    pub weight: u32,
    /// How many users it may own.
    pub max_users: u32,
    /// What it can do.
    pub features: Features,
    /// The version of the program.
    pub version: String,
    /// Where it answers a direct probe (`http://host:port`), empty if nowhere.
    pub addr: String,
    /// How long a live predecessor on the same file is waited for before it is taken to be dead (T); of an embedded database only.
    pub patience: Duration,
    /// A shared database: the session under our name that stood still at this heartbeat for T; it is judged BAD and replaced.
    pub replaces: Option<(Session, i64)>,
}

/// What came of joining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// The row is ours: GOOD on an embedded database, JOINING on a shared one.
    Done {
        /// Of which database.
        history: History,
        /// The database's wall clock.
        now: Timestamp,
        /// Whether `enter` is to follow and a leader to be looked for.
        manner: Manner,
    },
    /// Another session under our name may be alive (shared databases only). Nothing was written.
    Occupied {
        /// Who it is.
        session: Session,
        /// Its last heartbeat: if that stands still for T it is dead.
        hb_seq: i64,
    },
    /// This session joined before, and is over: it left, or was judged. Nothing was written.
    Over,
}

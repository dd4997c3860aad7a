//! What a fault in a stream is about, and what becomes of the stream: a decision on codes and on the subscriptions that the fault names.
//!
//! Rule: a fault that names subscriptions concerns these alone. One that names only what is not ours any more concerns nobody. One that names
//! nobody is looked into; the stream goes on meanwhile unless the server ends it.

use super::response_code::Action;

/// What of what a fault names is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Named {
    /// Subscriptions of members.
    pub ours: bool,
    /// Subscriptions that were members', and were ended or lost.
    pub ended: bool,
    /// Subscriptions that nobody knows.
    pub strange: bool,
}

/// What is done about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing: it concerns nobody.
    Ignore,
    /// The named subscriptions that are ours are gone.
    Lose {
        /// Whether their mailboxes may live elsewhere.
        rediscover: bool,
    },
    /// Events were lost: of the named subscriptions, or of all if none is named.
    Missed,
    /// Some subscriptions may be gone and it is not told which: opening another stream for all of them tells.
    Verify {
        /// Whether their mailboxes may live elsewhere.
        rediscover: bool,
    },
    /// The mailbox that is impersonated cannot be.
    Anchor,
    /// The connections of the mailbox that is impersonated are used up.
    PassAnchorOver,
    /// The server wants silence.
    Silence,
    /// The whole stream failed.
    Failed,
}

/// Judges a fault.
#[must_use]
pub fn judge(action: Action, named: Named) -> Judgement {
    let anybody = named.ours || named.ended || named.strange;
    match action {
        Action::BackOff => Judgement::Silence,
        Action::FewerConnections => Judgement::PassAnchorOver,
        Action::StreamTakenOver | Action::Proceed => Judgement::Failed,
        Action::CatchUp if !anybody || named.ours => Judgement::Missed,
        _ if named.ours => Judgement::Lose { rediscover: elsewhere(action) },
        _ if named.ended && !named.strange => Judgement::Ignore,
        Action::Unsubscribed | Action::CatchUp if anybody => Judgement::Ignore,
        Action::Resubscribe
        | Action::Unsubscribed
        | Action::ResubscribeElsewhere
        | Action::Rediscover
        | Action::ItemGone
        | Action::ItemUnreadable => Judgement::Verify { rediscover: elsewhere(action) },
        _ if anybody => Judgement::Verify { rediscover: elsewhere(action) },
        Action::RediscoverThenPark | Action::Park => Judgement::Anchor,
        Action::SubscriptionsFull | Action::RetryLater | Action::SyncFromStart | Action::CatchUp => Judgement::Failed,
    }
}

/// Whether the mailboxes concerned may live elsewhere.
fn elsewhere(action: Action) -> bool {
    matches!(action, Action::ResubscribeElsewhere | Action::Rediscover | Action::RediscoverThenPark | Action::Park)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Named = Named { ours: true, ended: false, strange: false };
    const ENDED: Named = Named { ours: false, ended: true, strange: false };
    const STRANGE: Named = Named { ours: false, ended: false, strange: true };
    const NOBODY: Named = Named { ours: false, ended: false, strange: false };

    #[test]
    fn what_names_a_subscription_of_ours_concerns_it_alone_whatever_the_code() {
        use Action::*;
        for action in [Resubscribe, Unsubscribed, SubscriptionsFull, RetryLater, SyncFromStart, ItemGone, ItemUnreadable] {
            for named in [OURS, Named { ended: true, strange: true, ..OURS }] {
                assert_eq!(judge(action, named), Judgement::Lose { rediscover: false }, "{action:?}");
            }
        }
        for action in [ResubscribeElsewhere, Rediscover, RediscoverThenPark, Park] {
            assert_eq!(judge(action, OURS), Judgement::Lose { rediscover: true }, "{action:?}");
        }
        assert_eq!(judge(CatchUp, OURS), Judgement::Missed);
    }

    #[test]
    fn what_names_only_what_has_ended_concerns_nobody() {
        use Action::*;
        let all = [Resubscribe, Unsubscribed, ResubscribeElsewhere, Rediscover, RediscoverThenPark, Park, RetryLater, ItemGone, CatchUp];
        for action in all {
            assert_eq!(judge(action, ENDED), Judgement::Ignore, "{action:?}");
        }
        assert_eq!(judge(Unsubscribed, STRANGE), Judgement::Ignore, "somebody ended something that was never ours");
        assert_eq!(judge(Resubscribe, STRANGE), Judgement::Verify { rediscover: false });
    }

    #[test]
    fn what_names_nobody_is_looked_into_or_is_the_stream_s_or_the_anchor_s_trouble() {
        use Action::*;
        for action in [Resubscribe, Unsubscribed, ItemGone] {
            assert_eq!(judge(action, NOBODY), Judgement::Verify { rediscover: false }, "{action:?}");
        }
        assert_eq!(judge(Rediscover, NOBODY), Judgement::Verify { rediscover: true });
        assert_eq!(judge(Park, NOBODY), Judgement::Anchor);
        assert_eq!(judge(RetryLater, NOBODY), Judgement::Failed);
        assert_eq!(judge(CatchUp, NOBODY), Judgement::Missed);
        assert_eq!((judge(BackOff, OURS), judge(StreamTakenOver, OURS)), (Judgement::Silence, Judgement::Failed));
    }
}

//! What one does about each response code of Exchange: the error table, decided on codes alone.

/// What follows from a response code (MS-OXWSCDATA 2.2.5.24, `ResponseCodeType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing went wrong.
    Proceed,
    /// The server wants silence: no request before the time it named is over.
    BackOff,
    /// Too many connections are charged to the impersonated mailbox: take another anchor, later.
    FewerConnections,
    /// The mailbox has no room for a subscription.
    SubscriptionsFull,
    /// The subscription is gone; another one at the same server.
    Resubscribe,
    /// The subscription was ended by a request to do so; that may have been ours.
    Unsubscribed,
    /// The subscription is gone and the mailbox may live elsewhere: discover, then subscribe.
    ResubscribeElsewhere,
    /// Events were lost, the subscription lives: sync.
    CatchUp,
    /// Another connection took the subscriptions of this one over.
    StreamTakenOver,
    /// The mailbox may live elsewhere: discover, then ask again.
    Rediscover,
    /// Passing trouble: again with growing delay.
    RetryLater,
    /// The address is unknown here: discover once more, then only a person helps.
    RediscoverThenPark,
    /// Only a person, or much time, mends it.
    Park,
    /// The sync state cannot be used: sync from the very beginning.
    SyncFromStart,
    /// The item asked for is not there.
    ItemGone,
    /// The item is there and cannot be shown.
    ItemUnreadable,
}

/// The rows of the table; a code that is not in it is [`Action::RetryLater`], because a server may be newer than we are.
const TABLE: &[(&str, Action)] = &[
    ("NoError", Action::Proceed),
    // Pacing.
    ("ErrorServerBusy", Action::BackOff),
    ("ErrorExceededConnectionCount", Action::FewerConnections),
    ("ErrorExceededSubscriptionCount", Action::SubscriptionsFull),
    // Subscriptions.
    ("ErrorSubscriptionNotFound", Action::Resubscribe),
    ("ErrorInvalidSubscription", Action::Resubscribe),
    ("ErrorExpiredSubscription", Action::Resubscribe),
    ("ErrorSubscriptionAccessDenied", Action::Resubscribe),
    ("ErrorSubscriptionUnsubscribed", Action::Unsubscribed),
    ("ErrorInvalidSubscriptionRequest", Action::Park),
    ("ErrorReadEventsFailed", Action::ResubscribeElsewhere),
    ("ErrorMissedNotificationEvents", Action::CatchUp),
    ("ErrorNewEventStreamConnectionOpened", Action::StreamTakenOver),
    ("ErrorSubscriptionDelegateAccessNotSupported", Action::Park),
    // Where the mailbox lives.
    ("ErrorProxyRequestNotAllowed", Action::Rediscover),
    ("ErrorProxyRequestProcessingFailed", Action::Rediscover),
    ("ErrorProxyCallFailed", Action::Rediscover),
    ("ErrorWrongServerVersion", Action::Rediscover),
    ("ErrorMailboxMoveInProgress", Action::Rediscover),
    ("ErrorMailboxStoreUnavailable", Action::Rediscover),
    ("ErrorMailboxFailover", Action::Rediscover),
    ("ErrorCrossSiteRequest", Action::Rediscover),
    ("ErrorNonExistentMailbox", Action::RediscoverThenPark),
    ("ErrorMissingEmailAddress", Action::RediscoverThenPark),
    // Passing trouble.
    ("ErrorConnectionFailed", Action::RetryLater),
    ("ErrorInternalServerError", Action::RetryLater),
    ("ErrorInternalServerTransientError", Action::RetryLater),
    ("ErrorADUnavailable", Action::RetryLater),
    ("ErrorADOperation", Action::RetryLater),
    ("ErrorTimeoutExpired", Action::RetryLater),
    ("ErrorInsufficientResources", Action::RetryLater),
    ("ErrorBatchProcessingStopped", Action::RetryLater),
    ("ErrorTooManyObjectsOpened", Action::RetryLater),
    ("ErrorRequestAborted", Action::RetryLater),
    // What only a person mends.
    ("ErrorImpersonateUserDenied", Action::Park),
    ("ErrorImpersonationDenied", Action::Park),
    ("ErrorImpersonationFailed", Action::Park),
    ("ErrorInvalidExchangeImpersonationHeaderData", Action::Park),
    ("ErrorMoreThanOneAccessModeSpecified", Action::Park),
    ("ErrorAccessDenied", Action::Park),
    ("ErrorInvalidLicense", Action::Park),
    ("ErrorAccountDisabled", Action::Park),
    ("ErrorPasswordExpired", Action::Park),
    ("ErrorFolderNotFound", Action::Park),
    ("ErrorInvalidRequest", Action::Park),
    ("ErrorSchemaValidation", Action::Park),
    ("ErrorInvalidServerVersion", Action::Park),
    // Data.
    ("ErrorInvalidSyncStateData", Action::SyncFromStart),
    ("ErrorSyncFolderNotFound", Action::SyncFromStart),
    ("ErrorItemNotFound", Action::ItemGone),
    ("ErrorInvalidId", Action::ItemGone),
    ("ErrorInvalidIdMalformed", Action::ItemGone),
    ("ErrorInvalidIdEmpty", Action::ItemGone),
    ("ErrorInvalidIdMalformedEwsLegacyIdFormat", Action::ItemGone),
    ("ErrorInvalidIdNotAnItemAttachmentId", Action::ItemGone),
    ("ErrorItemCorrupt", Action::ItemUnreadable),
    ("ErrorMessagePreviewUnavailable", Action::ItemUnreadable),
    ("ErrorMimeContentInvalid", Action::ItemUnreadable),
];

/// What one does about `code`.
#[must_use]
pub fn action(code: &str) -> Action {
    TABLE.iter().find(|(known, _)| *known == code).map_or(Action::RetryLater, |(_, action)| *action)
}

/// What one does about `code` when the answer also names an inner code (`t:Value Name="InnerErrorResponseCode"`): a server that
/// wraps "busy" into an internal error is busy.
#[must_use]
pub fn action_with_inner(code: &str, inner: Option<&str>) -> Action {
    match (action(code), inner.map(action)) {
        (Action::RetryLater, Some(inner)) if inner != Action::Proceed => inner,
        (outer, _) => outer,
    }
}

/// The token in the text of `ErrorInvalidSubscription` by which the server says that the mailbox is being moved. An identifier, the same in every language.
pub const MAILBOX_MOVE_TOKEN: &str = "MailboxMoveStarted";

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the protocol facts, code by code, beside the one above.
    #[test]
    fn every_code_of_the_error_table_has_its_action() {
        use Action::*;
        let expected: &[(Action, &[&str])] = &[
            (Proceed, &["NoError"]),
            (BackOff, &["ErrorServerBusy"]),
            (FewerConnections, &["ErrorExceededConnectionCount"]),
            (SubscriptionsFull, &["ErrorExceededSubscriptionCount"]),
            (
                Resubscribe,
                &["ErrorSubscriptionNotFound", "ErrorInvalidSubscription", "ErrorExpiredSubscription", "ErrorSubscriptionAccessDenied"],
            ),
            (Unsubscribed, &["ErrorSubscriptionUnsubscribed"]),
            (ResubscribeElsewhere, &["ErrorReadEventsFailed"]),
            (CatchUp, &["ErrorMissedNotificationEvents"]),
            (StreamTakenOver, &["ErrorNewEventStreamConnectionOpened"]),
            (
                Rediscover,
                &["ErrorProxyRequestNotAllowed", "ErrorMailboxMoveInProgress", "ErrorMailboxStoreUnavailable", "ErrorMailboxFailover"],
            ),
            (
                RetryLater,
                &[
                    "ErrorConnectionFailed",
                    "ErrorInternalServerError",
                    "ErrorInternalServerTransientError",
                    "ErrorADUnavailable",
                    "ErrorTimeoutExpired",
                    "ErrorThatNobodyKnows",
                    "",
                ],
            ),
            (RediscoverThenPark, &["ErrorNonExistentMailbox"]),
            (
                Park,
                &[
                    "ErrorImpersonateUserDenied",
                    "ErrorImpersonationDenied",
                    "ErrorImpersonationFailed",
                    "ErrorInvalidExchangeImpersonationHeaderData",
                    "ErrorMoreThanOneAccessModeSpecified",
                    "ErrorSubscriptionDelegateAccessNotSupported",
                    "ErrorInvalidLicense",
                    "ErrorAccountDisabled",
                    "ErrorPasswordExpired",
                    "ErrorAccessDenied",
                ],
            ),
            (SyncFromStart, &["ErrorInvalidSyncStateData"]),
            (ItemGone, &["ErrorItemNotFound"]),
            (ItemUnreadable, &["ErrorItemCorrupt"]),
        ];
        for (action_expected, codes) in expected {
            for code in *codes {
                assert_eq!(action(code), *action_expected, "{code}");
            }
        }
    }

    #[test]
    fn no_code_stands_in_the_table_twice() {
        for (n, (code, _)) in TABLE.iter().enumerate() {
            assert!(TABLE[..n].iter().all(|(earlier, _)| earlier != code), "{code}");
        }
    }

    #[test]
    fn busy_wrapped_into_an_internal_error_is_busy() {
        assert_eq!(action_with_inner("ErrorInternalServerError", Some("ErrorServerBusy")), Action::BackOff);
        assert_eq!(action_with_inner("ErrorInternalServerError", None), Action::RetryLater);
        assert_eq!(action_with_inner("ErrorAccessDenied", Some("ErrorServerBusy")), Action::Park);
    }
}

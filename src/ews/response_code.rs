//! What one does about each response code of Exchange: the error table, decided on codes alone.

mod foreign;

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

/// The rows of the table. Codes of operations that are not asked stand in [`foreign::CODES`]; a code that is in neither is [`Action::RetryLater`] too,
/// because a server may be newer than we are.
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
    // Rights, accounts and requests that only a person mends.
    ("ErrorAccessModeSpecified", Action::Park),
    ("ErrorCallerIsInvalidADAccount", Action::Park),
    ("ErrorInvalidSmtpAddress", Action::Park),
    ("ErrorInvalidUserPrincipalName", Action::Park),
    ("ErrorInvalidUserSid", Action::Park),
    ("ErrorInvalidSid", Action::Park),
    ("ErrorInvalidUserSidMissingUPN", Action::Park),
    ("ErrorInvalidUserInfo", Action::Park),
    ("ErrorNonPrimarySmtpAddress", Action::Park),
    ("ErrorMissingUserIdInformation", Action::Park),
    ("ErrorInvalidAuthorizationContext", Action::Park),
    ("ErrorInvalidClientSecurityContext", Action::Park),
    ("ErrorInvalidSerializedAccessToken", Action::Park),
    ("ErrorInvalidLogonType", Action::Park),
    ("ErrorInvalidProxySecurityContext", Action::Park),
    ("ErrorInvalidNetworkServiceContext", Action::Park),
    ("ErrorLogonAsNetworkServiceFailed", Action::Park),
    ("ErrorTokenSerializationDenied", Action::Park),
    ("ErrorPasswordChangeRequired", Action::Park),
    ("ErrorOrganizationAccessBlocked", Action::Park),
    ("ErrorDuplicateLegacyDistinguishedName", Action::Park),
    ("ErrorDistinguishedUserNotSupported", Action::Park),
    ("ErrorFolderCorrupt", Action::Park),
    ("ErrorProxyGroupSidLimitExceeded", Action::Park),
    ("ErrorInvalidSchemaVersionForMailboxVersion", Action::Park),
    ("ErrorIncorrectSchemaVersion", Action::Park),
    ("ErrorDuplicateSOAPHeader", Action::Park),
    ("ErrorInvalidArgument", Action::Park),
    ("ErrorMissingArgument", Action::Park),
    ("ErrorInvalidOperation", Action::Park),
    ("ErrorInvalidPropertyRequest", Action::Park),
    ("ErrorInvalidRestriction", Action::Park),
    ("ErrorInvalidIndexedPagingParameters", Action::Park),
    ("ErrorInvalidPagingMaxRows", Action::Park),
    ("ErrorUnsupportedPathForQuery", Action::Park),
    ("ErrorUnsupportedPathForSortGroup", Action::Park),
    ("ErrorUnsupportedQueryFilter", Action::Park),
    ("ErrorInvalidFolderId", Action::Park),
    ("ErrorInvalidFolderTypeForOperation", Action::Park),
    ("ErrorCannotUseItemIdForFolderId", Action::Park),
    ("ErrorParentFolderNotFound", Action::Park),
    ("ErrorNoOAuthServerAvailableForRequest", Action::Park),
    ("ErrorInvalidManagementRoleHeader", Action::Park),
    ("ErrorInvalidClientAccessTokenRequest", Action::Park),
    ("ErrorInvalidCrossForestCredentials", Action::Park),
    // Addresses that are no mailbox here.
    ("ErrorCannotFindUser", Action::RediscoverThenPark),
    ("ErrorMailboxConfiguration", Action::RediscoverThenPark),
    ("ErrorMissingInformationEmailAddress", Action::RediscoverThenPark),
    ("ErrorMissingExchangePrincipal", Action::RediscoverThenPark),
    ("ErrorInvalidMailbox", Action::RediscoverThenPark),
    ("ErrorMailRecipientNotFound", Action::RediscoverThenPark),
    // Front ends that do not reach the mailbox.
    ("ErrorAutoDiscoverFailed", Action::Rediscover),
    ("ErrorProxyServiceDiscoveryFailed", Action::Rediscover),
    ("ErrorProxySoapException", Action::Rediscover),
    ("ErrorServiceDiscoveryFailed", Action::Rediscover),
    ("ErrorNoApplicableProxyCASServersAvailable", Action::Rediscover),
    ("ErrorNoDestinationCASDueToKerberosRequirements", Action::Rediscover),
    ("ErrorNoDestinationCASDueToSSLRequirements", Action::Rediscover),
    ("ErrorNoDestinationCASDueToVersionMismatch", Action::Rediscover),
    ("ErrorNoRespondingCASInDestinationSite", Action::Rediscover),
    ("ErrorWrongServerVersionDelegate", Action::Rediscover),
    // Subscriptions.
    ("ErrorProxiedSubscriptionCallFailure", Action::ResubscribeElsewhere),
    ("ErrorEventNotFound", Action::Resubscribe),
    ("ErrorInvalidWatermark", Action::Resubscribe),
    ("ErrorInvalidPullSubscriptionId", Action::Resubscribe),
    // Items.
    ("ErrorContentConversionFailed", Action::ItemUnreadable),
    ("ErrorCorruptData", Action::ItemUnreadable),
    ("ErrorDataSizeLimitExceeded", Action::ItemUnreadable),
    ("ErrorItemPropertyRequestFailed", Action::ItemUnreadable),
    ("ErrorMimeContentConversionFailed", Action::ItemUnreadable),
    ("ErrorMimeContentInvalidBase64String", Action::ItemUnreadable),
    ("ErrorUnsupportedMimeConversion", Action::ItemUnreadable),
    ("ErrorUnsupportedTypeForConversion", Action::ItemUnreadable),
    ("ErrorVirusDetected", Action::ItemUnreadable),
    ("ErrorObjectTypeChanged", Action::ItemUnreadable),
    ("ErrorResponseSchemaValidation", Action::ItemUnreadable),
    ("ErrorVirusMessageDeleted", Action::ItemGone),
    ("ErrorInvalidChangeKey", Action::ItemGone),
    ("ErrorInvalidIdXml", Action::ItemGone),
    ("ErrorInvalidIdMonikerTooLong", Action::ItemGone),
    ("ErrorInvalidIdStoreObjectIdTooLong", Action::ItemGone),
    ("ErrorInvalidIdTooManyAttachmentLevels", Action::ItemGone),
    ("ErrorCannotUseFolderIdForItemId", Action::ItemGone),
    // Trouble that passes.
    ("ErrorMailboxLogonFailed", Action::RetryLater),
    ("ErrorProxyTokenExpired", Action::RetryLater),
    ("ErrorLocalServerObjectNotFound", Action::RetryLater),
    ("ErrorADSessionFilter", Action::RetryLater),
    ("ErrorClientDisconnected", Action::RetryLater),
    ("ErrorDataSourceOperation", Action::RetryLater),
    ("ErrorStaleObject", Action::RetryLater),
    ("ErrorExceededFindCountLimit", Action::RetryLater),
    ("ErrorNotEnoughMemory", Action::RetryLater),
    ("ErrorQuotaExceeded", Action::RetryLater),
    ("ErrorRequestStreamTooBig", Action::RetryLater),
    ("ErrorResultSetTooBig", Action::RetryLater),
    ("ErrorRestrictionTooComplex", Action::RetryLater),
    ("ErrorRestrictionTooLong", Action::RetryLater),
    ("ErrorWebRequestInInvalidState", Action::RetryLater),
    ("ErrorWin32InteropError", Action::RetryLater),
    ("ErrorParsingXMLResponse", Action::RetryLater),
    ("ErrorSearchFolderNotInitialized", Action::RetryLater),
    ("ErrorFolderPropertRequestFailed", Action::RetryLater),
];

/// What one does about `code`.
#[must_use]
pub fn action(code: &str) -> Action {
    TABLE.iter().find(|(known, _)| *known == code).map_or(Action::RetryLater, |(_, action)| *action)
}

/// Whether `code` is one that the schema names.
#[must_use]
pub fn is_known(code: &str) -> bool {
    TABLE.iter().any(|(known, _)| *known == code) || foreign::CODES.contains(&code)
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

    /// The schema's list, as of Exchange 2019 and Exchange Online.
    const SCHEMA: &str = include_str!("fixtures/response-codes.txt");

    #[test]
    fn every_code_of_the_schema_has_an_action_that_somebody_decided_on() {
        let undecided: Vec<&str> = SCHEMA.lines().filter(|code| !is_known(code)).collect();
        assert!(!is_known("ErrorOfTheFuture") && action("ErrorOfTheFuture") == Action::RetryLater);
        assert!(undecided.is_empty(), "without an action: {undecided:#?}");
        assert!(SCHEMA.lines().count() > 500);
        let twice: Vec<&&str> = foreign::CODES.iter().filter(|code| TABLE.iter().any(|(known, _)| known == *code)).collect();
        assert!(twice.is_empty(), "decided twice: {twice:?}");
    }

    #[test]
    fn an_address_that_is_no_mailbox_is_looked_for_once_more_and_then_left_to_a_person() {
        for code in ["ErrorCannotFindUser", "ErrorMailboxConfiguration", "ErrorInvalidMailbox"] {
            assert_eq!(action(code), Action::RediscoverThenPark, "{code}");
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

//! Every metric of the edges, with the sentence that tells an operator what it says.

use postrider_actors::ports::push_sender::Provider;
use postrider_actors::telemetry::catalog::Label;
use postrider_actors::{catalog, label};

label! {
    /// Who is asked.
    pub enum Peer {
        /// Exchange.
        Exchange = "exchange",
        /// The identity provider whose tokens open Exchange.
        Identity = "identity",
        /// Apple.
        Apns = "apns",
        /// Google.
        Fcm = "fcm",
    }
}

label! {
    /// Why a streaming connection ended.
    pub enum StreamEnd {
        /// The server closed it in order, or its time was over.
        Closed = "closed",
        /// It was silent for too long.
        Silent = "silent",
        /// It broke.
        Broken = "broken",
        /// The server answered with an error.
        Refused = "refused",
        /// We closed it, to open it anew with other mailboxes.
        Regrouped = "regrouped",
    }
}

label! {
    /// An operation of Exchange Web Services.
    pub enum Operation {
        /// Subscribe.
        Subscribe = "subscribe",
        /// Unsubscribe.
        Unsubscribe = "unsubscribe",
        /// GetStreamingEvents.
        Stream = "stream",
        /// SyncFolderItems.
        Sync = "sync",
        /// GetItem.
        Item = "item",
        /// GetFolder.
        Folder = "folder",
        /// FindItem.
        Find = "find",
    }
}

label! {
    /// What came back.
    pub enum Answer {
        /// What was asked for.
        Done = "done",
        /// The server asked for silence.
        Throttled = "throttled",
        /// The credentials were refused.
        Unauthorized = "unauthorized",
        /// Another error that the server named.
        Refused = "refused",
        /// Nothing that can be used: no connection, no answer in time, not the protocol.
        Unusable = "unusable",
    }
}

label! {
    /// How an attempt ended.
    pub enum Attempt {
        /// As wanted.
        Done = "done",
        /// It failed.
        Failed = "failed",
    }
}

impl From<bool> for Attempt {
    fn from(done: bool) -> Self {
        if done { Self::Done } else { Self::Failed }
    }
}

label! {
    /// Who gives access tokens.
    pub enum TokenSource {
        /// The identity provider whose tokens open Exchange.
        Identity = "identity",
        /// Google, for pushes.
        Fcm = "fcm",
    }
}

label! {
    /// The class of an HTTP status.
    pub enum Status {
        /// 2xx and 1xx.
        Success = "2xx",
        /// 3xx.
        Redirect = "3xx",
        /// 4xx.
        Caller = "4xx",
        /// 5xx.
        Server = "5xx",
    }
}

impl Status {
    /// The class of a status.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            300..=399 => Self::Redirect,
            400..=499 => Self::Caller,
            500.. => Self::Server,
            _ => Self::Success,
        }
    }
}

label! {
    /// What a request was held against.
    pub enum LimitedBy {
        /// The rate of its address.
        Address = "address",
        /// The rate of its user or key.
        Subject = "subject",
        /// The number of requests under way.
        Load = "load",
        /// The changes of push tokens of one mailbox.
        Tokens = "tokens",
        /// The number of connections, of all or of one address.
        Connections = "connections",
    }
}

label! {
    /// What was to be opened.
    pub enum Descriptors {
        /// A connection that somebody made to us.
        Accept = "accept",
        /// Anything else.
        Open = "open",
    }
}

label! {
    /// What a statement does.
    pub enum Statement {
        /// It reads.
        Read = "read",
        /// It writes.
        Write = "write",
    }
}

/// A route of the API by its template; addresses and device names never stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route(&'static str);

impl Label for Route {
    const ANY: Self = Self("other");
    const VALUES: &'static [&'static str] = &[
        "other",
        "/v1/mailboxes/{smtp}/devices",
        "/v1/mailboxes/{smtp}/devices/{device}",
        "/v1/mailboxes/{smtp}/devices/{device}/activity",
        "/v1/admin/mailboxes",
        "/v1/admin/mailboxes/{smtp}",
        "/v1/admin/mailboxes/{smtp}/why",
        "/v1/admin/cluster",
        "/v1/admin/node",
        "/v1/admin/sending",
        "/v1/admin/audit",
        "/metrics",
        "/healthz",
        "/readyz",
        "/openapi.json",
    ];

    fn value(self) -> &'static str {
        self.0
    }
}

impl Route {
    /// The route of a template as the router matched it; `None` for an address that no route serves.
    #[must_use]
    pub fn of(template: Option<&str>) -> Self {
        Self(template.and_then(|template| Self::VALUES.iter().find(|known| **known == template)).copied().unwrap_or("other"))
    }
}

catalog! {
    /// Streaming connections to Exchange that are open; each carries up to 200 mailboxes.
    level stream_open() = "postrider_streaming_connections";
    /// Mailboxes that a streaming connection carries.
    level subscribed() = "postrider_streaming_subscriptions";
    /// Streaming connections that ended, by reason. `silent`, `broken` and `refused` want a look when they last.
    counter stream_ended(why: StreamEnd) = "postrider_streams_ended_total";
    /// Requests to Exchange by operation and what came back.
    counter ews_requests(operation: Operation, answer: Answer) = "postrider_ews_requests_total";
    /// Time of a request to Exchange, its turn in the budget not counted.
    histogram ews_request_seconds(operation: Operation) = "postrider_ews_request_seconds", Quick;
    /// How often a peer asked for silence.
    counter throttled(peer: Peer) = "postrider_throttled_total";
    /// Exchange servers that asked for silence and get it at this moment.
    level silent_server() = "postrider_silent_servers";
    /// Credentials that are refused: no mail of their tenants is seen until a probe is let in.
    level credential_refused() = "postrider_credentials_refused";
    /// Logons that Exchange, autodiscover or the identity provider refused.
    counter refused_logons() = "postrider_refused_logons_total";
    /// Look-ups of mailboxes by autodiscover; answers from the cache are not counted.
    counter autodiscover(outcome: Attempt) = "postrider_autodiscover_total";
    /// Access tokens fetched. A failure that lasts stops everything behind the token.
    counter token_renewals(peer: TokenSource, outcome: Attempt) = "postrider_token_renewals_total";
    /// Pushes under way at a provider.
    level push_in_flight(provider: Provider) = "postrider_push_in_flight";
    /// Time of one push, from its first byte to the provider's answer.
    histogram push_seconds(provider: Provider) = "postrider_push_seconds", Quick;
    /// Requests to the API by route and status.
    counter api_requests(route: Route, status: Status) = "postrider_api_requests_total";
    /// Time of a request to the API.
    histogram api_request_seconds(route: Route) = "postrider_api_request_seconds", Quick;
    /// Requests to the API that were refused because there were too many.
    counter api_limited(by: LimitedBy) = "postrider_api_limited_total";
    /// How often no file descriptor was left.
    counter descriptors_ran_out(at: Descriptors) = "postrider_descriptors_ran_out_total";
    /// Requests to the API of callers who were not recognised: no credentials, wrong ones, or a user's at an admin route.
    counter api_unrecognised() = "postrider_api_unrecognised_total";
    /// Time of one statement or transaction of the database, its wait for a connection included.
    histogram store_seconds(statement: Statement) = "postrider_store_seconds", Quick;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_route_makes_no_series() {
        assert_eq!(Route::of(Some("/v1/admin/node")).value(), "/v1/admin/node");
        assert_eq!(Route::of(Some("/v1/mailboxes/ada@example.com/devices")).value(), "other");
        assert_eq!(Route::of(None).value(), "other");
    }

    #[test]
    fn statuses_have_their_class() {
        assert_eq!([200, 204, 302, 404, 429, 503].map(|status| Status::of(status).value()), ["2xx", "2xx", "3xx", "4xx", "4xx", "5xx"]);
    }
}

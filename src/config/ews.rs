//! `[ews]`: how Exchange is asked: pacing per server, streams, deadlines, bounds.

use std::time::Duration;

use super::Problems;
use super::section::{choice, section};
use super::setting::Bytes;

section! {
    /// Exchange Web Services. Numbers are per Exchange server and tenant unless said otherwise.
    pub struct Ews with defaults {
        /// Calls under way at the same time, streams not counted. Exchange allows 27 per account and mailbox unless its policy says otherwise.
        pub calls: u32 = 10, within 1..=200;
        /// How many of these calls may drain mailboxes that are watched for the first time.
        pub seeding_calls: u32 = 2, within 1..=100;
        /// Subscriptions made per second.
        pub subscribes_per_second: u32 = 200, within 1..=5000;
        /// Streaming connections; each carries up to `group_size` mailboxes.
        pub streams: u32 = 1000, within 1..=20000;
        /// Mailboxes that share a streaming connection.
        pub group_size: u32 = 200, within 1..=200;
        /// How long a streaming connection is asked to last, in minutes.
        pub stream_minutes: u32 = 29, within 1..=30;
        /// A streaming connection without a byte for so long is given up. Exchange sends a heartbeat every 45 s.
        pub stream_silence: Duration = Duration::from_secs(90), within Duration::from_secs(1)..=Duration::from_secs(600);
        /// Mailboxes that join are taken into a stream when no other has joined for so long ...
        pub join_quiet: Duration = Duration::from_millis(500), within Duration::from_millis(10)..=Duration::from_secs(10);
        /// ... or after so long at the latest.
        pub join_limit: Duration = Duration::from_secs(3), within Duration::from_millis(10)..=Duration::from_secs(60);
        /// Deadline of one call, from the first byte sent to the last one read.
        pub call_deadline: Duration = Duration::from_secs(30), within Duration::from_secs(1)..=Duration::from_secs(300);
        /// How long a call waits for its turn at most.
        pub wait_deadline: Duration = Duration::from_secs(60), within Duration::from_secs(1)..=Duration::from_secs(600);
        /// Deadline of a connection, look-up of the name and TLS handshake included.
        pub connect_deadline: Duration = Duration::from_secs(10), within Duration::from_secs(1)..=Duration::from_secs(120);
        /// Silence towards a server that is busy and does not say for how long.
        pub busy_silence: Duration = Duration::from_secs(60), within Duration::from_secs(1)..=Duration::from_secs(600);
        /// First delay before a stream that failed is opened again; it doubles with each failure and varies by chance.
        pub retry_first: Duration = Duration::from_secs(1), within Duration::from_millis(10)..=Duration::from_secs(60);
        /// Longest such delay.
        pub retry_limit: Duration = Duration::from_secs(60), within Duration::from_secs(1)..=Duration::from_secs(600);
        /// Refused logons after which a credential rests, so that its account is not locked; directories usually lock after 5 or 10.
        pub refused_logons: u32 = 3, within 1..=10;
        /// How often a credential that rests is tried.
        pub refused_probe: Duration = Duration::from_secs(300), within Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
        /// The longest answer, or envelope of a stream, that is read, counted after decompression.
        pub answer_limit: Bytes = Bytes::mib(4), within Bytes::kib(64)..=Bytes::mib(64);
        /// Ask autodiscover again after any error of Exchange, not only after those that speak of a move.
        pub rediscover_on_every_error: bool = false;
    }
}

choice! {
    /// By which property the mailbox to act for is named.
    pub enum Impersonation {
        /// The primary SMTP address: works everywhere, costs Exchange a look-up in the directory.
        PrimarySmtpAddress = "primary-smtp-address",
        /// Any SMTP address of the mailbox.
        SmtpAddress = "smtp-address",
        /// The user principal name, where it is the same text as the primary address: saves the look-up.
        PrincipalName = "principal-name",
    }
}

impl Ews {
    /// What no single key can say.
    pub fn check(&self, problems: &mut Problems) {
        if self.seeding_calls > self.calls {
            problems.add("ews.seeding_calls", "is more than ews.calls, of which it is a part");
        }
        if self.join_quiet > self.join_limit {
            problems.add("ews.join_quiet", "is longer than ews.join_limit");
        }
        if self.retry_first > self.retry_limit {
            problems.add("ews.retry_first", "is longer than ews.retry_limit");
        }
    }
}

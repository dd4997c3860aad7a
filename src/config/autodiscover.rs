//! `[autodiscover]`: how the Exchange server of a mailbox is looked for.

use std::time::Duration;

use super::Problems;
use super::section::section;
use super::setting::Bytes;

section! {
    /// Looking for the Exchange server of a mailbox, by its mail domain. Not used for tenants with an `ews_url` of their own.
    pub struct Autodiscover with defaults {
        /// Ask `https://<domain>/autodiscover/` too. That is often the company's web site, which then sees the credentials if it asks for them.
        pub root_domain: bool = false;
        /// Ask `autodiscover.<domain>` before `<domain>`, if both are asked.
        pub swap_candidates: bool = false;
        /// Also follow the unencrypted redirection of `http://autodiscover.<domain>` and the DNS record `_autodiscover._tcp.<domain>`. Credentials go to what they name only if it is among a tenant's `mail.allowed_hosts`.
        pub redirect_and_srv: bool = true;
        /// Deadline of a connection; 5 s to 120 s is usual.
        pub connect_deadline: Duration = Duration::from_secs(120), within Duration::from_secs(1)..=Duration::from_secs(120);
        /// Deadline of one request, connection included.
        pub request_deadline: Duration = Duration::from_secs(150), within Duration::from_secs(1)..=Duration::from_secs(300);
        /// Deadline of the whole look-up of one mailbox.
        pub lookup_deadline: Duration = Duration::from_secs(300), within Duration::from_secs(1)..=Duration::from_secs(900);
        /// Redirections that are followed for one mailbox.
        pub redirects: u32 = 10, within 0..=10;
        /// How long an answer is believed.
        pub refresh: Duration = Duration::from_secs(24 * 3600), within Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3600);
        /// How long a failure is believed, so that many calls for one mailbox do not ask again and again.
        pub failure_refresh: Duration = Duration::from_secs(10), within Duration::from_secs(1)..=Duration::from_secs(3600);
        /// Mailboxes whose answers are kept.
        pub cache_entries: u32 = 200_000, within 100..=5_000_000;
        /// Look-ups under way at the same time.
        pub lookups: u32 = 8, within 1..=100;
        /// The longest answer that is read.
        pub answer_limit: Bytes = Bytes::kib(512), within Bytes::kib(16)..=Bytes::mib(8);
    }
}

impl Autodiscover {
    /// What no single key can say.
    pub fn check(&self, problems: &mut Problems) {
        if self.connect_deadline > self.request_deadline {
            problems.add("autodiscover.connect_deadline", "is longer than autodiscover.request_deadline, of which it is a part");
        }
    }
}

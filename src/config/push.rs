//! `[push]`: the credentials towards Apple and Google, and how many connections and requests they may use.

use std::path::PathBuf;
use std::time::Duration;

use super::Problems;
use super::secret::SecretSource;
use super::section::section;
use super::tenants::https_without_path;

section! {
    /// Each app of each tenant needs its credential; without it a device of that app cannot register.
    pub struct Push {
        /// Apple Push Notification service, one entry for each app.
        pub apns: Vec<Apns>;
        /// Firebase Cloud Messaging, one entry for each app.
        pub fcm: Vec<Fcm>;
        /// Deadline of one push, from its first byte to the provider's answer, connection included.
        pub timeout: Duration = Duration::from_secs(15), within Duration::from_millis(100)..=Duration::from_secs(120);
        /// How long a push waits for room (`in_flight`) before it is put off.
        pub room_timeout: Duration = Duration::from_secs(30), within Duration::from_millis(10)..=Duration::from_secs(120);
        /// Deadline of a new connection, name look-up and TLS included.
        pub connect_timeout: Duration = Duration::from_secs(5), within Duration::from_millis(100)..=Duration::from_secs(60);
        /// A connection that is silent for this long is asked whether it lives (HTTP/2 PING); without an answer within 10 s it is closed.
        pub keep_alive: Duration = Duration::from_secs(30), within Duration::from_secs(1)..=Duration::from_secs(600);
    }
}

section! {
    /// Token authentication: a key from Apple's developer account serves both environments.
    pub struct Apns {
        /// Whose devices.
        pub tenant: String;
        /// The app's bundle id, as devices register it.
        pub app: String;
        /// The `apns-topic`; unset: the bundle id.
        pub topic: Option<String>;
        /// The developer team's id, 10 characters.
        pub team_id: String;
        /// The key's id, 10 characters: it stands in the name of the file, `AuthKey_<key id>.p8`.
        pub key_id: String;
        /// The key, as the `.p8` file holds it.
        pub key: SecretSource;
        /// Where pushes to devices of the production environment go.
        pub url: String = "https://api.push.apple.com".into();
        /// Where pushes to devices of the sandbox environment go.
        pub sandbox_url: String = "https://api.sandbox.push.apple.com".into();
        /// HTTP/2 connections to each environment.
        pub connections: usize = 2, within 1..=32;
        /// Pushes under way at a time in each environment.
        pub in_flight: usize = 500, within 1..=10_000;
        /// PEM files of authorities to trust besides the system's.
        pub roots: Vec<PathBuf>;
    }
}

section! {
    /// The HTTP v1 API with a service account.
    pub struct Fcm {
        /// Whose devices.
        pub tenant: String;
        /// The app's package name, as devices register it.
        pub app: String;
        /// The service account's key, the JSON file of the Google Cloud console.
        pub service_account: SecretSource;
        /// The Firebase project's id; unset: the service account's.
        pub project: Option<String>;
        /// Where pushes go.
        pub url: String = "https://fcm.googleapis.com".into();
        /// Hosts that the service account's `token_uri` may name; a signed request for a token goes to no other.
        pub token_hosts: Vec<String> = vec!["oauth2.googleapis.com".into()];
        /// HTTP/2 connections.
        pub connections: usize = 2, within 1..=32;
        /// Pushes under way at a time.
        pub in_flight: usize = 500, within 1..=10_000;
        /// PEM files of authorities to trust besides the system's.
        pub roots: Vec<PathBuf>;
    }
}

impl Push {
    /// What no single key can say: addresses, ids, keys that cannot be used, two credentials for one app, tenants that `is_tenant` does not know.
    pub fn check(&self, is_tenant: impl Fn(&str) -> bool, problems: &mut Problems) {
        let tenants = self.apns.iter().enumerate().map(|(n, apns)| (format!("push.apns[{n}]"), &apns.tenant));
        let tenants = tenants.chain(self.fcm.iter().enumerate().map(|(n, fcm)| (format!("push.fcm[{n}]"), &fcm.tenant)));
        for (at, tenant) in tenants {
            if !is_tenant(tenant) {
                problems.add(
                    format!("{at}.tenant"),
                    format!("\"{tenant}\" is no tenant: there is no [tenant.{tenant}]; name one that there is"),
                );
            }
        }
        for (n, apns) in self.apns.iter().enumerate() {
            apns.check(&format!("push.apns[{n}]"), problems);
            if self.apns[..n].iter().any(|other| (&other.tenant, &other.app) == (&apns.tenant, &apns.app)) {
                problems
                    .add(format!("push.apns[{n}].app"), format!("is a second credential for app {} of tenant {}", apns.app, apns.tenant));
            }
        }
        for (n, fcm) in self.fcm.iter().enumerate() {
            fcm.check(&format!("push.fcm[{n}]"), problems);
            if self.fcm[..n].iter().any(|other| (&other.tenant, &other.app) == (&fcm.tenant, &fcm.app)) {
                problems.add(format!("push.fcm[{n}].app"), format!("is a second credential for app {} of tenant {}", fcm.app, fcm.tenant));
            }
        }
    }
}

impl Apns {
    fn check(&self, at: &str, problems: &mut Problems) {
        app(&self.app, &format!("{at}.app"), problems);
        if let Some(topic) = &self.topic {
            app(topic, &format!("{at}.topic"), problems);
        }
        for (key, id) in [("team_id", &self.team_id), ("key_id", &self.key_id)] {
            if id.len() != 10 || !id.bytes().all(|c| c.is_ascii_alphanumeric()) {
                problems.add(format!("{at}.{key}"), format!("\"{id}\" is not such an id: it has 10 letters and digits"));
            }
        }
        https_without_path(&self.url, &format!("{at}.url"), problems);
        https_without_path(&self.sandbox_url, &format!("{at}.sandbox_url"), problems);
        for path in &self.roots {
            problems.file(format!("{at}.roots"), path);
        }
        problems.secret(&format!("{at}.key"), &self.key);
        // A key that cannot be read was told above.
        if let Ok(key) = self.key.read()
            && let Err(error) = crate::apns::key_problem(&key)
        {
            problems.add(format!("{at}.key"), error);
        }
    }
}

impl Fcm {
    fn check(&self, at: &str, problems: &mut Problems) {
        app(&self.app, &format!("{at}.app"), problems);
        https_without_path(&self.url, &format!("{at}.url"), problems);
        for path in &self.roots {
            problems.file(format!("{at}.roots"), path);
        }
        if self.token_hosts.is_empty() {
            problems.add(format!("{at}.token_hosts"), "names no host: no token could be fetched");
        }
        problems.secret(&format!("{at}.service_account"), &self.service_account);
        if let Ok(account) = self.service_account.read()
            && let Err(error) = crate::fcm::service_account_problem(&account, self)
        {
            problems.add(format!("{at}.service_account"), error);
        }
    }
}

/// Bundle ids, package names and topics go into headers and addresses.
fn app(value: &str, key: &str, problems: &mut Problems) {
    let fits = |c: u8| c.is_ascii_alphanumeric() || b".-_".contains(&c);
    if !(1..=255).contains(&value.len()) || !value.bytes().all(fits) {
        problems.add(key, format!("\"{value}\" is not an app's id; it is written like com.example.mail"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push_sender::testing::configuration;

    fn problems(change: impl FnOnce(&mut Push)) -> Vec<String> {
        let (mut push, _files) = configuration(1, 2);
        change(&mut push);
        let mut problems = Problems::default();
        push.check(|tenant| tenant == "example", &mut problems);
        problems.0.into_iter().map(|problem| format!("{}: {}", problem.key, problem.text)).collect()
    }

    #[test]
    fn good_credentials_have_no_problems() {
        assert_eq!(problems(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_their_keys() {
        let found = problems(|push| {
            push.apns[0].tenant = "stranger".into();
            push.apns[0].app = "my app".into();
            push.apns[0].team_id = "short".into();
            push.apns[0].sandbox_url = "http://localhost".into();
            push.apns[0].key = push.fcm[0].service_account.clone();
            push.apns[0].roots = vec!["/missing.pem".into()];
            push.fcm[0].token_hosts = vec!["oauth2.googleapis.com".into()];
            push.fcm.push(push.fcm[0].clone());
        });
        let keys = [
            "push.apns[0].tenant",
            "push.apns[0].app",
            "push.apns[0].team_id",
            "push.apns[0].sandbox_url",
            "push.apns[0].roots",
            "push.apns[0].key",
            "push.fcm[0].service_account",
            "push.fcm[1].service_account",
            "push.fcm[1].app",
        ];
        assert_eq!(found.iter().map(|line| line.split(": ").next().unwrap()).collect::<Vec<_>>(), keys, "{found:#?}");
    }
}

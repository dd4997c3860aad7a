//! The product's sender alone: a push put into words, sent, and its verdict read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postrider::clock::SystemClock;
use postrider::config::from_toml;
use postrider::push_sender::PushSenders;
use postrider_actors::ports::Clock;
use postrider_actors::ports::push_sender::{PushSender, Verdict};
use postrider_loadtest::credentials::Credentials;

use crate::example::{TENANT, push};
use crate::{CONNECTIONS, IN_FLIGHT};

/// The sender.
pub struct Sender(pub Arc<PushSenders>);

impl Sender {
    /// Sets it up for a simulated Apple at this port.
    pub fn start(credentials: &Credentials, port: u16) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let (root, key) = (files.path().join("root.pem"), files.path().join("key.p8"));
        std::fs::write(&root, credentials.authority.ca_pem()).expect("written");
        std::fs::write(&key, credentials.apns_key.serialize_pem()).expect("written");
        let config = from_toml(&format!(
            r#"
            [[apns]]
            tenant = "{TENANT}"
            app = "{}"
            team_id = "{}"
            key_id = "{}"
            key = {{ file = "{}" }}
            url = "https://localhost:{port}"
            connections = {CONNECTIONS}
            in_flight = {IN_FLIGHT}
            roots = ["{}"]
            "#,
            Credentials::APP,
            Credentials::APNS_TEAM,
            Credentials::APNS_KID,
            key.display(),
            root.display()
        ));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        Self(Arc::new(PushSenders::new(&config.expect("a good configuration"), &clock).expect("good credentials")))
    }

    /// Works a round off with as many workers as may be under way.
    pub async fn round(&self, pushes: usize) {
        let next = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                let (senders, next) = (Arc::clone(&self.0), Arc::clone(&next));
                tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= pushes {
                            return;
                        }
                        let push = push(number);
                        let permit = senders.permit(&push.channel).await.expect("room");
                        assert_eq!(senders.send(permit, push).await, Verdict::Accepted);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.expect("no panic");
        }
    }
}

//! The bare client in a simulated world of its own, with as many mailboxes as the node watches.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postrider::demo::setup;
use postrider_loadtest::bare::{Bare, BareMailbox, BareOptions};
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::fleet::{Fleet, FleetMix};
use postrider_loadtest::simulators::Simulators;
use postrider_loadtest::world::MailSpec;
use tokio::sync::Mutex;

/// Mailboxes that are drained at the same time.
const SEEDINGS: usize = 8;

/// The bare client and its mailboxes.
pub struct Beside {
    pub simulators: Arc<Simulators>,
    client: Bare,
    mailboxes: Vec<(String, Mutex<BareMailbox>)>,
}

impl Beside {
    /// Makes so many mailboxes with a phone of Apple's each.
    pub async fn start(users: usize) -> anyhow::Result<Arc<Self>> {
        let simulators = super::world(Duration::from_secs(3)).await?;
        let credentials = simulators.credentials();
        let options = BareOptions {
            ews_url: simulators.endpoints().ews.clone(),
            account: (Credentials::BASIC_USER.to_owned(), credentials.basic_password.clone()),
            push_url: simulators.endpoints().apns.clone(),
            topic: Credentials::APP.to_owned(),
            provider_token: provider_token(&simulators)?,
        };
        let client = Bare::new(options, &credentials.authority)?;
        let fleet = Fleet::plan(2, users, "bare", setup::DOMAIN, FleetMix { apple: 100, ..FleetMix::plain() });
        let mut mailboxes = Vec::with_capacity(users);
        for phone in &fleet.phones {
            let device = &phone.device;
            simulators.world().add_mailbox(&device.mailbox);
            simulators.install(device.provider, &device.token);
            simulators.registered(device);
            mailboxes.push((device.mailbox.clone(), Mutex::new(BareMailbox::new(device.mailbox.clone(), device.token.clone()))));
        }
        let this = Arc::new(Self { simulators, client, mailboxes });
        let seeded = futures_util::stream::iter(0..users).map(|user| this.seed(user)).buffer_unordered(SEEDINGS);
        for seeded in seeded.collect::<Vec<_>>().await {
            seeded?;
        }
        // Connections are opened before anything is measured.
        this.announce_one(0).await?;
        Ok(this)
    }

    async fn seed(&self, user: usize) -> anyhow::Result<()> {
        self.client.seed(&mut *self.mailboxes[user].1.lock().await).await?;
        Ok(())
    }

    /// Delivers a mail to one of the mailboxes and announces it.
    pub async fn announce_one(&self, user: usize) -> anyhow::Result<()> {
        let (address, mailbox) = &self.mailboxes[user % self.mailboxes.len()];
        let mut mailbox = mailbox.lock().await;
        self.simulators.world().deliver(address, mail())?;
        let announced = self.client.announce(&mut mailbox).await?;
        anyhow::ensure!(announced == 1, "{announced} mails were announced instead of one");
        Ok(())
    }
}

/// A mail like most.
pub fn mail() -> MailSpec {
    MailSpec::new("Ann Example", "Quarterly figures", "Please find attached the figures for the quarter. ".repeat(4))
}

fn provider_token(simulators: &Simulators) -> anyhow::Result<String> {
    let header = Header { kid: Some(Credentials::APNS_KID.to_owned()), ..Header::new(Algorithm::ES256) };
    let key = EncodingKey::from_ec_pem(simulators.apns_key_pem().as_bytes())?;
    let claims = serde_json::json!({ "iss": Credentials::APNS_TEAM, "iat": jiff::Timestamp::now().as_second() });
    Ok(jsonwebtoken::encode(&header, &claims, &key)?)
}

//! The bare client: the exchanges that announce a mail and nothing else, as the yardstick of what a product adds.
//!
//! For one mailbox: SyncFolderItems, GetItem, one push to Apple. It stores nothing, decides nothing, repeats nothing, and reads
//! answers by searching for what it needs.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::tls::{ALPN_H2, ALPN_HTTP_1_1, Authority};
use crate::xml::escape;

/// Item ids of one GetItem, and short hashes of one push.
const ITEMS: usize = 10;
/// A request that takes longer is taken for lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the bare client needs to know.
#[derive(Clone)]
pub struct BareOptions {
    /// The web services' address.
    pub ews_url: String,
    /// Name and password of the service account.
    pub account: (String, String),
    /// `https://host:port` of the simulated Apple.
    pub push_url: String,
    /// The bundle id.
    pub topic: String,
    /// The provider token, without `bearer`.
    pub provider_token: String,
}

impl fmt::Debug for BareOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BareOptions").field("ews_url", &self.ews_url).field("push_url", &self.push_url).finish_non_exhaustive()
    }
}

/// An exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum BareError {
    /// No connection, or it broke.
    #[error("a request failed: {0}")]
    Http(#[from] reqwest::Error),
    /// Not the answer that was hoped for.
    #[error("{what} was answered with status {status}")]
    Refused {
        /// The exchange.
        what: &'static str,
        /// Its status.
        status: u16,
    },
}

/// One mailbox and one phone.
#[derive(Clone, Debug)]
pub struct BareMailbox {
    smtp: String,
    device: String,
    sync_state: Option<String>,
}

impl BareMailbox {
    /// A mailbox that was never synced, and the device token of its phone.
    pub fn new(smtp: impl Into<String>, device: impl Into<String>) -> Self {
        Self { smtp: smtp.into(), device: device.into(), sync_state: None }
    }
}

/// The bare client. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Bare {
    options: BareOptions,
    ews: reqwest::Client,
    push: reqwest::Client,
}

impl Bare {
    /// A client that trusts `authority`: HTTP/1.1 to Exchange, one HTTP/2 connection to Apple.
    ///
    /// # Errors
    /// When the clients cannot be built.
    pub fn new(options: BareOptions, authority: &Authority) -> Result<Self, BareError> {
        let client = |alpn: &[u8]| {
            let tls = authority.client_config(&[alpn]);
            reqwest::Client::builder().tls_backend_preconfigured(tls).timeout(PATIENCE).tcp_nodelay(true)
        };
        Ok(Self { options, ews: client(ALPN_HTTP_1_1).build()?, push: client(ALPN_H2).http2_prior_knowledge().build()? })
    }

    /// Drains the mailbox without announcing anything; answers how many items it held.
    ///
    /// # Errors
    /// [`BareError`].
    pub async fn seed(&self, mailbox: &mut BareMailbox) -> Result<usize, BareError> {
        let mut items = 0;
        loop {
            let page = self.sync(mailbox).await?;
            items += page.created.len();
            if page.is_last {
                return Ok(items);
            }
        }
    }

    /// Announces what came since the last call in one push; answers how many mails that were.
    ///
    /// # Errors
    /// [`BareError`].
    pub async fn announce(&self, mailbox: &mut BareMailbox) -> Result<usize, BareError> {
        let created = self.sync(mailbox).await?.created;
        let Some(newest) = created.last() else {
            return Ok(0);
        };
        let shown = created.get(created.len().saturating_sub(ITEMS)..).unwrap_or_default();
        let xml = self.ask(mailbox, "GetItem", &get_item(std::slice::from_ref(newest))).await?;
        let field = |tag: &str| inside(&xml, &format!("<t:{tag}>"), &format!("</t:{tag}>")).unwrap_or_default();
        let hashes: Vec<String> = shown.iter().map(|id| short_hash(id)).collect();
        let body = json!({
            "aps": {
                "alert": { "title": field("Name"), "subtitle": field("Subject"), "body": field("Preview") },
                "sound": "default",
                "thread-id": "inbox",
                "mutable-content": 1,
            },
            "pr": { "v": 1, "k": "mail", "n": created.len(), "m": hashes },
        });
        self.send(mailbox, newest, body.to_string()).await?;
        Ok(created.len())
    }

    async fn sync(&self, mailbox: &mut BareMailbox) -> Result<Page, BareError> {
        let xml = self.ask(mailbox, "SyncFolderItems", &sync(mailbox.sync_state.as_deref())).await?;
        let created = xml.split("<t:Create>").skip(1).filter_map(|part| inside(part, "<t:ItemId Id=\"", "\"")).collect();
        mailbox.sync_state = inside(&xml, "<m:SyncState>", "</m:SyncState>");
        Ok(Page { created, is_last: xml.contains("<m:IncludesLastItemInRange>true") })
    }

    async fn ask(&self, mailbox: &BareMailbox, what: &'static str, body: &str) -> Result<String, BareError> {
        let (name, password) = &self.options.account;
        let request = self.ews.post(&self.options.ews_url).basic_auth(name, Some(password));
        let request = request.header("content-type", "text/xml; charset=utf-8").header("X-AnchorMailbox", &mailbox.smtp);
        let response = request.body(envelope(&mailbox.smtp, body)).send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        if status == 200 && text.contains("NoError") {
            return Ok(text);
        }
        Err(BareError::Refused { what, status })
    }

    async fn send(&self, mailbox: &BareMailbox, item: &str, body: String) -> Result<(), BareError> {
        let BareOptions { push_url, topic, provider_token, .. } = &self.options;
        let url = format!("{push_url}/3/device/{}", mailbox.device);
        let expires = jiff::Timestamp::now().as_second() + 3600;
        let request = self.push.post(url).header("authorization", format!("bearer {provider_token}"));
        let request = request.header("apns-topic", topic).header("apns-push-type", "alert").header("apns-priority", "10");
        let request = request.header("apns-expiration", expires).header("apns-collapse-id", short_hash(item));
        let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, item.as_bytes()).to_string();
        let status = request.header("apns-id", id).body(body).send().await?.status().as_u16();
        if status == 200 {
            return Ok(());
        }
        Err(BareError::Refused { what: "a push", status })
    }
}

struct Page {
    created: Vec<String>,
    is_last: bool,
}

/// The text between two marks.
fn inside(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found.to_owned())
}

/// Base64url of the first six bytes of the SHA-256 of an item id.
fn short_hash(item: &str) -> String {
    let hash = digest(&SHA256, item.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..6).unwrap_or_default())
}

fn envelope(smtp: &str, body: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages"><s:Header><t:RequestServerVersion Version="Exchange2013_SP1"/><t:ExchangeImpersonation><t:ConnectingSID><t:SmtpAddress>{}</t:SmtpAddress></t:ConnectingSID></t:ExchangeImpersonation></s:Header><s:Body>{body}</s:Body></s:Envelope>"#,
        escape(smtp)
    )
}

fn sync(state: Option<&str>) -> String {
    let state = state.map(|state| format!("<m:SyncState>{state}</m:SyncState>")).unwrap_or_default();
    format!(
        r#"<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="item:DateTimeReceived"/><t:FieldURI FieldURI="message:IsRead"/><t:FieldURI FieldURI="item:ItemClass"/></t:AdditionalProperties></m:ItemShape><m:SyncFolderId><t:DistinguishedFolderId Id="inbox"/></m:SyncFolderId>{state}<m:MaxChangesReturned>512</m:MaxChangesReturned><m:SyncScope>NormalItems</m:SyncScope></m:SyncFolderItems>"#
    )
}

fn get_item(ids: &[String]) -> String {
    let ids: String = ids.iter().map(|id| format!(r#"<t:ItemId Id="{id}"/>"#)).collect();
    format!(
        r#"<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="item:Subject"/><t:FieldURI FieldURI="message:From"/><t:FieldURI FieldURI="item:Preview"/></t:AdditionalProperties></m:ItemShape><m:ItemIds>{ids}</m:ItemIds></m:GetItem>"#
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jsonwebtoken::{Algorithm, EncodingKey, Header};

    use super::*;
    use crate::apple::{Apple, Options};
    use crate::credentials::Credentials;
    use crate::exchange::{ExchangeOptions, Server};
    use crate::identity::Accounts;
    use crate::ledger::{Device, Ledger, Provider};
    use crate::phones::Phones;
    use crate::world::{MailSpec, World};

    const ANNA: &str = "anna@corp.example";

    #[tokio::test]
    async fn a_bare_client_announces_what_came_and_the_ledger_finds_nothing_lost() {
        let known = Credentials::generate();
        let ledger = Arc::new(Ledger::new(Duration::from_secs(3)));
        let world = World::new(ledger.clone());
        world.add_mailbox(ANNA);
        world.seed_old_mails(ANNA, 600).unwrap();
        let account = (Credentials::BASIC_USER.to_owned(), known.basic_password.clone());
        let accounts = Arc::new(Accounts::new([account.clone()]));
        let tls = |alpn: &[u8]| Arc::new(known.authority.server_config(&["localhost"], &[alpn]));
        let exchange = Server::start(ExchangeOptions::new(world.clone(), accounts, tls(ALPN_HTTP_1_1))).await.unwrap();
        let phones = Arc::new(Phones::new(true));
        let apple = Apple::start(Options::new(tls(ALPN_H2), phones, ledger.clone())).await.unwrap();
        apple.add_key(Credentials::APNS_KID, Credentials::APNS_TEAM, known.apns_key.public_key_raw());
        let device = "ab".repeat(32);
        let cutoff = Duration::from_secs(3600);
        ledger.device(&Device { token: device.clone(), provider: Provider::Apns, mailbox: ANNA.to_owned(), cutoff });
        ledger.activity(&device, jiff::Timestamp::now());
        let header = Header { kid: Some(Credentials::APNS_KID.to_owned()), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_pem(known.apns_key.serialize_pem().as_bytes()).unwrap();
        let claims = json!({ "iss": Credentials::APNS_TEAM, "iat": jiff::Timestamp::now().as_second() });
        let options = BareOptions {
            ews_url: exchange.ews_url(),
            account,
            push_url: format!("https://localhost:{}", apple.address().port()),
            topic: Credentials::APP.to_owned(),
            provider_token: jsonwebtoken::encode(&header, &claims, &key).unwrap(),
        };
        let bare = Bare::new(options, &known.authority).unwrap();
        let mut mailbox = BareMailbox::new(ANNA, device);
        assert_eq!(bare.seed(&mut mailbox).await.unwrap(), 600);
        for subject in ["one", "two"] {
            world.deliver(ANNA, MailSpec::new("Bob", subject, "...")).unwrap();
        }
        assert_eq!(bare.announce(&mut mailbox).await.unwrap(), 2);
        assert_eq!(bare.announce(&mut mailbox).await.unwrap(), 0);
        let verdict = ledger.judge();
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!(ledger.outstanding(), 0);
        exchange.stop().await;
    }
}

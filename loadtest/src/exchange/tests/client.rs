//! A company with a simulated server, and a client that says exactly what a test wants.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::exchange::{ExchangeOptions, Server};
use crate::identity::Accounts;
use crate::tls::{ALPN_HTTP_1_1, Authority, install_provider};
use crate::witness::{Gone, MailFact, Misuse, Witness};
use crate::world::World;
use crate::xml::{self, Element};

pub(super) const ANNA: &str = "anna@corp.example";
pub(super) const BOB: &str = "bob@corp.example";
pub(super) const SVC: (&str, &str) = ("CORP\\svc", "secret");
pub(super) const OTHER: (&str, &str) = ("CORP\\other", "secret");

/// Remembers misuse and hints.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) rules: Mutex<Vec<&'static str>>,
    pub(super) remarks: Mutex<Vec<&'static str>>,
    pub(super) hints: Mutex<Vec<String>>,
}

impl Witness for Notes {
    fn mail_delivered(&self, _: &MailFact) {}
    fn mail_gone(&self, _: &str, _: &str, _: Gone) {}
    fn mail_unread(&self, _: &str, _: &str) {}
    fn mail_renamed(&self, _: &str, _: &str, _: &str) {}
    fn hint_on_wire(&self, _: &str, item_id: &str, _: Instant) {
        self.hints.lock().unwrap().push(item_id.to_owned());
    }
    fn unread_count(&self, _: &str, _: u64) {}
    fn misuse(&self, what: Misuse) {
        self.rules.lock().unwrap().push(what.rule);
    }
    fn remark(&self, what: Misuse) {
        self.remarks.lock().unwrap().push(what.rule);
    }
}

/// A server with the mailboxes of Anna and Bob.
pub(super) struct Company {
    pub(super) world: Arc<World>,
    pub(super) notes: Arc<Notes>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) server: Server,
    pub(super) http: reqwest::Client,
}

/// An answer, read whole.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn xml(&self) -> Element {
        xml::parse(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The text of the first element of this name.
    pub(super) fn value(&self, name: &str) -> String {
        let root = self.xml();
        let found = root.find(name).unwrap_or_else(|| panic!("no {name} in {}", self.text));
        found.trimmed().to_owned()
    }

    /// An attribute of the first element of this name.
    pub(super) fn attribute(&self, name: &str, attribute: &str) -> String {
        let root = self.xml();
        let found = root.find(name).unwrap_or_else(|| panic!("no {name} in {}", self.text));
        found.attribute(attribute).unwrap_or_default().to_owned()
    }

    pub(super) fn code(&self) -> String {
        self.value("ResponseCode")
    }
}

impl Company {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut ExchangeOptions)) -> Self {
        install_provider();
        let notes = Arc::new(Notes::default());
        let world = World::with_instance(notes.clone(), 7);
        world.add_mailbox(ANNA);
        world.add_mailbox(BOB);
        let accounts = [SVC, OTHER].map(|(name, password)| (name.to_owned(), password.to_owned()));
        let accounts = Arc::new(Accounts::new(accounts));
        let authority = Authority::new();
        let tls = Arc::new(authority.server_config(&["localhost"], &[ALPN_HTTP_1_1]));
        let mut options = ExchangeOptions::new(Arc::clone(&world), Arc::clone(&accounts), tls);
        change(&mut options);
        let server = Server::start(options).await.unwrap();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(authority.client_config(&[ALPN_HTTP_1_1]))
            .redirect(reqwest::redirect::Policy::none())
            .no_gzip()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Self { world, notes, accounts, server, http }
    }

    pub(super) fn ask(&self, mailbox: &str, body: &str) -> Ask<'_> {
        Ask {
            company: self,
            account: SVC,
            mailbox: Some(mailbox.to_owned()),
            anchor: Some(mailbox.to_owned()),
            cookie: None,
            affinity: false,
            version: "Exchange2013",
            headers: HeaderMap::new(),
            body: body.to_owned(),
        }
    }

    pub(super) async fn subscribe(&self, mailbox: &str) -> String {
        let reply = self.ask(mailbox, &subscribe()).send().await;
        assert_eq!(reply.code(), "NoError", "{}", reply.text);
        reply.value("SubscriptionId")
    }

    /// Rules that were broken, each once, sorted; the notes start anew.
    pub(super) fn misuse(&self) -> Vec<&'static str> {
        distinct(&self.notes.rules)
    }

    /// What was remarked upon, likewise.
    pub(super) fn remarks(&self) -> Vec<&'static str> {
        distinct(&self.notes.remarks)
    }
}

fn distinct(notes: &Mutex<Vec<&'static str>>) -> Vec<&'static str> {
    let mut rules = std::mem::take(&mut *notes.lock().unwrap());
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// A request to the web services, to be changed before it is sent.
pub(super) struct Ask<'a> {
    company: &'a Company,
    account: (&'static str, &'static str),
    mailbox: Option<String>,
    anchor: Option<String>,
    cookie: Option<String>,
    affinity: bool,
    version: &'static str,
    headers: HeaderMap,
    body: String,
}

impl Ask<'_> {
    /// Without a version if it is empty.
    pub(super) fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    pub(super) fn account(mut self, account: (&'static str, &'static str)) -> Self {
        self.account = account;
        self
    }

    pub(super) fn nobody(mut self) -> Self {
        self.mailbox = None;
        self
    }

    pub(super) fn anchor(mut self, anchor: Option<&str>) -> Self {
        self.anchor = anchor.map(str::to_owned);
        self
    }

    pub(super) fn affinity(mut self, cookie: Option<&str>) -> Self {
        self.affinity = true;
        self.cookie = cookie.map(str::to_owned);
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap();
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    pub(super) async fn open(self) -> reqwest::Result<reqwest::Response> {
        let header = self.mailbox.as_deref().map(impersonation).unwrap_or_default();
        let envelope = envelope(&header, &self.body);
        let envelope = match self.version {
            "" => envelope.replace(r#"<t:RequestServerVersion Version="Exchange2013"/>"#, ""),
            version => envelope.replace(r#"Version="Exchange2013""#, &format!(r#"Version="{version}""#)),
        };
        let mut request = self
            .company
            .http
            .post(self.company.server.ews_url())
            .header("content-type", "text/xml; charset=utf-8")
            .basic_auth(self.account.0, Some(self.account.1));
        if let Some(anchor) = &self.anchor {
            request = request.header("X-AnchorMailbox", anchor);
        }
        if self.affinity {
            request = request.header("X-PreferServerAffinity", "true");
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("Cookie", format!("X-BackEndOverrideCookie={cookie}"));
        }
        request.headers(self.headers).body(envelope).send().await
    }

    pub(super) async fn send(self) -> Reply {
        let response = self.open().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply { status, headers, text: response.text().await.unwrap() }
    }

    pub(super) async fn stream(self) -> Stream {
        let response = self.open().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        Stream::of(response)
    }
}

/// An open stream, read document by document.
pub(super) struct Stream {
    response: reqwest::Response,
    buffer: Vec<u8>,
    pub(super) chunks: usize,
}

impl Stream {
    pub(super) fn of(response: reqwest::Response) -> Self {
        Self { response, buffer: Vec::new(), chunks: 0 }
    }

    /// The next document; `None` at the end, an error when the connection broke.
    pub(super) async fn next(&mut self) -> reqwest::Result<Option<Reply>> {
        const END: &[u8] = b"</Envelope>";
        loop {
            if let Some(at) = self.buffer.windows(END.len()).position(|window| window == END) {
                let rest = self.buffer.split_off(at + END.len());
                let document = std::mem::replace(&mut self.buffer, rest);
                return Ok(Some(Reply { status: 200, headers: HeaderMap::new(), text: String::from_utf8(document).unwrap() }));
            }
            let Some(chunk) = self.response.chunk().await? else {
                assert!(self.buffer.is_empty(), "the stream ends inside a document");
                return Ok(None);
            };
            self.chunks += 1;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    pub(super) async fn document(&mut self) -> Reply {
        self.next().await.unwrap().expect("the stream ended")
    }
}

pub(super) fn envelope(header: &str, body: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages"><soap:Header><t:RequestServerVersion Version="Exchange2013"/>{header}</soap:Header><soap:Body>{body}</soap:Body></soap:Envelope>"#
    )
}

pub(super) fn impersonation(mailbox: &str) -> String {
    format!(
        "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>{mailbox}</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>"
    )
}

pub(super) const INBOX: &str = r#"<t:DistinguishedFolderId Id="inbox"/>"#;

pub(super) fn subscribe() -> String {
    let events: String = ["NewMailEvent", "CreatedEvent", "ModifiedEvent", "DeletedEvent", "MovedEvent", "CopiedEvent"]
        .map(|kind| format!("<t:EventType>{kind}</t:EventType>"))
        .concat();
    format!(
        "<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds>{INBOX}</t:FolderIds><t:EventTypes>{events}</t:EventTypes></m:StreamingSubscriptionRequest></m:Subscribe>"
    )
}

pub(super) fn unsubscribe(id: &str) -> String {
    format!("<m:Unsubscribe><m:SubscriptionId>{id}</m:SubscriptionId></m:Unsubscribe>")
}

pub(super) fn streaming(ids: &[&str], minutes: u32) -> String {
    let ids: String = ids.iter().map(|id| format!("<t:SubscriptionId>{id}</t:SubscriptionId>")).collect();
    format!(
        "<m:GetStreamingEvents><m:SubscriptionIds>{ids}</m:SubscriptionIds><m:ConnectionTimeout>{minutes}</m:ConnectionTimeout></m:GetStreamingEvents>"
    )
}

pub(super) fn fields(uris: &[&str]) -> String {
    let list: String = uris.iter().map(|uri| format!(r#"<t:FieldURI FieldURI="{uri}"/>"#)).collect();
    format!("<t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>{list}</t:AdditionalProperties>")
}

pub(super) fn sync(state: Option<&str>, max: usize) -> String {
    let shape = fields(&["item:DateTimeReceived", "message:IsRead", "item:ItemClass", "item:IsDraft"]);
    let state = state.map(|state| format!("<m:SyncState>{state}</m:SyncState>")).unwrap_or_default();
    format!(
        "<m:SyncFolderItems><m:ItemShape>{shape}</m:ItemShape><m:SyncFolderId>{INBOX}</m:SyncFolderId>{state}<m:MaxChangesReturned>{max}</m:MaxChangesReturned><m:SyncScope>NormalItems</m:SyncScope></m:SyncFolderItems>"
    )
}

pub(super) fn get_item(ids: &[&str]) -> String {
    let shape = fields(&[
        "item:Subject",
        "message:From",
        "item:DateTimeReceived",
        "message:IsRead",
        "item:Preview",
        "item:ItemClass",
        "item:Importance",
        "item:HasAttachments",
    ]);
    let ids: String = ids.iter().map(|id| format!(r#"<t:ItemId Id="{id}"/>"#)).collect();
    format!("<m:GetItem><m:ItemShape>{shape}</m:ItemShape><m:ItemIds>{ids}</m:ItemIds></m:GetItem>")
}

pub(super) fn get_folder() -> String {
    let shape = fields(&["folder:UnreadCount"]);
    format!("<m:GetFolder><m:FolderShape>{shape}</m:FolderShape><m:FolderIds>{INBOX}</m:FolderIds></m:GetFolder>")
}

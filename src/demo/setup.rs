//! Writes the configuration of a node for a running simulated world, and makes an administrator's key for it.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postrider_actors::ids::TenantId;
use postrider_actors::ports::registry_store::Role;
use postrider_actors::ports::{Clock, StoreError};
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::simulators::Simulators;

use crate::api::key;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::secret::Secret;
use crate::store::{Schema, Store};

/// The tenant of the simulated company.
pub const TENANT: &str = "demo";
/// Its mail domain.
pub const DOMAIN: &str = "example.com";

/// A folder with everything that a node needs to watch the simulated world.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The folder: secrets, database.
    pub dir: PathBuf,
    /// Where the API listens; port 0 takes a free one.
    pub listen: std::net::SocketAddr,
    /// Where administrators and monitoring come in; port 0 takes a free one.
    pub admin_listen: std::net::SocketAddr,
    /// Whether the way into Exchange is OAuth; else it is a password.
    pub oauth: bool,
    /// The database's URL; a file in the folder if none is named.
    pub database: Option<String>,
    /// Further lines, appended to the generated ones: whole sections that are not generated (`[core]`, `[ews]`, `[telemetry]`, ...).
    pub more: String,
}

impl Setup {
    /// A node on a free port, with everything else at its default.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        let free = ([127, 0, 0, 1], 0).into();
        Self { dir: dir.to_owned(), listen: free, admin_listen: free, oauth: false, database: None, more: String::new() }
    }

    /// Writes the secrets and `postrider.toml` into the folder; says where that is.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, simulators: &Simulators) -> io::Result<PathBuf> {
        simulators.write_development_files(&self.dir)?;
        let file = self.dir.join("postrider.toml");
        std::fs::write(&file, self.text(simulators))?;
        Ok(file)
    }

    fn text(&self, simulators: &Simulators) -> String {
        let at = simulators.endpoints();
        let file = |name: &str| format!("{:?}", self.dir.join(name).display().to_string());
        let mut text = String::new();
        let (listen, admin_listen) = (self.listen, self.admin_listen);
        let database = self.database.clone().unwrap_or_else(|| format!("sqlite:{}", self.dir.join("postrider.db").display()));
        let (ca, p8, fcm) = (file("ca.pem"), file("apns.p8"), file("fcm.json"));
        let (team, kid, app) = (Credentials::APNS_TEAM, Credentials::APNS_KID, Credentials::APP);
        let way_in = if self.oauth {
            let (url, client, secret) = (&at.oauth_token, Credentials::OAUTH_CLIENT_ID, file("oauth-client-secret"));
            format!("oauth = {{ token_url = \"{url}\", client_id = \"{client}\", client_secret = {{ file = {secret} }} }}")
        } else {
            format!("basic = {{ user = '{}', password = {{ file = {} }} }}", Credentials::BASIC_USER, file("basic-password"))
        };
        // Phones of a whole company register from one address here.
        let _ = write!(
            text,
            r#"
[api]
listen = "{listen}"
admin_listen = "{admin_listen}"
plain_http = true
address_rate = 1000000
subject_rate = 1000000
burst = 100000

[store]
url = {database:?}

[http]
roots = [{ca}]

[tenant.{TENANT}]
allowed_domains = ["{DOMAIN}"]
[tenant.{TENANT}.mail]
{way_in}
autodiscover_url = "{autodiscover}"
allowed_hosts = ["localhost"]
[tenant.{TENANT}.identity]
issuer = "{issuer}"
audience = "postrider"
jwks_url = "{jwks}"

[[push.apns]]
tenant = "{TENANT}"
app = "{app}"
team_id = "{team}"
key_id = "{kid}"
key = {{ file = {p8} }}
url = "{apns}"
sandbox_url = "{sandbox}"
roots = [{ca}]

[[push.fcm]]
tenant = "{TENANT}"
app = "{app}"
service_account = {{ file = {fcm} }}
url = "{fcm_url}"
token_hosts = ["localhost"]
roots = [{ca}]
"#,
            autodiscover = at.autodiscover,
            issuer = at.issuer,
            jwks = at.jwks,
            apns = at.apns,
            sandbox = at.apns_sandbox,
            fcm_url = at.fcm,
        );
        text.push_str(&self.more);
        text
    }
}

/// Makes an administrator's key in the node's database, whose schema is made if it is missing; the node may run.
///
/// # Errors
/// Those of the store.
pub async fn admin_key(config: &Config) -> Result<Secret, StoreError> {
    let clock = Arc::new(SystemClock::default());
    let store = Store::open(&config.store, Schema::Update, clock.clone()).await?;
    let (kept, shown) = key::generate(Role::Admin, TenantId(TENANT.into()), "made by the demo", clock.now());
    store.registry.key_create(&kept).await?;
    store.close().await;
    Ok(shown)
}

//! The configuration of one node of a cluster: its name, its ways to the database and to Apple, everything else as an operator has it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use postrider::demo::setup::{DOMAIN, TENANT};
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::simulators::Simulators;

/// What a node's configuration says.
pub struct NodeConfig<'a> {
    pub name: &'a str,
    /// Secrets of the simulated company.
    pub secrets: &'a Path,
    /// `postgres://...`
    pub database: &'a str,
    /// Port of the way to Apple.
    pub apple: u16,
    /// Further keys of `[core]`, a line each.
    pub core: &'a str,
    /// Further sections.
    pub more: &'a str,
}

impl NodeConfig<'_> {
    /// Writes it beside the secrets; says where.
    pub fn write(&self, simulators: &Simulators) -> PathBuf {
        let file = self.secrets.join(format!("{}.toml", self.name));
        std::fs::write(&file, self.text(simulators)).expect("the folder can be written");
        file
    }

    fn text(&self, simulators: &Simulators) -> String {
        let Self { name, database, apple, core, more, .. } = self;
        let at = simulators.endpoints();
        let file = |name: &str| format!("{:?}", self.secrets.join(name).display().to_string());
        let (ca, p8, fcm, password) = (file("ca.pem"), file("apns.p8"), file("fcm.json"), file("basic-password"));
        let (team, kid, app, user) = (Credentials::APNS_TEAM, Credentials::APNS_KID, Credentials::APP, Credentials::BASIC_USER);
        let mut text = String::new();
        let _ = write!(
            text,
            r#"
[node]
name = "{name}"
# As in config/production.example.toml.
stop_deadline = "120s"

[store]
url = "{database}"

[core]
{core}

[api]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
address_rate = 1000000
subject_rate = 1000000
burst = 100000

[http]
roots = [{ca}]

[tenant.{TENANT}]
allowed_domains = ["{DOMAIN}"]
[tenant.{TENANT}.mail]
basic = {{ user = '{user}', password = {{ file = {password} }} }}
autodiscover_url = "{autodiscover}"
allowed_hosts = ["localhost"]

[[push.apns]]
tenant = "{TENANT}"
app = "{app}"
team_id = "{team}"
key_id = "{kid}"
key = {{ file = {p8} }}
url = "https://localhost:{apple}"
sandbox_url = "{sandbox}"
roots = [{ca}]

[[push.fcm]]
tenant = "{TENANT}"
app = "{app}"
service_account = {{ file = {fcm} }}
url = "{google}"
token_hosts = ["localhost"]
roots = [{ca}]

{more}
"#,
            autodiscover = at.autodiscover,
            sandbox = at.apns_sandbox,
            google = at.fcm,
        );
        text
    }
}

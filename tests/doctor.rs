//! `postrider doctor` against twelve planted failures: each is named with its culprit and with what to do.
//!
//! What it printed is kept as `doctor.txt` in the folder for temporary files below `target/`; the test prints where.

mod node;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use node::World;
use node::process::command;
use postrider::demo::setup::DOMAIN;
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::exchange::RequestFault;
use postrider_loadtest::tls::{ALPN_HTTP_1_1, Authority};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

/// The code of an answer of DNS: no such name (RFC 1035, section 4.1.1).
const NXDOMAIN: u8 = 3;

/// A DNS server that knows no name, or never answers.
async fn dns(answers: bool) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            if answers {
                let mut answer = question[..length].to_vec();
                (answer[2], answer[3]) = (0x81, 0x80 | NXDOMAIN);
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    address
}

/// A server that answers each request with these bytes; with no certificate it takes connections and is silent.
async fn server(tls: Option<ServerConfig>, answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let acceptor = tls.map(|tls| tokio_rustls::TlsAcceptor::from(Arc::new(tls)));
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            let Some(acceptor) = acceptor.clone() else {
                held.push(stream);
                continue;
            };
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                if let Ok(mut stream) = acceptor.accept(stream).await
                    && stream.read(&mut buffer).await.is_ok()
                {
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    port
}

/// A company whose names only a planted DNS server is asked for.
struct Scene {
    world: World,
    config: String,
    transcript: String,
}

impl Scene {
    async fn new() -> Self {
        let more = "[autodiscover]\nconnect_deadline = \"2s\"\nrequest_deadline = \"4s\"\n[ews]\nconnect_deadline = \"2s\"\n";
        let world = World::start(more).await;
        world.rewrite("[http]\n", &format!("[http]\nname_servers = [\"{}\"]\n", dns(true).await));
        let config = std::fs::read_to_string(&world.config).expect("it was written");
        for number in 1..=3 {
            world.simulators.world().add_mailbox(&format!("user{number}@{DOMAIN}"));
        }
        Self { world, config, transcript: String::new() }
    }

    /// Examines with this change to the configuration; what it says must name all of `named`, and fit the width of a terminal.
    async fn planted(&mut self, title: &str, change: (&str, &str), users: usize, named: &[&str]) -> String {
        self.world.rewrite(change.0, change.1);
        let mut doctor = command(&["doctor", "--config"]);
        doctor.arg(&self.world.config);
        for number in 1..=users {
            doctor.args(["--user", &format!("user{number}@{DOMAIN}")]);
        }
        let output = tokio::task::spawn_blocking(move || doctor.output().expect("it starts")).await.expect("it ends");
        let told = String::from_utf8(output.stdout).expect("it prints UTF-8");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
        for wanted in named {
            assert!(flat.contains(wanted), "{title}: \"{wanted}\" is missing from\n{told}{errors}");
        }
        let expected = if named == WELL { 0 } else { 1 };
        assert_eq!(output.status.code(), Some(expected), "{title}\n{told}{errors}");
        // A word, such as an address, is never cut.
        let long = told.lines().find(|line| line.chars().count() > 80 && line.split_whitespace().count() > 1);
        assert_eq!(long, None, "{title}");
        let _ = writeln!(self.transcript, "## {title}\n\n{told}");
        std::fs::write(&self.world.config, &self.config).expect("the folder can be written");
        told
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.world.folder.path().join(file), text).expect("the folder can be written");
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.world.folder.path().join(file)).expect("it was written")
    }

    /// The line of the configuration that says where autodiscover is, and one that says where Exchange is instead.
    fn at(&self, host_and_port: &str) -> (String, String) {
        let at = &self.world.simulators.endpoints().autodiscover;
        let autodiscover = format!("autodiscover_url = \"{at}\"\nallowed_hosts = [\"localhost\"]");
        (autodiscover, format!("ews_url = \"https://{host_and_port}/EWS/Exchange.asmx\""))
    }

    async fn planted_at(&mut self, title: &str, host_and_port: &str, named: &[&str]) -> String {
        let (from, to) = self.at(host_and_port);
        self.planted(title, (&from, &to), 1, named).await
    }
}

/// What is said when nothing is wrong.
const WELL: &[&str] = &["everything that this user's pushes need works"];
/// No change.
const AS_IT_IS: (&str, &str) = ("[http]", "[http]");

/// What goes wrong at the credential and its provider.
async fn credentials(scene: &mut Scene) {
    let password = scene.read("basic-password");
    scene.write("basic-password", "not the password");
    let named = ["refuses the credentials (HTTP 401), offers Negotiate, NTLM, Basic", "check the service account's name and password"];
    scene.planted("wrong password", AS_IT_IS, 3, &[&named[..], &["so the others were not asked"]].concat()).await;
    scene.write("basic-password", &password);

    let token_url = scene.world.simulators.endpoints().oauth_token.replace(Credentials::TENANT, "no-such-tenant");
    let secret = scene.world.folder.path().join("oauth-client-secret").display().to_string();
    let id = Credentials::OAUTH_CLIENT_ID;
    let basic = scene.config.lines().find(|line| line.starts_with("basic = ")).expect("the way in").to_owned();
    let oauth = format!("oauth = {{ token_url = \"{token_url}\", client_id = \"{id}\", client_secret = {{ file = {secret:?} }} }}");
    let named = [
        "authorization: OAuth client credentials at https://",
        "AADSTS90002",
        "token_url names a tenant that the identity provider does not know",
    ];
    scene.planted("tenant unknown to the identity provider", (&basic, &oauth), 1, &named).await;
}

/// What is wrong with the way to the server.
async fn ways(scene: &mut Scene) {
    let authority = &scene.world.simulators.credentials().authority;
    let expired = server(Some(authority.expired_server_config(&["localhost"], &[ALPN_HTTP_1_1])), "").await;
    let misnamed = server(Some(authority.wrong_name_server_config(&[ALPN_HTTP_1_1])), "").await;
    let windows = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let windows = server(Some(authority.server_config(&["localhost"], &[ALPN_HTTP_1_1])), windows).await;
    let silent = server(None, "").await;

    scene.write("other-ca.pem", &Authority::new().ca_pem());
    let other = scene.world.folder.path().join("other-ca.pem").display().to_string();
    let line = scene.config.lines().skip_while(|line| *line != "[http]").find(|line| line.starts_with("roots")).expect("roots").to_owned();
    let section = scene.config.split("[http]\n").nth(1).and_then(|rest| rest.split(&line).next()).expect("the section").to_owned();
    let (from, to) = (format!("{section}{line}"), format!("{section}roots = [{other:?}]"));
    let told = scene
        .planted(
            "certificate of an unknown issuer",
            (&from, &to),
            1,
            &["invalid peer certificate", "add the company's authority (PEM) to http.roots"],
        )
        .await;
    assert!(!told.contains("Windows"), "{told}");

    let named = ["certificate expired", "renew the server's certificate, or mend this machine's clock"];
    scene.planted_at("expired certificate", &format!("localhost:{expired}"), &named).await;
    let named = ["certificate not valid for name", "the server's certificate is for other names"];
    scene.planted_at("certificate for another name", &format!("localhost:{misnamed}"), &named).await;
    let named = [
        "... door: ask without credentials what the server offers (is waited for, at most",
        "nothing came back in time: the server is silent",
    ];
    scene.planted_at("silent server", &format!("localhost:{silent}"), &named).await;
    let named = ["HTTP 401, offers Negotiate, NTLM: Basic is configured here, which the server does not offer"];
    scene.planted_at("server that offers Negotiate and NTLM only", &format!("localhost:{windows}"), &named).await;
    let named = ["DNS has no such name (NXDOMAIN)", "correct the name, or add it to DNS"];
    scene.planted_at("name without a DNS record", &format!("mail.{DOMAIN}"), &named).await;

    let as_it_was = scene.config.clone();
    let server = as_it_was.lines().find(|line| line.starts_with("name_servers")).expect("the server").to_owned();
    scene.config = as_it_was.replace(&server, &format!("name_servers = [\"{}\"]", dns(false).await));
    scene.write("postrider.toml", &scene.config);
    let named = ["no DNS server answered in time", "DNS itself does not answer", "http.name_servers"];
    scene.planted_at("DNS that does not answer", &format!("mail.{DOMAIN}"), &named).await;
    scene.config = as_it_was;
    scene.write("postrider.toml", &scene.config);
}

/// What goes wrong at one mailbox and at the push services.
async fn mailbox_and_pushes(scene: &mut Scene) {
    let user = format!("user2@{DOMAIN}");
    let refused = RequestFault::Code { code: "ErrorImpersonateUserDenied", text: "The account does not have permission to impersonate." };
    scene.world.simulators.exchange_faults().break_mailbox(&user, refused);
    let alone = format!("it is the trouble of {user} alone");
    let named = ["ErrorImpersonateUserDenied", "give the service account the ApplicationImpersonation role", &alone];
    scene.planted("one mailbox of three without impersonation rights", AS_IT_IS, 3, &named).await;
    scene.world.simulators.exchange_faults().mend_mailbox(&user);

    let team = scene.config.lines().find(|line| line.starts_with("team_id")).expect("the team").to_owned();
    let topic = format!("topic = \"com.example.other\"\n{team}");
    let named = ["APNs production", "TopicDisallowed: the key is good, but may not push to the bundle id com.example.other"];
    scene.planted("wrong bundle id", (&team, &topic), 1, &named).await;

    let others = Credentials::generate();
    let key = scene.read("apns.p8");
    scene.write("apns.p8", &others.apns_key.serialize_pem());
    scene.planted("wrong p8 key", AS_IT_IS, 1, &["InvalidProviderToken: check `key`, `key_id` and `team_id`"]).await;
    scene.write("apns.p8", &key);

    let account = scene.read("fcm.json");
    scene.write("fcm.json", &others.fcm_account_json(&scene.world.simulators.endpoints().fcm_token));
    scene.planted("withdrawn FCM key", AS_IT_IS, 1, &["invalid_grant: the service account is not valid; make a new key"]).await;
    scene.write("fcm.json", &account);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_names_the_culprit_of_each_planted_failure() {
    let mut scene = Scene::new().await;
    scene.planted("nothing is wrong", AS_IT_IS, 3, WELL).await;
    credentials(&mut scene).await;
    ways(&mut scene).await;
    mailbox_and_pushes(&mut scene).await;
    scene.planted("all is mended", AS_IT_IS, 1, WELL).await;
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/doctor.txt");
    std::fs::write(file, &scene.transcript).expect("the folder can be written");
    println!("the transcript is in {file}");
}

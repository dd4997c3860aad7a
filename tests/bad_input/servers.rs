//! Foreign addresses and servers that are not what they say: nothing is looked up, nobody's password goes there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use postrider::demo::setup::DOMAIN;
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::exchange::Redirect;
use postrider_loadtest::world::MailSpec;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::node::process::command;
use crate::node::{SOON, World, assert_clean, until};

/// Waits scaled down to those of a test.
const IMPATIENT: &str = "[core]\nretry_max = \"1s\"\npark = \"1s\"\n[autodiscover]\nconnect_deadline = \"2s\"\nfailure_refresh = \"1s\"\n";

/// A listener where nobody should come; with a certificate, where nobody should speak.
struct Trap {
    port: u16,
    came: Arc<AtomicU64>,
    spoke: Arc<AtomicU64>,
}

impl Trap {
    async fn set(tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (came, spoke) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (coming, speaking) = (Arc::clone(&came), Arc::clone(&spoke));
        let acceptor = tls.map(|tls| tokio_rustls::TlsAcceptor::from(Arc::new(tls)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                coming.fetch_add(1, Ordering::Relaxed);
                let Some(acceptor) = acceptor.clone() else { continue };
                let speaking = Arc::clone(&speaking);
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    if let Ok(mut stream) = acceptor.accept(stream).await
                        && let Ok(read) = stream.read(&mut buffer).await
                    {
                        speaking.fetch_add(read as u64, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { port, came, spoke }
    }

    fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    fn spoke(&self) -> u64 {
        self.spoke.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_address_is_refused_and_nothing_is_looked_up() {
    let world = World::start("").await;
    let node = world.node().await;
    let body = json!({"provider": "fcm", "app": Credentials::APP, "token": "f1:APA91babc"});
    let user = world.simulators.phone_user_token("ada@elsewhere.example");
    for (caller, address) in [
        (world.key(), "ada@elsewhere.example"),
        (world.key(), "ada@example.com.elsewhere.example"),
        (world.key(), "ada@sub.example.com"),
        (&user, "ada@elsewhere.example"),
        (&user, "ada@example.com"),
    ] {
        let url = format!("{}/v1/mailboxes/{address}/devices/phone", node.api());
        let answer = node.client().put(url).bearer_auth(caller).json(&body).send().await.expect("an answer");
        let (status, kind) = (answer.status(), answer.headers()["content-type"].clone());
        let problem: Value = answer.json().await.expect("a problem document");
        assert_eq!((status.as_u16(), kind.as_bytes()), (403, &b"application/problem+json"[..]), "{address}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 20), "{problem}");
    }
    let added = command(&["mailbox", "add", "ada@elsewhere.example", "--api", &node.admin()])
        .env("POSTRIDER_KEY", world.key())
        .output()
        .expect("it starts");
    assert_eq!(added.status.code(), Some(1), "{added:?}");
    assert!(String::from_utf8_lossy(&added.stderr).contains("allowed domains"), "{added:?}");
    assert_eq!(world.simulators.exchange().requests(), 0, "nothing was looked up");
    assert_eq!(node.live_mailboxes(world.key()).await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_plain_http_or_to_a_foreign_host_is_not_followed_and_heals_once_it_is_mended() {
    let world = World::start(IMPATIENT).await;
    let (plain, foreign) = (Trap::set(None).await, Trap::set(None).await);
    let exchange = world.simulators.exchange();
    let to = |user: u32, redirect| exchange.redirect(&format!("user{user}@{DOMAIN}"), Some(redirect));
    to(1, Redirect::Http(format!("http://localhost:{}/autodiscover/autodiscover.svc", plain.port)));
    to(2, Redirect::Url(format!("http://localhost:{}/autodiscover/autodiscover.svc", plain.port)));
    // Another name of this machine, which is not among the allowed hosts.
    to(3, Redirect::Http(format!("https://127.0.0.1:{}/autodiscover/autodiscover.svc", foreign.port)));
    to(4, Redirect::Url(format!("https://127.0.0.1:{}/autodiscover/autodiscover.svc", foreign.port)));
    to(5, Redirect::Address("user5@elsewhere.example".to_owned()));

    let mut node = world.node().await;
    let fleet = world.staff_with(&mut node, 6, 1).await;
    for user in &fleet.users {
        world.simulators.world().deliver(user, MailSpec::new("Ann Baker", "Lunch", "At noon?")).expect("the mailbox is there");
    }
    for user in &fleet.users[..5] {
        let path = format!("/v1/admin/mailboxes/{user}/why");
        let told = until(SOON, async || {
            let why = node.ask(&path, world.key()).await.unwrap_or_default();
            why["events"].to_string().contains("subscribing failed: HostNotAllowed")
        })
        .await;
        assert!(told, "{user}: {:#}\n{}", node.ask(&path, world.key()).await.unwrap_or_default()["events"], node.log());
    }
    assert_eq!((plain.came(), foreign.came()), (0, 0), "nobody went there");
    assert_eq!(node.live_mailboxes(world.key()).await, Some(1), "the one whose server is where it should be");

    for user in &fleet.users[..5] {
        exchange.redirect(user, None);
    }
    world.all_live(&mut node, 6).await;
    let verdict = world.verdict().await;
    assert_clean(&verdict, &[&node]);
    assert_eq!(verdict.announced, 6, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_bad_certificate_gets_no_request_and_the_mail_is_announced_once_it_is_mended() {
    let world = World::start(IMPATIENT).await;
    let authority = &world.simulators.credentials().authority;
    let traps = [
        (Trap::set(Some(authority.expired_server_config(&["localhost"], &[]))).await, "expired"),
        (Trap::set(Some(authority.wrong_name_server_config(&[]))).await, "not valid for name"),
        (Trap::set(Some(postrider_loadtest::tls::Authority::new().server_config(&["localhost"], &[]))).await, "invalid peer certificate"),
    ];
    let right = world.simulators.endpoints().autodiscover.clone();
    for (n, (trap, reason)) in traps.iter().enumerate() {
        let wrong = format!("https://localhost:{}/autodiscover/autodiscover.svc", trap.port);
        world.rewrite(&right, &wrong);
        let user = format!("user1@{DOMAIN}");
        let doctor = command(&["doctor", "--user", &user, "--config"]).arg(&world.config).output().expect("it starts");
        // Lines are broken to fit a terminal.
        let told = String::from_utf8_lossy(&doctor.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(doctor.status.code(), Some(1), "{told}");
        assert!(told.contains(reason) && told.contains("certificate"), "{reason}: {told}");

        let mut node = world.node().await;
        if n == 0 {
            world.staff_with(&mut node, 1, 0).await;
        }
        world.simulators.world().deliver(&user, MailSpec::new("Ann Baker", "Lunch", "At noon?")).expect("the mailbox is there");
        let before = trap.came();
        node.until("another try", async |_| trap.came() > before).await;
        assert_eq!(trap.spoke(), 0, "no request went to a server that is not who it says");
        assert_eq!(node.live_mailboxes(world.key()).await, Some(0));
        drop(node);
        world.rewrite(&wrong, &right);
    }
    let mut node = world.node().await;
    world.all_live(&mut node, 1).await;
    let verdict = world.verdict().await;
    assert_clean(&verdict, &[&node]);
    assert_eq!(verdict.announced, 3, "{verdict}");
}

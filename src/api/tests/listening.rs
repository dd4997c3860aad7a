//! Listening: addresses, certificates, an orderly end.

use postrider_loadtest::tls::Authority;

use super::*;
use crate::config::api::Tls;

#[tokio::test]
async fn admin_routes_and_metrics_move_to_their_own_address() {
    let world = start(|settings| settings.admin_listen = Some("127.0.0.1:0".parse().unwrap())).await;
    let admin = world.key("acme", Role::Admin).await;
    for path in ["/v1/admin/mailboxes", "/v1/admin/node", "/v1/admin/mailboxes/a@example.com/why", "/metrics"] {
        world.get(path, &admin).await.problem(404, "not-found");
    }
    world.put(PHONE, &admin, GOOD).await.is(201);
    assert_ne!(world.base, world.admin);
    let private = |path: &str| world.client.get(format!("{}{path}", world.admin));
    answer(private("/v1/admin/node").bearer_auth(&admin)).await.is(200);
    answer(private("/v1/admin/node")).await.problem(401, "unauthenticated");
    answer(private(DEVICES).bearer_auth(&admin)).await.problem(404, "not-found");
    assert_eq!(answer(private("/metrics")).await.is(200).text, "postrider_up 1\n");
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        answer(private(path)).await.is(200);
        world.get(path, "").await.is(200);
    }
}

#[tokio::test]
async fn metrics_on_a_shared_address_want_an_admin_key() {
    let world = start(|_| {}).await;
    world.get("/metrics", "").await.problem(401, "unauthenticated");
    let admin = world.key("acme", Role::Admin).await;
    assert_eq!(world.get("/metrics", &admin).await.is(200).text, "postrider_up 1\n");
}

#[tokio::test]
async fn a_panic_is_a_problem_and_the_next_request_is_served() {
    let (mut parts, ..) = parts(|settings| settings.admin_listen = Some("127.0.0.1:0".parse().unwrap()));
    parts.metrics_text = Arc::new(|| panic!("on purpose"));
    let server = Api::new(parts).bind().unwrap();
    let base = format!("http://{}", server.admin_address().unwrap());
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    for _ in 0..2 {
        answer(client().get(format!("{base}/metrics"))).await.problem(500, "internal");
    }
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (parts, ..) = parts(|settings| settings.admin_listen = Some(taken.local_addr().unwrap()));
    let Err(error) = Api::new(parts).bind() else { panic!("it was bound twice") };
    let text = error.to_string();
    assert!(text.starts_with("api.admin_listen: cannot listen on 127.0.0.1:") && text.contains("in use"), "{text}");
}

/// Files with a certificate of an authority, for `localhost`.
fn write(tls: &Tls, authority: &Authority) {
    let (certificate, key) = authority.issue_pem(&["localhost"]);
    std::fs::write(&tls.certificate, certificate).unwrap();
    std::fs::write(&tls.key, key).unwrap();
}

fn trusting(authority: &Authority) -> reqwest::Client {
    let tls = authority.client_config(&[b"h2", b"http/1.1"]);
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).timeout(Duration::from_secs(10)).build().unwrap()
}

#[tokio::test]
async fn a_certificate_is_replaced_without_a_restart_and_a_damaged_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls { certificate: folder.path().join("c.pem"), key: folder.path().join("k.pem"), reload: Duration::from_millis(100) };
    let (first, second) = (Authority::new(), Authority::new());
    write(&tls, &first);
    let world = start(|settings| settings.tls = Some(tls.clone())).await;
    let url = format!("{}/healthz", world.base.replace("127.0.0.1", "localhost"));
    let reached = async |authority: &Authority| trusting(authority).get(&url).send().await.is_ok_and(|answer| answer.status() == 200);
    assert!(reached(&first).await);
    assert!(!reached(&second).await);
    assert!(
        !client().get(url.replace("https", "http")).send().await.is_ok_and(|answer| answer.status() == 200),
        "no plain HTTP beside TLS"
    );

    let held = trusting(&first);
    assert_eq!(held.get(&url).send().await.unwrap().version(), reqwest::Version::HTTP_2);
    std::fs::write(&tls.key, "damaged").unwrap();
    write(&tls, &second);
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while !reached(&second).await {
        assert!(tokio::time::Instant::now() < patience, "the certificate was not read again");
        tokio::task::yield_now().await;
    }
    assert_eq!(held.get(&url).send().await.unwrap().status(), 200, "a connection from before goes on");
}

#[tokio::test]
async fn a_certificate_is_read_again_at_once_when_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls { certificate: folder.path().join("c.pem"), key: folder.path().join("k.pem"), reload: Duration::from_secs(3_600) };
    let (first, second) = (Authority::new(), Authority::new());
    write(&tls, &first);
    let world = start(|settings| settings.tls = Some(tls.clone())).await;
    let url = format!("{}/healthz", world.base.replace("127.0.0.1", "localhost"));
    let reached = async |authority: &Authority| trusting(authority).get(&url).send().await.is_ok_and(|answer| answer.status() == 200);
    assert!(reached(&first).await);
    std::fs::write(&tls.key, "damaged").unwrap();
    world.reload.now();
    world.reload.now();
    assert!(reached(&first).await, "what cannot be used changes nothing");
    write(&tls, &second);
    world.reload.now();
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while !reached(&second).await {
        assert!(tokio::time::Instant::now() < patience, "the certificate was not read again");
        tokio::task::yield_now().await;
    }
}

#[test]
fn files_that_are_missing_damaged_or_do_not_go_together_are_named() {
    install_tls_provider();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let files = |certificate: &str, key: &str| Tls { certificate: path(certificate), key: path(key), reload: Duration::from_secs(1) };
    write(&files("c", "k"), &Authority::new());
    write(&files("c2", "k2"), &Authority::new());
    std::fs::write(path("empty"), "").unwrap();
    assert!(crate::api::tls::load(&files("c", "k")).is_ok());
    for (certificate, key, wanted) in [
        ("none", "k", "none: cannot be read"),
        ("c", "none", "none: cannot be read"),
        ("empty", "k", "empty: holds no certificate"),
        ("c", "empty", "empty: holds no private key"),
        ("k", "k", "k: holds no certificate"),
        ("c", "c", "c: holds no private key"),
        ("c", "k2", "do not go together"),
    ] {
        let text = crate::api::tls::load(&files(certificate, key)).unwrap_err().to_string();
        assert!(text.contains(wanted), "{certificate} {key}: {text}");
        assert!(!text.contains("BEGIN"), "{text}");
    }
}

#[tokio::test]
async fn requests_under_way_are_finished_when_the_node_stops() {
    let mut world = start(|_| {}).await;
    let key = world.key("acme", Role::DeviceManager).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = futures_util::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) });
    let request = world.client.put(format!("{}{PHONE}", world.base)).bearer_auth(&key).header("content-type", "application/json");
    let under_way = tokio::spawn(answer(request.body(reqwest::Body::wrap_stream(body))));
    let looked_up = || world.store.calls(postrider_actors::testing::memory::Call::Registry) >= 2;
    sender.send(Ok(GOOD.as_bytes()[..5].to_vec())).await.unwrap();
    while !looked_up() {
        tokio::task::yield_now().await;
    }
    world.stop.cancel();
    while client().get(format!("{}/healthz", world.base)).send().await.is_ok() {
        tokio::task::yield_now().await;
    }
    sender.send(Ok(GOOD.as_bytes()[5..].to_vec())).await.unwrap();
    drop(sender);
    under_way.await.unwrap().is(201);
    (&mut world.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_node_from_stopping() {
    let mut world =
        start(|settings| (settings.drain, settings.request_timeout) = (Duration::from_millis(100), Duration::from_secs(60))).await;
    let key = world.key("acme", Role::DeviceManager).await;
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = world.client.put(format!("{}{PHONE}", world.base)).bearer_auth(&key).header("content-type", "application/json");
    let hanging = tokio::spawn(request.body(reqwest::Body::wrap_stream(never)).send());
    while world.store.calls(postrider_actors::testing::memory::Call::Registry) < 2 {
        tokio::task::yield_now().await;
    }
    world.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), &mut world.running).await.expect("the node stops").unwrap().unwrap();
    assert!(hanging.await.unwrap().is_err());
}

//! What phones, servers and administrators do from the first registration to the removal.

use postrider_actors::telemetry::catalog::Label;

use super::*;

#[tokio::test]
async fn a_device_is_registered_changed_used_listed_and_removed() {
    let world = start(|_| {}).await;
    let key = world.key("acme", Role::DeviceManager).await;
    let made = world.put(PHONE, &key, GOOD).await;
    assert_eq!((made.status, made.json()["created"].as_bool()), (201, Some(true)), "{made:?}");
    assert_eq!(world.put(PHONE, &key, GOOD).await.is(200).json()["created"], false);
    assert_eq!(world.core.woken.lock().unwrap().len(), 2, "the owner of the shard is woken at once");

    world.send(Method::PATCH, PHONE, &key, Some(r#"{"pushDowngradeCutoffSec":60}"#)).await.is(204);
    world.clock.advance(Duration::from_secs(90));
    world.send(Method::POST, &format!("{PHONE}/activity"), &key, None).await.is(204);
    let listed = world.get(DEVICES, &key).await.is(200).json();
    let device = &listed["devices"][0];
    assert_eq!(device["device"], "phone-1");
    assert_eq!((&device["provider"], &device["environment"]), (&"apns".into(), &"production".into()));
    assert_eq!(device["pushDowngradeCutoffSec"], 60);
    assert_eq!(device["registeredAt"], "2027-01-15T08:00:00.000000Z");
    assert_eq!(device["lastActivity"], "2027-01-15T08:01:30.000000Z");
    assert!(!listed.to_string().contains("00ff"), "the token stays inside");

    world.send(Method::DELETE, PHONE, &key, None).await.is(204);
    world.send(Method::DELETE, PHONE, &key, None).await.problem(404, "not-found");
    world.send(Method::PATCH, PHONE, &key, Some(r#"{"pushDowngradeCutoffSec":60}"#)).await.problem(404, "not-found");
    world.send(Method::POST, &format!("{PHONE}/activity"), &key, None).await.problem(404, "not-found");
    assert_eq!(world.get(DEVICES, &key).await.is(200).json()["devices"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_mailbox_has_ten_devices_and_no_eleventh() {
    let world = start(|_| {}).await;
    let key = world.key("acme", Role::DeviceManager).await;
    for n in 0..10 {
        let body = format!(r#"{{"provider":"fcm","app":"a","token":"t{n}"}}"#);
        world.put(&format!("{DEVICES}/d{n}"), &key, &body).await.is(201);
    }
    world.put(PHONE, &key, GOOD).await.problem(409, "too-many-devices");
}

#[tokio::test]
async fn a_mailbox_is_created_by_registering_only_where_the_tenant_allows_it() {
    let world = start(|_| {}).await;
    let path = "/v1/mailboxes/bob@other.example/devices/d";
    let manager = world.key("other", Role::DeviceManager).await;
    world.put(path, &manager, GOOD).await.problem(404, "not-found");
    let admin = world.key("other", Role::Admin).await;
    world.send(Method::PUT, "/v1/admin/mailboxes/bob@other.example", &admin, None).await.is(201);
    world.put(path, &manager, GOOD).await.is(201);
}

#[tokio::test]
async fn mailboxes_are_added_listed_page_by_page_looked_at_and_removed() {
    let world = start(|_| {}).await;
    let admin = world.key("acme", Role::Admin).await;
    for name in ["b", "a", "c"] {
        world.send(Method::PUT, &format!("/v1/admin/mailboxes/{name}@example.com"), &admin, None).await.is(201);
    }
    world.send(Method::PUT, "/v1/admin/mailboxes/A@EXAMPLE.com", &admin, None).await.is(200);
    let addresses =
        |page: &Value| page["mailboxes"].as_array().unwrap().iter().map(|m| m["smtp"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let first = world.get("/v1/admin/mailboxes?limit=2", &admin).await.is(200).json();
    assert_eq!((addresses(&first), &first["after"]), (vec!["a@example.com".into(), "b@example.com".into()], &"b@example.com".into()));
    let second = world.get("/v1/admin/mailboxes?limit=2&after=b%40example.com", &admin).await.is(200).json();
    assert_eq!((addresses(&second), second.get("after")), (vec!["c@example.com".into()], None));
    assert_eq!(world.get("/v1/admin/mailboxes/a@example.com", &admin).await.is(200).json()["tenant"], "acme");
    world.send(Method::DELETE, "/v1/admin/mailboxes/a@example.com", &admin, None).await.is(204);
    world.get("/v1/admin/mailboxes/a@example.com", &admin).await.problem(404, "not-found");
    let other = world.key("other", Role::Admin).await;
    assert_eq!(
        addresses(&world.get("/v1/admin/mailboxes", &other).await.is(200).json()),
        Vec::<String>::new(),
        "tenants do not see each other"
    );
}

#[tokio::test]
async fn why_shows_the_mailbox_its_devices_its_watch_and_what_happened() {
    let world = start(|_| {}).await;
    let admin = world.key("acme", Role::Admin).await;
    world.put(PHONE, &admin, GOOD).await.is(201);
    let why = world.get("/v1/admin/mailboxes/ann@example.com/why", &admin).await.is(200).json();
    assert_eq!(why["mailbox"]["smtp"], "ann@example.com");
    assert_eq!(why["devices"][0]["device"], "phone-1");
    assert_eq!(why["watch"]["phase"], "live");
    assert_eq!(why["node"]["gateOpen"], true);
    assert_eq!((&why["events"][0]["source"], &why["events"][0]["what"]), (&"mailbox".into(), &"the server told of new mail".into()));
    world.get("/v1/admin/mailboxes/bob@example.com/why", &admin).await.problem(404, "not-found");
}

#[tokio::test]
async fn sending_is_switched_by_administrators() {
    let world = start_for_one_tenant().await;
    let admin = world.key("acme", Role::Admin).await;
    world.send(Method::POST, "/v1/admin/sending", &admin, Some(r#"{"allowed":false}"#)).await.is(204);
    assert!(!world.store.read(|model| model.sending_allowed));
    assert_eq!(world.get("/v1/admin/node", &admin).await.is(200).json()["state"], "GOOD");
}

#[tokio::test]
async fn the_cluster_is_shown_to_administrators() {
    let world = start(|_| {}).await;
    let admin = world.key("acme", Role::Admin).await;
    let empty = world.get("/v1/admin/cluster", &admin).await.is(200).json();
    assert_eq!((&empty["nodes"], &empty["orphaned"], &empty["shards"]), (&serde_json::json!([]), &8.into(), &8.into()));
    assert!(empty.get("leader").is_none(), "{empty}");
    world.store.outage(Some(postrider_actors::ports::StoreError::Unavailable("asked".into())));
    world.clock.advance(Duration::from_secs(1));
    world.get("/v1/admin/cluster", &admin).await.problem(503, "store-unavailable");
}

#[tokio::test]
async fn nobody_registers_for_pushes_that_could_never_be_sent() {
    let world = start(|_| {}).await;
    let key = world.key("acme", Role::DeviceManager).await;
    let body = r#"{"provider":"apns","app":"com.example.unknown","token":"00ff"}"#;
    let refused = world.put(PHONE, &key, body).await;
    assert_eq!(refused.problem(400, "invalid").json()["field"], "app");
    assert!(world.store.read(|model| model.devices.is_empty()));
}

#[tokio::test]
async fn the_administrator_of_one_company_does_not_stop_the_pushes_of_another() {
    let world = start(|_| {}).await;
    let admin = world.key("acme", Role::Admin).await;
    world.send(Method::POST, "/v1/admin/sending", &admin, Some(r#"{"allowed":false}"#)).await.problem(403, "forbidden");
    assert!(world.store.read(|model| model.sending_allowed));
}

#[tokio::test]
async fn readiness_follows_the_node_and_its_gate_and_liveness_does_not() {
    let world = start(|_| {}).await;
    world.get("/readyz", "").await.is(200);
    world.core.gate_open.store(false, Ordering::SeqCst);
    let closed = world.get("/readyz", "").await;
    assert!(closed.problem(503, "not-ready").retry_after.is_some());
    *world.core.state.lock().unwrap() = NodeState::Joining;
    assert!(world.get("/readyz", "").await.problem(503, "not-ready").text.contains("JOINING"));
    assert_eq!(world.get("/healthz", "").await.is(200).json()["status"], "ok");
}

#[tokio::test]
async fn a_store_out_of_reach_is_503_with_a_time_to_come_back() {
    let world = start(|settings| settings.key_cache = Duration::from_secs(60)).await;
    let key = world.key("acme", Role::DeviceManager).await;
    world.put(PHONE, &key, GOOD).await.is(201);
    for error in [
        postrider_actors::ports::StoreError::Unavailable("10.0.0.5".into()),
        postrider_actors::ports::StoreError::OutcomeUnknown("10.0.0.5".into()),
        postrider_actors::ports::StoreError::Unusable("10.0.0.5".into()),
    ] {
        world.store.outage(Some(error));
        let refused = world.put(PHONE, &key, GOOD).await;
        assert_eq!(refused.problem(503, "store-unavailable").retry_after.as_deref(), Some("5"));
        assert!(!refused.text.contains("10.0.0.5"));
    }
}

#[tokio::test]
async fn every_described_route_is_served_and_nothing_else_is() {
    let world = start(|_| {}).await;
    let admin = world.key("acme", Role::Admin).await;
    let description = world.get("/openapi.json", "").await.is(200).json();
    let mut seen = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        assert_eq!(crate::telemetry::metrics::Route::of(Some(path)).value(), path, "every route has its series");
        let path = path.replace("{smtp}", "ann@example.com").replace("{device}", "d");
        for method in ["get", "put", "post", "patch", "delete"] {
            let answer = world.send(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(), &path, &admin, Some("{}")).await;
            let served = answer.status != 405;
            assert_eq!(served, item.get(method).is_some(), "{method} {path}: {answer:?}");
            assert!(!answer.text.contains("no such path"), "{method} {path}: {answer:?}");
            if !served {
                answer.problem(405, "method-not-allowed");
            }
            seen += usize::from(served);
        }
    }
    assert_eq!(seen, 18);
    for path in ["/", "/v1", "/v1/mailboxes", "/v1/mailboxes/a@example.com", "/v2/x", "/..%2f", "/%ff"] {
        world.get(path, &admin).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn many_who_look_at_the_cluster_make_one_read_a_second() {
    use postrider_actors::testing::memory::Call;
    let world = start(|_| {}).await;
    let admin = world.key("acme", Role::Admin).await;
    for second in 1..=3 {
        let asked = futures_util::future::join_all((0..40).map(|_| world.get("/v1/admin/cluster", &admin))).await;
        assert!(asked.iter().all(|answer| answer.status == 200));
        assert_eq!(world.store.calls(Call::View), second, "forty callers share a look");
        world.clock.advance(Duration::from_secs(1));
    }
    world.store.outage(Some(postrider_actors::ports::StoreError::Unavailable("down".into())));
    for _ in 0..10 {
        world.get("/v1/admin/cluster", &admin).await.problem(503, "store-unavailable");
    }
    assert_eq!(world.store.calls(Call::View), 4, "a database in trouble is asked as rarely");
}

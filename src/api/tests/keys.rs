//! API keys: what they open, how they are refused, how they end; and the audit trail of what was done with them.

use super::*;

#[tokio::test]
async fn without_believed_credentials_nobody_comes_in() {
    let world = start(|_| {}).await;
    let key = world.key("acme", Role::DeviceManager).await;
    let mut wrong_secret = key.clone();
    let last = if wrong_secret.pop() == Some('A') { 'B' } else { 'A' };
    wrong_secret.push(last);
    let unknown_id = format!("prk_0123456789abcdef{}", &key[20..]);
    for credentials in ["", "prk_", "prk_x_y", &key[..key.len() - 1], &wrong_secret, &unknown_id, "a.b.c", "x"] {
        world.put(PHONE, credentials, GOOD).await.problem(401, "unauthenticated");
    }
    for header in ["Basic dTpw", "Bearer", "Bearer ", "bearer\u{a0}x", &key] {
        let request = world.client.get(format!("{}{DEVICES}", world.base));
        answer(request.header("authorization", header.as_bytes())).await.problem(401, "unauthenticated");
    }
    let twice = world.client.get(format!("{}{DEVICES}", world.base)).header("authorization", format!("Bearer {key}"));
    answer(twice.header("authorization", format!("Bearer {key}"))).await.problem(401, "unauthenticated");
    assert_eq!(world.store.read(|model| model.mailboxes.len()), 0);
}

#[tokio::test]
async fn a_key_opens_what_its_role_and_tenant_open() {
    let world = start(|_| {}).await;
    let manager = world.key("acme", Role::DeviceManager).await;
    let gone = world.key("gone", Role::Admin).await;
    for (method, path) in [
        (Method::GET, "/v1/admin/mailboxes"),
        (Method::PUT, "/v1/admin/mailboxes/a@example.com"),
        (Method::GET, "/v1/admin/node"),
        (Method::GET, "/v1/admin/cluster"),
        (Method::DELETE, "/v1/admin/mailboxes/a@example.com"),
        (Method::GET, "/v1/admin/mailboxes/a@example.com/why"),
        (Method::GET, "/metrics"),
    ] {
        world.send(method.clone(), path, &manager, None).await.problem(403, "forbidden");
        world.send(method.clone(), path, "", None).await.problem(401, "unauthenticated");
        world.send(method, path, &gone, None).await.problem(401, "unauthenticated");
    }
    world.send(Method::POST, "/v1/admin/sending", &manager, Some(r#"{"allowed":false}"#)).await.problem(403, "forbidden");
    assert!(world.store.read(|model| model.sending_allowed));
}

#[tokio::test]
async fn a_foreign_domain_is_refused_before_anything_is_looked_up() {
    let world = start(|_| {}).await;
    let key = world.key("acme", Role::DeviceManager).await;
    let admin = world.key("acme", Role::Admin).await;
    world.put("/v1/mailboxes/a@example.org/devices/d", &key, GOOD).await.is(201);
    world.get("/v1/admin/node", &admin).await.is(200);
    world.store.outage(Some(postrider_actors::ports::StoreError::Unavailable("asked".into())));
    for address in ["a@evil.example", "a@sub.example.com", "a@example.com.evil.example", "a@other.example", "a@xexample.com"] {
        world.put(&format!("/v1/mailboxes/{address}/devices/d"), &key, GOOD).await.problem(403, "foreign-domain");
        world.get(&format!("/v1/mailboxes/{address}/devices"), &key).await.problem(403, "foreign-domain");
        world.send(Method::PUT, &format!("/v1/admin/mailboxes/{address}"), &admin, None).await.problem(403, "foreign-domain");
    }
}

#[tokio::test]
async fn a_revoked_key_ends_within_the_cache_time() {
    let world = start(|_| {}).await;
    let key = world.key("acme", Role::DeviceManager).await;
    world.put(PHONE, &key, GOOD).await.is(201);
    let looked_up = world.store.calls(postrider_actors::testing::memory::Call::Registry);
    world.get(DEVICES, &key).await.is(200);
    assert_eq!(
        world.store.calls(postrider_actors::testing::memory::Call::Registry),
        looked_up + 1,
        "the key itself is not looked up again"
    );
    world.store.key_revoke(&key[4..20]).await.unwrap();
    world.clock.advance(Duration::from_secs(5));
    world.get(DEVICES, &key).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn hanging_up_in_the_middle_does_not_keep_an_admin_call_out_of_the_trail() {
    let world = start(|_| {}).await;
    let admin = world.key("acme", Role::Admin).await;
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request =
        world.client.post(format!("{}/v1/admin/sending", world.base)).bearer_auth(&admin).header("content-type", "application/json");
    let call = tokio::spawn(request.body(reqwest::Body::wrap_stream(never)).send());
    while world.store.calls(postrider_actors::testing::memory::Call::Registry) < 2 {
        tokio::task::yield_now().await;
    }
    call.abort();
    while world.audit().is_empty() {
        tokio::task::yield_now().await;
    }
    let line = &world.audit()[0];
    assert_eq!((line.what.as_str(), line.status), ("POST /v1/admin/sending", 400));
    assert!(world.store.read(|model| model.sending_allowed));
}

#[tokio::test]
async fn every_admin_call_leaves_a_line_also_a_refused_one() {
    let world = start(|_| {}).await;
    let admin = world.key("acme", Role::Admin).await;
    let manager = world.key("acme", Role::DeviceManager).await;
    let path = "/v1/admin/mailboxes/ann@example.com";
    world.send(Method::PUT, path, &admin, None).await.is(201);
    world.send(Method::PUT, path, &manager, None).await.is(403);
    world.send(Method::PUT, path, "", None).await.is(401);
    world.send(Method::POST, "/v1/admin/sending", &admin, Some("{}")).await.is(400);
    world.send(Method::PUT, "/v1/admin/mailboxes/nobody", &admin, None).await.is(400);
    world.put(PHONE, &manager, GOOD).await.is(201);
    let mailbox = world.store.read(|model| *model.mailboxes.keys().next().unwrap());
    let who = |key: &str| format!("key {}", &key[4..20]);
    let line = |who: String, what: &str, object: &str, status| AuditLine {
        at: world.clock.now(),
        who,
        what: what.into(),
        object: object.into(),
        status,
        tenant: TenantId("acme".into()),
    };
    let template = "PUT /v1/admin/mailboxes/{smtp}";
    assert_eq!(
        world.audit(),
        [
            line(who(&admin), template, &format!("a…@example.com (mailbox {mailbox})"), 201),
            line(who(&manager), template, "a…@example.com", 403),
            line(who(&admin), "POST /v1/admin/sending", "", 400),
            line(who(&admin), template, "n…@", 400),
            line(who(&manager), "PUT /v1/mailboxes/{smtp}/devices/{device}", &format!("a…@example.com (mailbox {mailbox})"), 201),
        ]
    );
    for (method, path) in [(Method::GET, path.to_owned()), (Method::GET, format!("{path}/why")), (Method::DELETE, path.to_owned())] {
        assert!(world.send(method, &path, &admin, None).await.status < 300, "{path}");
        assert!(world.audit().last().unwrap().object.ends_with(&format!("(mailbox {mailbox})")), "{path}");
    }
    world.send(Method::GET, path, &admin, None).await.is(404);
    assert_eq!(world.audit().last().unwrap().object, "a…@example.com");
}

#[tokio::test]
async fn callers_without_a_key_write_no_line_however_often_they_try() {
    let world = start(|settings| settings.burst = 10_000).await;
    let admin = world.key("acme", Role::Admin).await;
    world.send(Method::PUT, "/v1/admin/mailboxes/ann@example.com", &admin, None).await.is(201);
    let written = world.store.calls(postrider_actors::testing::memory::Call::Registry);
    for _ in 0..300 {
        for path in ["/v1/admin/mailboxes/ann@example.com", "/v1/admin/node", DEVICES] {
            world.get(path, "").await.problem(401, "unauthenticated");
            world.get(path, "prk_x").await.problem(401, "unauthenticated");
        }
    }
    assert_eq!(world.audit().len(), 1, "the real line stands alone");
    assert_eq!(world.store.calls(postrider_actors::testing::memory::Call::Registry), written, "the database was not even asked");
}

#[tokio::test]
async fn changes_of_devices_with_a_key_leave_their_lines_with_them() {
    let world = start(|_| {}).await;
    let (manager, foreign) = (world.key("acme", Role::DeviceManager).await, world.key("other", Role::Admin).await);
    world.put(PHONE, &manager, GOOD).await.is(201);
    world.put(PHONE, &manager, GOOD).await.is(200);
    world.send(Method::PATCH, PHONE, &manager, Some(r#"{"pushDowngradeCutoffSec":1}"#)).await.is(204);
    world.send(Method::POST, &format!("{PHONE}/activity"), &manager, None).await.is(204);
    world.get(DEVICES, &manager).await.is(200);
    world.put("/v1/mailboxes/mallory@other.example/devices/theirs", &foreign, GOOD).await.is(201);
    world.put("/v1/mailboxes/bob@example.com/devices/phone-2", &manager, GOOD).await.is(201);
    world.send(Method::DELETE, "/v1/mailboxes/bob@example.com/devices/phone-2", &manager, None).await.is(204);
    world.send(Method::DELETE, "/v1/mailboxes/bob@example.com/devices/phone-2", &manager, None).await.is(404);
    let lines: Vec<_> =
        world.audit().into_iter().map(|line| (line.what.split(' ').next().unwrap().to_owned(), line.status, line.tenant)).collect();
    let acme = |what: &str, status| (what.to_owned(), status, TenantId("acme".into()));
    let expected = [
        acme("PUT", 201),
        acme("PUT", 200),
        acme("PATCH", 204),
        acme("POST", 204),
        ("PUT".to_owned(), 201, TenantId("other".into())),
        acme("PUT", 201),
        acme("token", 200),
        acme("DELETE", 204),
    ];
    assert_eq!(lines, expected, "another company's registration moved nothing, and a move inside is told");

    let admin = world.key("acme", Role::Admin).await;
    let page = world.get("/v1/admin/audit?limit=3&what=P", &admin).await.is(200).json();
    let statuses = |page: &Value| page["lines"].as_array().unwrap().iter().map(|line| line["status"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(statuses(&page), [201, 204, 204], "newest first, and of the own company only");
    let next = format!("/v1/admin/audit?limit=3&what=P&before={}", page["before"]);
    assert_eq!(statuses(&world.get(&next, &admin).await.is(200).json()), [200, 201]);
    for wrong in ["limit=0", "before=0", "since=yesterday", "who=", "other=1", "limit=1&limit=1", "what=%00"] {
        world.get(&format!("/v1/admin/audit?{wrong}"), &admin).await.problem(400, "invalid");
    }
    world.get("/v1/admin/audit", &manager).await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_challenge_tells_what_is_wrong_with_a_token_only_if_one_was_sent() {
    let world = start(|_| {}).await;
    let manager = world.key("acme", Role::DeviceManager).await;
    let challenge = async |credentials: &str| {
        let mut request = world.client.get(format!("{}/v1/admin/node", world.base));
        if !credentials.is_empty() {
            request = request.header("authorization", credentials);
        }
        let answer = request.send().await.unwrap();
        answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned())
    };
    for (credentials, wanted) in [
        ("".to_owned(), "Bearer"),
        ("Basic dTpw".to_owned(), "Bearer"),
        ("Bearer prk_x".to_owned(), "Bearer error=\"invalid_token\""),
        (format!("Bearer {manager}"), "Bearer error=\"insufficient_scope\""),
    ] {
        assert_eq!(challenge(&credentials).await.as_deref(), Some(wanted), "{credentials}");
    }
}

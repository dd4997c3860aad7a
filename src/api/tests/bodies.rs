//! Every field of every route with the wrong type, size and encoding: a problem that names it, never a mistake of ours, never an echo.

use super::*;

/// What must not come back in an answer.
const HUSH: &str = "hush4711";

/// JSON values of every type, and some at the edge of each, but for one that fits.
fn wrong_values(fit: &str) -> Vec<String> {
    let mut all: Vec<String> = [
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "1e999",
        "18446744073709551616",
        "\"\"",
        "[]",
        "{}",
        "[[[[]]]]",
        "\"a b\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"ü\"",
    ]
    .map(str::to_owned)
    .to_vec();
    all.push(format!("\"{HUSH} {}\"", "x".repeat(5_000)));
    all.push(format!("{{\"{HUSH}\":1}}"));
    all.push(format!("[\"{HUSH}\"]"));
    all.retain(|value| value != fit);
    all
}

#[track_caller]
fn refused(answer: &Answer, about: &str) {
    assert!((400..500).contains(&answer.status), "{about}: {answer:?}");
    assert_eq!(answer.kind, "application/problem+json", "{about}: {answer:?}");
    assert!(!answer.text.contains(HUSH), "{about}: {answer:?}");
}

#[tokio::test]
async fn every_field_of_every_body_refuses_what_it_must_not_be() {
    let world = start(|settings| settings.burst = 10_000).await;
    let admin = world.key("acme", Role::Admin).await;
    world.put(PHONE, &admin, GOOD).await.is(201);
    let register = [
        ("provider", "\"apns\""),
        ("app", "\"a\""),
        ("token", "\"00ff\""),
        ("environment", "\"sandbox\""),
        ("pushDowngradeCutoffSec", "5"),
    ];
    let routes = [
        (Method::PUT, PHONE, &register[..]),
        (Method::PATCH, PHONE, &[("pushDowngradeCutoffSec", "5")]),
        (Method::POST, "/v1/admin/sending", &[("allowed", "true")]),
    ];
    let mut tried = 0;
    for (method, path, fields) in routes {
        for (field, _) in fields {
            let fits = match *field {
                "pushDowngradeCutoffSec" => "0",
                "environment" => "null",
                "allowed" => "true",
                _ => "",
            };
            for value in wrong_values(fits) {
                let members = fields.iter().map(|(name, good)| format!("\"{name}\":{}", if name == field { value.as_str() } else { good }));
                let body = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
                refused(&world.send(method.clone(), path, &admin, Some(&body)).await, &format!("{method} {path} {field} {value:.40}"));
                tried += 1;
            }
            let doubled =
                format!("{{{0},{0}}}", fields.iter().map(|(name, good)| format!("\"{name}\":{good}")).collect::<Vec<_>>().join(","));
            refused(&world.send(method.clone(), path, &admin, Some(&doubled)).await, "a field twice");
        }
    }
    assert!(tried > 100, "{tried}");
    assert!(world.store.read(|model| model.sending_allowed), "nothing of it was carried out");
    let listed = world.get(DEVICES, &admin).await.json();
    assert_eq!(listed["devices"][0]["pushDowngradeCutoffSec"], 43_200);
}

#[tokio::test]
async fn the_wrong_field_is_named() {
    let world = start(|_| {}).await;
    let key = world.key("acme", Role::DeviceManager).await;
    for (body, field) in [
        (r#"{"provider":"x","app":"a","token":"00"}"#, Some("provider")),
        (r#"{"provider":"apns","environment":"x","app":"a","token":"00"}"#, Some("environment")),
        (r#"{"provider":"fcm","environment":"production","app":"a","token":"00"}"#, Some("environment")),
        (r#"{"provider":"apns","app":"","token":"00"}"#, Some("app")),
        (r#"{"provider":"apns","app":"a","token":"zz"}"#, Some("token")),
        (r#"{"provider":"apns","app":"a","token":"00","pushDowngradeCutoffSec":259201}"#, Some("pushDowngradeCutoffSec")),
        (r#"{"provider":"apns","app":"a","token":"00","cutoff":1}"#, Some("cutoff")),
        (r#"{"provider":"apns","app":"a"}"#, None),
        ("[]", None),
    ] {
        let answer = world.put(PHONE, &key, body).await;
        assert_eq!(answer.problem(400, "invalid").json().get("field").and_then(Value::as_str), field, "{body}: {answer:?}");
    }
    let cutoff = world.put(PHONE, &key, r#"{"provider":"apns","app":"a","token":"00","pushDowngradeCutoffSec":259201}"#).await;
    assert!(cutoff.text.contains("from 0 to 259200"), "{cutoff:?}");
    for edge in [0, 259_200] {
        let body = format!(r#"{{"provider":"apns","app":"a","token":"00","pushDowngradeCutoffSec":{edge}}}"#);
        assert!(world.put(PHONE, &key, &body).await.status < 300);
    }
}

#[tokio::test]
async fn bodies_that_are_not_json_by_content_type_or_content_are_refused() {
    let world = start(|_| {}).await;
    let key = world.key("acme", Role::DeviceManager).await;
    let put = |kind: &'static str, body: Vec<u8>| {
        let request = world.client.put(format!("{}{PHONE}", world.base)).bearer_auth(&key).body(body);
        answer(if kind.is_empty() { request } else { request.header("content-type", kind) })
    };
    for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/json-seq", "\u{a0}"] {
        put(kind, GOOD.into()).await.problem(415, "media-type");
    }
    let zipped = world.client.put(format!("{}{PHONE}", world.base)).bearer_auth(&key).header("content-type", "application/json");
    answer(zipped.header("content-encoding", "gzip").body(GOOD)).await.problem(415, "media-type");
    let utf16: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = [b"{\"app\":".to_vec(), b"[".repeat(10_000)].concat();
    for body in [
        Vec::new(),
        vec![0; 100],
        vec![0xff; 100],
        utf16,
        deep,
        b"{".to_vec(),
        b"{}{}".to_vec(),
        GOOD.as_bytes()[..20].to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
    ] {
        let answer = put("application/json", body).await;
        answer.problem(400, "invalid");
    }
    put("Application/JSON; charset=utf-8", GOOD.into()).await.is(201);
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused_announced_or_not() {
    let world = start(|_| {}).await;
    let key = world.key("acme", Role::DeviceManager).await;
    let padded = |bytes: usize| format!("{GOOD}{}", " ".repeat(bytes - GOOD.len()));
    world.put(PHONE, &key, &padded(16 * 1024)).await.is(201);
    world.put(PHONE, &key, &padded(16 * 1024 + 1)).await.problem(413, "too-large");
    world.send(Method::GET, DEVICES, &key, Some(&padded(20_000))).await.problem(413, "too-large");
    let pieces = futures_util::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1_024])));
    let chunked = world.client.put(format!("{}{PHONE}", world.base)).bearer_auth(&key).header("content-type", "application/json");
    answer(chunked.body(reqwest::Body::wrap_stream(pieces))).await.problem(413, "too-large");
}

#[tokio::test]
async fn paths_and_queries_refuse_what_they_must_not_be() {
    let world = start(|_| {}).await;
    let admin = world.key("acme", Role::Admin).await;
    let long = format!("{}@example.com", "a".repeat(400));
    for address in [
        "ann",
        "@",
        "a@",
        "@example.com",
        "a@b@example.com",
        "a%20b@example.com",
        "a%00@example.com",
        "a%0d%0a@example.com",
        "%ff@example.com",
        "a%2fb@example.com",
        "a@exa%e2%80%8bmple.com",
        &long,
    ] {
        for path in [
            format!("/v1/mailboxes/{address}/devices"),
            format!("/v1/admin/mailboxes/{address}"),
            format!("/v1/admin/mailboxes/{address}/why"),
        ] {
            world.get(&path, &admin).await.problem(400, "invalid");
        }
        world.put(&format!("/v1/mailboxes/{address}/devices/d"), &admin, GOOD).await.problem(400, "invalid");
    }
    for device in ["a%20b", "%00", "%ff", "a%2fb", "%e2%80%8b", "%2e%2e%2e", "ü", &"d".repeat(129)] {
        let path = format!("{DEVICES}/{device}");
        world.put(&path, &admin, GOOD).await.problem(400, "invalid");
        world.send(Method::DELETE, &path, &admin, None).await.problem(400, "invalid");
        world.send(Method::POST, &format!("{path}/activity"), &admin, None).await.problem(400, "invalid");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=99999999999999999999",
        "limit=",
        "limit=1&limit=2",
        "after=",
        "after=x",
        "after=%ff",
        "x=1",
        "=",
        "&&&=&",
    ] {
        world.get(&format!("/v1/admin/mailboxes?{query}"), &admin).await.problem(400, "invalid");
    }
    assert_eq!(world.store.read(|model| model.mailboxes.len()), 0);
}

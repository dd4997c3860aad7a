//! What is done on the command line, directly in the database, stands in the audit trail.

mod node;

use node::World;
use node::process::command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_made_and_revoked_and_sending_paused_on_the_command_line_leave_audit_lines() {
    let world = World::start("").await;
    let run = |words: &[&str]| {
        let answer = command(words).arg("--config").arg(&world.config).output().expect("it starts");
        (answer.status.code(), String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    };
    let (made, key) = run(&["key", "create", "--role", "admin"]);
    let id = key.split('_').nth(1).unwrap_or_default().to_owned();
    assert_eq!((made, id.len()), (Some(0), 16));
    assert_eq!(run(&["key", "list"]).0, Some(0));
    assert_eq!(run(&["sending", "pause"]).0, Some(0));
    assert_eq!(run(&["key", "revoke", &id]).0, Some(0));
    assert_eq!(run(&["key", "revoke", &key]).0, Some(1), "its whole text is not its public part");
    assert_eq!(run(&["sending", "allow"]).0, Some(0));

    let database = world.open_database().await;
    let lines = sqlx::query_as::<_, (String, String, String, i64)>("SELECT who, what, object, status FROM audit ORDER BY id");
    let lines = lines.fetch_all(&database).await.expect("the trail");
    let line = |what: &str, object: &str, status| ("command line".to_owned(), what.to_owned(), object.to_owned(), status);
    let of_key = format!("key {id}");
    assert_eq!(
        lines,
        [
            line("key create", &of_key, 200),
            line("sending pause", "", 200),
            line("key revoke", &of_key, 200),
            line("key revoke", &of_key, 404),
            line("sending allow", "", 200),
        ],
        "a key's secret part is kept nowhere"
    );
}

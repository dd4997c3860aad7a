//! What was committed about mailboxes, by whom and in which order: a table that triggers of the test fill, and the judgement of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::postgres::Server;

/// The product has no such triggers. Within one mailbox the numbers grow in the order of commits: its row is locked from the change to the commit.
const TRIGGERS: &str = "
CREATE TABLE test_authority (
    id bigint GENERATED ALWAYS AS IDENTITY, mailbox_id bigint NOT NULL, what text NOT NULL, fence bigint NOT NULL, session bigint,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION test_mailbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO test_authority (mailbox_id, what, fence, session) VALUES (new.mailbox_id,
        CASE WHEN (new.fence, new.owner_session) IS DISTINCT FROM (old.fence, old.owner_session) THEN 'stamp' ELSE 'commit' END,
        new.fence, new.owner_session);
    RETURN NULL;
END $$;
CREATE TRIGGER test_mailbox AFTER UPDATE ON mailbox FOR EACH ROW EXECUTE FUNCTION test_mailbox();
CREATE FUNCTION test_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO test_authority (mailbox_id, what, fence) VALUES (new.mailbox_id, 'row', new.fence);
    RETURN NULL;
END $$;
CREATE TRIGGER test_delivery AFTER INSERT ON delivery FOR EACH ROW EXECUTE FUNCTION test_delivery();
";

/// One committed change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub mailbox: i64,
    pub what: String,
    pub fence: i64,
    /// None for a delivery row.
    pub session: Option<i64>,
}

/// Begins to note.
pub async fn install(server: &Server, database: &str) {
    server.sql(database, TRIGGERS).await;
}

/// Everything noted so far, in order.
pub async fn lines(server: &Server, database: &str) -> Vec<Line> {
    let mut connection = server.connect(database).await;
    let rows: Vec<(i64, String, i64, Option<i64>)> =
        sqlx::query_as("SELECT mailbox_id, what, fence, session FROM test_authority ORDER BY id")
            .fetch_all(&mut connection)
            .await
            .expect("the table is there");
    rows.into_iter().map(|(mailbox, what, fence, session)| Line { mailbox, what, fence, session }).collect()
}

/// What contradicts I1: a fence that decreases, a write under another authority than the last stamp's, a fence that two sessions had.
pub fn violations(lines: &[Line]) -> Vec<String> {
    let mut last: BTreeMap<i64, (i64, Option<i64>)> = BTreeMap::new();
    let mut sessions: BTreeMap<(i64, i64), BTreeSet<i64>> = BTreeMap::new();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Line { mailbox, fence, session, .. } = line;
        let before = last.get(mailbox).copied();
        let stamped = before.map(|(fence, _)| fence);
        match line.what.as_str() {
            "row" if stamped.is_some_and(|stamped| stamped != *fence) => found.push(format!("{number}: {line:?} after {before:?}")),
            "commit" if before.is_some_and(|before| before != (*fence, *session)) => {
                found.push(format!("{number}: {line:?} after {before:?}"));
            }
            "stamp" if stamped.is_some_and(|stamped| stamped > *fence) => found.push(format!("{number}: {line:?} after {before:?}")),
            _ => {}
        }
        if let Some(session) = session {
            last.insert(*mailbox, (*fence, Some(*session)));
            sessions.entry((*mailbox, *fence)).or_default().insert(*session);
        }
    }
    let shared = sessions.into_iter().filter(|(_, sessions)| sessions.len() > 1);
    found.extend(shared.map(|((mailbox, fence), sessions)| format!("mailbox {mailbox}: fence {fence} of {sessions:?}")));
    found
}

#[test]
fn a_stale_write_and_a_shared_fence_are_found() {
    let line = |what: &str, fence, session| Line { mailbox: 1, what: what.into(), fence, session };
    let good =
        [line("stamp", 1, Some(7)), line("commit", 1, Some(7)), line("row", 1, None), line("stamp", 2, Some(8)), line("row", 2, None)];
    assert_eq!(violations(&good), Vec::<String>::new());
    for stale in
        [line("commit", 1, Some(7)), line("row", 1, None), line("stamp", 1, Some(7)), line("commit", 2, Some(7)), line("stamp", 2, Some(9))]
    {
        let lines = [&good[..], std::slice::from_ref(&stale)].concat();
        assert!(!violations(&lines).is_empty(), "{stale:?}");
    }
}

//! `cluster log`: the assignment log, shards that moved together as one line.

use postrider_actors::ids::NodeId;
use postrider_actors::ports::ClusterStore;
use postrider_actors::ports::cluster_store::AssignLine;
use serde_json::{Value, json};

use super::super::exit::Exit;
use super::super::output::{self, OutputArgs};

/// Lines read for each change asked for, in the first try.
const LINES_PER_CHANGE: u32 = 64;
/// Lines read at most: a hundred changes of all shards.
const MOST_LINES: u32 = 400_000;
/// Shards named in a line for people.
const NAMED: usize = 4;

/// Shards that changed hands together, from one node to another, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    first: AssignLine,
    /// Empty: all shards.
    shards: Vec<u16>,
}

/// Shows the last `limit` changes.
pub(super) async fn show(store: &dyn ClusterStore, args: OutputArgs, limit: u32) -> anyhow::Result<Exit> {
    let mut lines = limit.saturating_mul(LINES_PER_CHANGE).min(MOST_LINES);
    let changes = loop {
        let read = store.assign_log(lines).await?;
        let all = u32::try_from(read.len()).is_ok_and(|read| read < lines);
        let mut changes = fold(read);
        if !all && lines < MOST_LINES {
            // The oldest may go on in what was not read.
            changes.pop();
        }
        if all || changes.len() >= limit as usize || lines == MOST_LINES {
            changes.truncate(limit as usize);
            break changes;
        }
        lines = lines.saturating_mul(8).min(MOST_LINES);
    };
    let items: Vec<Value> = changes.iter().map(|change| item(change, args.json)).collect();
    let columns = [
        ("when", "/at"),
        ("assignment", "/assignment"),
        ("reason", "/reason"),
        ("from", "/from"),
        ("to", "/to"),
        ("count", "/count"),
        ("shards", "/shards"),
        ("by", "/by"),
    ];
    output::list(args, &json!({ "changes": items }), &items, &columns, "nothing was assigned yet");
    Ok(Exit::Done)
}

/// Lines that stand side by side and tell the same of other shards become one.
fn fold(lines: Vec<AssignLine>) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for line in lines {
        let shard = line.shard.map(|shard| shard.0);
        let mut same = changes.iter_mut().rev().take_while(|change| change.first.ver == line.ver);
        match (same.find(|change| together(&change.first, &line)), shard) {
            (Some(change), Some(shard)) if !change.shards.is_empty() => change.shards.push(shard),
            _ => changes.push(Change { first: line, shards: shard.into_iter().collect() }),
        }
    }
    changes
}

fn together(a: &AssignLine, b: &AssignLine) -> bool {
    (a.ver, &a.by, &a.reason, &a.from, &a.to) == (b.ver, &b.by, &b.reason, &b.from, &b.to)
}

fn item(change: &Change, for_programs: bool) -> Value {
    let AssignLine { ver, by, reason, from, to, epoch, at, .. } = &change.first;
    let name = |node: &Option<NodeId>| node.as_ref().map(ToString::to_string);
    let (count, shards): (Value, Value) = match (&change.shards[..], for_programs) {
        ([], _) => (Value::Null, "all".into()),
        (shards, true) => (shards.len().into(), shards.into()),
        (shards, false) => (shards.len().into(), named(shards).into()),
    };
    json!({
        "at": crate::api::rfc3339(*at), "assignment": ver, "reason": reason, "from": name(from), "to": name(to),
        "count": count, "shards": shards, "by": name(by), "epoch": epoch.0.to_string(),
    })
}

/// The first few of them.
fn named(shards: &[u16]) -> String {
    let first: Vec<String> = shards.iter().take(NAMED).map(u16::to_string).collect();
    let more = if shards.len() > NAMED { " …" } else { "" };
    format!("{}{more}", first.join(" "))
}

#[cfg(test)]
mod tests {
    use postrider_actors::ids::{Fence, ShardId};
    use postrider_actors::time::Timestamp;

    use super::*;

    fn line(ver: i64, shard: Option<u16>, to: &str) -> AssignLine {
        AssignLine {
            ver,
            by: Some(NodeId("a".into())),
            reason: "failed".into(),
            shard: shard.map(ShardId),
            from: None,
            to: Some(NodeId(to.into())),
            epoch: Fence(ver),
            at: Timestamp(ver),
        }
    }

    #[test]
    fn shards_that_moved_together_are_one_change_though_their_lines_are_mixed() {
        let lines = vec![line(9, Some(0), "b"), line(9, Some(1), "c"), line(9, Some(2), "b"), line(8, Some(2), "b"), line(7, None, "b")];
        let folded: Vec<(i64, String, Vec<u16>)> =
            fold(lines).into_iter().map(|c| (c.first.ver, c.first.to.unwrap().to_string(), c.shards)).collect();
        let wanted = [(9, "b", vec![0, 2]), (9, "c", vec![1]), (8, "b", vec![2]), (7, "b", vec![])];
        assert_eq!(folded, wanted.map(|(ver, to, shards)| (ver, to.to_owned(), shards)));
    }

    #[test]
    fn people_see_the_first_shards_and_programs_all() {
        let change = Change { first: line(3, Some(0), "b"), shards: vec![0, 1, 2, 3, 4] };
        assert_eq!(item(&change, false)["shards"], "0 1 2 3 …");
        assert_eq!(item(&change, true)["shards"], json!([0, 1, 2, 3, 4]));
        assert_eq!(item(&change, true)["count"], 5);
    }
}

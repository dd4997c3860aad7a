//! `cluster status`: the cluster on one screen.

use std::time::Duration;

use postrider_actors::ports::cluster_store::Depth;
use postrider_actors::ports::{ClusterStore, StoreError};

use super::super::exit::Exit;
use super::super::output::{self, OutputArgs};
use super::painter::{Look, Painter, Word};
use crate::api::cluster::{Cluster, ClusterNode};

/// From here on a node is shown as filling up.
const FILLING_PERCENT: u64 = 80;
/// From here on it is full.
const FULL_PERCENT: u64 = 100;
/// A heartbeat older than this is shown as late: a healthy node beats once a second.
const LATE_SEC: f64 = 3.0;

/// Shows it once.
pub(super) async fn once(store: &dyn ClusterStore, args: OutputArgs) -> anyhow::Result<Exit> {
    let cluster = look(store).await?;
    if args.json {
        output::json(&serde_json::to_value(&cluster)?);
    } else {
        Painter::for_output().print(&screen(&cluster, Painter::for_output()), false);
    }
    Ok(Exit::Done)
}

/// Shows it until the reader goes away or Ctrl-C is pressed. A database that does not answer for a while is said, and asked again.
pub(super) async fn watch(store: &dyn ClusterStore, args: OutputArgs, every: Duration) -> anyhow::Result<Exit> {
    let painter = Painter::for_output();
    if !args.json {
        painter.clear();
    }
    let mut looks = tokio::time::interval(every);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut shown: Vec<String> = Vec::new();
    loop {
        tokio::select! {
            _ = &mut interrupted => return Ok(Exit::Done),
            _ = looks.tick() => {}
        }
        let looked = tokio::select! {
            _ = &mut interrupted => return Ok(Exit::Done),
            looked = look(store) => looked,
        };
        let goes_on = match looked {
            Ok(cluster) if args.json => painter.print(&[serde_json::to_string(&cluster)?], false),
            Ok(cluster) => {
                shown = screen(&cluster, painter);
                painter.print(&shown, true)
            }
            Err(StoreError::Unusable(why)) => return Err(StoreError::Unusable(why).into()),
            Err(error) if args.json => painter.print(&[serde_json::json!({ "error": error.to_string() }).to_string()], false),
            Err(error) => {
                let told =
                    painter.line(&[Word::new(format!("! the database does not answer ({error}); this was the last look"), Look::Alarm)]);
                let lines: Vec<String> = std::iter::once(told).chain(shown.iter().cloned()).collect();
                painter.print(&lines, true)
            }
        };
        if !goes_on {
            return Ok(Exit::Done);
        }
    }
}

async fn look(store: &dyn ClusterStore) -> Result<Cluster, StoreError> {
    Ok(Cluster::of(&store.view_for_people(Depth::Shards).await?))
}

/// All of it as lines.
fn screen(cluster: &Cluster, painter: Painter) -> Vec<String> {
    let mut lines = vec![painter.line(&summary(cluster)), painter.line(&load(cluster)), String::new()];
    lines.extend(painter.columns(&nodes(cluster)));
    if !cluster.moves.is_empty() {
        lines.push(String::new());
        lines.extend(painter.columns(&moves(cluster)));
    }
    let warnings = warnings(cluster);
    if !warnings.is_empty() {
        lines.push(String::new());
        lines.extend(warnings.into_iter().map(|(text, look)| painter.line(&[Word::new(format!("! {text}"), look)])));
    }
    lines
}

fn summary(cluster: &Cluster) -> Vec<Word> {
    let sending = if cluster.sending_allowed { Word::from("sending allowed") } else { Word::new("SENDING PAUSED", Look::Alarm) };
    vec![
        Word::new(format!("database {}", cluster.system_id), Look::Heading),
        format!("timeline {}", cluster.timeline).into(),
        format!("assignment {}", cluster.assignment).into(),
        format!("leader {}", cluster.leader.as_deref().unwrap_or("none")).into(),
        sending,
    ]
}

fn load(cluster: &Cluster) -> Vec<Word> {
    let orphaned = format!("orphaned {}", cluster.orphaned);
    let moving: u32 = cluster.moves.iter().map(|way| way.shards).sum();
    vec![
        format!("users {} of {}", cluster.users, cluster.capacity).into(),
        format!("shards {}", cluster.shards).into(),
        Word::new(orphaned, if cluster.orphaned > 0 { Look::Alarm } else { Look::Plain }),
        format!("moving {moving}").into(),
    ]
}

fn nodes(cluster: &Cluster) -> Vec<Vec<Word>> {
    let heading = ["NODE", "STATE", "USERS/CAPACITY", "%", "SHARDS", "HEARTBEAT", "LEADER", "FEATURES", "VERSION"];
    let mut rows = vec![heading.iter().map(|title| Word::new(*title, Look::Heading)).collect()];
    rows.extend(cluster.nodes.iter().map(|node| {
        vec![
            node.name.clone().into(),
            Word::new(node.state, state_look(node.state)),
            format!("{}/{}", node.users, node.capacity).into(),
            Word::new(node.percent.to_string(), fill_look(node)),
            node.shards.to_string().into(),
            Word::new(
                age(node.heartbeat_age_sec),
                if acts(node) && node.heartbeat_age_sec > LATE_SEC { Look::Warning } else { Look::Plain },
            ),
            if node.leader { Word::new("leader", Look::Heading) } else { "-".into() },
            node.features.clone().into(),
            node.version.clone().into(),
        ]
    }));
    rows
}

fn moves(cluster: &Cluster) -> Vec<Vec<Word>> {
    let heading = ["MOVING FROM", "TO", "SHARDS", "USERS", "READY"];
    let mut rows = vec![heading.iter().map(|title| Word::new(*title, Look::Heading)).collect()];
    let name = |name: &Option<String>| Word::from(name.as_deref().unwrap_or("-"));
    rows.extend(cluster.moves.iter().map(|way| {
        vec![name(&way.from), name(&way.to), way.shards.to_string().into(), way.users.to_string().into(), way.ready.to_string().into()]
    }));
    rows
}

/// What wants a person.
fn warnings(cluster: &Cluster) -> Vec<(String, Look)> {
    let mut found = Vec::new();
    if !cluster.sending_allowed {
        found.push(("sending is paused on all nodes: postrider sending allow".to_owned(), Look::Alarm));
    }
    if cluster.orphaned > 0 {
        let (shards, users) = (cluster.orphaned, cluster.orphaned_users);
        found.push((format!("{shards} shards with {users} users have no owner: nobody announces their mail"), Look::Alarm));
    }
    for node in cluster.nodes.iter().filter(|node| acts(node)) {
        if node.percent >= FULL_PERCENT {
            found.push((format!("{} is full ({} %): add a node", node.name, node.percent), Look::Alarm));
        } else if node.percent >= FILLING_PERCENT {
            found.push((format!("{} is filling up ({} %)", node.name, node.percent), Look::Warning));
        }
    }
    found
}

fn acts(node: &ClusterNode) -> bool {
    matches!(node.state, "JOINING" | "GOOD" | "DRAINING")
}

fn state_look(state: &str) -> Look {
    match state {
        "GOOD" => Look::Well,
        "JOINING" => Look::Passing,
        "DRAINING" => Look::Warning,
        "BAD" => Look::Alarm,
        _ => Look::Plain,
    }
}

fn fill_look(node: &ClusterNode) -> Look {
    match node.percent {
        FULL_PERCENT.. => Look::Alarm,
        FILLING_PERCENT.. => Look::Warning,
        _ => Look::Plain,
    }
}

/// An age for people.
fn age(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.1} s ago"),
        ..3_600.0 => format!("{:.0} min ago", seconds / 60.0),
        ..86_400.0 => format!("{:.0} h ago", seconds / 3_600.0),
        _ => format!("{:.0} days ago", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cluster::Move;

    fn node(name: &str, state: &'static str, users: u64) -> ClusterNode {
        ClusterNode {
            name: name.into(),
            state,
            leader: name == "node-2",
            users,
            capacity: 1_000,
            percent: users / 10,
            shards: 3,
            heartbeat_age_sec: 0.4,
            features: "ews".into(),
            version: "1.0".into(),
            address: String::new(),
            session: "1".into(),
        }
    }

    fn cluster() -> Cluster {
        Cluster {
            system_id: "7".into(),
            timeline: 2,
            assignment: 9,
            leader: Some("node-2".into()),
            sending_allowed: false,
            now: String::new(),
            users: 1_900,
            capacity: 3_000,
            shards: 9,
            orphaned: 1,
            orphaned_users: 5,
            nodes: vec![node("node-1", "GOOD", 850), node("node-2", "GOOD", 1_050), node("node-3", "BAD", 0)],
            moves: vec![Move { from: Some("node-2".into()), to: Some("node-1".into()), shards: 2, users: 20, ready: 1 }],
        }
    }

    #[test]
    fn what_wants_a_person_is_said_below_the_table() {
        let text = screen(&cluster(), Painter::plain()).join("\n");
        for wanted in [
            "database 7  timeline 2  assignment 9  leader node-2  SENDING PAUSED",
            "users 1900 of 3000  shards 9  orphaned 1  moving 2",
            "node-1  GOOD   850/1000        85   3       0.4 s ago  -       ews       1.0",
            "node-2  GOOD   1050/1000       105  3       0.4 s ago  leader  ews       1.0",
            "node-2       node-1  2       20     1",
            "! sending is paused",
            "! 1 shards with 5 users have no owner",
            "! node-1 is filling up (85 %)",
            "! node-2 is full (105 %)",
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
        assert!(!text.contains("node-3 is"), "a dead node is not full\n{text}");
    }

    #[test]
    fn ages_are_short() {
        assert_eq!([1.25, 90.0, 7_300.0, 200_000.0].map(age), ["1.2 s ago", "2 min ago", "2 h ago", "2 days ago"]);
    }
}

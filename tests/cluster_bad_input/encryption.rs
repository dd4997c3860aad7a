//! An encrypted way to the database, with an authority of the company's own: who is not the host that the URL names gets no password and no statement.

use std::time::Instant;

use postrider_loadtest::tls::Authority;

use crate::cluster::{Cluster, LONG, Plan, Standby};
use crate::node::process::run;
use crate::nodes;

/// Replaces the way to the database by one to the server itself.
fn encrypted(cluster: &Cluster, name: &str, host: &str, roots: &str) -> std::path::PathBuf {
    let file = cluster.variant(0, &format!("{name}-ca"), "", "");
    std::fs::write(&file, roots).expect("the folder can be written");
    let to = format!("{host}:{}", cluster.server().port());
    let config = cluster.variant(0, name, &format!("127.0.0.1:{}", cluster.nodes[0].database[0].port()), &to);
    let text = std::fs::read_to_string(&config).expect("it was written");
    let mode = format!("sslmode=verify-full&sslrootcert={}", file.display());
    std::fs::write(&config, text.replace("sslmode=disable", &mode)).expect("the folder can be written");
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_server_that_the_url_names_and_the_authority_signed_is_believed() {
    let cluster = nodes(1, Standby::None).await;
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (certificate, key) = ours.issue_pem(&["localhost"]);
    let believed = encrypted(&cluster, "believed", "localhost", &ours.ca_pem());
    let status = |config: &std::path::Path| {
        let output = run(&["cluster", "status", "--config", &config.display().to_string()]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = status(&believed);
    assert!(code == Some(1) && said.contains("sslmode"), "the server cannot encrypt: {code:?} {said}");
    cluster.server().encrypt(&certificate, &key).await;
    assert_eq!(status(&believed), (Some(0), String::new()));
    for (name, host, roots) in [("stranger", "localhost", theirs.ca_pem()), ("elsewhere", "127.0.0.1", ours.ca_pem())] {
        let (code, said) = status(&encrypted(&cluster, name, host, &roots));
        assert!(code == Some(1) && said.contains("check sslmode and sslrootcert"), "{name}: {code:?} {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_works_over_encrypted_connections_alone() {
    let plan = Plan { nodes: 1, users: 10, core: "", more: "", standby: Standby::None };
    let mut cluster = Cluster::empty(&plan).await;
    let authority = Authority::new();
    let (certificate, key) = authority.issue_pem(&["localhost"]);
    cluster.server().encrypt(&certificate, &key).await;
    cluster.nodes[0].config = encrypted(&cluster, "encrypted", "localhost", &authority.ca_pem());
    cluster.up(0).await;
    cluster.staff(plan.users).await;
    let since = Instant::now();
    cluster.fleet.users.iter().for_each(|user| cluster.deliver(user));
    assert!(cluster.pushed_again(&cluster.fleet.users, since, LONG).await, "{}", cluster.logs());
    let connections = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'postrider' AND ssl";
    assert!(cluster.number(connections).await > 1);
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'postrider' AND NOT ssl";
    assert_eq!(cluster.number(plain).await, 0);
    let verdict = cluster.verdict().await;
    assert!(verdict.is_clean() && verdict.doubled == 0, "{verdict}\n{}", cluster.logs());
}

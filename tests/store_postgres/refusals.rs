//! Databases that cannot be used: each is refused with what to do about it, and nothing is acted on.

use postrider::store::PostgresStore;
use postrider::store::postgres::Options;
use postrider_actors::ids::{NodeId, Session};
use postrider_actors::ports::{ClusterStore as _, StoreError};
use postrider_actors::testing::conformance::members::{lead, member, named, plan, view};
use sqlx::Row as _;

use crate::fixture::{open, options, url};
use crate::postgres::{LOCKED_ROLE, PASSWORD, Server};

async fn refused(text: &str, options: Options, says: &str) -> StoreError {
    match PostgresStore::open(&url(text), options).await {
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains(says) && !said.contains("wrong secret") && !said.contains(PASSWORD), "{said}");
            error
        }
        Ok(_) => panic!("the database was taken"),
    }
}

fn older() -> Options {
    Options { migrate: false, ..options() }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_a_right_one_taken() {
    let server = Server::shared();
    let database = server.database().await;
    server.lock_role().await;
    server.sql(&database.name, &format!("ALTER DATABASE {} OWNER TO {LOCKED_ROLE}", database.name)).await;
    let text = |password: &str| format!("postgres://{LOCKED_ROLE}:{password}@127.0.0.1:{}/{}", server.port(), database.name);
    let error = refused(&text("wrong%20secret"), options(), "check user and password").await;
    assert!(matches!(error, StoreError::Unusable(_)));
    let store = PostgresStore::open(&url(&text(&PASSWORD.replace(' ', "%20"))), options()).await.unwrap();
    member(&store, "a", 1).await;
    assert!(
        !format!("{store:?} {}", store.name()).contains("horse"),
        "an owner without further rights is enough, and nothing shows its password"
    );
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told() {
    let error = refused(&Server::shared().url("nothing"), options(), "CREATE DATABASE").await;
    assert!(matches!(error, StoreError::Unusable(_)));
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_told_by_name() {
    let error = refused("postgres://postgres@127.0.0.1:1/none", options(), "127.0.0.1:1").await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_read_replica_alone_is_refused() {
    let server = Server::new();
    let database = server.database().await;
    open(&database).await.close().await;
    let standby = server.standby("standby");
    let error = refused(&standby.url(&database.name), older(), "read replica").await;
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    server.sql("postgres", &format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name)).await;
    refused(&database.url, older(), "takes no writes").await;
}

#[tokio::test]
async fn an_older_schema_is_refused_where_it_may_not_be_migrated() {
    let database = Server::shared().database().await;
    refused(&database.url, older(), "`migrate` command").await;
    let store = open(&database).await;
    assert_eq!((store.schema_version().await.unwrap(), store.migrate().await.unwrap()), (2, 0));
    PostgresStore::open(&url(&database.url), older()).await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_unless_it_says_that_we_understand_it() {
    let server = Server::shared();
    let database = server.database().await;
    open(&database).await.close().await;
    server.sql(&database.name, "UPDATE schema_version SET version = 9, understood_from = 1").await;
    PostgresStore::open(&url(&database.url), older()).await.unwrap();
    server.sql(&database.name, "UPDATE schema_version SET understood_from = 9").await;
    refused(&database.url, older(), "newer version").await;
    refused(&database.url, options(), "newer version").await;
}

#[tokio::test]
async fn another_program_s_tables_are_left_alone() {
    let server = Server::shared();
    let database = server.database().await;
    server.sql(&database.name, "CREATE TABLE theirs (a int)").await;
    refused(&database.url, options(), "another program").await;
}

#[tokio::test]
async fn nodes_that_migrate_at_once_do_it_once() {
    let database = Server::shared().database().await;
    let (one, two, three) = tokio::join!(open(&database), open(&database), open(&database));
    for store in [one, two, three] {
        assert_eq!(store.schema_version().await.unwrap(), 2);
    }
}

#[tokio::test]
async fn another_database_is_worked_with_only_when_an_operator_accepts_it() {
    let server = Server::shared();
    for change in ["UPDATE cluster SET system_id = '1'", "UPDATE cluster SET tli = 9"] {
        let database = server.database().await;
        let store = open(&database).await;
        member(&store, "a", 1).await;
        lead(&store, 1).await;
        let seen = view(&store).await;
        server.sql(&database.name, change).await;
        let told = |error: StoreError| matches!(&error, StoreError::Unusable(text) if text.contains("accept-database"));
        assert!(told(store.check_accepted().await.unwrap_err()));
        assert!(told(store.join(&named("b", 2)).await.unwrap_err()));
        assert!(told(store.beat(&NodeId("a".into()), Session(1), 0).await.unwrap_err()));
        assert!(told(store.plan_commit(&plan(&seen, 1)).await.unwrap_err()));
        assert_eq!(view(&store).await.nodes[0].hb_seq, 0, "nothing was acted on");
        assert_eq!(store.accept_database().await.unwrap(), seen.history);
        assert!(!view(&store).await.sending_allowed, "sending waits to be allowed");
        store.beat(&NodeId("a".into()), Session(1), 0).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn no_index_is_on_what_a_heartbeat_changes() {
    let server = Server::shared();
    let database = server.database().await;
    open(&database).await.close().await;
    let text = "SELECT string_agg(DISTINCT attname, ',') FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey) \
                WHERE indrelid = 'node'::regclass";
    let mut connection = server.connect(&database.name).await;
    let indexed: String = sqlx::query(text).fetch_one(&mut connection).await.unwrap().get(0);
    assert_eq!(indexed, "node_id,session");
}

/// A server on another machine (`0.0.0.0` is none of the loopback addresses, and leads here) that answers a request for TLS with `tls`, asks for the password in
/// plain text, and keeps what it heard.
async fn impostor(tls: u8) -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return heard };
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut piece).await {
                heard.extend_from_slice(&piece[..length]);
                // A request for TLS has 8 bytes; what follows is the beginning of a session, or the password.
                let answer: &[u8] =
                    if piece[..length].ends_with(&80_877_103_u32.to_be_bytes()) { &[tls] } else { b"R\0\0\0\x08\0\0\0\x03" };
                if stream.write_all(answer).await.is_err() {
                    break;
                }
                if heard.windows(6).any(|found| found == b"secret") || length > 0 && piece[0] == b'p' {
                    return heard;
                }
            }
            if heard.windows(4).any(|found| found == b"user") || tls == b'N' {
                return heard;
            }
        }
    });
    (port, heard)
}

#[tokio::test]
async fn no_password_goes_to_a_server_that_does_not_prove_who_it_is() {
    for mode in ["disable", "allow", "prefer", "require"] {
        for unverified_server in [false, true] {
            let (port, heard) = impostor(b'N').await;
            let text = format!("postgres://u:wrong%20secret@0.0.0.0:{port}/db?sslmode={mode}");
            refused(&text, Options { unverified_server, ..older() }, "verify-full").await;
            heard.abort();
            assert!(heard.await.is_err(), "{mode}: nothing was even asked");
        }
    }
    // A server that has no TLS, and says so: no fallback.
    let (port, heard) = impostor(b'N').await;
    let text = format!("postgres://u:wrong%20secret@0.0.0.0:{port}/db");
    let error = PostgresStore::open(&url(&text), older()).await.map(drop).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(
        heard.await.unwrap(),
        [&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes()].concat(),
        "only whether it has TLS was asked"
    );
    // On purpose and without a password it is worked with.
    let (port, heard) = impostor(b'N').await;
    let text = format!("postgres://someone@0.0.0.0:{port}/db?sslmode=prefer");
    let _ = PostgresStore::open(&url(&text), Options { unverified_server: true, ..older() }).await.map(drop).unwrap_err();
    assert!(heard.await.unwrap().windows(7).any(|found| found == b"someone"));
}

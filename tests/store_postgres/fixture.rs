//! Stores on databases of a server that this process starts and takes away with it.

use async_trait::async_trait;
use postrider::config::database_url::{DatabaseUrl, PostgresUrl};
use postrider::store::PostgresStore;
use postrider::store::postgres::Options;
use postrider_actors::testing::conformance::Fixture;

use crate::postgres::{Database, Server};

/// One database for each store that a clause asks for.
pub struct Postgres;

pub fn options() -> Options {
    Options { connections: 4, migrate: true, ..Options::default() }
}

pub fn url(text: &str) -> PostgresUrl {
    match DatabaseUrl::try_from(text.to_owned()) {
        Ok(DatabaseUrl::Postgres(url)) => url,
        other => panic!("no server: {other:?}"),
    }
}

pub async fn open(database: &Database) -> PostgresStore {
    PostgresStore::open(&url(&database.url), options()).await.expect("the database opens")
}

#[async_trait]
impl Fixture for Postgres {
    type Store = PostgresStore;

    async fn store(&self) -> PostgresStore {
        open(&Server::shared().database().await).await
    }

    async fn process(&self, of: &PostgresStore) -> PostgresStore {
        PostgresStore::open(&url(of.name()), options()).await.expect("the database opens")
    }

    async fn kill(&self, store: PostgresStore) {
        drop(store);
    }
}

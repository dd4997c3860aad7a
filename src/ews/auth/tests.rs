//! Client credentials against a simulated identity provider.

use std::sync::Arc;

use postrider_loadtest::identity::{Accounts, Client, IdentityOptions, Server};
use postrider_loadtest::tls::{ALPN_HTTP_1_1, Authority};
use postrider_loadtest::witness::NoWitness;

use super::ClientCredentials;
use crate::config::secret::Secret;
use crate::exchange::{AuthError, Authenticator};
use crate::http::{ClientOptions, TrustRoots, client};

const SCOPE: &str = "https://outlook.office365.com/.default";

/// An identity provider with one application, and a way in with this secret.
async fn provider(secret: &str) -> (Server, Arc<Accounts>, ClientCredentials) {
    let authority = Authority::new();
    let accounts = Arc::new(Accounts::new([]));
    let tls = Arc::new(authority.server_config(&["localhost"], &[ALPN_HTTP_1_1]));
    let mut options = IdentityOptions::new(Arc::clone(&accounts), Arc::new(NoWitness), tls);
    options.clients.push(Client { id: "app".into(), secret: "right".into() });
    let server = Server::start(options).await.unwrap();
    let roots = TrustRoots::only("test root", authority.ca_pem().as_bytes()).unwrap();
    let http = client(&ClientOptions::new(roots)).unwrap();
    let url = format!("{}/corp.example/oauth2/v2.0/token", server.base_url());
    let way_in = ClientCredentials::new(&url, "app", &Secret::new(secret), SCOPE, http).unwrap();
    (server, accounts, way_in)
}

#[tokio::test]
async fn many_who_need_a_token_at_once_share_one_and_a_refused_one_is_replaced() {
    let (server, accounts, way_in) = provider("right").await;
    let tokens = futures_util::future::join_all((0..50).map(|_| way_in.authorization())).await;
    let first = tokens[0].clone().unwrap();
    assert!(tokens.iter().all(|token| token.as_ref() == Ok(&first)) && first.is_sensitive());
    assert_eq!(server.tokens_issued(), 1);
    assert_eq!(accounts.check(Some(first.to_str().unwrap()), &[]), Ok("app".to_owned()));
    assert!(way_in.refused(&first));
    let second = way_in.authorization().await.unwrap();
    assert_ne!(second, first);
    assert!(way_in.refused(&first), "refused late: the new one is kept");
    assert_eq!(way_in.authorization().await, Ok(second.clone()));
    assert_eq!(server.tokens_issued(), 2);
    assert!(!way_in.refused(&second), "refused at once after it replaced another: a third would fare no better");
    assert_eq!(way_in.authorization().await, Ok(second));
    assert_eq!(server.tokens_issued(), 2, "a server that refuses everything does not have tokens fetched by the thousand");
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_a_provider_in_trouble_is_not_asked_again_at_once() {
    let (_server, _, way_in) = provider("wrong").await;
    assert_eq!(way_in.authorization().await, Err(AuthError::Refused { code: "invalid_client AADSTS7000215".into() }));
    let (server, _, way_in) = provider("right").await;
    server.fail_next([503]);
    let trouble = Err(AuthError::Unavailable { code: "HTTP 503".into() });
    assert_eq!(way_in.authorization().await, trouble);
    assert_eq!(way_in.authorization().await, trouble, "believed for a moment");
    assert_eq!(server.tokens_issued(), 0);
}

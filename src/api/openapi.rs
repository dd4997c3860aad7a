//! The OpenAPI 3.1 description of the API, made from the handlers; a checked-in copy shows changes to reviewers.

use std::sync::LazyLock;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::api::{audit, cluster, devices, health, mailboxes, node, why};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Postrider",
        description = "Phones and mobile-management servers register devices; administrators look after mailboxes. Everything that goes wrong is answered as application/problem+json (RFC 9457)."
    ),
    paths(
        devices::list, devices::register, devices::change, devices::remove, devices::activity,
        mailboxes::list, mailboxes::add, mailboxes::find, mailboxes::remove, why::why, cluster::cluster, node::node, node::sending, audit::list,
        health::live, health::ready, health::metrics, health::description
    ),
    tags(
        (name = "devices", description = "For phones (a token of the company's identity provider) and mobile-management servers (an API key)"),
        (name = "admin", description = "For API keys with the role admin; every call leaves an audit line"),
        (name = "monitoring", description = "For monitoring")
    ),
    modifiers(&Bearer)
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key (`prk_...`) or a token of the company's identity provider"));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme.build()));
    }
}

/// The document as it is served and checked in.
///
/// # Panics
/// Never: it is the same in every run, and a test makes it.
#[must_use]
pub fn document() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = Description::openapi().to_pretty_json().expect("the description holds only what JSON can say");
        text.push('\n');
        text
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checked_in_description_is_the_served_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/openapi.json");
        let made = super::document();
        if std::env::var_os("POSTRIDER_BLESS").is_some() {
            std::fs::write(path, made).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == made,
            "src/api/openapi.json differs from the handlers: run this test with POSTRIDER_BLESS=1 and look at the difference"
        );
        let made: serde_json::Value = serde_json::from_str(made).unwrap();
        assert!(made["openapi"].as_str().unwrap().starts_with("3.1."));
        for (path, item) in made["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for (status, response) in operation["responses"].as_object().unwrap() {
                    assert!(
                        response["description"].as_str().is_some_and(|text| !text.is_empty()),
                        "OpenAPI wants a description: {method} {path} {status}"
                    );
                }
            }
        }
    }
}

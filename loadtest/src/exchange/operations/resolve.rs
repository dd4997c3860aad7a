//! ResolveNames: the people of the company by the beginning of their name or address.

use std::fmt::Write as _;

use crate::exchange::names::Failure;
use crate::exchange::reply::{failure, resolved, response};
use crate::exchange::request::{OperationName, ResolveNames};
use crate::world::World;
use crate::xml::escape;

/// "A maximum of 100 candidates" (ResolveNames operation, remarks).
const MAX_CANDIDATES: usize = 100;

pub(in crate::exchange) fn resolve_names(world: &World, ask: &ResolveNames) -> String {
    let name = OperationName::ResolveNames;
    let wanted = ask.entry.to_ascii_lowercase();
    let wanted = wanted.strip_prefix("smtp:").unwrap_or(&wanted);
    let mut found: Vec<String> = world.addresses().into_iter().filter(|smtp| smtp.starts_with(wanted)).collect();
    found.sort_unstable();
    let total = found.len();
    found.truncate(MAX_CANDIDATES);
    if found.is_empty() {
        let none = Failure::message("ErrorNameResolutionNoResults", "No results were found.");
        return response(name, &failure(name, &none, ""));
    }
    let mut people = String::new();
    for smtp in &found {
        let smtp = escape(smtp);
        let shown = smtp.split('@').next().unwrap_or_default();
        let _ = write!(
            people,
            "<t:Resolution><t:Mailbox><t:Name>{shown}</t:Name><t:EmailAddress>{smtp}</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType><t:MailboxType>Mailbox</t:MailboxType></t:Mailbox>"
        );
        if ask.is_full {
            let _ = write!(
                people,
                r#"<t:Contact><t:DisplayName>{shown}</t:DisplayName><t:EmailAddresses><t:Entry Key="EmailAddress1">SMTP:{smtp}</t:Entry></t:EmailAddresses><t:ContactSource>ActiveDirectory</t:ContactSource></t:Contact>"#
            );
        }
        people.push_str("</t:Resolution>");
    }
    let is_last = found.len() == total;
    response(
        name,
        &resolved(
            found.len() > 1,
            &format!(
                r#"<m:ResolutionSet TotalItemsInView="{}" IncludesLastItemInRange="{is_last}">{people}</m:ResolutionSet>"#,
                found.len()
            ),
        ),
    )
}

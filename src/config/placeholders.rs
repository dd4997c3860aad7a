//! Finds what an example or a template left in a configuration: `<tenant>`, `CHANGE-ME`, `example.com`, the ids of the shipped example.
//!
//! A company with an example's domain would have its password sent to that domain's real servers. Only a table whose servers are on this machine (simulators) may
//! carry such names.

use super::Problems;
use super::section::path;

/// Words that stand for others, as they are left when all but letters and digits is a blank.
const WORDS: &[&str] = &[
    "change me",
    "changeme",
    "change this",
    "changeit",
    "change it",
    "replace me",
    "replaceme",
    "replace this",
    "todo",
    "fixme",
    "tbd",
    "placeholder",
    "yourdomain",
    "yourcompany",
    "yourtenant",
    "yourserver",
    "yourapp",
    "your domain",
    "your company",
    "your tenant",
    "your server",
    "your app",
    "your team",
    "your key",
    "your client",
    "your project",
    "your password",
    "your secret",
    "insert here",
];

/// Names that nobody's servers have (RFC 2606), and two that Microsoft's documentation uses.
const RESERVED: &[&str] =
    &["example.com", "example.net", "example.org", "example", "invalid", "contoso.com", "fabrikam.com", "contoso.onmicrosoft.com"];

/// Ids and names of `config/production.example.toml`.
const SHIPPED: &[&str] = &["ABCDE12345", "ABC123DEFG", "00000000-0000-0000-0000-000000000000"];

/// Notes every text that holds a placeholder.
pub fn check(table: &toml::Table, problems: &mut Problems) {
    walk_table(table, "", false, problems);
}

fn walk_table(table: &toml::Table, at: &str, simulated: bool, problems: &mut Problems) {
    // One company, or one app, is judged as a whole: `tenant.NAME` and `push.apns[n]`.
    let simulated = simulated || (at.contains('.') && table.values().any(names_this_machine));
    for (key, value) in table {
        walk(value, &path(at, key), simulated, problems);
    }
}

fn walk(value: &toml::Value, at: &str, simulated: bool, problems: &mut Problems) {
    match value {
        toml::Value::Table(table) => walk_table(table, at, simulated, problems),
        toml::Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                walk(item, &format!("{at}[{n}]"), simulated, problems);
            }
        }
        toml::Value::String(text) => {
            if let Some(found) = marked(text).or_else(|| reserved(text).filter(|_| !simulated)) {
                problems.add(at, format!("`{found}` is a placeholder: write your own in its place"));
            }
        }
        _ => {}
    }
}

/// Whether a whole secret is a placeholder: a part of one may look like anything.
pub(super) fn stands_for_another(secret: &str) -> bool {
    (secret.starts_with('<') && secret.ends_with('>') && marked(secret).is_some()) || WORDS.contains(&words(secret).trim())
}

/// A part in brackets that are no part of a name (`<tenant>`, `{{ tenant }}`, `${TENANT}`), or a word that stands for another.
fn marked(text: &str) -> Option<String> {
    for (open, close) in [("<", ">"), ("{{", "}}"), ("${", "}")] {
        if let Some((_, rest)) = text.split_once(open)
            && let Some((inner, _)) = rest.split_once(close)
            && inner.contains(char::is_alphabetic)
        {
            return Some(format!("{open}{inner}{close}"));
        }
    }
    let spaced = format!(" {} ", words(text).trim());
    let crossed = |word: &str| word.len() >= 3 && word.bytes().all(|c| c == b'x');
    let word = WORDS.iter().find(|word| spaced.contains(&format!(" {word} "))).map(|word| (*word).to_owned());
    word.or_else(|| spaced.split(' ').find(|word| crossed(word)).map(str::to_owned))
}

/// A name that is nobody's: an example's host, bundle id, domain of a service account, or shipped id.
fn reserved(text: &str) -> Option<String> {
    if SHIPPED.contains(&text) || text.to_ascii_lowercase().starts_with("example\\") {
        return Some(text.to_owned());
    }
    let host_like = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let mut names = text.split(|c: char| !host_like(c)).filter(|name| name.contains('.'));
    names.find(|name| is_reserved(&name.to_ascii_lowercase())).map(str::to_owned)
}

fn is_reserved(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let host = RESERVED.iter().any(|known| name.strip_suffix(known).is_some_and(|above| above.is_empty() || above.ends_with('.')));
    host || ["com.example.", "org.example.", "net.example."].iter().any(|start| name.starts_with(start))
}

/// Letters and digits in small, with one blank for all that is between them.
fn words(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { ' ' }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether an address below points to this machine.
fn names_this_machine(value: &toml::Value) -> bool {
    match value {
        toml::Value::Table(table) => table.values().any(names_this_machine),
        toml::Value::String(text) => reqwest::Url::parse(text).ok().and_then(|url| url.host_str().map(is_this_machine)).unwrap_or(false),
        _ => false,
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut problems = Problems::default();
        check(&text.parse().unwrap(), &mut problems);
        problems.0.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn what_an_example_left_is_found_wherever_it_stands() {
        for value in [
            "https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token",
            "CHANGE-ME",
            "change_me@corp.net",
            "https://your-server.corp.net/EWS/Exchange.asmx",
            "${EWS_URL}",
            "{{ ews_url }}",
            "TODO: ask Ada",
            "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "mail.example.com",
            "postgres://u@db1.corp.net,db2.Example.com/db?sslmode=verify-full",
            "contoso.onmicrosoft.com",
            "com.example.mail",
            "EXAMPLE\\svc-postrider",
            "ABCDE12345",
        ] {
            assert_eq!(found(&format!("[a.b]\nc = ['{value}']")), ["a.b.c[0]"], "{value}");
        }
        for value in [
            "https://mail.corp.net/EWS/Exchange.asmx",
            "CORP\\svc",
            "examples.corp.net",
            "com.corp.exchangeme",
            "todorov@corp.net",
            "a <> b",
        ] {
            assert_eq!(found(&format!("[a.b]\nc = '{value}'")), Vec::<String>::new(), "{value}");
        }
    }

    #[test]
    fn simulators_on_this_machine_may_have_an_examples_name_but_no_gap() {
        let text = "[tenant.a]\nallowed_domains = ['example.com']\n[tenant.a.mail]\news_url = 'https://localhost:1/EWS/Exchange.asmx'\n";
        assert_eq!(found(text), Vec::<String>::new());
        assert_eq!(found(&format!("{text}[tenant.a.identity]\naudience = '<audience>'\n")), ["tenant.a.identity.audience"]);
        assert_eq!(found(&format!("{text}[tenant.b]\nallowed_domains = ['example.com']")), ["tenant.b.allowed_domains[0]"]);
    }

    #[test]
    fn a_secret_is_a_placeholder_only_as_a_whole() {
        for text in ["CHANGE-ME", "<password>", "changeme", "your password"] {
            assert!(stands_for_another(text), "{text}");
        }
        for text in ["correct horse", "a<b>c", "CHANGE-ME-not-7Gq"] {
            assert!(!stands_for_another(text), "{text}");
        }
    }

    #[test]
    fn the_ids_of_the_shipped_example_are_known() {
        let text = include_str!("../../config/production.example.toml");
        let mistakes = found(text);
        for key in [
            "store.url",
            "tenant.example.allowed_domains[0]",
            "tenant.example.mail.basic.user",
            "push.apns[0].team_id",
            "push.apns[0].key_id",
            "push.apns[0].app",
        ] {
            assert!(mistakes.contains(&key.to_owned()), "{key} is missing in {mistakes:?}");
        }
    }
}

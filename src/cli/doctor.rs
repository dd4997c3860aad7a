//! `doctor`: tries everything that one user's pushes need, step by step, and says what to do about what fails.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_actors::ids::{MailboxId, Smtp, TenantId};
use postrider_actors::ports::Clock;
use postrider_actors::ports::mail_source::MailboxRef;
use serde_json::json;
use tokio::time::Instant;

use super::ConfigArgs;
use super::exit::{Exit, Failure};
use super::output::{self, OutputArgs};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::ews::EwsMailSource;
use crate::ews::doctor::{Told, Whose};
use crate::http::ClientOptions;
use crate::mail_source::{ExchangeParts, assemble};
use crate::probe::{Step, Went};
use crate::push_sender::PushSenders;

/// How long all steps of one mailbox at Exchange may take together; autodiscover alone may ask several silent servers.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(400);
/// How long all push credentials together may take.
const PUSH_DEADLINE: Duration = Duration::from_secs(120);
/// A step that takes longer than this says what it waits for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most users that are asked for.
const MOST_USERS: usize = 8;
/// The width of the output.
const WIDTH: usize = 80;
/// What stands before a text below its step.
const INDENT: &str = "      ";

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples:
  postrider doctor --user ada@example.com
  postrider doctor --user ada@example.com --user bob@example.com --user cy@example.com
  postrider doctor --user ada@example.com --json | jq '.steps[] | select(.went == \"wrong\")'

With several users the trouble of one mailbox is told apart from the server's.
A step marked -- came to nothing where others follow: the usual places are asked for the server one after the other.
Nothing is pushed and nothing is written. The exit code is 0 if no step failed, else 1.";

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The user's primary SMTP address; may be given several times, for users of one company.
    #[arg(long, value_name = "ADDRESS", required = true)]
    user: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Tries all steps; one that fails does not stop those that do not need it.
///
/// # Errors
/// Mistakes of the configuration or the arguments.
pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let users: Vec<Smtp> = args.user.iter().map(|user| Smtp::new(user)).collect();
    if users.iter().any(|user| user.domain().is_empty()) {
        return Err(Failure::error(Exit::Usage, "--user takes an SMTP address, such as ada@example.com"));
    }
    if users.len() > MOST_USERS {
        return Err(Failure::error(
            Exit::Usage,
            format!("--user may be given {MOST_USERS} times at most: three tell a mailbox's trouble from a server's"),
        ));
    }
    let report = Report::new(args.output.json);
    report.add(Step::good("read the configuration", format!("{} has no mistakes", args.config.config.display())));
    let first = &users[0];
    match tenant_of(&config, first) {
        Some(tenant) => {
            report.add(Step::good("find the company by the mail domain", format!("tenant {tenant}")));
            if let Some(other) = users.iter().find(|user| tenant_of(&config, user).as_ref() != Some(&tenant)) {
                return Err(Failure::error(
                    Exit::Usage,
                    format!("{} is not a user of tenant {tenant}, as {} is: examine it by itself", other.as_str(), first.as_str()),
                ));
            }
            report.during(exchange(&config, &tenant, users.clone(), &report)).await;
            report.during(push(&config, &tenant, &report)).await;
        }
        None => report.add(Step::bad(
            "find the company by the mail domain",
            format!("no tenant has {} in allowed_domains: nothing is looked up for such an address", first.domain()),
        )),
    }
    Ok(report.end())
}

/// The company whose mail domain it is.
fn tenant_of(config: &Config, smtp: &Smtp) -> Option<TenantId> {
    let serves = |domains: &[String]| domains.iter().any(|domain| domain.eq_ignore_ascii_case(smtp.domain()));
    config.tenant.iter().find(|(_, tenant)| serves(&tenant.allowed_domains)).map(|(name, _)| TenantId(name.as_str().into()))
}

/// Autodiscover, the way in, the inbox, a page of its changes, a subscription and its stream, mailbox after mailbox.
async fn exchange(config: &Config, tenant: &TenantId, users: Vec<Smtp>, report: &Report) {
    let tried = "load the trust roots and the way into Exchange";
    let source = ClientOptions::configured(&config.http).map_err(|error| error.to_string()).and_then(|http| {
        let parts = ExchangeParts {
            ews: &config.ews,
            autodiscover: &config.autodiscover,
            tenants: &config.tenant,
            http: &http,
            clock: Arc::new(SystemClock::default()),
            seed: rand::random(),
        };
        assemble(parts).map_err(|error| error.to_string())
    });
    let source = match source {
        Ok(source) => source,
        Err(error) => return report.add(Step::bad(tried, error)),
    };
    report.add(Step::good(tried, "both are usable"));
    let several = users.len() > 1;
    let mut fared: Vec<(String, Option<Whose>)> = Vec::new();
    for (number, user) in users.into_iter().enumerate() {
        let name = user.as_str().to_owned();
        let whose = examine(&source, tenant, number, user, several, report).await;
        fared.push((name, whose));
        if whose == Some(Whose::Everybody) {
            break;
        }
    }
    if several {
        report.add(compare(&fared));
    }
}

/// One mailbox.
async fn examine(source: &EwsMailSource, tenant: &TenantId, number: usize, user: Smtp, several: bool, report: &Report) -> Option<Whose> {
    let whom = if several { format!("{}: ", user.as_str()) } else { String::new() };
    let id = MailboxId(i64::try_from(number).unwrap_or_default());
    let mailbox = MailboxRef { id, tenant: tenant.clone(), smtp: Arc::new(user) };
    let hears = |told: Told| match told {
        Told::Trying(what, at_most) => report.trying(format!("{whom}{what}"), at_most),
        Told::Done(step) => {
            let told = if step.advice.is_empty() { step.came_back } else { format!("{}: {}", step.came_back, step.advice) };
            report.add(Step { tried: format!("{whom}{}: {}", step.name, step.tried), told, went: step.went });
        }
    };
    match tokio::time::timeout(EXCHANGE_DEADLINE, source.diagnose(&mailbox, &hears)).await {
        Ok(whose) => whose,
        Err(_) => {
            let seconds = EXCHANGE_DEADLINE.as_secs();
            report.add(Step::bad("ask Exchange", format!("no end within {seconds} s: look at the network path and the firewall")));
            Some(Whose::Everybody)
        }
    }
}

/// What several mailboxes tell together.
fn compare(fared: &[(String, Option<Whose>)]) -> Step {
    let tried = "compare the mailboxes";
    let bad: Vec<&str> = fared.iter().filter(|(_, whose)| whose.is_some()).map(|(user, _)| user.as_str()).collect();
    if bad.is_empty() {
        return Step::good(tried, format!("all {} fare well", fared.len()));
    }
    if fared.iter().any(|(_, whose)| *whose == Some(Whose::Everybody)) {
        return Step::bad(
            tried,
            "it is the server, the way to it or the credential: every mailbox would meet it, so the others were not asked",
        );
    }
    if bad.len() == fared.len() {
        return Step::bad(tried, format!("all {} fail: look at the server and at the service account's rights first", fared.len()));
    }
    Step::bad(tried, format!("server and credential are good, others get in: it is the trouble of {} alone", bad.join(", ")))
}

/// The push credentials of the company's apps, against the services themselves.
async fn push(config: &Config, tenant: &TenantId, report: &Report) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    match PushSenders::new(&config.push, &clock) {
        Ok(senders) => {
            report.trying("check the push credentials".into(), PUSH_DEADLINE);
            let checked = tokio::time::timeout(PUSH_DEADLINE, senders.check_each(Some(tenant), &|step| report.add(step))).await;
            match checked {
                Ok(0) => report
                    .add(Step::bad("check the push credentials", format!("tenant {tenant} has none: add [[push.apns]] or [[push.fcm]]"))),
                Ok(_) => {}
                Err(_) => report.add(Step::bad("check the push credentials", format!("no end within {} s", PUSH_DEADLINE.as_secs()))),
            }
        }
        Err(error) => report.add(Step::bad("load the push credentials", error.to_string())),
    }
}

/// The steps so far; for people each is printed as soon as it is there, and what takes long is named while it does.
struct Report {
    json: bool,
    so_far: Mutex<SoFar>,
}

#[derive(Default)]
struct SoFar {
    steps: Vec<Step>,
    trying: Option<(String, Duration, Instant)>,
}

impl Report {
    fn new(json: bool) -> Self {
        Self { json, so_far: Mutex::default() }
    }

    fn add(&self, step: Step) {
        if !self.json {
            let sign = match step.went {
                Went::Well => "ok    ",
                Went::Nowhere => "--    ",
                Went::Wrong => "FAIL  ",
            };
            output::say(&wrapped(sign, &step.tried));
            output::say(&wrapped(INDENT, &step.told));
        }
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        so_far.trying = None;
        so_far.steps.push(step);
    }

    fn trying(&self, what: String, at_most: Duration) {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner).trying = Some((what, at_most, Instant::now()));
    }

    /// Runs a part of the examination, and names once what it waits for when that takes long.
    async fn during(&self, part: impl Future<Output = ()>) {
        tokio::pin!(part);
        let mut look = tokio::time::interval(PATIENCE / 4);
        loop {
            tokio::select! {
                () = &mut part => return,
                _ = look.tick() => self.name_what_lasts(),
            }
        }
    }

    fn name_what_lasts(&self) {
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((what, at_most, _)) = so_far.trying.take_if(|(.., since)| since.elapsed() >= PATIENCE)
            && !self.json
        {
            output::say(&wrapped("...   ", &format!("{what} (is waited for, at most {} s)", at_most.as_secs())));
        }
    }

    fn end(self) -> Exit {
        let steps = self.so_far.into_inner().unwrap_or_else(PoisonError::into_inner).steps;
        let failed = steps.iter().filter(|step| step.went == Went::Wrong).count();
        if self.json {
            let steps: Vec<_> =
                steps.iter().map(|step| json!({ "tried": step.tried, "went": step.went.as_str(), "result": step.told })).collect();
            output::json(&json!({ "ok": failed == 0, "steps": steps }));
        } else if failed == 0 {
            output::say("everything that this user's pushes need works");
        } else {
            output::say(&format!("{failed} of {} steps failed", steps.len()));
        }
        if failed == 0 { Exit::Done } else { Exit::Failed }
    }
}

/// A text in lines of at most [`WIDTH`], broken between words; the first begins with `sign`. A word that is longer, such as an address, stays whole.
fn wrapped(sign: &str, text: &str) -> String {
    let mut lines = vec![sign.to_owned()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is one");
        let begins = last.len() == sign.len();
        if !begins && last.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{INDENT}{word}"));
        } else {
            if !begins {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_company_is_found_by_its_mail_domains_alone() {
        let text =
            "[tenant.acme]\nallowed_domains = [\"Example.com\"]\n[tenant.acme.mail.basic]\nuser = 'u'\npassword = { env = \"PATH\" }\n";
        let config: Config = crate::config::from_toml(text).unwrap();
        assert_eq!(tenant_of(&config, &Smtp::new("Ada@EXAMPLE.com")), Some(TenantId("acme".into())));
        assert_eq!(tenant_of(&config, &Smtp::new("ada@sub.example.com")), None);
    }

    #[test]
    fn one_failed_step_is_a_failed_examination_and_a_way_that_leads_nowhere_is_not() {
        let with = |last: Option<Step>| {
            let report = Report::new(true);
            report.add(Step::good("a", "b"));
            report.add(Step { tried: "one of several ways".into(), told: "nobody there".into(), went: Went::Nowhere });
            last.into_iter().for_each(|step| report.add(step));
            report.end()
        };
        assert_eq!(with(None), Exit::Done);
        assert_eq!(with(Some(Step::bad("c", "d"))), Exit::Failed);
    }

    #[test]
    fn one_broken_mailbox_is_told_from_a_broken_server() {
        let fared = |all: [Option<Whose>; 3]| {
            let named: Vec<_> = ["ada", "bob", "cy"].into_iter().map(str::to_owned).zip(all).collect();
            compare(&named).told
        };
        assert!(fared([None, Some(Whose::Mailbox), None]).contains("the trouble of bob alone"));
        assert!(fared([Some(Whose::Mailbox); 3]).contains("all 3 fail"));
        assert!(fared([Some(Whose::Everybody), None, None]).contains("every mailbox would meet it"));
        assert!(fared([None; 3]).contains("fare well"));
    }

    #[test]
    fn lines_fit_eighty_columns_and_addresses_stay_whole() {
        let address = format!("https://{}/", "a".repeat(90));
        let text = wrapped("FAIL  ", &format!("{} {address} {}", "word ".repeat(40), "word ".repeat(3)));
        for line in text.lines() {
            assert!(line.len() <= WIDTH || line.trim() == address, "{line}");
        }
        assert!(text.lines().skip(1).all(|line| line.starts_with(INDENT)));
    }
}

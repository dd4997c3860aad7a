//! `doctor`: tries everything that one user's pushes need, step by step, and says what to do about what fails.

use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ids::{MailboxId, Smtp, TenantId};
use postrider_actors::ports::Clock;
use postrider_actors::ports::mail_source::MailboxRef;
use serde_json::json;

use super::ConfigArgs;
use super::exit::{Exit, Failure};
use super::output::{self, OutputArgs};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::http::{ClientOptions, TrustRoots};
use crate::mail_source::{ExchangeParts, assemble};
use crate::probe::{Step, Went};
use crate::push_sender::PushSenders;

/// How long all steps at Exchange may take together; autodiscover alone may ask several silent servers.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(400);

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples:
  postrider doctor --user ada@example.com
  postrider doctor --user ada@example.com --json | jq '.steps[] | select(.went == \"wrong\")'

A step marked -- came to nothing where others follow: the usual places are asked for the server one after the other.
Nothing is pushed and nothing is written. The exit code is 0 if no step failed, else 1.";

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The user's primary SMTP address.
    #[arg(long, value_name = "ADDRESS")]
    user: String,
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
    let smtp = Smtp::new(&args.user);
    if smtp.domain().is_empty() {
        return Err(Failure::error(Exit::Usage, "--user takes an SMTP address, such as ada@example.com"));
    }
    let mut report = Report { json: args.output.json, steps: Vec::new() };
    report.add(Step::good("read the configuration", format!("{} has no mistakes", args.config.config.display())));
    match tenant_of(&config, &smtp) {
        Some(tenant) => {
            report.add(Step::good("find the company by the mail domain", format!("tenant {tenant}")));
            exchange(&config, &tenant, smtp, &mut report).await;
            push(&config, &tenant, &mut report).await;
        }
        None => report.add(Step::bad(
            "find the company by the mail domain",
            format!("no tenant has {} in allowed_domains: nothing is looked up for such an address", smtp.domain()),
        )),
    }
    Ok(report.end())
}

/// The company whose mail domain it is.
fn tenant_of(config: &Config, smtp: &Smtp) -> Option<TenantId> {
    let serves = |domains: &[String]| domains.iter().any(|domain| domain.eq_ignore_ascii_case(smtp.domain()));
    config.tenant.iter().find(|(_, tenant)| serves(&tenant.allowed_domains)).map(|(name, _)| TenantId(name.as_str().into()))
}

/// Autodiscover, the way in, the inbox, a page of its changes, a subscription and its stream.
async fn exchange(config: &Config, tenant: &TenantId, smtp: Smtp, report: &mut Report) {
    let tried = "load the trust roots and the way into Exchange";
    let source = TrustRoots::load(&config.http.roots).map_err(|error| error.to_string()).and_then(|roots| {
        let parts = ExchangeParts {
            ews: &config.ews,
            autodiscover: &config.autodiscover,
            tenants: &config.tenant,
            http: &ClientOptions::new(roots),
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
    let mailbox = MailboxRef { id: MailboxId(0), tenant: tenant.clone(), smtp: Arc::new(smtp) };
    let Ok(steps) = tokio::time::timeout(EXCHANGE_DEADLINE, source.diagnose(&mailbox)).await else {
        let seconds = EXCHANGE_DEADLINE.as_secs();
        return report.add(Step::bad("ask Exchange", format!("no end within {seconds} s: look at the network path and the firewall")));
    };
    for step in steps {
        let told = if step.advice.is_empty() { step.came_back } else { format!("{}: {}", step.came_back, step.advice) };
        report.add(Step { tried: format!("{}: {}", step.name, step.tried), told, went: step.went });
    }
}

/// The push credentials of the company's apps, against the services themselves.
async fn push(config: &Config, tenant: &TenantId, report: &mut Report) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    match PushSenders::new(&config.push, &clock) {
        Ok(senders) => {
            let steps = senders.check(Some(tenant)).await;
            if steps.is_empty() {
                report.add(Step::bad("check the push credentials", format!("tenant {tenant} has none: add [[push.apns]] or [[push.fcm]]")));
            }
            steps.into_iter().for_each(|step| report.add(step));
        }
        Err(error) => report.add(Step::bad("load the push credentials", error.to_string())),
    }
}

/// The steps so far; for people each is printed as soon as it is there.
struct Report {
    json: bool,
    steps: Vec<Step>,
}

impl Report {
    fn add(&mut self, step: Step) {
        if !self.json {
            let sign = match step.went {
                Went::Well => "ok  ",
                Went::Nowhere => "--  ",
                Went::Wrong => "FAIL",
            };
            output::say(&format!("{sign}  {}\n      {}", step.tried, step.told));
        }
        self.steps.push(step);
    }

    fn end(self) -> Exit {
        let failed = self.steps.iter().filter(|step| step.went == Went::Wrong).count();
        if self.json {
            let steps: Vec<_> =
                self.steps.iter().map(|step| json!({ "tried": step.tried, "went": step.went.as_str(), "result": step.told })).collect();
            output::json(&json!({ "ok": failed == 0, "steps": steps }));
        } else if failed == 0 {
            output::say("everything that this user's pushes need works");
        } else {
            output::say(&format!("{failed} of {} steps failed", self.steps.len()));
        }
        if failed == 0 { Exit::Done } else { Exit::Failed }
    }
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
        let mut report = Report { json: true, steps: Vec::new() };
        report.add(Step::good("a", "b"));
        report.add(Step { tried: "one of several ways".into(), told: "nobody there".into(), went: Went::Nowhere });
        assert_eq!(Report { json: true, steps: report.steps.clone() }.end(), Exit::Done);
        report.add(Step::bad("c", "d"));
        assert_eq!(report.end(), Exit::Failed);
    }
}

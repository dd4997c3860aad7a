//! Mistakes: collected while the parts of a configuration are checked, and told with file, line, key and what to write instead.
//!
//! Three rules hold for every message. It says what would be right. It repeats no value that may be a secret in the wrong place. It names every other key that
//! the mistake depends on: where that key could not be read, the mistake is not told, because it may be none.

use std::fmt;
use std::path::{Path, PathBuf};

use super::document::Lines;
use super::overrides::Overrides;
use super::secret::SecretSource;

/// Where a mistake was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this line of the file.
    Line(usize),
    /// In this variable of the environment.
    Variable(String),
}

/// One mistake: where and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, if that is known.
    pub place: Option<Place>,
    /// The key, e.g. `ews.window`.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

/// Collects mistakes while the parts of the configuration are checked.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes a mistake at a key.
    pub fn add(&mut self, key: impl Into<String>, text: impl Into<String>) {
        self.0.push(Problem { place: None, key: key.into(), text: text.into() });
    }

    /// Notes a mistake unless the file can be opened for reading.
    pub fn file(&mut self, key: impl Into<String>, path: &Path) {
        match std::fs::File::open(path).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.is_dir() => self.add(key, format!("{} is a folder; name a file", path.display())),
            Ok(_) => {}
            Err(error) => self.add(key, format!("{}: cannot be read ({error})", path.display())),
        }
    }

    /// Notes a mistake unless the file can be read by this program and by nobody else.
    pub fn secret_file(&mut self, key: &str, path: &Path) {
        let before = self.0.len();
        self.file(key, path);
        if self.0.len() == before
            && let Ok(metadata) = std::fs::metadata(path)
            && let Some(text) = too_open(path, &metadata)
        {
            self.add(key, text);
        }
    }

    /// Notes a mistake unless the secret can be read, by nobody else, and was really put there.
    pub fn secret(&mut self, key: &str, source: &SecretSource) {
        let secret = match source.read() {
            Ok(secret) => secret,
            Err(text) => return self.add(key, text),
        };
        if let SecretSource::File(path) = source {
            self.secret_file(key, path);
        }
        if super::placeholders::stands_for_another(secret.expose().trim()) {
            self.add(key, format!("{} holds a placeholder: put the real secret there", source.place()));
        }
    }

    /// Adds what a check found, but not what rests on a value that could not be read: those keys are told already.
    pub(super) fn take_over(&mut self, found: Self, replaced: &[String]) {
        self.0.extend(found.0.into_iter().filter(|problem| !replaced.iter().any(|key| rests_on(problem, key))));
    }

    /// Says where each mistake is, and leaves out what only a broken line of the file may be to blame for.
    pub(super) fn locate(&mut self, lines: &Lines, overrides: &Overrides, broken: bool) {
        if broken {
            self.0.retain(|problem| lines.exactly(&problem.key).is_some());
        }
        for problem in &mut self.0 {
            let variable = overrides.variable(&problem.key).map(Place::Variable);
            problem.place = variable.or_else(|| lines.of(&problem.key).map(Place::Line));
        }
    }

    /// In the order of the file; what stands in no line comes last.
    pub(super) fn in_order(mut self) -> Vec<Problem> {
        self.0.sort_by_key(|problem| match problem.place {
            Some(Place::Line(line)) => line,
            _ => usize::MAX,
        });
        self.0
    }
}

/// Whether a mistake depends on a key.
fn rests_on(problem: &Problem, key: &str) -> bool {
    let parent = |key: &str| key.rfind('.').map_or(String::new(), |end| key[..end].to_owned());
    let below = problem.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let beside = parent(&problem.key) == parent(key) && names(&problem.text, key.rsplit('.').next().unwrap_or(key));
    below || beside || names(&problem.text, key)
}

/// Whether a text holds a key as a whole word.
fn names(text: &str, key: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(key).any(|(at, _)| !text[..at].ends_with(part_of_word) && !text[at + key.len()..].starts_with(part_of_word))
}

/// What is wrong with the owner or the mode of a file that holds a secret. As PostgreSQL does with its keys: a file of our own is for us alone; one of root's may be
/// readable for one group, which is how it is given to a service. Run by root, the command cannot know the service's user: any owner will do then.
#[cfg(unix)]
fn too_open(path: &Path, metadata: &std::fs::Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let (mode, owner, us) = (metadata.mode() & 0o7777, metadata.uid(), rustix::process::geteuid().as_raw());
    let path = path.display();
    if owner != us && owner != 0 && us != 0 {
        return Some(format!(
            "{path} belongs to another user (uid {owner}), who can change it: chown it to this service's user or to root"
        ));
    }
    let others = if owner == 0 && us != 0 { 0o037 } else { 0o077 };
    (mode & others != 0).then(|| format!("{path} can be read by others (mode {mode:04o}): chmod 600 {path}"))
}

#[cfg(not(unix))]
fn too_open(_path: &Path, _metadata: &std::fs::Metadata) -> Option<String> {
    None
}

/// A configuration that cannot be used: every mistake that was found.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// The file, if there was one.
    pub file: Option<PathBuf>,
    /// The mistakes, never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_ref().map_or_else(|| "configuration".into(), |file| file.display().to_string());
        let count = self.problems.len();
        write!(f, "{file}: {count} mistake{}", if count == 1 { "" } else { "s" })?;
        for Problem { place, key, text } in &self.problems {
            f.write_str("\n  ")?;
            match place {
                Some(Place::Line(line)) if self.file.is_some() => write!(f, "{file}:{line}: ")?,
                Some(Place::Line(line)) => write!(f, "line {line}: ")?,
                Some(Place::Variable(name)) => write!(f, "{name}: ")?,
                None => {}
            }
            if !key.is_empty() {
                write!(f, "{key}: ")?;
            }
            f.write_str(text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_that_rests_on_a_value_that_could_not_be_read_is_not_told() {
        let problem = |key: &str, text: &str| Problem { place: None, key: key.into(), text: text.into() };
        let calls = problem("ews.seeding_calls", "is more than ews.calls, of which it is a part");
        assert!(rests_on(&calls, "ews.calls") && !rests_on(&calls, "ews.call") && !rests_on(&calls, "ews.retry_first"));
        let margin = problem("core.margin", "must be such that (observe_dead - margin) is small");
        assert!(rests_on(&margin, "core.observe_dead") && !rests_on(&margin, "placement.observe_dead"));
        assert!(rests_on(&problem("tenant.a.mail.basic.user", "is empty"), "tenant.a.mail.basic"));
        assert!(!rests_on(&problem("tenant.a.mail", "has no way in"), "tenant.a.mail.ews_url"));
    }
}

//! Overrides from the environment: `POSTRIDER_SECTION__KEY=value` stands above the file.

use std::collections::BTreeMap;

use super::Problems;

/// What every override's name begins with.
const PREFIX: &str = "POSTRIDER_";

/// Overrides not used yet, by path in lower case (`core.window`).
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    by_path: BTreeMap<String, (String, String)>,
}

impl Overrides {
    /// Picks them out of an environment. Only names with `__` are overrides: `POSTRIDER_KEY` and the like are something else.
    #[must_use]
    pub fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Self {
        let mut by_path = BTreeMap::new();
        for (name, value) in variables {
            if let Some(path) = name.strip_prefix(PREFIX).filter(|path| path.contains("__")) {
                by_path.insert(path.to_lowercase().replace("__", "."), (name.clone(), value));
            }
        }
        Self { by_path }
    }

    /// Takes the override of a path out.
    pub fn take(&mut self, path: &str) -> Option<String> {
        self.by_path.remove(&path.to_lowercase()).map(|(_, value)| value)
    }

    /// Whether something below a path is overridden.
    #[must_use]
    pub fn below(&self, path: &str) -> bool {
        let prefix = format!("{}.", path.to_lowercase());
        self.by_path.range(prefix.clone()..).next().is_some_and(|(path, _)| path.starts_with(&prefix))
    }

    /// The variable that overrides a key.
    #[must_use]
    pub fn variable(&self, path: &str) -> Option<String> {
        self.by_path.get(&path.to_lowercase()).map(|(name, _)| name.clone())
    }

    /// What is left names no key: mistakes.
    pub fn refuse_rest(self, problems: &mut Problems) {
        for (path, (name, _)) in self.by_path {
            problems.add(path, format!("environment variable {name} overrides no key that can be overridden: correct or unset it"));
        }
    }
}

//! What a value of the configuration can be: how it is read from TOML, shown, and named in the reference.

use std::fmt;

use super::overrides::Overrides;
pub use super::values::Bytes;

/// What reading needs besides the value: where mistakes go and what the environment overrides.
pub struct Context<'a> {
    /// Mistakes found so far.
    pub problems: &'a mut super::Problems,
    /// Overrides from the environment.
    pub overrides: &'a mut Overrides,
    /// Keys whose value could not be read, so that another one stands in its place: what is said about such a key beside that is no mistake of its own.
    pub replaced: &'a mut Vec<String>,
}

/// One key of a section, for the reference.
#[derive(Debug, Clone)]
pub struct Field {
    /// The key.
    pub key: &'static str,
    /// What it means, in Markdown.
    pub doc: &'static str,
    /// What kind of value it takes.
    pub kind: String,
    /// The default in TOML, `None` if the key must be set (or, with [`Field::absent`], may stay away).
    pub default: Option<String>,
    /// What it is when it stays away, if it may although it has no default.
    pub absent: Option<&'static str>,
    /// The smallest and largest value, in TOML.
    pub range: Option<(String, String)>,
    /// Keys below this one, if it is a table or a list of tables.
    pub below: Option<Nested>,
}

/// How a table stands below a key.
#[derive(Debug, Clone)]
pub struct Nested {
    /// What it is.
    pub shape: Shape,
    /// What the section is for.
    pub doc: &'static str,
    /// Its keys.
    pub fields: Vec<Field>,
}

/// The shape of a nested table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `[key]`
    Table,
    /// `[key.NAME]`, any number of names.
    Named,
    /// `[[key]]`, any number.
    List,
}

/// A type that a key of the configuration can have.
pub trait Setting: Sized {
    /// What kind of value it is, as the reference and messages call it.
    fn kind() -> String;

    /// The value in TOML, for the reference.
    fn show(&self) -> String;

    /// Takes a value as TOML gives it.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    fn parse(value: &toml::Value) -> Result<Self, String>;

    /// Reads a value at a key and notes its mistakes; tables read what is below them.
    fn read(value: toml::Value, at: &str, context: &mut Context<'_>) -> Option<Self> {
        match Self::parse(&value) {
            Ok(value) => Some(value),
            Err(text) => {
                context.problems.add(at, text);
                None
            }
        }
    }

    /// What a key without default is when the file does not have it: a mistake, unless the type says otherwise.
    fn absent(at: &str, context: &mut Context<'_>) -> Option<Self> {
        context.problems.add(at, format!("is missing: set it to {}", Self::kind()));
        None
    }

    /// What a key without default is called when it may stay away.
    #[must_use]
    fn when_absent() -> Option<&'static str> {
        None
    }

    /// A harmless value for a key that has no default and cannot be read, so that the rest of its section is checked all the same.
    #[must_use]
    fn stand_in() -> Option<Self> {
        None
    }

    /// What is below it, if it is a table.
    #[must_use]
    fn nested() -> Option<Nested> {
        None
    }
}

/// The message for a value of the wrong type.
pub(super) fn expected<T: Setting>(value: &toml::Value) -> String {
    let given = match value {
        toml::Value::Table(_) => "a table".to_owned(),
        toml::Value::Array(_) => "a list".to_owned(),
        // A value of the wrong type may be a secret in the wrong place: only its type is told.
        other => format!("a value of type {}", other.type_str()),
    };
    format!("takes {}, not {given}", T::kind())
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({} problems)", self.problems.0.len())
    }
}

/// Whether a value lies within a range; the mistake is noted otherwise.
pub(super) fn within<T: Setting + PartialOrd>(
    value: T,
    range: &std::ops::RangeInclusive<T>,
    at: &str,
    context: &mut Context<'_>,
) -> Option<T> {
    if range.contains(&value) {
        return Some(value);
    }
    context.problems.add(at, format!("{} is out of range: take {} to {}", value.show(), range.start().show(), range.end().show()));
    context.replaced.push(at.to_owned());
    None
}

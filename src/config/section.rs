//! Declares a section of the configuration: its keys, their meaning, defaults and ranges, in one place.

use super::Problems;
use super::overrides::Overrides;
use super::setting::{Context, Field, Setting, Shape};

/// Declares a struct that is a section of the configuration.
///
/// ```text
/// section! {
///     /// What the section is for (Markdown; stands in the reference).
///     pub struct Example {
///         /// What the key means.
///         pub calls: u32 = 10, within 1..=100;
///         /// Without a default the key must be set, unless its type is `Option`, `Vec`, a map or a section of defaults.
///         pub file: PathBuf;
///     }
/// }
/// ```
///
/// A section whose keys may all stay away says `pub struct Name with defaults { … }` and gets a `Default`.
/// The macro writes the struct (with `Debug`, `Clone`, `PartialEq`) and its [`Setting`] implementation: reading that notes every mistake (unknown keys, wrong types,
/// ranges), overrides from the environment, and the reference. A type of your own becomes usable with `choice!` (a fixed set of words), `by_text!` (it has
/// `TryFrom<String, Error = String>` and `Display`) or by implementing [`Setting`].
macro_rules! section {
    (
        $(#[doc = $doc:expr])*
        pub struct $name:ident $(with $all:ident)? {
            $(
                $(#[doc = $field_doc:expr])*
                pub $field:ident : $type:ty $(= $default:expr)? $(, within $range:expr)? ;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $field_doc])* pub $field: $type, )*
        }

        $crate::config::section::all_defaults! { $($all)? $name { $($field : $type $(= $default)?),* } }

        impl $crate::config::setting::Setting for $name {
            fn kind() -> String {
                "a table".into()
            }

            fn show(&self) -> String {
                "a table".into()
            }

            fn parse(value: &toml::Value) -> Result<Self, String> {
                let _ = value;
                Err("is a table of its own and cannot stand here".into())
            }

            fn read(value: toml::Value, at: &str, context: &mut $crate::config::setting::Context<'_>) -> Option<Self> {
                let mut table = $crate::config::section::table(value, at, context)?;
                $(
                    let path = $crate::config::section::path(at, stringify!($field));
                    let default: Option<$type> = $crate::config::section::first![$( Some($default), )? None];
                    let $field: Option<$type> = $crate::config::section::field(&mut table, stringify!($field), &path, default, context);
                    let _spare = || -> Option<$type> {
                        $crate::config::section::first![$( Some($default), )? <$type as $crate::config::setting::Setting>::stand_in()]
                    };
                    $( let $field = $field.and_then(|value| $crate::config::setting::within(value, &($range), &path, context)).or_else(_spare); )?
                )*
                $crate::config::section::refuse_rest::<Self>(table, at, &[$(stringify!($field)),*], context);
                Some(Self { $($field: $field?,)* })
            }

            fn absent(at: &str, context: &mut $crate::config::setting::Context<'_>) -> Option<Self> {
                Self::read(toml::Value::Table(toml::Table::new()), at, context)
            }

            fn stand_in() -> Option<Self> {
                $crate::config::section::stand_in()
            }

            fn nested() -> Option<$crate::config::setting::Nested> {
                use $crate::config::setting::{Field, Nested, Setting, Shape};
                let fields = vec![$({
                    let default: Option<$type> = $crate::config::section::first![$( Some($default), )? None];
                    let range: Option<std::ops::RangeInclusive<$type>> = $crate::config::section::first![$( Some($range), )? None];
                    Field {
                        key: stringify!($field),
                        doc: concat!($($field_doc, "\n",)* ""),
                        kind: <$type as Setting>::kind(),
                        default: default.as_ref().map(Setting::show),
                        absent: <$type as Setting>::when_absent(),
                        range: range.map(|range| (range.start().show(), range.end().show())),
                        below: <$type as Setting>::nested(),
                    }
                }),*];
                Some(Nested { shape: Shape::Table, doc: concat!($($doc, "\n",)* ""), fields })
            }
        }
    };
}

/// Implements `Default` for a section whose keys all have one.
macro_rules! all_defaults {
    (defaults $name:ident { $($field:ident : $type:ty $(= $default:expr)?),* }) => {
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::config::section::first![$($default,)? <$type as Default>::default()],)* }
            }
        }
    };
    ($name:ident { $($rest:tt)* }) => {};
}

/// Takes the first of a list of expressions.
macro_rules! first {
    ($first:expr $(, $rest:expr)*) => {
        $first
    };
}

/// Declares an enum whose variants are words of the configuration: `pub enum Format { /// … Text = "text", Json = "json" }`.
macro_rules! choice {
    ($(#[doc = $doc:expr])* pub enum $name:ident { $( $(#[doc = $variant_doc:expr])* $variant:ident = $word:literal ),* $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $( $(#[doc = $variant_doc])* $variant ),* }

        impl $name {
            /// The word in the configuration.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word ),* }
            }
        }

        impl $crate::config::setting::Setting for $name {
            fn kind() -> String {
                format!("one of {}", [$(concat!("\"", $word, "\"")),*].join(", "))
            }
            fn stand_in() -> Option<Self> {
                [$(Self::$variant),*].into_iter().next()
            }
            fn show(&self) -> String {
                format!("\"{}\"", self.as_str())
            }
            fn parse(value: &toml::Value) -> Result<Self, String> {
                match value.as_str() {
                    $( Some($word) => Ok(Self::$variant), )*
                    _ => Err(format!("takes {}", Self::kind())),
                }
            }
        }
    };
}

/// Makes a type that has `TryFrom<String, Error = String>` and `Display` usable in a section: `by_text!(Network, "a network, such as \"10.0.0.0/8\"")`.
#[allow(unused_macros, reason = "for component files")]
macro_rules! by_text {
    ($name:ty, $kind:expr) => {
        impl $crate::config::setting::Setting for $name {
            fn kind() -> String {
                $kind.into()
            }
            fn show(&self) -> String {
                toml::Value::String(self.to_string()).to_string()
            }
            fn parse(value: &toml::Value) -> Result<Self, String> {
                let text = value.as_str().ok_or_else(|| format!("takes {}", $kind))?;
                Self::try_from(text.to_owned())
            }
        }
    };
}

#[allow(unused_imports, reason = "for component files")]
pub(crate) use {all_defaults, by_text, choice, first, section};

/// The key below a path.
#[must_use]
pub fn path(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

/// The value as a table, or a mistake.
#[must_use]
pub fn table(value: toml::Value, at: &str, context: &mut Context<'_>) -> Option<toml::Table> {
    match value {
        toml::Value::Table(table) => Some(table),
        toml::Value::Array(mut items) if items.len() == 1 && items[0].is_table() => {
            context.problems.add(at, format!("is one table and no list of tables: write [{at}], in single brackets"));
            table(items.remove(0), at, context)
        }
        toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
            context.problems.add(
                at,
                format!("is one table and no list of tables: keep one of the {}, and write [{at}], in single brackets", items.len()),
            );
            None
        }
        other => {
            context.problems.add(
                at,
                format!(
                    "is a table with keys of its own, not a value of type {}: write it as [{at}] with its keys below",
                    other.type_str()
                ),
            );
            None
        }
    }
}

/// Reads one key: from the environment, else from the file, else its default. What cannot be read is noted, and its default or another value takes its place.
#[must_use]
pub fn field<T: Setting>(table: &mut toml::Table, key: &str, path: &str, default: Option<T>, context: &mut Context<'_>) -> Option<T> {
    let given = table.remove(key);
    let may_be_empty = default.as_ref().is_some_and(|default| default.show() == "\"\"");
    let read = if let Some(text) = context.overrides.take(path) {
        from_text(&text, path, may_be_empty, context)
    } else {
        match given {
            Some(toml::Value::String(text)) if text.trim().is_empty() && !may_be_empty => {
                let otherwise = if default.is_some() || T::when_absent().is_some() { "; or leave the key out" } else { "" };
                context.problems.add(path, format!("is empty: set it to {}{otherwise}", T::kind()));
                None
            }
            Some(value) => T::read(value, path, context),
            None if T::nested().is_some() && context.overrides.below(path) => {
                T::read(toml::Value::Table(toml::Table::new()), path, context)
            }
            None if default.is_some() => return default,
            None => T::absent(path, context),
        }
    };
    read.or_else(|| {
        context.replaced.push(path.to_owned());
        default.or_else(T::stand_in)
    })
}

/// A section of which nothing could be read: each key has its default, or a value that stands in its place.
#[must_use]
pub fn stand_in<T: Setting>() -> Option<T> {
    let mut context = Context { problems: &mut Problems::default(), overrides: &mut Overrides::default(), replaced: &mut Vec::new() };
    T::read(toml::Value::Table(toml::Table::new()), "", &mut context)
}

/// Reads a value from the environment: as text if the key takes text, else as TOML.
fn from_text<T: Setting>(text: &str, path: &str, may_be_empty: bool, context: &mut Context<'_>) -> Option<T> {
    if text.trim().is_empty() && !may_be_empty {
        context.problems.add(path, format!("is empty (from the environment): set it to {}, or unset the variable", T::kind()));
        return None;
    }
    let as_text = T::parse(&toml::Value::String(text.to_owned()));
    let parsed = match (as_text, text.parse::<toml::Value>()) {
        (Ok(value), _) => Ok(value),
        (Err(_), Ok(value)) => T::parse(&value),
        (Err(error), Err(_)) => Err(error),
    };
    parsed.map_err(|error| context.problems.add(path, format!("{error} (from the environment)"))).ok()
}

/// Keys that nobody reads are mistakes; the nearest known key is named.
pub fn refuse_rest<T: Setting>(table: toml::Table, at: &str, known: &[&str], context: &mut Context<'_>) {
    for (key, _) in table {
        let fields = T::nested().map(|nested| nested.fields).unwrap_or_default();
        let holds = |field: &&Field| {
            field.below.as_ref().is_some_and(|below| below.shape == Shape::Table && below.fields.iter().any(|field| field.key == key))
        };
        if let Some(below) = fields.iter().find(holds) {
            context.problems.add(path(at, &key), format!("is not a key here: it belongs below, to [{}]", path(at, below.key)));
            continue;
        }
        let nearest =
            known.iter().map(|known| (distance(&key, known), known)).min().filter(|(distance, known)| *distance <= 2.max(known.len() / 3));
        let hint = match nearest {
            Some((_, known)) => format!("is not a key here; did you mean `{known}`?"),
            None => format!("is not a key here; known are {}", known.join(", ")),
        };
        context.problems.add(path(at, &key), hint);
    }
}

/// Edits between two words (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

//! The types that a key of the configuration can have.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::secret::SecretSource;
use super::setting::{Context, Nested, Setting, Shape, expected};

impl Setting for bool {
    fn kind() -> String {
        "true or false".into()
    }
    fn stand_in() -> Option<Self> {
        Some(false)
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn parse(value: &toml::Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| expected::<Self>(value))
    }
}

macro_rules! whole_number {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn kind() -> String {
                "a whole number".into()
            }
            fn stand_in() -> Option<Self> {
                Some(1)
            }
            fn show(&self) -> String {
                self.to_string()
            }
            fn parse(value: &toml::Value) -> Result<Self, String> {
                let number = value.as_integer().ok_or_else(|| expected::<Self>(value))?;
                <$type>::try_from(number).map_err(|_| format!("{number} does not fit: take a whole number from {} to {}", <$type>::MIN, <$type>::MAX))
            }
        }
    )*};
}
whole_number!(u16, u32, u64, usize);

impl Setting for f64 {
    fn kind() -> String {
        "a number".into()
    }
    fn stand_in() -> Option<Self> {
        Some(1.0)
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
    #[expect(clippy::cast_precision_loss, reason = "shares and factors are small")]
    fn parse(value: &toml::Value) -> Result<Self, String> {
        let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as Self)).ok_or_else(|| expected::<Self>(value))?;
        if number.is_finite() { Ok(number) } else { Err("takes a finite number".into()) }
    }
}

impl Setting for String {
    fn kind() -> String {
        "text".into()
    }
    fn stand_in() -> Option<Self> {
        Some("unreadable".into())
    }
    fn show(&self) -> String {
        toml::Value::String(self.clone()).to_string()
    }
    fn parse(value: &toml::Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| expected::<Self>(value))?;
        if text.chars().any(char::is_control) {
            let escapes = "between double quotes a backslash begins an escape: write 'DOMAIN\\user', between single quotes";
            return Err(format!("holds a control character ({escapes})"));
        }
        if text.trim() != text {
            return Err("begins or ends with a blank: leave it out".into());
        }
        Ok(text.to_owned())
    }
}

impl Setting for PathBuf {
    fn kind() -> String {
        "a path".into()
    }
    fn stand_in() -> Option<Self> {
        Some("unreadable".into())
    }
    fn show(&self) -> String {
        self.display().to_string().show()
    }
    fn parse(value: &toml::Value) -> Result<Self, String> {
        match value.as_str() {
            Some("") => Err("takes a path, not an empty text".into()),
            Some(path) => Ok(path.into()),
            None => Err(expected::<Self>(value)),
        }
    }
}

impl Setting for std::net::SocketAddr {
    fn kind() -> String {
        "an address with port, such as \"127.0.0.1:8080\"".into()
    }
    fn stand_in() -> Option<Self> {
        Some(([127, 0, 0, 1], 0).into())
    }
    fn show(&self) -> String {
        self.to_string().show()
    }
    fn parse(value: &toml::Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| expected::<Self>(value))?;
        text.parse().map_err(|_| format!("takes {}", Self::kind()))
    }
}

impl Setting for Duration {
    fn kind() -> String {
        "a duration with unit, such as \"250ms\", \"3s\", \"20m\", \"12h\" or \"7d\"".into()
    }
    fn stand_in() -> Option<Self> {
        Some(Duration::from_secs(1))
    }
    fn show(&self) -> String {
        duration::show(*self).show()
    }
    fn parse(value: &toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::String(text) => duration::parse(text),
            toml::Value::Integer(number) => Err(format!("needs a unit: write \"{number}s\" for {number} seconds")),
            other => Err(expected::<Self>(other)),
        }
    }
}

/// A number of bytes; written as `"512KiB"`, `"64MiB"`, `"1GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// So many mebibytes.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// So many kibibytes.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// As a length in memory.
    #[must_use]
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Setting for Bytes {
    fn kind() -> String {
        "a size with unit, such as \"512KiB\", \"64MiB\" or \"1GiB\"".into()
    }
    fn stand_in() -> Option<Self> {
        Some(Self(1))
    }
    fn show(&self) -> String {
        let (number, unit) = [(30, "GiB"), (20, "MiB"), (10, "KiB")]
            .into_iter()
            .find(|(shift, _)| self.0 != 0 && self.0.is_multiple_of(1 << shift))
            .map_or((self.0, "B"), |(shift, unit)| (self.0 >> shift, unit));
        format!("{number}{unit}").show()
    }
    fn parse(value: &toml::Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| expected::<Self>(value))?.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: Option<u64> = match unit.trim() {
            "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        let bytes = factor.and_then(|factor| number.parse::<u64>().ok()?.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| format!("takes {}", Self::kind()))
    }
}

impl Setting for SecretSource {
    fn kind() -> String {
        "a secret: { file = \"PATH\" } or { env = \"VARIABLE\" }".into()
    }
    fn stand_in() -> Option<Self> {
        Some(Self::Env(String::new()))
    }
    fn show(&self) -> String {
        match self {
            Self::File(path) => format!("{{ file = {} }}", path.show()),
            Self::Env(name) => format!("{{ env = {} }}", name.show()),
        }
    }
    fn parse(value: &toml::Value) -> Result<Self, String> {
        let table = value
            .as_table()
            .filter(|table| table.len() == 1)
            .ok_or_else(|| format!("takes {}; a secret never stands in the file itself", Self::kind()))?;
        let source = match (table.get("file"), table.get("env")) {
            (Some(file), None) => Self::File(PathBuf::parse(file)?),
            (None, Some(name)) => Self::Env(String::parse(name)?),
            _ => return Err(format!("takes {}", Self::kind())),
        };
        source.read().map(|_| source)
    }
}

impl<T: Setting> Setting for Option<T> {
    fn kind() -> String {
        T::kind()
    }
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "unset".into(), Setting::show)
    }
    fn parse(value: &toml::Value) -> Result<Self, String> {
        T::parse(value).map(Some)
    }
    fn read(value: toml::Value, at: &str, context: &mut Context<'_>) -> Option<Self> {
        T::read(value, at, context).map(Some)
    }
    fn absent(_at: &str, _context: &mut Context<'_>) -> Option<Self> {
        Some(None)
    }
    fn when_absent() -> Option<&'static str> {
        Some("unset")
    }
    fn stand_in() -> Option<Self> {
        Some(T::stand_in())
    }
    fn nested() -> Option<Nested> {
        T::nested()
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn kind() -> String {
        format!("a list of {}", T::kind())
    }
    fn show(&self) -> String {
        format!("[{}]", self.iter().map(Setting::show).collect::<Vec<_>>().join(", "))
    }
    fn parse(value: &toml::Value) -> Result<Self, String> {
        value.as_array().ok_or_else(|| expected::<Self>(value))?.iter().map(T::parse).collect()
    }
    fn read(value: toml::Value, at: &str, context: &mut Context<'_>) -> Option<Self> {
        let values = match value {
            toml::Value::Array(values) => values,
            toml::Value::Table(table) if T::nested().is_some() => {
                context.problems.add(at, format!("is a list of tables: write [[{at}]], in double brackets, once for each"));
                vec![toml::Value::Table(table)]
            }
            other => {
                context.problems.add(at, format!("{}; write it in brackets, also a single one: [ … ]", expected::<Self>(&other)));
                return None;
            }
        };
        let mut read = Vec::new();
        for (n, value) in values.into_iter().enumerate() {
            let at = format!("{at}[{n}]");
            match T::read(value, &at, context) {
                Some(value) => read.push(value),
                None => context.replaced.push(at),
            }
        }
        Some(read)
    }
    fn stand_in() -> Option<Self> {
        Some(Self::new())
    }
    fn absent(_at: &str, _context: &mut Context<'_>) -> Option<Self> {
        Some(Self::new())
    }
    fn when_absent() -> Option<&'static str> {
        Some("empty")
    }
    fn nested() -> Option<Nested> {
        T::nested().map(|nested| Nested { shape: Shape::List, ..nested })
    }
}

/// Whether it is a table, or the list of tables that somebody wrote for one.
fn holds_tables(value: &toml::Value) -> bool {
    value.is_table() || value.as_array().is_some_and(|items| items.iter().any(toml::Value::is_table))
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn kind() -> String {
        format!("tables by name, each {}", T::kind())
    }
    fn show(&self) -> String {
        let entries: Vec<String> = self.iter().map(|(name, value)| format!("{} = {}", name.show(), value.show())).collect();
        format!("{{ {} }}", entries.join(", "))
    }
    fn parse(value: &toml::Value) -> Result<Self, String> {
        let table = value.as_table().ok_or_else(|| expected::<Self>(value))?;
        table.iter().map(|(name, value)| Ok((name.clone(), T::parse(value)?))).collect()
    }
    fn read(value: toml::Value, at: &str, context: &mut Context<'_>) -> Option<Self> {
        let table = match value {
            toml::Value::Table(table) => table,
            toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
                context.problems.add(at, format!("is no list of tables: give each a name, [{at}.NAME], in single brackets"));
                return None;
            }
            other => {
                context.problems.add(at, expected::<Self>(&other));
                return None;
            }
        };
        let mut read = Self::new();
        for (name, value) in table {
            let at_name = format!("{at}.{name}");
            if T::nested().is_some() && !holds_tables(&value) {
                context
                    .problems
                    .add(at_name.as_str(), format!("stands beside the names: give the table one, [{at}.NAME], and put the key below it"));
                context.replaced.push(at_name);
                continue;
            }
            match T::read(value, &at_name, context) {
                Some(value) => drop(read.insert(name, value)),
                None => context.replaced.push(at_name),
            }
        }
        Some(read)
    }
    fn stand_in() -> Option<Self> {
        Some(Self::new())
    }
    fn absent(_at: &str, _context: &mut Context<'_>) -> Option<Self> {
        Some(Self::new())
    }
    fn when_absent() -> Option<&'static str> {
        Some("empty")
    }
    fn nested() -> Option<Nested> {
        T::nested().map(|nested| Nested { shape: Shape::Named, ..nested })
    }
}

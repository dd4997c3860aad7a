//! The text of a configuration as a document: its values, what is not TOML in it, and the line of each key.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::section::path;

/// A text that was read as far as it is TOML.
#[derive(Debug)]
pub struct Document {
    /// Its values.
    pub table: toml::Table,
    /// Where its keys are.
    pub lines: Lines,
    /// What is not TOML: line and message. The parser's quotation of the line is left out, because it may hold a secret in the wrong place.
    pub broken: Vec<(usize, String)>,
}

impl Document {
    /// Reads a text; what is not TOML is noted and stepped over, so that one slip of the pen hides no other mistake.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut lines = Lines { ends: text.match_indices('\n').map(|(at, _)| at).collect(), of: BTreeMap::new() };
        let table = lines.table(document.get_ref(), "");
        let mut broken: Vec<(usize, String)> = Vec::new();
        for error in errors {
            let line = error.span().map_or(1, |span| lines.at(span.start));
            // What follows on the same line is the same slip.
            if broken.last().is_none_or(|(before, _)| *before != line) {
                broken.push((line, error.message().to_owned()));
            }
        }
        Self { table, lines, broken }
    }
}

/// The line of each key, by its path as messages name it (`push.apns[0].app`).
#[derive(Debug, Default)]
pub struct Lines {
    ends: Vec<usize>,
    of: BTreeMap<String, usize>,
}

impl Lines {
    /// The line of a key, or of the table in which it is missing.
    #[must_use]
    pub fn of(&self, key: &str) -> Option<usize> {
        let mut key = key;
        while !key.is_empty() {
            if let Some(line) = self.exactly(key) {
                return Some(line);
            }
            key = key.rfind(['.', '[']).map_or("", |end| &key[..end]);
        }
        None
    }

    /// The line of a key that the text holds.
    #[must_use]
    pub fn exactly(&self, key: &str) -> Option<usize> {
        // A table that was written where a list of tables belongs stands for the first of them.
        self.of.get(key).or_else(|| self.of.get(&key.replace("[0]", ""))).copied()
    }

    fn at(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end < offset) + 1
    }

    fn table(&mut self, table: &DeTable<'_>, above: &str) -> toml::Table {
        let mut values = toml::Table::new();
        for (key, value) in table {
            let at = path(above, key.get_ref());
            self.of.insert(at.clone(), self.at(key.span().start));
            values.insert(key.get_ref().to_string(), self.value(value, &at));
        }
        values
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, at: &str) -> toml::Value {
        match value.get_ref() {
            DeValue::String(text) => toml::Value::String(text.to_string()),
            DeValue::Integer(number) => {
                // What does not fit into 64 bits fits into no key: the type is what is wrong with it then.
                i64::from_str_radix(number.as_str(), number.radix()).map_or(toml::Value::Float(f64::INFINITY), toml::Value::Integer)
            }
            DeValue::Float(number) => toml::Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => toml::Value::Boolean(*value),
            DeValue::Datetime(value) => toml::Value::Datetime(*value),
            DeValue::Array(items) => {
                let mut values = Vec::new();
                for (n, item) in items.iter().enumerate() {
                    let at = format!("{at}[{n}]");
                    self.of.insert(at.clone(), self.at(item.span().start));
                    values.push(self.value(item, &at));
                }
                toml::Value::Array(values)
            }
            DeValue::Table(table) => toml::Value::Table(self.table(table, at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
[api]
listen = \"127.0.0.1:1\"
tls = { certificate = \"a\", key = \"b\" }

[tenant.acme]
allowed_domains = [
  \"a.b\",
  \"c.d\",
]
mail.ews_url = \"x\"

[[push.apns]]
app = \"one\"
[[push.apns]]
app = \"two\"
";

    #[test]
    fn every_key_has_its_line_and_a_missing_one_that_of_its_table() {
        let document = Document::read(TEXT);
        assert_eq!(document.broken, []);
        assert_eq!(document.table, TEXT.parse::<toml::Table>().unwrap());
        for (key, line) in [
            ("api.listen", Some(2)),
            ("api.tls.key", Some(3)),
            ("api.tls.reload", Some(3)),
            ("tenant.acme.allowed_domains[1]", Some(8)),
            ("tenant.acme.mail.ews_url", Some(10)),
            ("tenant.acme.identity.issuer", Some(5)),
            ("push.apns[1].app", Some(15)),
            ("push.apns[1].team_id", Some(14)),
            ("ews.calls", None),
        ] {
            assert_eq!(document.lines.of(key), line, "{key}");
        }
    }

    #[test]
    fn what_is_not_toml_is_stepped_over_and_each_line_is_told_once() {
        let document = Document::read("[core]\nwindow = \"3s\npassword = hunter2\n[node]\nname = 'n'\nweight = 1 2\nname = 'm'\n");
        let lines: Vec<usize> = document.broken.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 6, 7], "{:?}", document.broken);
        assert_eq!(document.table["node"]["name"].as_str(), Some("n"));
        assert!(!format!("{:?}", document.broken).contains("hunter2"));
    }
}

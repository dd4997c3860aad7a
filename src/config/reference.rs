//! Writes the reference of every key: `config/README.md` for people and `config/default.toml` to start from.

use std::fmt::Write as _;

use super::Config;
use super::setting::{Field, Nested, Setting, Shape};

/// The first line of both files.
const WRITTEN_BY: &str = "Written by `tests/reference.rs` from `src/config/`; change it there and run the test with POSTRIDER_BLESS=1.";

/// Where a table stands.
struct Place {
    /// How its header is written in TOML, `[tenant.NAME.mail]`.
    header: String,
    /// The path its keys are addressed by.
    path: String,
}

/// `config/README.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = format!(
        "<!-- {WRITTEN_BY} -->\n\n# Configuration\n\nOne TOML file, `postrider.toml` unless `--config` names another. `postrider check-config` reports all mistakes at once and opens nothing.\n\n\
         A value outside lists can be overridden by the environment: `POSTRIDER_` and the path in capitals with `__` for each dot, e.g. `POSTRIDER_CORE__WINDOW=5s`.\n\n\
         Secrets never stand in the file: `{{ file = \"PATH\" }}` names a file that holds nothing else, `{{ env = \"NAME\" }}` an environment variable.\n\
         The file must be readable for the service alone: `chmod 600`, owned by the service's user; or owned by root and readable for one group (`chmod 640`).\n\n\
         Durations carry a unit (`ms`, `s`, `m` for minutes, `h`, `d`), sizes too (`KiB`, `MiB`, `GiB`).\n"
    );
    let root = Config::nested().unwrap_or_else(|| unreachable!("the configuration is a section"));
    let _ = writeln!(out, "\n{}", sentence(root.doc));
    for field in &root.fields {
        section(&mut out, field, "");
    }
    out
}

/// One section and those below it.
fn section(out: &mut String, field: &Field, above: &str) {
    let Some(nested) = &field.below else { return };
    let place = place(field, nested, above);
    let _ = writeln!(out, "\n## `{}`\n\n{} {}", place.header, sentence(field.doc), sentence(nested.doc));
    if nested.fields.iter().any(|field| field.below.is_none()) {
        let _ = writeln!(out, "\n| key | value | default | range | meaning |\n|---|---|---|---|---|");
    }
    for field in nested.fields.iter().filter(|field| field.below.is_none()) {
        let default = match (&field.default, field.absent) {
            (Some(default), _) => format!("`{default}`"),
            (None, Some(absent)) => absent.into(),
            (None, None) => "**required**".into(),
        };
        let range = field.range.as_ref().map_or_else(String::new, |(low, high)| format!("`{low}` to `{high}`"));
        let _ = writeln!(
            out,
            "| `{}` | {} | {default} | {range} | {} |",
            field.key,
            kind(&field.kind).replace('|', "\\|"),
            sentence(field.doc).replace('|', "\\|")
        );
    }
    for field in &nested.fields {
        section(out, field, &place.path);
    }
}

/// `config/default.toml`: every key with its default; keys without one are commented out.
#[must_use]
pub fn default_toml() -> String {
    let mut out =
        format!("# {WRITTEN_BY}\n# Every key with its default; what has none is commented out. README.md beside this file says more.\n");
    let root = Config::nested().unwrap_or_else(|| unreachable!("the configuration is a section"));
    for field in &root.fields {
        table(&mut out, field, "", false);
    }
    out
}

/// One table and those below it; a table that may stay away, or has a name to choose, is commented out.
fn table(out: &mut String, field: &Field, above: &str, commented: bool) {
    let Some(nested) = &field.below else { return };
    let place = place(field, nested, above);
    let commented = commented || field.absent.is_some() || nested.shape != Shape::Table;
    let _ = writeln!(out, "\n# {}\n{}{}", sentence(field.doc), if commented { "# " } else { "" }, place.header);
    for field in nested.fields.iter().filter(|field| field.below.is_none()) {
        let _ = writeln!(out, "\n# {}", sentence(field.doc));
        match &field.default {
            Some(default) => {
                let _ = writeln!(out, "{}{} = {default}", if commented { "# " } else { "" }, field.key);
            }
            None => {
                let _ = writeln!(out, "# {} = {}", field.key, if field.absent.is_some() { "…" } else { "… # required" });
            }
        }
    }
    for field in &nested.fields {
        table(out, field, &place.path, commented);
    }
}

fn place(field: &Field, nested: &Nested, above: &str) -> Place {
    let path = if above.is_empty() { field.key.to_owned() } else { format!("{above}.{}", field.key) };
    match nested.shape {
        Shape::Table => Place { header: format!("[{path}]"), path },
        Shape::Named => Place { header: format!("[{path}.NAME]"), path: format!("{path}.NAME") },
        Shape::List => Place { header: format!("[[{path}]]"), path },
    }
}

/// What kind of value a key takes; the examples stand above the tables.
fn kind(kind: &str) -> &str {
    kind.split_once(" with unit").map_or(kind, |(kind, _)| kind)
}

/// A docstring as one line.
fn sentence(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! What is made of the table of keys: a commented file, and the page of the documents.

use super::keys::{Default, KEYS, Key};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The page, from the root of the source.
pub const DOCUMENT: &str = "docs/config.md";

const WIDTH: usize = 100;

/// A commented file with these values; every other key is there as a comment.
pub fn file(values: &BTreeMap<&str, String>) -> String {
    let mut out = String::from(
        "# The configuration of a Palisade node. Everything may be left out; the same file serves on every node.\n\
         # What concerns the whole cluster is not here: it is in records (palctl get, palctl edit).\n\
         # `palisade config check` names every fault, `palisade config show` says what is in force.\n",
    );
    let mut above = "";
    for key in KEYS {
        let (section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        out.push('\n');
        if section != above {
            above = section;
            let any = values.keys().any(|k| k.starts_with(&format!("{section}.")));
            let mark = if any { "" } else { "# " };
            let _ = writeln!(out, "{mark}{section}:");
        }
        let indent = if section.is_empty() { "" } else { "  " };
        comment(&mut out, indent, &format!("{}.", sentence(key.what)));
        comment(&mut out, indent, &format!("{}: {}.", default_words(key), key.why));
        match (values.get(key.name), key.default) {
            (Some(value), _) => {
                let _ = writeln!(out, "{indent}{name}: {}", scalar(value));
            }
            (None, Default::Value(value)) => {
                let _ = writeln!(out, "# {indent}{name}: {value}");
            }
            (None, Default::Found(_)) => {
                let _ = writeln!(out, "# {indent}{name}:");
            }
        }
    }
    out
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| {
        first.to_uppercase().collect::<String>() + chars.as_str()
    })
}

fn default_words(key: &Key) -> String {
    match key.default {
        Default::Value(value) => format!("Default {value}"),
        Default::Found(words) => format!("Default: {words}"),
    }
}

fn comment(out: &mut String, indent: &str, text: &str) {
    let mut line = format!("# {indent}");
    let empty = line.len();
    for word in text.split(' ') {
        if line.len() > empty && line.len() + word.len() >= WIDTH {
            let _ = writeln!(out, "{}", line.trim_end());
            line.truncate(empty);
        }
        line += word;
        line.push(' ');
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// A value as YAML reads it back: quoted wherever it could be taken for something else.
fn scalar(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"./_-:".contains(&b);
    let harmless = value.bytes().all(plain)
        && value
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'/')
        && !value.ends_with(':')
        && !["true", "false", "null", "yes", "no", "on", "off"]
            .contains(&value.to_ascii_lowercase().as_str());
    let number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    if harmless || number {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}

/// The page of the documents.
pub fn document() -> String {
    let mut out = String::from(
        "# Configuration of a node\n\n\
         This page is made of the table in `node/src/config/keys.rs`; a test holds them together\n\
         (`PALISADE_WRITE_DOCS=1 cargo test --locked --workspace --test documents` writes it).\n\n\
         `palisade configure` writes a commented file for this machine, `palisade config check` names every fault with line\n\
         and column, `palisade config show` says what is in force and where each value comes from. Everything may be left\n\
         out, and the same file serves on every node: `name` and `advertise` are found out. What is per node is in the file;\n\
         what is the cluster's is in records. There are no secrets in it.\n\n\
         **SIGHUP** has a running node read its file again. What is marked *at once* is taken over; what else has changed is\n\
         named in the log and needs a restart. A file with faults is refused as a whole, and the node goes on as it was.\n\n\
         | key | default | why | what | new value |\n| --- | --- | --- | --- | --- |\n",
    );
    for key in KEYS {
        let default = match key.default {
            Default::Value(value) => format!("`{value}`"),
            Default::Found(words) => words.to_owned(),
        };
        let takes = if key.reload { "at once" } else { "restart" };
        let _ = writeln!(
            out,
            "| `{}` | {default} | {} | {} | {takes} |",
            key.name, key.why, key.what
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Machine};

    #[test]
    fn what_is_written_reads_back() {
        let machine = Machine {
            host_name: "n1".into(),
            reached_at: "10.0.0.1".into(),
        };
        let empty = file(&BTreeMap::new());
        let config = Config::parse(&empty, &machine).expect("all comments");
        assert_eq!(config.advertise, "10.0.0.1");
        let values = BTreeMap::from([
            ("name", "n7".to_owned()),
            ("advertise", "2001:db8::7".to_owned()),
            ("data_dir", "/srv/it's here".to_owned()),
            ("web_listen", "0.0.0.0:443".to_owned()),
            ("raft.heartbeat_ms", "60".to_owned()),
        ]);
        let text = file(&values);
        let config = Config::parse(&text, &machine).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        for (key, value) in values {
            let effective = config.effective.iter().find(|e| e.key == key).expect("a key");
            assert_eq!(effective.value, value, "{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 110), "{text}");
        // Every key may be taken into use by taking its mark away.
        let all = empty.replace("# raft:", "raft:");
        for key in KEYS {
            let name = key.name.rsplit('.').next().expect("a name");
            assert!(all.contains(&format!(" {name}:")), "{}", key.name);
        }
    }
}

//! What is written reads back the same, and nothing that is read makes the reader panic.

use std::collections::BTreeMap;

use palisade_core::text;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nest {
    name: String,
    list: Vec<String>,
    map: BTreeMap<String, Vec<String>>,
    number: i64,
    big: u64,
    yes: bool,
    maybe: Option<Box<Nest>>,
    nests: Vec<Nest>,
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        2 => "[ -~]{0,12}",
        2 => "[a-z \n\t:#'\"|>*&!{}\\[\\],.-]{0,20}",
        1 => "[0-9.eExXoO_+:-]{1,8}",
        1 => "[a-z]{0,3}(\n {0,3}[a-z]{0,3}){1,5}",
        1 => prop::sample::select(vec![
            "", " ", "~", "null", "Null", "true", "True", "yes", "No", "on", "OFF", "y", "n", "<<", "=", "-", "- a",
            "---", "...", "--- a", "a: b", "a #b", "#a", "%a", "@a", "`a", "1", "0x1f", "0o7", "1e3", ".inf",
            "-.INF", ".nan", "12:30:45", "2024-01-01", "007", "+1", "1_000", "8h", "a\n", "a\n\n", "\na", " a\nb",
            "a\n b\n", "a \nb", "a\r\nb", "\r", "\u{feff}", "\u{85}", "\u{2028}", "\u{202e}", "'", "''", "\"", "\\",
            "|", ">", "? a", ": a", "a:", "!!str", "*", "^.*$", "{{internal.logins}}", "名前", "🦀", "\u{fffe}",
            "\u{10ffff}", "\0", "a\n---\nb", "a\n...\nb", "\t", "a\tb", "a\n\tb",
        ]).prop_map(str::to_owned),
    ]
}

fn any_nest() -> impl Strategy<Value = Nest> {
    let leaf = (
        any_text(),
        prop::collection::vec(any_text(), 0..4),
        prop::collection::btree_map(any_text(), prop::collection::vec(any_text(), 0..3), 0..4),
        any::<i64>(),
        any::<u64>(),
        any::<bool>(),
    )
        .prop_map(|(name, list, map, number, big, yes)| Nest {
            name,
            list,
            map,
            number,
            big,
            yes,
            maybe: None,
            nests: Vec::new(),
        });
    leaf.prop_recursive(3, 8, 3, |inner| {
        (
            inner.clone(),
            prop::option::of(inner.clone()),
            prop::collection::vec(inner, 0..3),
        )
            .prop_map(|(mut nest, maybe, nests)| {
                nest.maybe = maybe.map(Box::new);
                nest.nests = nests;
                nest
            })
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any_text(), inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_survives_yaml(s in any_text()) {
        let yaml = text::to_yaml(&s).expect("writes");
        prop_assert_eq!(text::from_yaml::<String>(&yaml).map_err(|e| e.to_string()), Ok(s), "{}", yaml);
    }

    #[test]
    fn any_struct_survives_yaml_and_json(nest in any_nest()) {
        let yaml = text::to_yaml(&nest).expect("writes");
        let read = text::from_yaml::<Nest>(&yaml).map_err(|e| e.to_string());
        prop_assert_eq!(read.as_ref(), Ok(&nest), "{}", yaml);
        let json = serde_json::to_string_pretty(&nest).expect("writes");
        // A raw byte order mark or direction mark is refused, as in YAML; serde_json writes them raw.
        if !json.contains(|c: char| c == '\u{feff}' || ('\u{7f}'..='\u{9f}').contains(&c)
            || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)) {
            let read = text::from_json::<Nest>(&json).map_err(|e| e.to_string());
            prop_assert_eq!(read.as_ref(), Ok(&nest), "{}", json);
        }
    }

    #[test]
    fn any_tree_survives_yaml(value in any_value()) {
        let yaml = text::to_yaml(&value).expect("writes");
        // A document of nothing is an empty text.
        if value.is_null() { return Ok(()); }
        prop_assert_eq!(text::from_yaml::<Value>(&yaml).map_err(|e| e.to_string()), Ok(value), "{}", yaml);
    }

    #[test]
    fn garbage_never_panics(s in any::<String>(), t in "[a-c \n:,'\"|>*&!?%@#{}\\[\\]-]{0,80}") {
        for text in [&s, &t] {
            let _ = text::from_yaml::<Value>(text);
            let _ = text::from_yaml::<Nest>(text);
            let _ = text::from_yaml_documents::<Value>(text);
            let _ = text::from_json::<Value>(text);
            if let Err(error) = text::from_yaml::<Value>(text) {
                prop_assert!(error.line >= 1 && error.line <= text.lines().count() + 1, "{} {:?}", error, text);
                prop_assert!(error.column >= 1);
            }
        }
    }

    #[test]
    fn a_damaged_text_never_panics(nest in any_nest(), at in any::<prop::sample::Index>(), c in any::<char>()) {
        let mut yaml: Vec<char> = text::to_yaml(&nest).expect("writes").chars().collect();
        let i = at.index(yaml.len());
        yaml[i] = c;
        let _ = text::from_yaml::<Nest>(&yaml.into_iter().collect::<String>());
    }
}

#[test]
fn a_key_longer_than_yaml_allows_on_a_line_survives() {
    for n in [500, 600, 1023, 1024, 1100, 5000] {
        let map = BTreeMap::from([("k".repeat(n), vec!["v".to_owned()]), ("名".repeat(n), vec![])]);
        let nested = vec![BTreeMap::from([("outer".to_owned(), vec![map])])];
        let yaml = text::to_yaml(&nested).expect("writes");
        assert_eq!(
            text::from_yaml::<Vec<BTreeMap<String, Vec<BTreeMap<String, Vec<String>>>>>>(&yaml)
                .expect("reads"),
            nested
        );
    }
}

#[test]
fn yaml_is_written_as_a_person_would() {
    let value = serde_json::json!({
        "kind": "role", "version": "v1",
        "metadata": {"name": "dev", "labels": {}},
        "spec": {
            "logins": ["root", "{{internal.logins}}", "^d.*$"], "none": [], "ttl": "8h0m", "addr": "10.0.0.1:22",
            "word": "yes", "motd": "two\nlines\n", "n": 3, "off": false, "gone": null,
            "rules": [{"resources": ["user"], "verbs": ["list", "read"]}, [["x"]]],
        },
    });
    assert_eq!(
        text::to_yaml(&value).expect("writes"),
        "\
kind: role
version: v1
metadata:
  name: dev
  labels: {}
spec:
  logins:
    - root
    - '{{internal.logins}}'
    - '^d.*$'
  none: []
  ttl: 8h0m
  addr: '10.0.0.1:22'
  word: 'yes'
  motd: |
    two
    lines
  'n': 3
  'off': false
  gone: null
  rules:
    - resources:
        - user
      verbs:
        - list
        - read
    - - - x
"
    );
}

/// The parser under us is fed what makes careless ones slow.
#[allow(clippy::disallowed_methods, reason = "the test measures core, it is not core")]
#[test]
fn hostile_texts_are_refused_or_read_in_bounded_time() {
    let fill = |unit: &str| unit.repeat(text::MAX_TEXT_BYTES / unit.len());
    let start = std::time::Instant::now();
    for unit in [
        "[", "{", "- ", "a: ", "? ", "&a ", "!a ", "\n", " ", "a\n", "'", "\"", "|\n", ": ", "[],", "a: 1\n",
        "---\n", "# \n", "%a\n", "\\", "\"a\":", "[{", ",", "{a: [", "a:\n ", "-\n ", "x ", "*a ",
    ] {
        let text = fill(unit);
        let one = std::time::Instant::now();
        let _ = text::from_yaml::<Value>(&text);
        let _ = text::from_json::<Value>(&text);
        let body = &text[..text.len() - 8];
        let _ = text::from_yaml::<Value>(&format!("[{body}"));
        let _ = text::from_yaml::<Value>(&format!("a: {{{body}"));
        let _ = text::from_yaml::<Value>(&format!("a: \"{body}"));
        let took = one.elapsed().as_millis();
        if took > 200 {
            println!("{unit:?} {took} ms");
        }
        assert!(one.elapsed().as_secs() < 20, "{unit:?} took {:?}", one.elapsed());
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

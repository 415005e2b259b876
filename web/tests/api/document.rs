//! Every answer of these tests, held against the OpenAPI document: its status, its media type and its body. The judge
//! knows the words that the document uses, and fails on any other, so that nothing passes unread.

use axum::http::{HeaderMap, Method, header};
use palisade_core::time::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::OnceLock;

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(palisade_web::openapi)
}

/// The operation that a request asks for; none if the document has none.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |route: &str| {
        let route: Vec<&str> = route.split('/').collect();
        let same = |(wanted, part): (&&str, &&str)| match wanted.starts_with('{') {
            true => !part.is_empty(),
            false => wanted == part,
        };
        route.len() == parts.len() && route.iter().zip(&parts).all(same)
    };
    let paths = document()["paths"].as_object().expect("paths");
    let mut found: Vec<(&String, &Value)> = paths.iter().filter(|(route, _)| fits(route)).collect();
    // The one with the most words of its own is the one that the router takes.
    found.sort_by_key(|(route, _)| route.matches('{').count());
    let method = method.as_str().to_lowercase();
    found.first().and_then(|(_, item)| item.get(&method))
}

/// Panics, with the reason, where an answer is not one that the document speaks of.
pub(crate) fn hold(method: &Method, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) {
    let Some(operation) = operation(method, path) else {
        assert!(
            !(200..300).contains(&status) || !path.starts_with("/v1/") || *method == Method::HEAD,
            "{method} {path} is served, and not in the document"
        );
        return;
    };
    let about = format!("{method} {path}: {status}");
    let response = &operation["responses"][status.to_string()];
    assert!(
        !response.is_null(),
        "{about} is not in the document: {}",
        String::from_utf8_lossy(body)
    );
    let response = followed(response);
    let Some(content) = response["content"].as_object() else {
        assert!(
            body.is_empty(),
            "{about} has a body that the document does not have"
        );
        return;
    };
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let known = content.get(media_type);
    let known = known.unwrap_or_else(|| panic!("{about} is {media_type:?}, which is not in the document"));
    let read = |bytes: &[u8]| -> Value {
        serde_json::from_slice(bytes)
            .unwrap_or_else(|e| panic!("{about}: {e}: {}", String::from_utf8_lossy(bytes)))
    };
    let mut faults = Vec::new();
    match (media_type, known.get("x-line")) {
        ("application/json", _) => judge(&known["schema"], &read(body), "$", &mut faults),
        // An answer that was left early may end in the middle of a line.
        (_, Some(line)) => body
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|text| text.ends_with(b"\n"))
            .for_each(|text| judge(line, &read(text), "$", &mut faults)),
        (_, None) => {}
    }
    assert!(faults.is_empty(), "{about}: {}", faults.join("\n"));
}

/// What a reference leads to.
fn followed(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        None => value,
        Some(reference) => {
            let found = document().pointer(reference.trim_start_matches('#'));
            found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
    }
}

/// Words that say something to people alone, or of which there is a test of its own.
const SAID: &[&str] = &["description", "title", "default", "example", "examples"];

/// Adds what is wrong with a value.
pub(crate) fn judge(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let schema = schema
        .as_object()
        .unwrap_or_else(|| panic!("{at}: no schema: {schema}"));
    for (word, wants) in schema {
        match word.as_str() {
            "$ref" => judge(followed(&Value::Object(schema.clone())), value, at, faults),
            "type" if !is_type(wants, value) => faults.push(format!("{at} is {value}, and not {wants}")),
            "type" => {}
            "enum" if !wants.as_array().is_some_and(|all| all.contains(value)) => {
                faults.push(format!("{at} is {value}, and none of {wants}"))
            }
            "enum" => {}
            "required" => {
                let names = wants.as_array().into_iter().flatten().filter_map(Value::as_str);
                let missing = names.filter(|name| value.is_object() && value.get(name).is_none());
                faults.extend(missing.map(|name| format!("{at}.{name} is missing")));
            }
            "properties" => fields(wants, value, at, faults),
            "additionalProperties" => others(schema, wants, value, at, faults),
            "propertyNames" => {
                for name in value.as_object().into_iter().flat_map(Map::keys) {
                    judge(wants, &Value::from(name.as_str()), &format!("{at} key"), faults);
                }
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    judge(wants, item, &format!("{at}[{n}]"), faults);
                }
            }
            "oneOf" => one_of(wants, value, at, faults),
            "minimum" if value.as_f64().is_some_and(|n| Some(n) < wants.as_f64()) => {
                faults.push(format!("{at} is {value}, less than {wants}"))
            }
            "minimum" => {}
            "format" => format(wants.as_str().unwrap_or_default(), value, at, faults),
            "pattern" => {
                let pattern = regex::Regex::new(wants.as_str().expect("a text")).expect("a pattern");
                if value.as_str().is_some_and(|text| !pattern.is_match(text)) {
                    faults.push(format!("{at} is {value}, which {pattern} does not match"));
                }
            }
            word if SAID.contains(&word) => {}
            other => panic!("{at}: the judge does not know {other:?}"),
        }
    }
}

fn is_type(wants: &Value, value: &Value) -> bool {
    if let Some(any) = wants.as_array() {
        return any.iter().any(|one| is_type(one, value));
    }
    match wants.as_str().expect("a type is a word") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type {other}"),
    }
}

fn fields(wants: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let (Some(wants), Some(fields)) = (wants.as_object(), value.as_object()) else {
        return;
    };
    for (name, schema) in wants {
        if let Some(field) = fields.get(name) {
            judge(schema, field, &format!("{at}.{name}"), faults);
        }
    }
}

/// Fields that `properties` does not name.
fn others(schema: &Map<String, Value>, wants: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let known = schema.get("properties").and_then(Value::as_object);
    let known = |name: &String| known.is_some_and(|known| known.contains_key(name));
    let fields = value.as_object().into_iter().flatten();
    for (name, field) in fields.filter(|(name, _)| !known(name)) {
        match wants {
            Value::Bool(true) => {}
            Value::Bool(false) => faults.push(format!("{at}.{name} is not in the document")),
            wants => judge(wants, field, &format!("{at}.{name}"), faults),
        }
    }
}

fn one_of(wants: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let tried: Vec<Vec<String>> = wants
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            let mut faults = Vec::new();
            judge(one, value, at, &mut faults);
            faults
        })
        .collect();
    match tried.iter().filter(|faults| faults.is_empty()).count() {
        1 => {}
        0 => {
            // That of the one that it nearly is.
            let nearest = tried.into_iter().min_by_key(Vec::len).unwrap_or_default();
            faults.push(format!(
                "{at} is none of the alternatives: {}",
                nearest.join("; ")
            ));
        }
        fitting => faults.push(format!("{at} fits {fitting} alternatives: {value}")),
    }
}

fn format(word: &str, value: &Value, at: &str, faults: &mut Vec<String>) {
    let fits = match word {
        "date-time" => value.as_str().is_none_or(|text| Timestamp::parse(text).is_ok()),
        "uint16" => value.as_u64().is_none_or(|n| u16::try_from(n).is_ok()),
        "uint32" => value.as_u64().is_none_or(|n| u32::try_from(n).is_ok()),
        "uint64" => true,
        other => panic!("{at}: the judge does not know the format {other:?}"),
    };
    if !fits {
        faults.push(format!("{at} is {value}, which is no {word}"));
    }
}

/// Every text enumeration of the document, by its name.
fn enums() -> BTreeSet<&'static str> {
    let schemas = document()["components"]["schemas"].as_object().expect("schemas");
    let is_enum = |schema: &Value| schema["enum"].is_array();
    schemas
        .iter()
        .filter(|(_, schema)| is_enum(schema))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// The document's values are exactly what the types read and write, of every enumeration that it has.
#[test]
fn every_enumeration_says_what_goes_over_the_wire() {
    use palisade_core::{api, event, record};
    let mut seen = BTreeSet::new();
    macro_rules! held {
        ($($ty:ty),* $(,)?) => {$(
            let name = <$ty as utoipa::ToSchema>::name();
            let words = document()["components"]["schemas"][&*name]["enum"].clone();
            let words: BTreeSet<String> = serde_json::from_value(words).unwrap_or_else(|e| panic!("{name}: {e}"));
            let reads: BTreeSet<String> = variants::of::<$ty>().iter().map(ToString::to_string).collect();
            assert_eq!(words, reads, "{name}");
            for word in &words {
                let value: $ty = serde_json::from_value(Value::from(word.as_str())).expect("a value");
                assert_eq!(serde_json::to_value(value).expect("plain data"), Value::from(word.as_str()), "{name}");
            }
            seen.insert(name.into_owned());
        )*};
    }
    held!(
        api::ApprovalState,
        api::ErrorCode,
        event::EventKind,
        record::AuthorityType,
        record::Grant,
        record::JoinMode,
        record::Kind,
        record::OnLeave,
        record::RecordingMode,
        record::RecordingSite,
        record::SecondFactor,
        record::SessionKind,
        record::Verb,
        record::Version,
    );
    let listed: BTreeSet<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(
        enums(),
        listed,
        "an enumeration of the document is not held against its type here"
    );
}

/// The judge fails what it should: a document that differs from the wire is found by it.
#[test]
fn the_judge_finds_what_differs() {
    let found = |schema: Value, value: Value| {
        let mut faults = Vec::new();
        judge(&schema, &value, "$", &mut faults);
        faults.join("\n")
    };
    let event = serde_json::json!({"$ref": "#/components/schemas/Event"});
    let good = serde_json::json!({"event": "user.login", "time": "2026-01-01T00:00:00Z", "node": 1});
    assert_eq!(found(event.clone(), good.clone()), "");
    for (field, value, says) in [
        ("event", Value::from("Login"), "none of"),
        ("time", Value::from("yesterday"), "date-time"),
        ("node", Value::from("1"), "and not"),
        ("node", Value::from(-1), "less than"),
        ("data", serde_json::json!({"a": 1}), "and not"),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        assert!(found(event.clone(), bad.clone()).contains(says), "{bad}");
    }
    let mut short = good;
    short.as_object_mut().expect("an object").shift_remove("node");
    assert_eq!(found(event, short), "$.node is missing");
    let record = serde_json::json!({"$ref": "#/components/schemas/AnyRecord"});
    let empty = serde_json::json!({"kind": "user", "metadata": {"name": "a"}, "spec": {}});
    assert_eq!(found(record.clone(), empty), "");
    let other = serde_json::json!({"kind": "user", "metadata": {"name": "a"}, "spec": {"addr": "a:1"}});
    assert!(found(record, other).contains("$.spec.addr is not in the document"));
}

/// What a type's own reader asks for: the words of an enumeration.
mod variants {
    use serde::de::{Deserialize, Deserializer, Error, Visitor};
    use serde::forward_to_deserialize_any;

    struct Listening<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Listening<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Error::custom("not an enumeration"))
        }

        fn deserialize_enum<V: Visitor<'de>>(
            self,
            _: &'static str,
            variants: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = variants;
            Err(Error::custom("heard"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map struct identifier ignored_any
        }
    }

    pub(super) fn of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
        let mut words: &'static [&'static str] = &[];
        let _ = T::deserialize(Listening(&mut words));
        words
    }
}

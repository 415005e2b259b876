//! The OpenAPI document.

use std::path::Path;

/// `PALISADE_WRITE_OPENAPI=1 cargo test -p palisade-web the_openapi_document` writes it.
#[test]
fn the_openapi_document_in_the_tree_is_the_present_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let mut now = serde_json::to_string_pretty(&palisade_web::openapi()).expect("plain data");
    now.push('\n');
    if std::env::var_os("PALISADE_WRITE_OPENAPI").is_some() {
        std::fs::write(&file, &now).expect("written");
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == now,
        "web/openapi.json is stale: run this test with PALISADE_WRITE_OPENAPI=1"
    );
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = palisade_web::openapi();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let mut found = 0;
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap_or_default();
        assert!(schemas.contains_key(name), "there is no schema {name}");
        found += 1;
    }
    assert!(found > 50);
}

/// Whoever makes a client of the document is told every answer by its status, and numbers and flags as such.
#[test]
fn the_document_leaves_nothing_to_guess() {
    let document = palisade_web::openapi();
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("methods");
        item.iter()
            .map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    let mut kinds = Vec::new();
    for (name, operation) in operations {
        let answers = operation["responses"].as_object().expect("responses");
        assert!(!answers.contains_key("default"), "{name}");
        assert!(
            answers
                .keys()
                .any(|status| status.starts_with('2') || status == "101"),
            "{name} never succeeds"
        );
        let open = operation["security"].as_array().is_some_and(Vec::is_empty);
        for status in ["401", "403", "429"] {
            assert!(open || answers.contains_key(status), "{name} lacks {status}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let about = format!("{name}: {parameter}");
            assert!(parameter["schema"].is_object(), "{about}");
            if parameter["in"] == "query" {
                assert!(parameter["description"].is_string(), "{about}");
                let kind = &parameter["schema"]["type"];
                kinds.push((
                    parameter["name"].clone(),
                    kind.as_str().expect("one type").to_owned(),
                ));
            }
        }
    }
    for (name, kind) in [
        ("limit", "integer"),
        ("revision", "integer"),
        ("upsert", "boolean"),
        ("oldest_first", "boolean"),
        ("search", "string"),
    ] {
        let found: Vec<_> = kinds.iter().filter(|(known, _)| known == name).collect();
        assert!(!found.is_empty(), "there is no {name} any more");
        assert!(found.iter().all(|(_, is)| is == kind), "{found:?}");
    }
    // Words of the language that it is written in are none of the API's.
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for name in schemas.keys() {
        assert!(
            !["BTreeMap", "Vec", "Option", "String"].contains(&name.as_str()),
            "{name}"
        );
    }
}

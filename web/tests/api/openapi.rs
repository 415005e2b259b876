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

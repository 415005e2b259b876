//! What the documents say of the tests is true.

use std::fs;
use std::path::{Path, PathBuf};

/// `(file, test)` of everything that a document names as "`file.rs`: `test`, `test`".
fn named(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut file = None;
        let mut joined = "";
        // Every second piece stands between backticks.
        for (n, piece) in line.split('`').enumerate() {
            if n % 2 == 0 {
                joined = piece;
            } else if piece.ends_with(".rs") {
                file = Some(piece);
            } else if let Some(file) = file
                && [": ", ", "].contains(&joined)
            {
                found.push((file.to_owned(), piece.to_owned()));
            }
        }
    }
    found
}

#[test]
fn tests_that_documents_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut documents: Vec<PathBuf> = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    let docs = fs::read_dir(root.join("docs")).expect("there are documents");
    documents.extend(
        docs.flatten()
            .map(|entry| entry.path())
            .filter(|p| p.extension().is_some_and(|e| e == "md")),
    );
    let (mut checked, mut wrong) = (0, Vec::new());
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document is text");
        for (file, test) in named(&text) {
            checked += 1;
            let source = fs::read_to_string(root.join(&file)).unwrap_or_default();
            if !source.contains(&format!("fn {test}(")) {
                wrong.push(format!("{}: {file}: {test}", document.display()));
            }
        }
    }
    assert!(
        checked > 90,
        "only {checked} were found: has the form of the documents changed?"
    );
    assert!(
        wrong.is_empty(),
        "these tests are not there:\n{}",
        wrong.join("\n")
    );
}

/// `docs/config.md` and the file that the package brings are made of the table that the code takes its defaults from.
#[test]
fn the_page_and_the_file_of_the_configuration_are_the_present_ones() {
    use palisade_node::config;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let packaged = config::file(&std::collections::BTreeMap::new());
    for (path, present) in [
        (config::DOCUMENT, config::document()),
        ("packaging/etc/palisade.yaml", packaged),
    ] {
        let file = root.join(path);
        if std::env::var_os("PALISADE_WRITE_DOCS").is_some() {
            fs::write(&file, &present).expect("the tree is writable");
        }
        let there = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            there == present,
            "{path} is not the present one: run this test with PALISADE_WRITE_DOCS=1"
        );
    }
}

#[test]
fn the_names_are_found_in_the_form_that_the_documents_use() {
    let text = "| N1 | `a/b.rs`: `one_two`, `three`; also `c.rs`: `four` |\nno `file` here";
    let found = named(text);
    let pairs: Vec<_> = found.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect();
    assert_eq!(
        pairs,
        [("a/b.rs", "one_two"), ("a/b.rs", "three"), ("c.rs", "four")]
    );
}

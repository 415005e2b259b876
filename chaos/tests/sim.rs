//! The simulation holds over its first seeds, is the same each time, and finds what is put in.

use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_palisade-sim"))
        .args(args)
        .output()
        .expect("the program of the simulation runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_hundred_seeds_break_no_promise() {
    let output = sim(&["--seeds", "1..201"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).starts_with("200 seeds"), "{}", text(&output));
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in ["3", "8"] {
        let (first, second) = (sim(&["--seed", seed]), sim(&["--seed", seed]));
        assert!(first.status.success(), "{}", text(&first));
        assert_eq!(text(&first), text(&second));
    }
    assert_ne!(text(&sim(&["--seed", "3"])), text(&sim(&["--seed", "4"])));
}

#[test]
fn a_run_without_faults_shows_nothing() {
    let output = sim(&["--seed", "1", "--calm"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("enough-faults is broken"),
        "{}",
        text(&output)
    );
}

#[test]
fn every_mutant_but_one_is_caught_within_two_hundred_seeds() {
    for mutant in palisade_core::mutant::Mutant::ALL {
        // Not caught yet: see chaos/README.md.
        if mutant.name() == "ignore-previous" {
            continue;
        }
        let output = sim(&["--seeds", "1..201", "--mutant", mutant.name()]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{}: {text}", mutant.name());
        assert!(text.contains("replay: "), "{}: {text}", mutant.name());
    }
}

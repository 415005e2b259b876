//! Twenty faults in a row against a cluster of real processes, in namespaces of the test's own: in short what `make soak`
//! does for an hour.

use palisade_chaos::real::{Options, net, run};
use palisade_testkit::me;
use std::process::ExitCode;

/// Whether this is the process inside the namespaces; the first one starts it, and is done with it.
fn inside(test: &str) -> bool {
    let words = ["--exact", test, "--nocapture", "--test-threads=1"].map(str::to_owned);
    match net::enter(&words) {
        Ok(None) => true,
        Ok(Some(code)) => {
            assert_eq!(code, ExitCode::SUCCESS, "see above");
            false
        }
        // Without the rights of root it cannot be run; with them, whatever is missing is a fault.
        Err(why) if me() != "root" => {
            println!("NOT RUN: {test}: {why}");
            false
        }
        Err(why) => panic!("{why}"),
    }
}

fn options(faults: usize, seed: u64) -> Options {
    Options {
        faults,
        seed,
        only: Vec::new(),
        long: false,
        mutant: None,
        logs: std::env::temp_dir().join(format!("palisade-chaos-{seed}")),
    }
}

/// Goal: nothing that was acknowledged is lost, doubled or told otherwise, whatever fails.
#[test]
fn twenty_faults_in_a_row_break_no_promise() {
    if inside("twenty_faults_in_a_row_break_no_promise") {
        let report = run(&options(20, 5));
        println!("{report}");
        assert!(report.is_good(), "see above; replay: {}", report.replay);
    }
}

//! A short soak, as it stands.

use herd_e2e::geoherd;
use herd_net::why_not;
use std::process::Command;

#[test]
fn a_short_soak_ends_with_all_equal() {
    if let Some(why) = why_not() {
        println!("SKIPPED: {why}");
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_herd-soak"))
        .args(["--minutes", "0.3", "--rest-every", "0.15", "--rate", "500", "--clients", "1000"])
        .args(["--seed", "7", "--server"])
        .arg(geoherd())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.contains("all five equal"), "{said}");
    // Which faults fit into so short a time is chance; that there were some is not.
    let faults = said.lines().find_map(|line| line.strip_prefix("faults: "));
    assert!(faults.is_some_and(|faults| !faults.is_empty()), "nothing was broken: {said}");
}

//! How the herd agrees when processes restart, lie, have wrong clocks or come back with old files.

mod liar;

use herd_e2e::{At, Herd, Plan, Process, iamat, iamat_at, unix_now_plus, wait_for, wait_until};
use liar::Liar;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Lets every server keep its reports in a directory of its own, beside the config.
fn with_disks(herd: &mut Herd) {
    let dir = herd.dir().join("data");
    herd.set("storage.dir", format!("{:?}", dir.display().to_string()));
}

fn start_all(herd: &mut Herd) {
    let names: Vec<_> = herd.names().into_iter().map(str::to_owned).collect();
    for name in &names {
        herd.launch(name);
    }
    for name in &names {
        herd.wait_ready(name);
    }
}

/// Reports of clients named so, each once.
#[track_caller]
fn report_all(herd: &Herd, name: &str, prefix: &str, count: usize) -> Vec<At> {
    let mut client = herd.client(name);
    (0..count).map(|number| client.report(&iamat(&format!("{prefix}-{number}")))).collect()
}

#[track_caller]
fn all_agree(herd: &Herd, names: &[&str], reports: &[At]) {
    for at in reports {
        herd.agree(names, at);
    }
}

/// How often a comparison of a server found something missing that had been confirmed.
#[track_caller]
fn no_repairs(herd: &Herd, names: &[&str]) {
    for name in names {
        let repairs = herd.metrics(name).value("geoherd_audit_repairs_total");
        assert!(repairs < 0.5, "{name}: {repairs} repairs; {}", herd.log(name));
    }
}

#[test]
fn restarts_leave_no_incarnations_behind() {
    const STREAMS_MAX: f64 = 4.0;
    for durable in [false, true] {
        let mut herd = Plan::line(&["Hill", "Smith"]).set("limits.ready_grace", "\"0s\"").lay_out();
        if durable {
            with_disks(&mut herd);
        }
        start_all(&mut herd);
        let mut last = None;
        for _ in 0..25 {
            herd.kill9("Hill");
            herd.start("Hill");
            // An incarnation that wrote nothing has no stream.
            last = Some(herd.client("Hill").report(&iamat("kiwi")));
        }
        herd.agree(&["Hill", "Smith"], &last.expect("there were starts"));
        wait_until("at most two streams for each server are known", || {
            ["Hill", "Smith"]
                .iter()
                .all(|name| herd.metrics(name).value("geoherd_incarnations") <= STREAMS_MAX)
        });
        no_repairs(&herd, &["Hill", "Smith"]);
    }
}

#[test]
fn a_phone_an_hour_ahead_silences_no_one() {
    let names = ["Hill", "Jaquez", "Smith"];
    let herd = Plan::line(&names).start();
    let before = links_made(&herd, "Jaquez");
    let mut phone = herd.client("Hill");
    for number in 0..20 {
        phone.report(&iamat_at("phone", &unix_now_plus(Duration::from_hours(1))));
        let at = herd.client("Jaquez").report(&iamat(&format!("walker-{number}")));
        herd.agree(&names, &at);
    }
    assert_eq!(links_made(&herd, "Jaquez"), before, "{}", herd.log("Jaquez"));
}

/// How often a link of a server came up so far, all its peers together.
#[track_caller]
fn links_made(herd: &Herd, name: &str) -> String {
    herd.metrics(name).sum("geoherd_link_established_total").to_string()
}

/// The library that makes clocks wrong, where it is installed.
fn faketime() -> Option<PathBuf> {
    let dirs = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let files = dirs.map(|dir| dir.join("faketime/libfaketime.so.1"));
    files.into_iter().find(|file| file.exists())
}

#[test]
fn servers_whose_clocks_differ_by_less_than_allowed_pass_on_what_a_wrong_phone_says() {
    let Some(library) = faketime() else {
        println!("skipped: faketime is not installed");
        return;
    };
    let names = ["Hill", "Jaquez", "Smith"];
    let mut herd = Plan::line(&names).lay_out();
    let wrong = |herd: &Herd, name: &str, offset: &str| {
        let mut command = herd.command(name);
        command.env("LD_PRELOAD", &library).env("FAKETIME", offset);
        Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
    };
    // Both within the default of a minute, and further apart than that.
    let _ahead = wrong(&herd, "Hill", "+35s");
    let _behind = wrong(&herd, "Smith", "-35s");
    herd.start("Jaquez");
    herd.wait_linked("Jaquez", &["Hill", "Smith"]);
    let before = links_made(&herd, "Jaquez");
    for number in 0..10 {
        herd.client("Hill").ask(&iamat_at("phone", &unix_now_plus(Duration::from_hours(1))));
        let at = herd.client("Jaquez").report(&iamat(&format!("walker-{number}")));
        herd.agree(&names, &at);
    }
    assert_eq!(links_made(&herd, "Jaquez"), before, "{}", herd.log("Jaquez"));
}

#[test]
fn expire_after_can_be_raised_in_a_rolling_restart() {
    let names = ["Hill", "Jaquez", "Smith"];
    let mut herd = Plan::line(&names).set("herd.expire_after", "\"4s\"").lay_out();
    with_disks(&mut herd);
    start_all(&mut herd);
    let reports = report_all(&herd, "Hill", "walker", 200);
    all_agree(&herd, &names, &reports[199..]);
    herd.set("herd.expire_after", "\"1h\"");
    assert!(herd.terminate("Jaquez").success());
    herd.start("Jaquez");
    wait_until("they have expired where the old setting counts", || {
        ["Hill", "Smith"].iter().all(|name| herd.client(name).locate("walker-199").is_none())
    });
    for name in ["Hill", "Smith"] {
        assert!(herd.terminate(name).success());
        herd.start(name);
    }
    all_agree(&herd, &names, &reports);
    no_repairs(&herd, &names);
}

#[test]
fn a_donor_that_has_nothing_cannot_empty_a_herd() {
    let mut herd = Plan::line(&["Hill", "Jaquez", "Smith"]).lay_out();
    herd.set("limits.ready_grace", "\"0s\"");
    with_disks(&mut herd);
    for name in ["Hill", "Jaquez"] {
        herd.launch(name);
    }
    herd.wait_ready("Hill");
    let reports = report_all(&herd, "Hill", "walker", 300);
    all_agree(&herd, &["Hill", "Jaquez"], &reports);
    // It stands in for Smith, which does not run.
    let mut liar = Liar::connect(herd.address("Jaquez"), "GEOHERD/1 news Smith 1 to=Jaquez");
    let denied = wait_for("the liar is asked", Duration::from_mins(1), || {
        let denied = liar.deny_everything(Duration::from_secs(1));
        (denied > 0).then_some(denied)
    });
    assert!(denied > 0);
    all_agree(&herd, &["Hill", "Jaquez"], &reports);
    drop(liar);
    // Nor are they gone from the disks.
    for name in ["Hill", "Jaquez"] {
        herd.kill9(name);
    }
    start_all(&mut herd);
    all_agree(&herd, &["Hill", "Jaquez", "Smith"], &reports);
}

#[test]
fn of_two_processes_of_one_name_the_second_is_refused_and_both_sides_log_it() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).start();
    herd.wait_linked("Jaquez", &["Hill"]);
    // The same server once more, at another address.
    let spare = Plan::line(&["Hill", "Jaquez"]).lay_out();
    let text = fs::read_to_string(herd.config("Hill")).expect("its config is there");
    let text = text
        .replace(&herd.address("Hill").to_string(), &spare.address("Hill").to_string())
        .replace(&herd.http_address("Hill").to_string(), &spare.http_address("Hill").to_string());
    let mut command = spare.command("Hill");
    fs::write(spare.config("Hill"), text).expect("there is room for a config");
    let _second = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    let said = "another running server of the name \"Hill\"";
    wait_until("the one that is asked says so", || herd.log("Jaquez").contains(said));
    wait_until("the second one says so", || spare.log("Hill").contains(said));
    let at = herd.client("Hill").report(&iamat("kiwi"));
    herd.agree(&["Hill", "Jaquez"], &at);
    assert!(herd.process("Hill").ended().is_none());
}

/// Copies all files of a directory into another, which is made for it.
#[track_caller]
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("there is room");
    for entry in fs::read_dir(from).expect("it is there") {
        let file = entry.expect("it can be read").path();
        let name = file.file_name().expect("a file has a name");
        fs::copy(&file, to.join(name)).expect("there is room");
    }
}

#[test]
fn a_directory_restored_from_an_older_copy_loses_nothing_that_the_herd_knows() {
    let names = ["Hill", "Jaquez"];
    let mut herd = Plan::line(&names).lay_out();
    with_disks(&mut herd);
    start_all(&mut herd);
    let dir = herd.dir().join("data").join("Hill");
    let older = herd.dir().join("older");
    let mut reports = report_all(&herd, "Hill", "before", 50);
    all_agree(&herd, &names, &reports);
    assert!(herd.terminate("Hill").success());
    copy(&dir, &older);
    herd.start("Hill");
    reports.extend(report_all(&herd, "Hill", "between", 50));
    all_agree(&herd, &names, &reports);
    assert!(herd.terminate("Hill").success());
    // Into the same directory, as `rsync --delete` does it, so that nothing shows that it is another one.
    for entry in fs::read_dir(&dir).expect("it is there") {
        fs::remove_file(entry.expect("it can be read").path()).expect("it is ours");
    }
    copy(&older, &dir);
    herd.start("Hill");
    // As many as were written since the copy, so that a number that is used twice shows.
    reports.extend(report_all(&herd, "Hill", "after", 50));
    all_agree(&herd, &names, &reports);
    no_repairs(&herd, &names);
}

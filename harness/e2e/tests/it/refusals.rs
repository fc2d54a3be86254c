//! Servers that must not be linked: each says so in its own log and in the other's.

use herd_e2e::{Address, At, Client, Herd, Plan, Process, Proxy, geoherd, iamat, wait_until};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A server that is none of the herd's: its process, and where it logs.
struct Stranger {
    process: Process,
    log: PathBuf,
    address: SocketAddr,
}

impl Stranger {
    /// Starts `name` at an address of its own, with the config that the herd's `like` would read, changed
    /// by `change`.
    #[track_caller]
    fn start(herd: &Herd, like: &str, name: &str, change: impl Fn(String) -> String) -> Self {
        // Writes the config.
        herd.command(like);
        let text = fs::read_to_string(herd.config(like)).expect("it was written");
        let [listen, http] = Address::unused().free_ports(2).try_into().expect("two");
        let text = text
            .replace(&format!("{:?}", herd.address(like).to_string()), &format!("\"{listen}\""))
            .replace(&format!("{:?}", herd.http_address(like).to_string()), &format!("\"{http}\""));
        let dir = herd.dir().join(format!("stranger-{}", listen.port()));
        fs::create_dir(&dir).expect("there is room");
        let config = dir.join("herd.toml");
        fs::write(&config, change(text)).expect("there is room");
        let mut command = Command::new(geoherd());
        command.args(["serve", name, "--config"]).arg(&config).arg("--log-dir").arg(&dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let log = dir.join(format!("{name}.log"));
        Self { process: Process::start(&mut command), log, address: listen }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has been told of a report, and so been taken in.
    #[track_caller]
    fn learns(&self, at: &At) {
        wait_until("the stranger is taken in", || {
            let client = Client::try_connect(self.address);
            client.is_ok_and(|mut client| client.locate(&at.client).as_ref() == Some(at))
        });
    }

    /// Waits until its log and that of `name` say each of `words` in one line that tells of a link.
    #[track_caller]
    fn both_say(&self, herd: &Herd, name: &str, words: &[&str]) {
        let says = |log: &str| {
            let links = log.lines().filter(|line| line.contains("link down"));
            links.into_iter().any(|line| words.iter().all(|word| line.contains(word)))
        };
        wait_until(&format!("{name} says {words:?}"), || says(&herd.log(name)));
        wait_until(&format!("the stranger says {words:?}"), || says(&self.log()));
    }
}

#[test]
fn a_second_living_server_of_one_name_is_refused_and_takes_over_when_the_first_is_gone() {
    // Jaquez dials, again and again.
    let mut herd = Plan::line(&["Jaquez", "Hill"]).start();
    herd.wait_linked("Hill", &["Jaquez"]);
    let ups = herd.log("Hill").matches("link up").count();
    let mut second = Stranger::start(&herd, "Jaquez", "Jaquez", |text| text);
    second.both_say(&herd, "Hill", &["another running server", "Jaquez", "stop one of the two"]);
    // The first one is still linked, and was all the time.
    let at = herd.client("Jaquez").report(&iamat("kiwi"));
    herd.agree(&["Hill"], &at);
    assert_eq!(herd.log("Hill").matches("link up").count(), ups);
    herd.kill9("Jaquez");
    let at = herd.client("Hill").report(&iamat("rhea"));
    second.learns(&at);
    second.process.kill9();
}

#[test]
fn a_frozen_server_does_not_keep_its_place_from_a_living_one() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).start();
    herd.wait_linked("Hill", &["Jaquez"]);
    herd.freeze("Jaquez");
    let second = Stranger::start(&herd, "Jaquez", "Jaquez", |text| text);
    let at = herd.client("Hill").report(&iamat("kiwi"));
    second.learns(&at);
    // Now it is the first that is one too many.
    herd.thaw("Jaquez");
    let words = "a known incarnation";
    wait_until("it is refused", || herd.log("Jaquez").contains(words));
    wait_until("and Hill says so", || herd.log("Hill").contains(words));
    wait_until("it takes a later one", || herd.log("Jaquez").contains("has taken a new one"));
}

#[test]
fn a_server_that_the_config_does_not_name_is_refused() {
    let mut herd = Plan::one("Hill").lay_out();
    herd.start("Hill");
    let address = herd.address("Hill");
    let stranger = Stranger::start(&herd, "Hill", "Smith", |_| {
        let [listen] = Address::unused().free_ports(1).try_into().unwrap();
        format!(
            "[herd]\nname = \"news\"\n[servers.Hill]\nlisten = \"{address}\"\n\
             [servers.Smith]\nlisten = \"{listen}\"\nneighbors = [\"Hill\"]\n"
        )
    });
    stranger.both_say(
        &herd,
        "Hill",
        &["Smith", "is no neighbor in this server's config", "SIGHUP"],
    );
}

#[test]
fn a_wrong_server_at_an_address_is_told_and_harms_no_other_link() {
    let mut herd = Plan::mesh(&["Hill", "Jaquez", "Smith"]).lay_out();
    // What Hill takes for Jaquez leads to Smith; Jaquez itself is away, so Hill tries again and again.
    let wire = Proxy::to(herd.address("Smith"));
    herd.route("Hill", "Jaquez", wire.address());
    herd.launch("Smith");
    herd.launch("Hill");
    let told = |name: &str| herd.log(name).matches("fix servers.Jaquez.listen").count();
    for name in ["Hill", "Smith"] {
        wait_until(&format!("{name} tells of the wrong address"), || told(name) > 2);
    }
    herd.wait_linked("Hill", &["Smith"]);
    let ups = || herd.log("Smith").matches("link up").count();
    let (before, more) = (ups(), told("Smith") + 2);
    wait_until("it goes on", || told("Smith") >= more);
    assert_eq!(ups(), before, "no link was replaced meanwhile");
    let at = herd.client("Hill").report(&iamat("kiwi"));
    herd.agree(&["Smith"], &at);
}

#[test]
fn a_server_that_answers_with_the_name_of_the_one_that_dialed_is_refused() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).set("limits.ready_grace", "\"0s\"").lay_out();
    // Hill finds itself where Jaquez should be.
    let wire = Proxy::to(herd.address("Hill"));
    herd.route("Hill", "Jaquez", wire.address());
    herd.launch("Hill");
    wait_until("it says so", || herd.log("Hill").contains("is this server's own name"));
}

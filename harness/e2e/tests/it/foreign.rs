//! Servers of another make, which know AT lines and nothing else.

use herd_e2e::{Address, At, Foreign, Herd, Manner, Plan, at_line, iamat, settled, wait_until};
use std::time::Duration;

/// What the foreign server says of its client.
fn line() -> String {
    at_line("Aliens", "abducted", "+34.068930-118.445127", "1520023934.918963997")
}

#[test]
fn a_foreign_server_is_dialed_and_told_in_its_own_tongue() {
    let foreign = Foreign::start(Manner::Listens);
    let plan = Plan::line(&["Hill", "Jaquez"]).foreign("Aliens", foreign.address(), &["Hill"]);
    let herd = plan.start();
    let first = herd.client("Jaquez").report(&iamat("first"));
    foreign.wait_for(&first.line());
    let second = herd.client("Hill").report(&iamat("second"));
    foreign.wait_for(&second.line());
    // When the link is lost it is dialed again, and all that is known is told anew.
    foreign.hang_up();
    let told = foreign.received().len();
    wait_until("all is told again", || {
        let received = foreign.received();
        let again = received.get(told..).unwrap_or_default();
        [&first, &second].iter().all(|at| again.contains(&at.line()))
    });
    for line in foreign.received() {
        // Reports and nothing else: no hello, no heartbeat.
        At::parse(&line);
    }
}

#[test]
fn a_foreign_server_may_speak_on_the_link_that_was_dialed() {
    let line = line();
    let foreign = Foreign::start(Manner::Listens);
    let plan = Plan::line(&["Hill", "Jaquez"]).foreign("Aliens", foreign.address(), &["Hill"]);
    let herd = plan.start();
    foreign.say(format!("{line}\n"));
    herd.agree(&["Hill", "Jaquez"], &At::parse(&line));
    // In the segments of its choice, with the white space of its choice.
    let (start, end) = line.split_at(20);
    foreign.say(start.replace("abducted", "other"));
    foreign.say(format!("{}\r\n\r\n", end.replace("1520023934", "1520023935")));
    herd.agree(&["Hill", "Jaquez"], &At::parse(&line.replace("1520023934", "1520023935")));
    // What it said is not told it.
    let known = herd.client("Jaquez").report(&iamat("known"));
    foreign.wait_for(&known.line());
    assert_eq!(foreign.received(), [known.line()]);
}

#[test]
fn a_foreign_server_may_dial_in() {
    let line = line();
    let foreign = Foreign::start(Manner::Listens);
    let plan = Plan::line(&["Hill", "Jaquez"])
        .foreign("Aliens", foreign.address(), &["Hill"])
        .set("limits.accept_at_from", "\"peers\"");
    let herd = plan.start();
    // From the machine of the neighbor it may, on a connection that said no hello.
    let source = foreign.address().ip();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::new(source, 0).into()).unwrap();
    socket.connect(&herd.address("Hill").into()).unwrap();
    let mut stream: std::net::TcpStream = socket.into();
    std::io::Write::write_all(&mut stream, format!("{line}\n").as_bytes()).unwrap();
    herd.agree(&["Hill", "Jaquez"], &At::parse(&line));
    // From another machine it may not.
    let mut client = herd.client("Hill");
    if client.stream().local_addr().unwrap().ip() != source {
        assert_eq!(client.ask(&line), format!("? {line}"));
    }
}

#[test]
fn an_echo_does_not_loop() {
    let foreign = Foreign::start(Manner::Echoes);
    let plan = Plan::line(&["Hill", "Jaquez"]).foreign("Aliens", foreign.address(), &["Hill"]);
    let herd = plan.start();
    let reports = ["one", "two", "three"].map(|name| herd.client("Jaquez").report(&iamat(name)));
    for at in &reports {
        foreign.wait_for(&at.line());
    }
    let told = settled("the echo dies", || (foreign.received().len(), traffic(&herd)));
    assert_eq!(told.0, reports.len());
    for at in &reports {
        herd.agree(&herd.names(), at);
    }
}

#[test]
fn a_ring_through_two_foreign_servers_does_not_loop() {
    // Hill and Jaquez are linked, and linked again through each of two servers that pass on whatever
    // they hear without a look at it.
    let foreign = [Foreign::start(Manner::PassesOn), Foreign::start(Manner::PassesOn)];
    let plan = Plan::line(&["Hill", "Jaquez"])
        .foreign("Aliens", foreign[0].address(), &["Hill", "Jaquez"])
        .foreign("Visitors", foreign[1].address(), &["Hill", "Jaquez"]);
    let herd = plan.start();
    wait_until("all are linked", || foreign.iter().all(|foreign| foreign.connections() == 2));
    let one = herd.client("Hill").report(&iamat("one"));
    let two = herd.client("Jaquez").report(&iamat("two"));
    for at in [&one, &two] {
        herd.agree(&herd.names(), at);
        for foreign in &foreign {
            foreign.wait_for(&at.line());
        }
    }
    let told = settled("the ring falls silent", || {
        (foreign.each_ref().map(|foreign| foreign.received().len()), traffic(&herd))
    });
    // A report comes to each at most once from either side.
    assert!(told.0.iter().all(|&lines| (2..=4).contains(&lines)), "{told:?}");
}

#[test]
fn a_ring_that_only_foreign_servers_close_carries_reports() {
    let foreign = [Foreign::start(Manner::PassesOn), Foreign::start(Manner::PassesOn)];
    let plan = Plan::new(&["Hill", "Jaquez"], &[])
        .foreign("Aliens", foreign[0].address(), &["Hill", "Jaquez"])
        .foreign("Visitors", foreign[1].address(), &["Hill", "Jaquez"]);
    let herd = plan.start();
    wait_until("all are linked", || foreign.iter().all(|foreign| foreign.connections() == 2));
    for name in ["Hill", "Jaquez"] {
        let at = herd.client(name).report(&iamat(&format!("from-{name}")));
        herd.agree(&herd.names(), &at);
    }
    settled("the ring falls silent", || {
        (foreign.each_ref().map(|foreign| foreign.received().len()), traffic(&herd))
    });
}

#[test]
fn complaints_are_never_answered_and_nonsense_is() {
    let line = line();
    let foreign = Foreign::start(Manner::Listens);
    let plan = Plan::one("Hill").foreign("Aliens", foreign.address(), &["Hill"]);
    let herd = plan.start();
    foreign.say("? AT Hill what is this\n?\n? \n?x\n");
    foreign.say("AT Aliens +0.1 kiwi nowhere 3\nblah \r\n\nIAMAT kiwi +1+2 3\n");
    foreign.wait_for("? AT Aliens +0.1 kiwi nowhere 3");
    foreign.wait_for("? blah \r");
    foreign.say("the end\n");
    foreign.wait_for("? the end");
    for line in foreign.received() {
        assert!(!line.starts_with("? ?"), "a complaint was answered: {line:?}");
        assert!(line.starts_with("? "), "{line:?}");
    }
    wait_until("the log tells", || herd.log("Hill").contains("not understood"));
    // The link stands, and goes on.
    foreign.say(format!("{line}\n"));
    herd.agree(&["Hill"], &At::parse(&line));
    assert_eq!(foreign.connections(), 1);
}

#[test]
fn an_overlong_line_of_a_foreign_server_is_dropped_and_the_link_goes_on() {
    let line = line();
    let foreign = Foreign::start(Manner::Listens);
    let plan = Plan::one("Hill").foreign("Aliens", foreign.address(), &["Hill"]);
    let mut herd = plan.start();
    let before = herd.process("Hill").resident_bytes();
    for _ in 0..16 {
        foreign.say("x".repeat(1 << 20));
    }
    foreign.say(format!("\n{line}\n"));
    herd.agree(&["Hill"], &At::parse(&line));
    let grown = herd.process("Hill").resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "grew by {grown} bytes");
    foreign.wait_for(&format!("? {} ...", "x".repeat(80)));
    assert_eq!(foreign.received().len(), 1);
}

#[test]
fn an_overlong_complaint_is_not_answered_either() {
    let foreign = Foreign::start(Manner::Listens);
    let _herd = Plan::one("Hill").foreign("Aliens", foreign.address(), &["Hill"]).start();
    foreign.say(format!("? {}\nthe end\n", "x".repeat(9000)));
    foreign.wait_for("? the end");
    assert_eq!(foreign.received(), ["? the end"]);
}

#[test]
fn a_foreign_server_that_is_away_is_dialed_until_it_comes() {
    let absent = Address::unused().free_ports(1)[0];
    let plan = Plan::one("Hill").foreign("Aliens", absent, &["Hill"]);
    let plan = plan.set("limits.ready_grace", "\"0s\"");
    let plan = plan.set("limits.dial_backoff_max", "\"100ms\"");
    let herd = plan.start();
    let at = herd.client("Hill").report(&iamat("kiwi"));
    wait_until("the log tells that it is away", || {
        herd.log("Hill").contains("cannot reach a peer")
    });
    let listener = std::net::TcpListener::bind(absent).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut line).unwrap();
    assert_eq!(line, at.line() + "\n");
}

/// How much goes over the links of a herd, heartbeats apart.
fn traffic(herd: &Herd) -> Vec<(f64, f64)> {
    let counts = |name: &&str| {
        let metrics = herd.metrics(name);
        let sum = |name| metrics.sum(name);
        (sum("geoherd_peer_records_sent_total"), sum("geoherd_peer_records_received_total"))
    };
    herd.names().iter().map(counts).collect()
}

//! What clients do that they should not costs bounded memory, and no other client anything.

use herd_e2e::{Client, Herd, Plan, iamat, wait_until};
use socket2::SockRef;
use std::io::Write as _;
use std::time::Duration;

/// More than this is no measuring error.
const FLAT_BYTES: u64 = 8 << 20;

/// Checks that another client is answered, and that no connection is left behind.
#[track_caller]
fn check_well(herd: &Herd, connections: f64) {
    herd.client("Hill").report(&iamat("somebody-else"));
    wait_until("connections that ended are forgotten", || {
        herd.metrics("Hill").value("geoherd_connections") <= connections
    });
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let herd = Plan::one("Hill").start();
    for round in 0..100 {
        let mut client = herd.client("Hill");
        match round % 4 {
            // Leaves at once.
            0 => {}
            // Leaves without its answer.
            1 => client.send(iamat("kiwi") + "\n"),
            // Leaves in the midst of a line.
            2 => client.send("IAMAT ki"),
            // Resets the connection.
            _ => {
                client.send("IAMAT kiwi +1+2 3\nIAM");
                SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    }
    check_well(&herd, 0.0);
}

#[test]
fn binary_rubbish_is_echoed_line_by_line() {
    let herd = Plan::one("Hill").start();
    // A small generator: the same rubbish each time.
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let rubbish: Vec<u8> = (0..256 * 1024).map(|_| byte()).collect();
    let mut client = herd.client("Hill");
    let mut writer = client.stream().try_clone().unwrap();
    let sent = rubbish.clone();
    let sender = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let got = client.rest();
    sender.join().unwrap();
    let is_blank = |line: &&[u8]| line.iter().all(|byte| b" \t\r\x0b\x0c".contains(byte));
    let lines = rubbish.split(|&byte| byte == b'\n').filter(|line| !is_blank(line));
    let expected: Vec<u8> = lines.flat_map(|line| [b"? ", line, b"\n"].concat()).collect();
    assert!(got == expected, "{} bytes came, {} are right", got.len(), expected.len());
    check_well(&herd, 0.0);
}

#[test]
fn a_line_of_64_megabytes_leaves_memory_flat() {
    let mut herd = Plan::one("Hill").start();
    let mut client = herd.client("Hill");
    let piece = vec![b'x'; 1 << 20];
    client.send(&piece);
    client.line();
    let before = herd.process("Hill").resident_bytes();
    let mut most = before;
    for _ in 0..64 {
        client.send(&piece);
        most = most.max(herd.process("Hill").resident_bytes());
    }
    println!("grown by {} kB under 64 MB without a line feed", (most - before) >> 10);
    assert!(most - before < FLAT_BYTES);
    client.send("\nIAMAT kiwi +1+2 3\n");
    assert!(client.line().starts_with("AT Hill"));
}

#[test]
fn a_client_that_never_reads_is_not_read_from() {
    /// Far more than the sockets of both sides hold.
    const SENT_MAX: usize = 256 << 20;
    let mut herd = Plan::one("Hill").start();
    herd.client("Hill").report(&iamat("kiwi"));
    let before = herd.process("Hill").resident_bytes();
    let client = herd.client("Hill");
    client.stream().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let questions = "WHATSAT kiwi 0 0\n".repeat(4000);
    let mut sent = 0;
    // It ends when the server takes no more for a while.
    while let Ok(count) = client.stream().write(questions.as_bytes()) {
        sent += count;
        assert!(sent < SENT_MAX, "the server reads on and on");
    }
    let grown = herd.process("Hill").resident_bytes().saturating_sub(before);
    println!("grown by {} kB under {} kB of questions", grown >> 10, sent >> 10);
    assert!(grown < FLAT_BYTES);
    // Others are served as ever.
    check_well(&herd, 1.0);
    drop(client);
    check_well(&herd, 0.0);
}

#[test]
fn a_client_that_reads_late_gets_every_answer() {
    let herd = Plan::one("Hill").start();
    let mut client = herd.client("Hill");
    let at = client.report(&iamat("kiwi"));
    let mut writer = client.stream().try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        writer.write_all("WHATSAT kiwi 0 0\nx\n".repeat(20_000).as_bytes()).unwrap();
    });
    // The sender must be stuck before the first answer is read; that the server's counter of lines
    // stands still tells it.
    herd_e2e::settled("the server reads no more", || {
        herd.metrics("Hill").sum("geoherd_messages_total").to_bits()
    });
    for _ in 0..20_000 {
        assert_eq!(client.line(), at.line());
        client.document();
        assert_eq!(client.line(), "? x");
    }
    sender.join().unwrap();
}

#[test]
fn a_client_that_takes_nothing_is_dropped_in_the_end() {
    let herd = Plan::one("Hill").set("limits.write_timeout", "\"200ms\"").start();
    let mut client = herd.client("Hill");
    client.report(&iamat("kiwi"));
    client.stream().set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let questions = "WHATSAT kiwi 0 0\n".repeat(4000);
    // Until it is stuck, or dropped already.
    let mut writer = client.stream();
    while writer.write_all(questions.as_bytes()).is_ok() {}
    wait_until("it is dropped", || {
        herd.metrics("Hill").value("geoherd_connections_stalled_total") > 0.0
    });
    check_well(&herd, 0.0);
}

#[test]
fn connections_beyond_the_limit_are_turned_away_until_one_ends() {
    let herd = Plan::one("Hill").set("limits.max_connections", 3).start();
    let mut clients: Vec<Client> = (0..3).map(|_| herd.client("Hill")).collect();
    for client in &mut clients {
        client.report(&iamat("kiwi"));
    }
    let mut fourth = herd.client("Hill");
    assert!(fourth.is_turned_away());
    for client in &mut clients {
        client.report(&iamat("kiwi"));
    }
    clients.pop();
    wait_until("there is room for another", || {
        Client::try_connect(herd.address("Hill")).is_ok_and(|mut client| !client.is_turned_away())
    });
    assert!(herd.metrics("Hill").value("geoherd_connections_turned_away_total") >= 1.0);
}

#[test]
fn an_idle_connection_costs_little() {
    const CONNECTIONS: u64 = 1000;
    /// The goal is 8 kB; the rest is for the allocator, whose pages come in larger pieces.
    const BYTES_MAX: u64 = 12 << 10;
    let mut herd = Plan::one("Hill").start();
    let connect = || {
        let mut client = herd.client("Hill");
        client.report(&iamat("kiwi"));
        client
    };
    let mut clients: Vec<Client> = (0..50).map(|_| connect()).collect();
    let before = herd.process("Hill").resident_bytes();
    for _ in 0..CONNECTIONS {
        let mut client = herd.client("Hill");
        client.report(&iamat("kiwi"));
        clients.push(client);
    }
    let after = herd.process("Hill").resident_bytes();
    let each = (after.saturating_sub(before)) / CONNECTIONS;
    println!("an idle connection costs {each} bytes");
    assert!(each < BYTES_MAX, "{each} bytes");
    herd.client("Hill").report(&iamat("another"));
    drop(clients);
    check_well(&herd, 0.0);
}

#[test]
fn a_full_server_turns_new_clients_away_and_known_ones_go_on() {
    let herd = Plan::line(&["Hill", "Jaquez"]).set("limits.max_clients", 3).start();
    let mut client = herd.client("Hill");
    for name in ["a", "b", "c"] {
        client.report(&format!("IAMAT {name} +1+2 1520023934.5"));
    }
    let line = iamat("d");
    client.send(line.clone() + "\n");
    assert_eq!(client.line(), format!("? {line}"));
    // It has moved since.
    client.report("IAMAT b +1.5-2.5 1520023999.5");
    client.send("WHATSAT d 10 5\n");
    assert_eq!(client.line(), "? WHATSAT d 10 5");
    let metrics = herd.metrics("Hill");
    let turned_away = "geoherd_messages_total{kind=\"iamat\",outcome=\"turned_away\"}";
    assert_eq!(metrics.value(turned_away).to_bits(), 1_f64.to_bits());
    wait_until("Jaquez knows where b is now", || {
        let mut other = herd.client("Jaquez");
        other.send("WHATSAT b 0 0\n");
        other.line().ends_with("b +1.5-2.5 1520023999.5")
    });
}

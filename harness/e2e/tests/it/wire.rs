//! What a server makes of frames that its version does not know, over real sockets.

use herd_e2e::{Herd, Peer, Plan, wait_until};
use std::time::{SystemTime, UNIX_EPOCH};

/// Hill alone, with Jaquez played by the test.
#[track_caller]
fn hill() -> (Herd, Peer) {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).set("limits.ready_grace", "\"0s\"").lay_out();
    herd.start("Hill");
    let (peer, hello) = Peer::say_hello(herd.address("Hill"), "GEOHERD/1 news Jaquez 1 -");
    assert!(hello.starts_with("GEOHERD/1 news Hill "), "{hello}");
    (herd, peer)
}

#[test]
fn an_unknown_frame_is_skipped_or_ends_the_link_with_a_reason_for_both_sides() {
    let (herd, mut peer) = hill();
    peer.send(0x7f, b"of another time");
    // A number of the sender's own, and a clock.
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let clock = u64::try_from(clock).unwrap().to_le_bytes();
    peer.send(Peer::PING, &[&[5], &clock[..]].concat());
    assert_eq!(peer.wait_for(Peer::PONG).first(), Some(&5), "the link goes on");
    peer.send(0xff, b"of another time");
    let bye = peer.wait_for(Peer::BYE);
    let reason = String::from_utf8_lossy(bye.get(1..).unwrap_or_default()).into_owned();
    assert!(reason.contains("type 0xff"), "{reason}");
    peer.wait_closed();
    wait_until("the log tells it too", || {
        let log = herd.log("Hill");
        log.lines().any(|line| line.contains("link down") && line.contains("type 0xff"))
    });
}

#[test]
fn last_words_reach_a_neighbour_that_is_still_speaking() {
    let (_herd, mut peer) = hill();
    // All of it lies unread in the server's socket when it decides.
    peer.send(0xff, b"");
    for _ in 0..200 {
        peer.send(0x7f, &[0; 1000]);
    }
    let bye = peer.wait_for(Peer::BYE);
    assert!(bye.ends_with(b"upgrade this server"), "{}", bye.escape_ascii());
}

#[test]
fn the_last_words_of_a_neighbour_are_logged() {
    let (herd, mut peer) = hill();
    let reason = b"a frame of type 0xee is beyond me";
    let length = u8::try_from(reason.len()).unwrap();
    peer.send(Peer::BYE, &[&[length], &reason[..]].concat());
    peer.wait_closed();
    wait_until("the log tells it", || herd.log("Hill").contains("type 0xee is beyond me"));
}

//! What a server makes of frames that its version does not know, over real sockets.

use herd_e2e::{Herd, Peer, Plan, wait_until};
use herd_proto::peer::write_batch;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
    assert_eq!(peer.wait_pong(), 5, "the link goes on");
    peer.send(0xff, b"of another time");
    let reason = peer.wait_bye();
    assert!(reason.contains("type 0xff"), "{reason}");
    peer.wait_closed();
    wait_until("the log tells it too", || {
        let log = herd.log("Hill");
        log.lines().any(|line| line.contains("link down") && line.contains("type 0xff"))
    });
}

#[test]
fn a_corrupted_batch_ends_the_link_before_any_of_its_frames_counts() {
    let (herd, mut peer) = hill();
    // BYE, under the checksum of another body.
    let mut batch = Vec::new();
    write_batch(&[2, Peer::BYE, 0], &mut batch);
    if let Some(last) = batch.last_mut() {
        *last ^= 0x40;
    }
    peer.send_bytes(&batch);
    let reason = peer.wait_bye();
    assert!(reason.contains("bad checksum of a batch of 3 bytes"), "{reason}");
    peer.wait_closed();
    wait_until("the fault is counted", || {
        herd.metrics("Hill").sum("geoherd_peer_faults_total") > 0.5
    });
}

#[test]
fn a_close_reason_reaches_a_peer_that_is_still_sending() {
    let (_herd, mut peer) = hill();
    // All of it lies unread in the server's socket when it decides.
    peer.send(0xff, b"");
    for _ in 0..200 {
        peer.send(0x7f, &[0; 1000]);
    }
    let reason = peer.wait_bye();
    assert!(reason.ends_with("upgrade this server"), "{reason}");
}

#[test]
fn the_close_reason_of_a_peer_is_logged() {
    let (herd, mut peer) = hill();
    let reason = b"a frame of type 0xee is beyond me";
    let length = u8::try_from(reason.len()).unwrap();
    peer.send(Peer::BYE, &[&[length], &reason[..]].concat());
    peer.wait_closed();
    wait_until("the log tells it", || herd.log("Hill").contains("type 0xee is beyond me"));
}

#[test]
fn a_silent_peer_whose_machine_answers_is_waited_for_and_its_timeout_is_counted() {
    // Nothing listens at Jaquez's address, so whoever connects there is refused: its machine is there.
    let (herd, peer) = hill();
    let linked = Instant::now();
    wait_until("the link ends", || herd.metrics("Hill").sum("geoherd_link_timeouts_total") > 0.5);
    // The limit is 1.5 s; it counts four times over.
    assert!(linked.elapsed() >= Duration::from_secs(4), "{:?}", linked.elapsed());
    assert!(herd.log("Hill").contains("nothing received for 1.5s"), "{}", herd.log("Hill"));
    drop(peer);
}

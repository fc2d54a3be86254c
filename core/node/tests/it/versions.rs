//! Servers of this version and of a made-up second one: what they speak is clear from their hellos.

use crate::herd::Herd;
use crate::scripted::Scripted;
use herd_node::Event;
use herd_proto::Versions;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// What two servers speak that speak these versions, whoever of them dials; None if nothing.
fn agreed(a: (u8, u8), b: (u8, u8)) -> Option<u8> {
    let frames = [a, b].map(|(least, greatest)| Versions::new(least, greatest).unwrap());
    let mut herd = Herd::with(2, &[(0, 1)], 1, move |at, settings| settings.frames = frames[at]);
    herd.run(5 * SECOND);
    let mut spoken = Vec::new();
    for at in 0..2 {
        let ups = herd.events.iter().filter(|(who, _)| *who == at);
        let frames = |(_, event): &(usize, Event)| {
            if let Event::LinkUp { frames, .. } = event { Some(*frames) } else { None }
        };
        spoken.push(ups.filter_map(frames).next_back());
    }
    assert_eq!(spoken[0], spoken[1], "{a:?} {b:?}");
    spoken[0].flatten()
}

#[test]
fn the_greatest_version_in_common_is_spoken_whoever_dials() {
    assert_eq!(agreed((1, 1), (1, 1)), Some(1));
    assert_eq!(agreed((1, 2), (1, 1)), Some(1));
    assert_eq!(agreed((1, 1), (1, 2)), Some(1));
    assert_eq!(agreed((1, 2), (1, 2)), Some(2));
    assert_eq!(agreed((1, 2), (2, 2)), Some(2));
}

#[test]
fn servers_without_a_version_in_common_refuse_each_other_and_both_say_why() {
    for versions in [[(1, 1), (2, 2)], [(2, 2), (1, 1)]] {
        let [a, b] = versions;
        assert_eq!(agreed(a, b), None);
        let mut herd = Herd::with(2, &[(0, 1)], 1, move |at, settings| {
            settings.frames = Versions::new(versions[at].0, versions[at].1).unwrap();
        });
        herd.run(5 * SECOND);
        for at in 0..2 {
            let mut told =
                herd.events.iter().filter(|(who, _)| *who == at).filter_map(|(_, event)| {
                    if let Event::LinkDown { reason, .. } = event {
                        Some(reason.to_string())
                    } else {
                        None
                    }
                });
            let words = told.find(|reason| reason.contains("run programs that have one in common"));
            assert!(words.is_some(), "{at}: {:?}", herd.events);
        }
    }
}

#[test]
fn a_server_says_what_it_speaks_only_where_that_is_more_than_version_1() {
    let mut node = Scripted::new(|_| {});
    let link = node.connect(0);
    assert_eq!(node.said(link), b"GEOHERD/1 news B 1 to=A,at=1700000000000\n");
    let mut node = Scripted::new(|settings| settings.frames = Versions::new(1, 2).unwrap());
    let link = node.connect(0);
    assert_eq!(node.said(link), b"GEOHERD/1 news B 1 frames=1-2,to=A,at=1700000000000\n");
}

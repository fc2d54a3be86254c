//! Properties of the codec that its bytes in `tests/golden` cannot show.

use super::decode::next_frame;
use super::*;
use crate::varint::{Reader, write_numbers};
use proptest::prelude::*;

fn messages() -> Vec<Message<'static>> {
    let key = b"rkiwi".as_slice();
    let effective_ns = 1_700_000_000_000_000_000;
    let entry = |tombstone, received_ns, value| Message::Entry {
        origin: 3,
        sequence: 300,
        key,
        effective_ns,
        received_ns,
        tombstone,
        value,
    };
    let record = |claimed, tombstone, value| Message::Record {
        claimed,
        key,
        effective_ns: i64::MIN,
        received_ns: i64::MAX,
        tombstone,
        value,
    };
    let digest = KeyDigest { key: 1 << 63, effective_ns: -1, digest: 258 };
    let versions = vec![(0, 1), (u16::MAX, 70_000)];
    vec![
        Message::Origin { number: 0, server: "Hill", incarnation: u64::MAX },
        Message::Watermark { origin: 300, version: 1 },
        Message::Greeted,
        Message::Subscribe { origin: u16::MAX, from: 128 },
        Message::Gap { origin: 1, since: 127 },
        Message::Unsubscribe { origin: 7 },
        entry(false, effective_ns + 263_873_386, b"Hill +1+2 3 +0.1"),
        entry(false, effective_ns - 1, &[0xaa; VALUE_BYTES_MAX]),
        entry(true, effective_ns, b""),
        Message::Commit { origin: 1, from: 0, to: 16_384 },
        Message::Member { origin: 2, counter: 9, about: Some(b"ready") },
        Message::Member { origin: 2, counter: 9, about: Some(b"") },
        Message::Member { origin: 2, counter: 10, about: None },
        Message::Left { origin: 2, counter: 10 },
        Message::Compare { token: 300, cutoff_ns: -2, root: u64::MAX },
        Message::Same { token: 0, versions: vec![] },
        Message::Same { token: 1, versions: versions.clone() },
        Message::Ranges { token: 2, cutoff_ns: 7, versions, sums: (1..=256).collect() },
        Message::AskRange { range: 254 },
        Message::Buckets { range: 255, sums: (1 << 60..(1 << 60) + 256).collect() },
        Message::AskBucket { bucket: 0xfffe, all: true, seed: 1 << 63, keys: vec![] },
        Message::AskBucket { bucket: 1, all: false, seed: 5, keys: vec![digest; KEYS_MAX] },
        record(true, false, b"v"),
        record(false, true, b""),
        Message::BucketDone { bucket: 0xff00 },
        Message::Compared { token: 128 },
        Message::CompareHint,
        Message::Ping { sent: 1 << 40, unix_ns: 1 },
        Message::Pong { sent: 0, unix_ns: -1 },
        Message::Bye { reason: "stopping" },
    ]
}

fn written(messages: &[Message<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = BatchWriter::new(&mut bytes);
    for message in messages {
        writer.push(message);
    }
    writer.finish();
    bytes
}

/// The messages of all batches in `bytes`, and the length of each batch.
fn read(mut bytes: &[u8]) -> (Vec<Message<'_>>, Vec<usize>) {
    let (mut messages, mut lengths) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        let (batch, taken) = decode_batch(bytes).unwrap().unwrap();
        for frame in batch {
            match frame.unwrap() {
                Decoded::Message(message) => messages.push(message),
                Decoded::Skipped(kind) => panic!("{kind:#04x} is known"),
            }
        }
        lengths.push(taken);
        bytes = &bytes[taken..];
    }
    (messages, lengths)
}

/// The first frame of `bytes`.
fn frame(bytes: &[u8]) -> Result<Decoded<'_>, FrameError> {
    next_frame(&mut Reader(bytes))
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

#[test]
fn what_is_written_is_read() {
    let bytes = written(&messages());
    let (read, lengths) = read(&bytes);
    assert_eq!(read, messages());
    assert_eq!(lengths.len(), 2, "a batch of more than 16 KiB takes no further frame");
    assert!(written(&[]).is_empty());
}

#[test]
fn batches_follow_what_the_buffer_held_before() {
    let mut bytes = b"GEOHERD/1 news Hill 1 -\n".to_vec();
    let hello = bytes.len();
    let mut writer = BatchWriter::new(&mut bytes);
    assert!(!writer.is_empty());
    writer.push(&Message::Greeted);
    assert_eq!(writer.len(), hello + 8 + 2);
    writer.finish();
    BatchWriter::new(&mut bytes).push(&Message::CompareHint);
    let (messages, lengths) = read(&bytes[hello..]);
    assert_eq!(messages, [Message::Greeted, Message::CompareHint]);
    assert_eq!(lengths, [10, 10]);
}

#[test]
fn an_incomplete_batch_is_neither_read_nor_an_error() {
    let bytes = written(&[Message::Greeted, Message::AskRange { range: 7 }]);
    for cut in 0..bytes.len() {
        assert_eq!(decode_batch(&bytes[..cut]), Ok(None), "{cut}");
    }
}

#[test]
fn any_single_flipped_bit_is_an_error() {
    let sample: Vec<_> = messages().into_iter().filter(|m| encoded(m).len() < 300).collect();
    let sound = written(&sample);
    assert_eq!(read(&sound).1, [sound.len()], "one batch");
    let mut bytes = sound.clone();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let expected = match at {
                0..4 => FrameError::Header([bytes[0], bytes[1], bytes[2], bytes[3]]),
                _ => FrameError::Checksum(sound.len() - 8),
            };
            assert_eq!(decode_batch(&bytes), Err(expected), "bit {bit} of byte {at}");
            bytes[at] ^= 1 << bit;
        }
    }
    assert_eq!(bytes, sound);
}

#[test]
fn impossible_headers_are_errors_before_the_body_is_there() {
    for header in [[0; 4], [1, 0, 0, 0], [1, 0, 4, 5], [0xff, 0xff, 0xff, 0xff], *b"? GE"] {
        assert_eq!(decode_batch(&header), Err(FrameError::Header(header)));
    }
    assert_eq!(decode_batch(&[0, 0, 4, 4]), Ok(None), "exactly the largest");
}

#[test]
fn bytes_behind_the_known_fields_are_skipped() {
    for message in messages() {
        let bytes = encoded(&message);
        let mut reader = Reader(&bytes);
        reader.number();
        let mut longer = Vec::new();
        write_numbers([reader.0.len() as u64 + 3], &mut longer);
        longer.extend_from_slice(reader.0);
        longer.extend_from_slice(b"new");
        assert_eq!(frame(&longer), Ok(Decoded::Message(message)));
    }
}

#[test]
fn bodies_without_a_batch_are_not_written() {
    let mut bytes = Vec::new();
    write_batch(&[], &mut bytes);
    write_batch(&vec![0; BATCH_BYTES_MAX + 1], &mut bytes);
    assert!(bytes.is_empty());
    write_batch(&vec![0; BATCH_BYTES_MAX], &mut bytes);
    let (batch, taken) = decode_batch(&bytes).unwrap().unwrap();
    assert_eq!(taken, bytes.len());
    assert_eq!(batch.frames().next(), Some(Err(FrameError::Length(0))));
}

#[test]
fn unknown_types_are_skipped_or_end_the_link() {
    assert_eq!(frame(&[2, 0x7f, 1]), Ok(Decoded::Skipped(0x7f)));
    assert_eq!(frame(&[2, 0xff, 1]), Err(FrameError::UnknownType(0xff)));
}

#[test]
fn frames_without_their_bytes_are_errors() {
    assert_eq!(frame(&[0]), Err(FrameError::Length(0)));
    assert_eq!(frame(&[2, kind::GREETED]), Err(FrameError::Length(2)));
    assert_eq!(frame(&[0x80]), Err(FrameError::Length(usize::MAX)));
    for message in messages() {
        let bytes = encoded(&message);
        let mut reader = Reader(&bytes);
        reader.number();
        // Without its last byte, under a length that is right.
        let cut = &reader.0[..reader.0.len() - 1];
        let mut shorter = Vec::new();
        write_numbers([cut.len() as u64], &mut shorter);
        shorter.extend_from_slice(cut);
        assert!(frame(&shorter).is_err(), "{message:?}");
    }
}

#[test]
fn an_error_ends_a_batch() {
    let mut bytes = Vec::new();
    write_batch(&[1, kind::GREETED, 1, 0xff, 1, kind::GREETED], &mut bytes);
    let (batch, _) = decode_batch(&bytes).unwrap().unwrap();
    let mut frames = batch.frames();
    assert_eq!(frames.next(), Some(Ok(Decoded::Message(Message::Greeted))));
    assert_eq!(frames.next(), Some(Err(FrameError::UnknownType(0xff))));
    assert_eq!(frames.next(), None);
}

#[test]
fn fields_beyond_their_bounds_are_errors() {
    let entry = |key: usize, value: usize| {
        let (key, value) = (&*vec![b'k'; key], &*vec![b'v'; value]);
        checked_message(&Message::Entry {
            origin: 1,
            sequence: 1,
            key,
            effective_ns: 0,
            received_ns: 0,
            tombstone: false,
            value,
        })
    };
    let too_large = |kind, what, found, max| Err(FrameError::TooLarge { kind, what, found, max });
    assert_eq!(entry(KEY_BYTES_MAX, VALUE_BYTES_MAX), Ok(()));
    assert_eq!(entry(0, 1), Err(FrameError::Malformed(kind::ENTRY)));
    let long_key = too_large(kind::ENTRY, "key bytes", 257, KEY_BYTES_MAX);
    assert_eq!(entry(KEY_BYTES_MAX + 1, 1), long_key);
    let long_value = too_large(kind::ENTRY, "value bytes", 2049, VALUE_BYTES_MAX);
    assert_eq!(entry(1, VALUE_BYTES_MAX + 1), long_value);

    let about = |length| {
        let about = vec![b'a'; length];
        checked_message(&Message::Member { origin: 1, counter: 1, about: Some(&about) })
    };
    assert_eq!(about(ABOUT_BYTES_MAX), Ok(()));
    let long_about = too_large(kind::MEMBER, "about bytes", 4097, ABOUT_BYTES_MAX);
    assert_eq!(about(ABOUT_BYTES_MAX + 1), long_about);

    let keys = |count| {
        let keys = vec![KeyDigest { key: 1, effective_ns: 2, digest: 3 }; count];
        checked_message(&Message::AskBucket { bucket: 1, all: false, seed: 1, keys })
    };
    assert_eq!(keys(KEYS_MAX), Ok(()));
    assert_eq!(keys(KEYS_MAX + 1), too_large(kind::ASK_BUCKET, "keys", 4097, KEYS_MAX));

    let versions = |count| {
        checked_message(&Message::Same { token: 1, versions: vec![(u16::MAX, u64::MAX); count] })
    };
    assert_eq!(versions(VERSIONS_MAX), Ok(()));
    assert_eq!(versions(VERSIONS_MAX + 1), too_large(kind::SAME, "versions", 1025, VERSIONS_MAX));

    let reason = "x".repeat(REASON_BYTES_MAX + 1);
    let long_reason = too_large(kind::BYE, "reason bytes", 1025, REASON_BYTES_MAX);
    assert_eq!(checked_message(&Message::Bye { reason: &reason }), long_reason);

    let spaced = checked_message(&Message::Origin { number: 1, server: "a b", incarnation: 1 });
    assert_eq!(spaced, Err(FrameError::Malformed(kind::ORIGIN)));
}

#[test]
fn flags_that_are_not_known_are_errors() {
    let mut bytes =
        encoded(&messages().into_iter().find(|m| matches!(m, Message::Record { .. })).unwrap());
    assert_eq!(bytes[1], kind::RECORD);
    for flags in 0..=u8::MAX {
        bytes[2] = flags;
        assert_eq!(frame(&bytes).is_ok(), flags < 4, "{flags:#04x}");
    }
}

#[test]
fn an_error_says_what_was_wrong() {
    for (error, text) in [
        (
            FrameError::TooLarge { kind: 0x87, what: "key bytes", found: 300, max: 256 },
            "frame of type 0x87 with 300 key bytes; the limit is 256",
        ),
        (
            FrameError::Header(*b"? GE"),
            "bad batch header [3f, 20, 47, 45]: the stream is corrupt, or the peer does not speak this protocol",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

fn checked_message(message: &Message<'_>) -> Result<(), FrameError> {
    frame(&encoded(message)).map(|_| ())
}

/// The types that are known, and any others.
fn kinds() -> impl Strategy<Value = u8> {
    let known: Vec<u8> = messages()
        .iter()
        .map(|message| {
            let bytes = encoded(message);
            let mut reader = Reader(&bytes);
            reader.number();
            reader.0[0]
        })
        .collect();
    prop_oneof![4 => prop::sample::select(known), 1 => any::<u8>()]
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_an_error(
        kind in kinds(),
        body in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..60),
    ) {
        let mut bytes = Vec::new();
        write_numbers([body.len() as u64 + 1], &mut bytes);
        bytes.push(kind);
        bytes.extend(body);
        if let Ok(Decoded::Message(message)) = frame(&bytes) {
            let again = encoded(&message);
            // Numbers may come with needless zeros, and are never written with them.
            prop_assert!(again.len() <= bytes.len());
            prop_assert_eq!(frame(&again), Ok(Decoded::Message(message)));
        }
    }

    #[test]
    fn any_bytes_are_batches_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        is_body: bool,
    ) {
        let mut batch = Vec::new();
        write_batch(&bytes, &mut batch);
        let bytes = if is_body { batch } else { bytes };
        if let Ok(Some((batch, taken))) = decode_batch(&bytes) {
            prop_assert!(taken <= bytes.len());
            prop_assert!(batch.frames().count() < taken);
        }
    }

    #[test]
    fn any_record_is_read_as_it_was_written(
        effective_ns: i64,
        received_ns: i64,
        tombstone: bool,
        claimed: bool,
        key in prop::collection::vec(any::<u8>(), 1..=KEY_BYTES_MAX),
        value in prop::collection::vec(any::<u8>(), 0..=VALUE_BYTES_MAX),
        origin: u16,
        sequence: u64,
    ) {
        let (key, value) = (&*key, &*value);
        let entry =
            Message::Entry { origin, sequence, key, effective_ns, received_ns, tombstone, value };
        let record = Message::Record { claimed, key, effective_ns, received_ns, tombstone, value };
        let messages = [entry, record];
        let bytes = written(&messages);
        prop_assert_eq!(read(&bytes).0, messages);
    }
}

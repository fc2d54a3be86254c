//! The messages as types.

/// One message over a link. Its strings are borrowed from the batch it was decoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// From now on, the sender means this origin by `number`.
    Origin {
        /// Number chosen by the sender.
        number: u16,
        /// Name of the server.
        server: &'a str,
        /// Start of that server whose stream this is.
        incarnation: u64,
    },
    /// The sender holds this stream up to `version`.
    Watermark {
        /// Number of the origin.
        origin: u16,
        /// Version of the stream at the sender.
        version: u64,
    },
    /// All origins and watermarks were sent; the receiver may choose its subscriptions.
    Greeted,
    /// Send the entries of this stream above `from`, now and as they come.
    Subscribe {
        /// Number of the origin.
        origin: u16,
        /// Version that the sender of this message holds; `u64::MAX` asks for nothing of the past.
        from: u64,
    },
    /// The answer to [`Subscribe`](Self::Subscribe) where the sender no longer serves the stream from
    /// there: entries above `since` follow, and commits only once the receiver holds `since`, which it
    /// gets to by comparing buckets.
    Gap {
        /// Number of the origin.
        origin: u16,
        /// Version from which the sender serves the stream.
        since: u64,
    },
    /// Send no more entries of this stream.
    Unsubscribe {
        /// Number of the origin.
        origin: u16,
    },
    /// One update of a stream, with the record that it wrote. One that was superseded names its key alone, with times
    /// of [`SUPERSEDED_NS`](super::SUPERSEDED_NS) and no value, after the record that its key holds at the sender now.
    Entry {
        /// Number of the origin.
        origin: u16,
        /// Sequence number of the update in the stream.
        sequence: u64,
        /// See [`Record::key`](crate::Record::key).
        key: &'a [u8],
        /// See [`Record::effective_ns`](crate::Record::effective_ns).
        effective_ns: i64,
        /// See [`Record::received_ns`](crate::Record::received_ns).
        received_ns: i64,
        /// See [`Record::tombstone`](crate::Record::tombstone).
        tombstone: bool,
        /// See [`Record::value`](crate::Record::value).
        value: &'a [u8],
    },
    /// A receiver that held this stream up to `from` now holds it up to `to`.
    Commit {
        /// Number of the origin.
        origin: u16,
        /// Version before.
        from: u64,
        /// Version after.
        to: u64,
    },
    /// A heartbeat of a member, passed on by all servers.
    Member {
        /// Number of the origin that is the member's present incarnation.
        origin: u16,
        /// Counter of the heartbeat; a greater one is later.
        counter: u64,
        /// Self-description of the member, at most [`ABOUT_BYTES_MAX`](super::ABOUT_BYTES_MAX) bytes. Only
        /// sent when it changed since it was last sent on this link.
        about: Option<&'a [u8]>,
    },
    /// A member left the herd; passed on by all servers. A later heartbeat makes it a member again.
    Left {
        /// Number of the origin that was the member's last incarnation.
        origin: u16,
        /// Counter of its last heartbeat.
        counter: u64,
    },
    /// Compare your records with mine. Its sender is the receiver of what differs, and its receiver is the
    /// donor.
    Compare {
        /// Number of this comparison, chosen by the sender.
        token: u64,
        /// Values that the sender received at or before this time, in nanoseconds since 1970, it has erased, and takes
        /// no more.
        cutoff_ns: i64,
        /// Sum of all records that the sender stores.
        root: u64,
    },
    /// The donor's sum is the same.
    Same {
        /// Number of the comparison.
        token: u64,
        /// Versions that the donor holds at this moment, by number of the origin; at most
        /// [`VERSIONS_MAX`](super::VERSIONS_MAX).
        versions: Vec<(u16, u64)>,
    },
    /// The donor's sum differs; these are the sums of its ranges.
    Ranges {
        /// Number of the comparison.
        token: u64,
        /// Values that the donor received at or before this time, in nanoseconds since 1970, it has erased.
        cutoff_ns: i64,
        /// Versions that the donor holds at this moment, by number of the origin; at most
        /// [`VERSIONS_MAX`](super::VERSIONS_MAX).
        versions: Vec<(u16, u64)>,
        /// One sum for each range, [`SUMS`](super::SUMS) of them.
        sums: Vec<u64>,
    },
    /// Send the sums of the buckets of this range.
    AskRange {
        /// Index of the range.
        range: u8,
    },
    /// The sums of the buckets of a range.
    Buckets {
        /// Index of the range.
        range: u8,
        /// One sum for each bucket, [`SUMS`](super::SUMS) of them.
        sums: Vec<u64>,
    },
    /// Send the records of this bucket that I lack by `keys`.
    AskBucket {
        /// Index of the bucket among all buckets.
        bucket: u16,
        /// Whether to send those too that a stream is about to bring.
        all: bool,
        /// Seed of the hashes in `keys`.
        seed: u64,
        /// The sender's records of the bucket, at most [`KEYS_MAX`](super::KEYS_MAX).
        keys: Vec<KeyDigest>,
    },
    /// A record of a bucket.
    Record {
        /// Whether the sender believes that the receiver claims to hold this record.
        claimed: bool,
        /// See [`Record::key`](crate::Record::key).
        key: &'a [u8],
        /// See [`Record::effective_ns`](crate::Record::effective_ns).
        effective_ns: i64,
        /// See [`Record::received_ns`](crate::Record::received_ns).
        received_ns: i64,
        /// See [`Record::tombstone`](crate::Record::tombstone).
        tombstone: bool,
        /// See [`Record::value`](crate::Record::value).
        value: &'a [u8],
    },
    /// All records of this bucket that were asked for have been sent.
    BucketDone {
        /// Index of the bucket among all buckets.
        bucket: u16,
    },
    /// The receiver has looked into everything that differed.
    Compared {
        /// Number of the comparison.
        token: u64,
    },
    /// The receiver may lack records that streams do not carry; it should send a [`Compare`](Self::Compare).
    CompareHint,
    /// Asks for a [`Pong`](Self::Pong) with the same `sent`.
    Ping {
        /// The sender's monotonic clock, opaque to the receiver.
        sent: u64,
        /// The sender's wall clock, in nanoseconds since 1970.
        unix_ns: i64,
    },
    /// The answer to a [`Ping`](Self::Ping).
    Pong {
        /// Copied from the ping.
        sent: u64,
        /// The wall clock of the server that answers, in nanoseconds since 1970.
        unix_ns: i64,
    },
    /// The sender closes the link.
    Bye {
        /// The reason, for logs; at most [`REASON_BYTES_MAX`](super::REASON_BYTES_MAX) bytes.
        reason: &'a str,
    },
}

/// One record of the sender, as [`Message::AskBucket`] lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDigest {
    /// Hash of the key, with the seed of the message.
    pub key: u64,
    /// See [`Record::effective_ns`](crate::Record::effective_ns).
    pub effective_ns: i64,
    /// Hash of the record, with the seed of the message.
    pub digest: u64,
}

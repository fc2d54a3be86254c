//! Connections of those who are no servers, or pretend to be.

use crate::nodes::plan::Talk;
use crate::nodes::seen::Seen;
use crate::nodes::wire::Is;
use crate::nodes::world::{Ev, SECOND_NS, START_NS, World};
use herd_proto::peer::{BATCH_BYTES_MAX, BatchWriter, Message, write_batch};

/// Nobody's number.
pub(crate) const NOBODY: usize = usize::MAX;

impl World {
    /// Somebody connects to a server, says something, and goes some time later.
    pub(crate) fn stranger(&mut self, to: usize, talk: Talk) {
        if self.hosts[to].server().is_none() {
            return;
        }
        let words = self.words(to, talk);
        let deaf = talk == Talk::ImpostorDeaf;
        let conn = self.connect(NOBODY, Is::Script { deaf }, to, None);
        // A driver may hand a connection over before it has said anything.
        if self.chance.per_mille(300) {
            self.become_link(conn, 1);
        }
        self.tally.see(match talk {
            Talk::Silence => Seen::Silent,
            Talk::HalfHello | Talk::Garbage => Seen::Strangers,
            Talk::Impostor | Talk::ImpostorLong | Talk::ImpostorFrames => Seen::Impostors,
            Talk::ImpostorDeaf => Seen::Deaf,
        });
        self.conns[conn].ends[0].pending.extend(words);
        self.pump(conn, 0);
        let wait = self.chance.below(if deaf { 30 } else { 5 } * SECOND_NS);
        self.after(wait, Ev::Quit { conn });
    }

    fn words(&mut self, to: usize, talk: Talk) -> Vec<u8> {
        let neighbors = &self.hosts[to].neighbors;
        let neighbor = neighbors.get(self.chance.index(neighbors.len()));
        let name = neighbor.map_or("?", |neighbor| &self.hosts[neighbor.host].name);
        let mut words = format!("GEOHERD/1 news {name} 1 -\n").into_bytes();
        match talk {
            Talk::Silence => words.clear(),
            Talk::HalfHello => words.truncate(1 + self.chance.index(words.len() - 1)),
            Talk::Garbage => {
                let length = 1 + self.chance.index(20_000);
                words = (0..length).map(|_| self.chance.next().to_le_bytes()[0]).collect();
            }
            Talk::Impostor => {}
            Talk::ImpostorLong => {
                let length = u32::try_from(BATCH_BYTES_MAX + 1).unwrap_or(u32::MAX);
                let [a, b, c, _] = length.to_le_bytes();
                words.extend([a, b, c, a ^ b ^ c]);
            }
            Talk::ImpostorFrames => {
                // One that may be skipped, one that is not whole, and either an unknown one that must be
                // understood or one whose fields do not fit.
                write_batch(&[2, 0x7e, 7], &mut words);
                let kind = [0xee, 0x84][self.chance.index(2)];
                write_batch(&[1, kind], &mut words);
                words.extend([200, 0, 0]);
            }
            Talk::ImpostorDeaf => {
                let mut frames = BatchWriter::new(&mut words);
                for sent in 0..3_000 {
                    frames.push(&Message::Ping { sent, unix_ns: START_NS });
                }
            }
        }
        words
    }
}

//! Random changes to the inputs of a corpus, the same ones for the same seed.

use crate::corpus::Seed;

/// Longer inputs are cut: beyond some times the longest line there is little new to meet.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Changes to one input at most. Few leave most of it valid, many tear it apart; small numbers are
/// drawn as often as large ones, by powers of two.
const CHANGES_LOG2_MAX: u64 = 4;

/// Bytes at the edges of what parsers tell apart.
const EDGES: &[u8] = b"\0\x01\t\n\x0b\x0c\r \"#%&'()*+,-./019:;<=>?@AEZ[\\]^_`aez{|}~\x7f\x80\xa0\xbf\xc0\xc2\xe2\xef\xf0\xf4\xff";

/// Draws inputs.
#[derive(Clone, Debug)]
pub struct Mutator {
    random: Random,
    dictionary: &'static [&'static str],
}

impl Mutator {
    /// The same `seed` draws the same inputs from the same corpus.
    pub fn new(seed: u64, dictionary: &'static [&'static str]) -> Self {
        Self { random: Random(seed), dictionary }
    }

    /// One input of `corpus`, changed in one place or some.
    pub fn mutate(&mut self, corpus: &[Seed]) -> Vec<u8> {
        let mut data = self.pick(corpus);
        let changes = 1_u64 << self.random.below_u64(CHANGES_LOG2_MAX + 1);
        for _ in 0..changes {
            self.change(&mut data, corpus);
            data.truncate(INPUT_BYTES_MAX);
        }
        data
    }

    fn pick(&mut self, corpus: &[Seed]) -> Vec<u8> {
        let at = self.random.below(corpus.len());
        corpus.get(at).map(|seed| seed.bytes.clone()).unwrap_or_default()
    }

    fn change(&mut self, data: &mut Vec<u8>, corpus: &[Seed]) {
        let at = self.random.below(data.len() + 1);
        match self.random.below(11) {
            0 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << self.random.below(8);
                }
            }
            1 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = self.random.byte();
                }
            }
            2 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = EDGES[self.random.below(EDGES.len())];
                }
            }
            3 => data.insert(at, EDGES[self.random.below(EDGES.len())]),
            4 => {
                let end = self.end(at, data.len());
                data.drain(at..end);
            }
            5 => {
                // A piece, again and again.
                let end = self.end(at, data.len());
                let piece = data[at..end].repeat(1 + self.random.below(8));
                data.splice(at..at, piece);
            }
            6 => {
                // A piece of another input over a piece of this one.
                let other = self.pick(corpus);
                let from = self.random.below(other.len() + 1);
                let to = self.end(from, other.len());
                let end = self.end(at, data.len());
                data.splice(at..end, other[from..to].iter().copied());
            }
            7 | 8 => {
                let word = match self.dictionary {
                    [] => "",
                    words => words[self.random.below(words.len())],
                };
                // Beside what is there, or in its place.
                let end = if self.random.below(2) == 0 { at } else { self.end(at, data.len()) };
                data.splice(at..end, word.bytes());
            }
            9 => data.truncate(at),
            _ => {
                // Another digit where there is one.
                if let Some(digit) = data.iter_mut().skip(at).find(|b| b.is_ascii_digit()) {
                    *digit = b"0123456789"[self.random.below(10)];
                }
            }
        }
    }

    /// An end for a piece that begins at `at`, mostly near.
    fn end(&mut self, at: usize, len: usize) -> usize {
        let room = len - at;
        let span = if self.random.below(8) == 0 { room } else { room.min(16) };
        at + self.random.below(span + 1)
    }
}

/// SplitMix64: one addition and a few shifts a number, good enough to choose what to break.
///
/// Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `limit`; 0 if that is 0. The bias of the remainder does not matter here.
    fn below_u64(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }

    fn below(&mut self, limit: usize) -> usize {
        // Less than a usize, so it fits.
        usize::try_from(self.below_u64(limit as u64)).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again() {
        let corpus = corpus();
        let draw = |seed| {
            let mut mutator = Mutator::new(seed, &["word"]);
            (0..200).map(|_| mutator.mutate(&corpus)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn inputs_differ_and_stay_small() {
        let corpus = corpus();
        let mut mutator = Mutator::new(1, &[]);
        let mut all: Vec<_> = (0..2_000).map(|_| mutator.mutate(&corpus)).collect();
        assert!(all.iter().all(|input| input.len() <= INPUT_BYTES_MAX));
        all.sort();
        all.dedup();
        assert!(all.len() > 1_000, "{}", all.len());
    }

    #[test]
    fn an_empty_corpus_is_no_trouble() {
        let mut mutator = Mutator::new(1, &[]);
        assert!((0..100).any(|_| !mutator.mutate(&[]).is_empty()));
    }

    fn corpus() -> Vec<Seed> {
        let seed = |name: &str, bytes: Vec<u8>| Seed { name: name.to_owned(), bytes };
        vec![
            seed("empty", Vec::new()),
            seed("text", b"IAMAT kiwi +1-1 10".to_vec()),
            seed("long", vec![b'x'; INPUT_BYTES_MAX]),
        ]
    }
}

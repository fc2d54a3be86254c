//! Values addressed by dense `u32` indices, stored in chunks so that growth never copies the whole.
//!
//! A `Vec` of ten million 64-byte slots copies 640 MB when it doubles, with the node's lock held. A slab allocates
//! one more chunk instead. It does not free slots: its owner keeps a list of those that may be reused.

/// Slots in a chunk. A chunk of 64-byte slots takes 256 KB, which one allocation provides in microseconds, and the
/// table of chunks stays small: 2,442 entries for ten million slots. A power of two, so that an index is split by a
/// shift and a mask.
const CHUNK_SLOTS: usize = 1 << CHUNK_BITS;

/// Bits of an index that are the slot within its chunk.
const CHUNK_BITS: u32 = 12;

/// A growing sequence of values, addressed by index.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// All chunks but the last are full. The first grows as a `Vec` does, so that a slab of a few values is small;
    /// the others have their final capacity from the start.
    chunks: Vec<Vec<T>>,
    len: u32,
}

impl<T> Slab<T> {
    /// Returns an empty slab, which has not allocated anything.
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }

    /// Appends a value and returns its index, or `None` once all indices below `u32::MAX` are in use. Owners may thus
    /// use `u32::MAX` for "no index".
    ///
    /// Moves no other value, except while the slab still fits into one chunk.
    pub(crate) fn push(&mut self, value: T) -> Option<u32> {
        let index = self.len;
        if index == u32::MAX {
            return None;
        }
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_SLOTS => chunk.push(value),
            last => {
                let capacity = if last.is_some() { CHUNK_SLOTS } else { 0 };
                let mut chunk = Vec::with_capacity(capacity);
                chunk.push(value);
                self.chunks.push(chunk);
            }
        }
        self.len += 1;
        Some(index)
    }

    /// Returns the value at an index.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (chunk, slot) = split(index);
        self.chunks.get(chunk)?.get(slot)
    }

    /// Returns the value at an index for modification.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let (chunk, slot) = split(index);
        self.chunks.get_mut(chunk)?.get_mut(slot)
    }

    /// Returns the number of values, which is also the index of the next one.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Iterates over all values with their indices, in index order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.chunks.iter().flatten())
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The chunk of an index and the slot within it.
#[inline]
fn split(index: u32) -> (usize, usize) {
    let index = index as usize;
    (index / CHUNK_SLOTS, index % CHUNK_SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    #[repr(align(64))]
    struct Line(u32);

    const SEVERAL_CHUNKS: u32 = (3 << CHUNK_BITS) + 17;

    fn filled() -> Slab<Line> {
        let mut slab = Slab::new();
        for value in 0..SEVERAL_CHUNKS {
            assert_eq!(slab.push(Line(value * 7)), Some(value));
        }
        slab
    }

    #[test]
    fn an_empty_slab_has_no_values() {
        let mut slab = Slab::<Line>::default();
        assert_eq!((slab.len(), slab.get(0)), (0, None));
        assert_eq!(slab.get_mut(0), None);
        assert_eq!(slab.iter().next(), None);
        assert_eq!(slab.chunks.capacity(), 0);
    }

    #[test]
    fn values_are_found_by_their_indices_across_chunks() {
        let mut slab = filled();
        assert_eq!(slab.len(), SEVERAL_CHUNKS);
        for index in 0..SEVERAL_CHUNKS {
            assert_eq!(slab.get(index), Some(&Line(index * 7)));
            *slab.get_mut(index).unwrap() = Line(index + 1);
        }
        for index in [SEVERAL_CHUNKS, 4 << CHUNK_BITS, u32::MAX] {
            assert_eq!(slab.get(index), None);
            assert_eq!(slab.get_mut(index), None);
        }
        let by_iteration: Vec<_> = slab.iter().map(|(index, line)| (index, line.0)).collect();
        assert_eq!(by_iteration, (0..SEVERAL_CHUNKS).map(|at| (at, at + 1)).collect::<Vec<_>>());
    }

    #[test]
    fn growth_beyond_the_first_chunk_moves_nothing() {
        let mut slab = Slab::new();
        let mut addresses = Vec::new();
        for value in 0..SEVERAL_CHUNKS {
            let index = slab.push(Line(value)).unwrap();
            if index as usize >= CHUNK_SLOTS {
                addresses.push((index, std::ptr::from_ref(slab.get(index).unwrap())));
            }
        }
        for (index, address) in addresses {
            assert_eq!(std::ptr::from_ref(slab.get(index).unwrap()), address);
            assert!(address.is_aligned(), "a value shares lines of the cache with another");
        }
        for chunk in &slab.chunks {
            assert_eq!(chunk.capacity(), CHUNK_SLOTS);
        }
    }

    #[test]
    fn a_slab_of_a_few_values_is_small() {
        let mut slab = Slab::new();
        slab.push(Line(1));
        assert!(slab.chunks.iter().map(Vec::capacity).sum::<usize>() <= 8);
    }

    #[test]
    fn the_greatest_index_is_never_given_out() {
        let mut slab = Slab { chunks: Vec::new(), len: u32::MAX - 1 };
        assert_eq!(slab.push(()), Some(u32::MAX - 1));
        assert_eq!(slab.push(()), None);
        assert_eq!(slab.len(), u32::MAX);
    }
}

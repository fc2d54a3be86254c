//! Numbered values in pages, so that growing copies nothing and a freed number is used again.

/// Values by number. `BITS` is the logarithm of how many share a page.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T, const BITS: u32> {
    /// Full pages, and at last one that is being filled. Each is made with all its room at once.
    pages: Vec<Vec<T>>,
    free: Stack,
    len: u32,
}

impl<T, const BITS: u32> Slab<T, BITS> {
    const PER_PAGE: usize = 1 << BITS;

    pub(crate) fn new() -> Self {
        Self { pages: Vec::new(), free: Stack::default(), len: 0 }
    }

    /// Keeps a value and returns its number, a freed one if there is any.
    ///
    /// # Panics
    ///
    /// At `limit` values, which no memory holds.
    pub(crate) fn insert(&mut self, value: T, limit: u32) -> u32 {
        if let Some(at) = self.free.pop() {
            self[at] = value;
            return at;
        }
        assert!(self.len < limit, "more than {limit} in one index");
        if self.pages.last().is_none_or(|page| page.len() == Self::PER_PAGE) {
            self.pages.push(Vec::with_capacity(Self::PER_PAGE));
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(value);
        }
        self.len += 1;
        self.len - 1
    }

    /// Frees a number. Its value stays until the number is used again.
    pub(crate) fn free(&mut self, at: u32) {
        self.free.push(at);
    }

    /// Numbers, free or not.
    pub(crate) fn slots(&self) -> u32 {
        self.len
    }

    /// Numbers in use.
    pub(crate) fn live(&self) -> usize {
        self.len as usize - self.free.len
    }

    /// Bytes taken, whether used or not.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.len() * Self::PER_PAGE * size_of::<T>()
            + self.pages.capacity() * size_of::<Vec<T>>()
            + self.free.bytes()
    }
}

impl<T, const BITS: u32> std::ops::Index<u32> for Slab<T, BITS> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        &self.pages[(at >> BITS) as usize][at as usize & (Self::PER_PAGE - 1)]
    }
}

impl<T, const BITS: u32> std::ops::IndexMut<u32> for Slab<T, BITS> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.pages[(at >> BITS) as usize][at as usize & (Self::PER_PAGE - 1)]
    }
}

/// Numbers of which the last one comes first, in pages: when a million are freed, no step copies them all.
#[derive(Clone, Debug, Default)]
struct Stack {
    /// All but the last are full, and the last may be empty, so that numbers that come and go across the end of a
    /// page do not allocate each time.
    pages: Vec<Vec<u32>>,
    len: usize,
}

impl Stack {
    /// 4 KB a page.
    const PER_PAGE: usize = 1 << 10;

    fn push(&mut self, number: u32) {
        if self.pages.last().is_none_or(|page| page.len() == Self::PER_PAGE) {
            // The first page grows as it is needed, since most stacks are short.
            let room = if self.pages.is_empty() { 0 } else { Self::PER_PAGE };
            self.pages.push(Vec::with_capacity(room));
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(number);
            self.len += 1;
        }
    }

    fn pop(&mut self) -> Option<u32> {
        if self.pages.len() > 1 && self.pages.last().is_some_and(Vec::is_empty) {
            self.pages.pop();
        }
        let number = self.pages.last_mut()?.pop()?;
        self.len -= 1;
        Some(number)
    }

    fn bytes(&self) -> usize {
        let numbers: usize = self.pages.iter().map(Vec::capacity).sum();
        numbers * size_of::<u32>() + self.pages.capacity() * size_of::<Vec<u32>>()
    }
}

/// A number for each slot, in pages that are made when one of their slots is first set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pages: Vec<Box<[u32]>>,
}

/// No number.
pub(crate) const NONE: u32 = u32::MAX;

impl Table {
    /// 16 kB a page: what an index of one costs.
    const BITS: u32 = 12;
    const PER_PAGE: usize = 1 << Self::BITS;

    /// The number of a slot, or [`NONE`].
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> u32 {
        let page = self.pages.get((slot >> Self::BITS) as usize);
        page.and_then(|page| page.get(Self::lane(slot))).copied().unwrap_or(NONE)
    }

    #[inline]
    pub(crate) fn set(&mut self, slot: u32, number: u32) {
        let at = (slot >> Self::BITS) as usize;
        if at >= self.pages.len() {
            self.pages.resize_with(at + 1, Default::default);
        }
        let page = &mut self.pages[at];
        if page.is_empty() {
            *page = vec![NONE; Self::PER_PAGE].into_boxed_slice();
        }
        page[Self::lane(slot)] = number;
    }

    #[inline]
    fn lane(slot: u32) -> usize {
        slot as usize & (Self::PER_PAGE - 1)
    }

    pub(crate) fn bytes(&self) -> usize {
        let numbers: usize = self.pages.iter().map(|page| page.len()).sum();
        numbers * size_of::<u32>() + self.pages.capacity() * size_of::<Box<[u32]>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_numbers_are_used_again() {
        let mut slab = Slab::<u32, 2>::new();
        let numbers: Vec<u32> = (0..10).map(|value| slab.insert(value, 10)).collect();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        slab.free(3);
        slab.free(7);
        assert_eq!(slab.live(), 8);
        assert_eq!((slab.insert(70, 10), slab.insert(30, 10)), (7, 3));
        assert_eq!((slab[7], slab[3], slab.slots()), (70, 30, 10));
    }

    #[test]
    fn a_stack_gives_back_what_came_last() {
        let mut stack = Stack::default();
        let mut model = Vec::new();
        // Grows and shrinks by different steps, so that every page's end is crossed both ways.
        for round in 1..20_u32 {
            for number in 0..round * 700 {
                stack.push(number);
                model.push(number);
            }
            for _ in 0..round * 650 {
                assert_eq!(stack.pop(), model.pop());
            }
            assert_eq!(stack.len, model.len());
            let pages = stack.pages.split_last().map_or(&[][..], |(_, full)| full);
            assert!(
                pages.iter().all(|page| page.capacity() == Stack::PER_PAGE),
                "a page was copied"
            );
        }
        while let Some(number) = model.pop() {
            assert_eq!(stack.pop(), Some(number));
        }
        assert_eq!((stack.pop(), stack.len, stack.pages.len()), (None, 0, 1));
    }

    #[test]
    fn a_table_makes_only_pages_that_are_set() {
        let mut table = Table::default();
        assert_eq!(table.get(5), NONE);
        table.set(1_000_000, 7);
        assert_eq!((table.get(1_000_000), table.get(999_999), table.get(5)), (7, NONE, NONE));
        assert!(table.bytes() < 40_000);
    }
}

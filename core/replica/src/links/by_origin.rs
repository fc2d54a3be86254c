//! A map from streams to something small, for each link: slots are numbered from zero, so it is a list, which is
//! read and written on every message.

use crate::ids::OriginIx;

#[derive(Debug)]
pub(crate) struct ByOrigin<T>(Vec<Option<T>>);

impl<T> Default for ByOrigin<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByOrigin<T> {
    pub(crate) fn get(&self, origin: OriginIx) -> Option<&T> {
        self.0.get(origin.at())?.as_ref()
    }

    pub(crate) fn contains(&self, origin: OriginIx) -> bool {
        self.get(origin).is_some()
    }

    pub(crate) fn get_mut(&mut self, origin: OriginIx) -> Option<&mut T> {
        self.0.get_mut(origin.at())?.as_mut()
    }

    /// Returns what was there.
    pub(crate) fn insert(&mut self, origin: OriginIx, value: T) -> Option<T> {
        if self.0.len() <= origin.at() {
            self.0.resize_with(origin.at() + 1, || None);
        }
        self.0.get_mut(origin.at())?.replace(value)
    }

    pub(crate) fn remove(&mut self, origin: OriginIx) -> Option<T> {
        self.0.get_mut(origin.at())?.take()
    }

    /// In the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (OriginIx, &T)> {
        let numbered = (0..).map(OriginIx).zip(&self.0);
        numbered.filter_map(|(origin, value)| Some((origin, value.as_ref()?)))
    }
}

impl ByOrigin<u64> {
    /// Zero where nothing is known.
    pub(crate) fn number(&self, origin: OriginIx) -> u64 {
        self.get(origin).copied().unwrap_or_default()
    }

    /// Numbers only grow. True if this one did.
    pub(crate) fn raise(&mut self, origin: OriginIx, to: u64) -> bool {
        let grows = self.get(origin).is_none_or(|&number| number < to);
        if grows {
            self.insert(origin, to);
        }
        grows
    }
}

impl Clone for ByOrigin<u64> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

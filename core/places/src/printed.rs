//! Results as text, each printed once and kept: of a place nothing changes but whether it is open.

use crate::print::Printer;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Results that are kept. A herd asks again and again for what is near its clients, and a city has some ten
/// thousand places; at about 900 bytes each these take 30 MB. What comes later is printed for each answer.
const KEPT_MAX: usize = 32_768;

/// One result but for the member that says whether it is open.
#[derive(Debug)]
pub(crate) struct Printed {
    text: Box<str>,
    /// Where that member belongs.
    split: usize,
}

impl Printed {
    /// `before` writes up to the member that changes, `after` all behind it.
    pub(crate) fn new(
        depth: usize,
        before: impl FnOnce(&mut Printer),
        after: impl FnOnce(&mut Printer),
    ) -> Self {
        let mut printer = Printer::at_depth(depth);
        before(&mut printer);
        let split = printer.len();
        after(&mut printer);
        Self { text: printer.finish().into(), split }
    }

    /// Writes the result at the depth it was printed for.
    pub(crate) fn write(&self, is_open: Option<bool>, printer: &mut Printer) {
        let (before, after) = self.text.split_at_checked(self.split).unwrap_or_default();
        printer.open_printed(before);
        if let Some(is_open) = is_open {
            printer.key("opening_hours");
            printer.begin_object();
            printer.key("open_now");
            printer.scalar(if is_open { "true" } else { "false" });
            printer.end_object();
        }
        printer.close_printed(after);
    }
}

/// Results by the number of their place.
#[derive(Debug)]
pub(crate) struct Shelf {
    results: Box<[OnceLock<Printed>]>,
    kept: AtomicUsize,
}

impl Shelf {
    pub(crate) fn new(places: usize) -> Self {
        let results = (0..places).map(|_| OnceLock::new()).collect();
        Self { results, kept: AtomicUsize::new(0) }
    }

    /// Hands the result of a place to `write`; `print` makes it if it is not kept.
    pub(crate) fn with(
        &self,
        place: u32,
        print: impl FnOnce() -> Printed,
        write: impl FnOnce(&Printed),
    ) {
        let slot = self.results.get(place as usize);
        match slot {
            Some(slot) if slot.get().is_some() || self.kept.load(Relaxed) < KEPT_MAX => {
                write(slot.get_or_init(|| {
                    self.kept.fetch_add(1, Relaxed);
                    print()
                }));
            }
            _ => write(&print()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_printed_once_and_what_is_over_the_bound_each_time() {
        let places = u32::try_from(KEPT_MAX).unwrap() + 1;
        let shelf = Shelf::new(places as usize);
        let mut prints = 0;
        let mut ask = |place: u32| {
            let mut written = String::new();
            let print = || {
                prints += 1;
                Printed { text: place.to_string().into(), split: 0 }
            };
            shelf.with(place, print, |printed| written = printed.text.to_string());
            assert_eq!(written, place.to_string());
        };
        for _ in 0..2 {
            (0..places).for_each(&mut ask);
        }
        assert_eq!(prints, KEPT_MAX + 2);
    }
}

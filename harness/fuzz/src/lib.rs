//! Fuzz targets as plain functions, with their corpora.
//!
//! A target takes any bytes and panics if what it calls breaks a promise: not only that nothing
//! panics by itself, but that what was read can be written and read again. The corpora are small and
//! made by hand; `cargo test` replays them and some thousand seeded mutations of them, and
//! `cargo xtask fuzz` goes on for as long as it is told.
//!
//! Left out on purpose: guidance by coverage, and with it everything that needs another toolchain.
//! The depth comes from the corpus and from each target's dictionary. A target is a plain
//! `fn(&[u8])`, so a guided fuzzer can call it where there is one.

pub mod corpus;
pub mod mutate;
pub mod run;
pub mod targets;

/// One thing to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Panics if `data` makes the code under test break a promise.
    pub run: fn(data: &[u8]),
    /// The folder of its corpus, below this crate's.
    pub corpus_dir: &'static str,
    /// Pieces of its language, which blind mutation would seldom hit upon.
    pub dictionary: &'static [&'static str],
}

/// All targets. A new one is a module in [`targets`], a row here and a folder below `corpus/`.
pub const TARGETS: &[Target] = &[
    Target {
        name: "iso6709",
        run: targets::iso6709::target,
        corpus_dir: "corpus/iso6709",
        dictionary: targets::iso6709::DICTIONARY,
    },
    Target {
        name: "line",
        run: targets::line::target,
        corpus_dir: "corpus/line",
        dictionary: targets::line::DICTIONARY,
    },
    Target {
        name: "hello",
        run: targets::hello::target,
        corpus_dir: "corpus/hello",
        dictionary: targets::hello::DICTIONARY,
    },
    Target {
        name: "frame",
        run: targets::frame::target,
        corpus_dir: "corpus/frame",
        dictionary: targets::frame::DICTIONARY,
    },
    Target {
        name: "google",
        run: targets::google::target,
        corpus_dir: "corpus/google",
        dictionary: targets::google::DICTIONARY,
    },
    Target {
        name: "json",
        run: targets::json::target,
        corpus_dir: "corpus/json",
        dictionary: targets::google::DICTIONARY,
    },
    Target {
        name: "store",
        run: targets::store::target,
        corpus_dir: "corpus/store",
        dictionary: targets::store::DICTIONARY,
    },
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::Mutator;

    /// Keeps each of the tests below within a few seconds of an unoptimized build.
    const MUTATIONS: usize = 3_000;

    #[test]
    fn iso6709_holds() {
        replay("iso6709");
    }

    #[test]
    fn line_holds() {
        replay("line");
    }

    #[test]
    fn hello_holds() {
        replay("hello");
    }

    #[test]
    fn frame_holds() {
        replay("frame");
    }

    #[test]
    fn google_holds() {
        replay("google");
    }

    #[test]
    fn json_holds() {
        replay("json");
    }

    #[test]
    fn store_holds() {
        replay("store");
    }

    #[test]
    fn every_target_is_replayed_and_has_a_corpus() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        let tested = ["iso6709", "line", "hello", "frame", "google", "json", "store"];
        assert_eq!(names, tested, "a test for each, above");
        for target in TARGETS {
            assert!(corpus::load(target).unwrap().len() >= 10, "{}", target.name);
            assert!(!target.dictionary.is_empty(), "{}", target.name);
        }
    }

    #[test]
    fn every_corpus_folder_has_a_target() {
        for entry in std::fs::read_dir(corpus::folder("corpus")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name.starts_with('.') || target(&name).is_some(), "{name}");
        }
    }

    /// The corpus and some mutations of it, the same ones in every run.
    #[track_caller]
    fn replay(name: &str) {
        let target = target(name).expect("it has a row");
        let corpus = corpus::load(target).unwrap();
        for seed in &corpus {
            hold(target, &seed.bytes, &seed.name);
        }
        let mut mutator = Mutator::new(1, target.dictionary);
        for _ in 0..MUTATIONS {
            hold(target, &mutator.mutate(&corpus), "a mutation");
        }
    }

    #[track_caller]
    fn hold(target: &Target, data: &[u8], what: &str) {
        if let Err(crash) = run::guarded(target, data) {
            panic!("{}: {what} breaks a promise\n{crash}", target.name);
        }
    }
}

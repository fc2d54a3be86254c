//! "Did you mean …?"

/// The name among `known` that someone who wrote `wrong` most likely meant: at most a third of its
/// characters differ, whatever their case. `None` if there is no such name.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_few(wrong, known, 1).into_iter().next()
}

/// Up to `count` such names, the likeliest first, and none that is much further off than the first.
pub(super) fn nearest_few<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
    count: usize,
) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|name| {
            let name_lower = name.to_lowercase();
            let distance = strsim::damerau_levenshtein(&wrong, &name_lower);
            let longer = wrong.chars().count().max(name.chars().count());
            let prefix = !wrong.is_empty() && name_lower.starts_with(&wrong);
            (distance * 3 <= longer || prefix).then_some((distance, name))
        })
        .collect();
    near.sort_unstable();
    let first = near.first().map_or(0, |(distance, _)| *distance);
    near.into_iter()
        .take_while(|(distance, _)| *distance <= first + 1)
        .take(count)
        .map(|(_, name)| name)
        .collect()
}

/// `"; did you mean NAME?"`, or `otherwise` when no name is near.
pub(super) fn hint<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    match nearest(wrong, known) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => otherwise(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_seen_through() {
        check("neighbours", Some("neighbors"));
        check("lsiten", Some("listen"));
        check("LISTEN", Some("listen"));
        check("neigh", Some("neighbors"));
        check("colour", None);
        check("", None);
    }

    #[track_caller]
    fn check(wrong: &str, expected: Option<&str>) {
        assert_eq!(nearest(wrong, ["http", "listen", "neighbors"]), expected, "{wrong:?}");
    }
}

//! Keys of the config as people write them: `servers.Hill.listen`, `servers."a.b".neighbors[1]`.

/// The key of `name` inside the table `parent`; quoted where TOML would want quotes.
pub(super) fn child(parent: &str, name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        format!("{name:?}")
    };
    if parent.is_empty() { name } else { format!("{parent}.{name}") }
}

/// The key of element `index` of the list `parent`.
pub(super) fn element(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// True if `key` is `ancestor` or lies inside it.
pub(super) fn is_within(key: &str, ancestor: &str) -> bool {
    ancestor.is_empty()
        || key
            .strip_prefix(ancestor)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_toml_would_quote_are_quoted() {
        assert_eq!(child("servers", "Hill"), "servers.Hill");
        assert_eq!(child("servers", "a.b"), "servers.\"a.b\"");
        assert_eq!(element(&child("", "list"), 1), "list[1]");
    }

    #[test]
    fn a_name_that_begins_like_another_is_not_inside_it() {
        assert!(is_within("servers.Hill.listen", "servers.Hill"));
        assert!(is_within("servers.Hill", "servers.Hill"));
        assert!(!is_within("servers.Hillary", "servers.Hill"));
    }
}

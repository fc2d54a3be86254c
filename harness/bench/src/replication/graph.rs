//! The herds that are measured: which servers, and which of them are neighbors.

/// Names and links.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    pub(super) what: &'static str,
    names: Vec<String>,
    links: Vec<(String, String)>,
}

impl Graph {
    /// The five servers and six links that come as the example config.
    pub(super) fn seeds() -> Self {
        let links = [
            ("Hill", "Jaquez"),
            ("Hill", "Smith"),
            ("Singleton", "Jaquez"),
            ("Singleton", "Smith"),
            ("Singleton", "Campbell"),
            ("Smith", "Campbell"),
        ];
        let names = ["Hill", "Jaquez", "Smith", "Campbell", "Singleton"];
        Self {
            what: "the seeds' five",
            names: names.map(str::to_owned).to_vec(),
            links: links.map(|(one, other)| (one.to_owned(), other.to_owned())).to_vec(),
        }
    }

    /// Eight servers, each linked to every other.
    pub(super) fn mesh() -> Self {
        let names: Vec<_> = (0..8).map(|number| format!("M{number}")).collect();
        let links = names.iter().enumerate().flat_map(|(at, one)| {
            names.iter().skip(at + 1).map(move |other| (one.clone(), other.clone()))
        });
        Self { what: "full mesh of 8", links: links.collect(), names }
    }

    /// Twenty-five servers, each linked to those beside, above and below it.
    pub(super) fn grid() -> Self {
        const SIDE: usize = 5;
        let name = |row: usize, column: usize| format!("G{row}{column}");
        let places = || (0..SIDE).flat_map(|row| (0..SIDE).map(move |column| (row, column)));
        let right = places().filter(|&(_, column)| column + 1 < SIDE);
        let right = right.map(|(row, column)| (name(row, column), name(row, column + 1)));
        let down = places().filter(|&(row, _)| row + 1 < SIDE);
        let down = down.map(|(row, column)| (name(row, column), name(row + 1, column)));
        Self {
            what: "5 x 5 grid",
            links: right.chain(down).collect(),
            names: places().map(|(row, column)| name(row, column)).collect(),
        }
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    pub(super) fn links(&self) -> Vec<(&str, &str)> {
        self.links.iter().map(|(one, other)| (one.as_str(), other.as_str())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graphs_have_the_links_that_their_names_promise() {
        let sizes = [Graph::seeds(), Graph::mesh(), Graph::grid()]
            .map(|graph| (graph.names().len(), graph.links().len()));
        assert_eq!(sizes, [(5, 6), (8, 28), (25, 40)]);
    }
}

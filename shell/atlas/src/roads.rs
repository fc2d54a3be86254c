//! A net of roads that somebody can walk, cycle or drive along, turning where roads meet.

use crate::road_table::{self, RoadTable, WayRecord};
use herd_geo::{Point, distance_m};

/// Roads as a directed graph. A node is a bend or a junction; an edge is a straight piece of a way in
/// one direction. Nodes, ways and names are referred to by index.
#[derive(Clone, Debug, Default)]
pub struct RoadNet {
    nodes: Vec<Point>,
    ways: Vec<Way>,
    names: Vec<String>,
    /// The edges of node n are those from `edges_from[n]` up to `edges_from[n + 1]`.
    edges_from: Vec<u32>,
    edges: Vec<Edge>,
}

/// What a road is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoadClass {
    /// Carries traffic between towns (motorway to tertiary).
    Main,
    /// A street that people live on.
    Street,
    /// A drive, a car park's lanes, an alley.
    Service,
    /// A farm track.
    Track,
    /// For bicycles above all.
    Cycleway,
    /// For pedestrians: a pavement, a path, a promenade.
    Footway,
    /// Stairs.
    Steps,
}

impl RoadClass {
    /// All classes, in the order of their numbers in a table.
    pub const ALL: [Self; 7] = [
        Self::Main,
        Self::Street,
        Self::Service,
        Self::Track,
        Self::Cycleway,
        Self::Footway,
        Self::Steps,
    ];
}

/// How somebody moves along a road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Travel {
    /// On foot.
    Walk,
    /// On a bicycle.
    Cycle,
    /// In a car.
    Drive,
}

/// A straight piece of road from one node to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// The node at its end.
    pub to: u32,
    /// The way that it is a piece of.
    pub way: u32,
    /// Its length in meters, never negative.
    pub length_m: f32,
    /// Bits of the road table: walk, cycle, drive, in this direction.
    travel: u8,
}

impl Edge {
    /// Whether it may be moved along in its direction.
    pub fn allows(&self, travel: Travel) -> bool {
        self.travel & bit(travel) != 0
    }
}

#[derive(Clone, Copy, Debug)]
struct Way {
    class: RoadClass,
    name: u32,
}

impl RoadNet {
    /// All nodes.
    pub fn nodes(&self) -> &[Point] {
        &self.nodes
    }

    /// How many edges there are; a piece that may be used both ways counts twice.
    pub fn edge_count(&self) -> usize {
        self.edges.len()
    }

    /// How many ways there are.
    pub fn way_count(&self) -> usize {
        self.ways.len()
    }

    /// The edges that begin at `node`; none if there is no such node.
    pub fn edges_at(&self, node: u32) -> &[Edge] {
        let node = node as usize;
        let limit = |at: usize| self.edges_from.get(at).map(|&index| index as usize);
        let range = limit(node).zip(limit(node + 1)).map(|(from, to)| from..to);
        range.and_then(|range| self.edges.get(range)).unwrap_or_default()
    }

    /// What the way is; `None` if there is no such way.
    pub fn class(&self, way: u32) -> Option<RoadClass> {
        self.ways.get(way as usize).map(|way| way.class)
    }

    /// What the way is called; empty if it has no name or there is no such way.
    pub fn name(&self, way: u32) -> &str {
        let way = self.ways.get(way as usize);
        way.and_then(|way| self.names.get(way.name as usize)).map_or("", String::as_str)
    }

    /// From an uncompressed table; `None` if the bytes are no table.
    pub(crate) fn decode(table: &[u8]) -> Option<Self> {
        let table = RoadTable::decode(table)?;
        let nodes: Option<Vec<Point>> = table.nodes.iter().map(|&at| point(at)).collect();
        let nodes = nodes?;
        let ways: Option<Vec<Way>> = table
            .ways
            .iter()
            .map(|way| {
                let class = *RoadClass::ALL.get(usize::from(way.class))?;
                Some(Way { class, name: way.name })
            })
            .collect();
        let mut pieces: Vec<(u32, Edge)> = Vec::new();
        for (number, way) in (0..).zip(&table.ways) {
            collect_edges(number, way, &nodes, &mut pieces);
        }
        // Stable, so that the edges of a node stay in the order of ways.
        pieces.sort_by_key(|(from, _)| *from);
        let mut edges_from = vec![0_u32; nodes.len() + 1];
        for (from, _) in &pieces {
            *edges_from.get_mut(*from as usize + 1)? += 1;
        }
        let mut sum = 0;
        for count in &mut edges_from {
            sum += *count;
            *count = sum;
        }
        let edges = pieces.into_iter().map(|(_, edge)| edge).collect();
        Some(Self { nodes, ways: ways?, names: table.names, edges_from, edges })
    }
}

fn collect_edges(number: u32, way: &WayRecord, nodes: &[Point], edges: &mut Vec<(u32, Edge)>) {
    let walk = way.travel & road_table::WALK;
    let back =
        [(road_table::CYCLE_BACK, road_table::CYCLE), (road_table::DRIVE_BACK, road_table::DRIVE)];
    let back = back.iter().fold(
        walk,
        |travel, (bit, as_bit)| {
            if way.travel & bit == 0 { travel } else { travel | as_bit }
        },
    );
    let forth = way.travel & (road_table::WALK | road_table::CYCLE | road_table::DRIVE);
    for piece in way.nodes.windows(2) {
        let &[from, to] = piece else { continue };
        let ends = nodes.get(from as usize).zip(nodes.get(to as usize));
        let Some((from_point, to_point)) = ends else { continue };
        #[expect(clippy::cast_possible_truncation, reason = "a centimeter in a hundred kilometers")]
        let length_m = distance_m(*from_point, *to_point) as f32;
        for (from, to, travel) in [(from, to, forth), (to, from, back)] {
            if travel != 0 {
                edges.push((from, Edge { to, way: number, length_m, travel }));
            }
        }
    }
}

fn point((lat_e6, lon_e6): (i32, i32)) -> Option<Point> {
    Point::new(f64::from(lat_e6) / 1e6, f64::from(lon_e6) / 1e6).ok()
}

fn bit(travel: Travel) -> u8 {
    match travel {
        Travel::Walk => road_table::WALK,
        Travel::Cycle => road_table::CYCLE,
        Travel::Drive => road_table::DRIVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::road_table::{CYCLE, CYCLE_BACK, DRIVE, WALK};

    #[test]
    fn one_way_streets_are_walked_both_ways() {
        let net = RoadNet::decode(&two_streets().encode()).unwrap();
        let from = |node, travel: Travel| {
            let edges = net.edges_at(node).iter().filter(|edge| edge.allows(travel));
            edges.map(|edge| edge.to).collect::<Vec<_>>()
        };
        assert_eq!(from(1, Travel::Walk), [0, 2, 3]);
        assert_eq!(from(1, Travel::Drive), [2]);
        assert_eq!(from(1, Travel::Cycle), [0, 2]);
        assert_eq!(from(2, Travel::Drive), [0; 0]);
        assert_eq!(from(9, Travel::Walk), [0; 0]);
        assert_eq!((net.name(0), net.name(1), net.name(7)), ("Triq", "", ""));
        assert_eq!(net.class(1), Some(RoadClass::Steps));
        assert!((net.edges_at(0)[0].length_m - 111.195).abs() < 0.01);
    }

    #[test]
    fn damaged_tables_are_refused() {
        let good = two_streets().encode();
        assert_eq!(RoadTable::decode(&good), Some(two_streets()));
        for cut in 0..good.len() {
            assert!(RoadNet::decode(&good[..cut]).is_none(), "{cut}");
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.clone();
                bad[at] = byte;
                // May be a table by chance; must not panic.
                drop(RoadNet::decode(&bad));
            }
        }
    }

    fn two_streets() -> RoadTable {
        RoadTable {
            names: vec![String::new(), "Triq".to_owned()],
            nodes: vec![(0, 0), (1000, 0), (2000, 0), (1000, 1000)],
            ways: vec![
                WayRecord {
                    class: 1,
                    travel: WALK | CYCLE | CYCLE_BACK | DRIVE,
                    name: 1,
                    nodes: vec![0, 1, 2],
                },
                WayRecord { class: 6, travel: WALK, name: 0, nodes: vec![1, 3] },
            ],
        }
    }
}

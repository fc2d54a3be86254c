//! The embedded map data: places of the world, roads of Malta.

//! Fuzz targets as plain functions, with their corpora.

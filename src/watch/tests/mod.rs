//! A hub among shards that are plain lists, and clients who check all that they are told.

mod bugs;
mod client;
mod model;
mod world;

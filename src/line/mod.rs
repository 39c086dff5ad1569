//! The braid: what makes many logs one line of revisions.

pub mod coordinator;
pub mod epoch;
mod footprint;
pub mod message;

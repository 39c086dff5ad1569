//! Watches: who wants to hear of a change, and telling it in order, once, without a gap.
mod catch_up;
mod emit;
mod hash;
mod hub;
mod inflow;
mod interest;
mod interval;
mod keys;
mod progress;
mod recent;
mod stream;
mod watcher;
mod word;

#[cfg(test)]
mod tests;

pub use hub::{Hub, HubConfig, HubCounts, HubEffects};
pub use interest::Interest;
pub use keys::{CoreSet, Keys, Span};
pub use word::{Compacted, HistoryAsk, HistoryPart, TopicId, WatchAsk, WatchTold};

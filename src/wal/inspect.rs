//! A data directory described, without changing it.

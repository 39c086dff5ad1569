//! Frames there and back.

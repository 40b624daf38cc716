//! Tables of rollouts.

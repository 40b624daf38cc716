//! Tests of the decisions one by one.

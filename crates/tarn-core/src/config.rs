//! Configuration: one file, environment overrides, and unknown keys refused with the nearest right one.

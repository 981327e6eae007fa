//! Who runs where: registry, health and watch.

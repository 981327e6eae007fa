//! The composition: configuration to build to run, with the admin and service APIs.

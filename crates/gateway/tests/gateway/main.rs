//! The gateway over real sockets, in front of real servers.

mod cache;
mod cache_suite;
mod changes;
mod compositions;
mod doors;
mod edge;
mod framing;
mod grpc;
mod identity;
mod lifecycle;
mod passing;
mod routing;
mod shared_limits;
mod stage;
mod streams;
mod tls;
mod tunnels;

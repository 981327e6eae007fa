//! The proxies that are compared, each as one process with one worker.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant as _},
};

use anyhow::{Context, Result, bail};

use crate::{bench::process, command::program};

/// A running process that is killed when it is dropped.
pub struct Running {
    child: Child,
    /// What it is called in the table.
    pub name: &'static str,
    /// Where it takes HTTP/1.1.
    pub http1: SocketAddr,
    /// Where it takes HTTP/2.
    pub http2: SocketAddr,
}

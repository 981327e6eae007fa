//! How many instructions a request takes in the proxies made of hyper: what the kernel does is not counted, but
//! it is the same at every run, however busy the machine is.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{
    CASES, Case,
    load::Load,
    peers::{self, Running},
};

/// Requests counted, after so many that are not: connections are open by then, and pools and tables are full.
const REQUESTS: usize = 8000;
const BEFORE: usize = 500;

/// Counts, and leaves callgrind's profiles in a folder.
pub fn count(asked: &[String], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let release = crate::command::release()?;
    let (xtask, proxy) = (release.join("xtask"), release.join("examples/proxy"));
    let upstream = peers::upstream(&xtask)?;
    for case in CASES.into_iter().filter(|case| case.is_asked_for(asked)) {
        let bare =
            case.count(&folder.join("bare"), |file| peers::bare(&xtask, upstream.http1, Some(file)))?;
        let madang =
            case.count(&folder.join("madang"), |file| peers::madang(&proxy, upstream.http1, Some(file)))?;
        let edge = case.count(&folder.join("edge"), |file| {
            peers::madang_with_edge(&proxy, folder, upstream.http1, Some(file))
        })?;
        let with_edge = peers::madang_with_edge(&proxy, folder, upstream.http1, None)?;
        let asked = case.count(&folder.join("same"), |file| {
            peers::madang_asked_as(&with_edge, &proxy, upstream.http1, Some(file))
        })?;
        println!(
            "{case}: bare hyper {bare}, Madang {madang} ({:+}), with the edge {edge} ({:+} to the same requests without \
             it) instructions a request",
            madang - bare,
            edge - asked
        );
    }
    Ok(())
}

impl Case {
    /// Instructions per request, from the difference between two runs.
    fn count(self, profile: &Path, proxy: impl Fn(&Path) -> Result<Running>) -> Result<i64> {
        let count = |requests: usize| {
            let profile = profile.with_extension(format!("{}-{}-{requests}", self.version(), self.size));
            let running = proxy(&profile)?;
            // One after the other, so that every run takes the same steps.
            Load { clients: 1, ..self.load(&running) }.count(requests)?;
            running.end()?;
            total(&profile)
        };
        Ok((count(BEFORE + REQUESTS)? - count(BEFORE)?) / REQUESTS as i64)
    }
}

/// The instructions that a profile of callgrind's adds up to.
fn total(profile: &Path) -> Result<i64> {
    let text =
        fs::read_to_string(profile).with_context(|| format!("failed to read {}", profile.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.with_context(|| format!("{} tells no sum", profile.display()))
}

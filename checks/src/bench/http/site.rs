//! A directory that is served, and what belongs to it; gone with this.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What [`Site`] has as `hello.php`.
const SCRIPT: &str = r#"<?php
$hello = 'Hello from PHP: ' . 6 * 7 . "\n";
header('Content-Length: ' . strlen($hello));
echo $hello;
"#;

pub(super) struct Site(PathBuf);

impl Site {
    pub fn new() -> io::Result<Self> {
        static SITES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("reveille-site-{}-{}", std::process::id(), SITES.fetch_add(1, Relaxed));
        let site = Self(std::env::temp_dir().join(name));
        fs::create_dir(&site.0)?;
        fs::create_dir(site.root())?;
        fs::write(site.root().join("small.html"), "<h1>small</h1>")?;
        let big: Vec<u8> = (0..1_u32 << 20).map(|i| (i ^ i >> 9) as u8).collect();
        fs::write(site.root().join("big"), big)?;
        fs::write(site.root().join("hello.php"), SCRIPT)?;
        fs::write(site.path("hello"), "Hello from PHP: 42\n")?;
        Ok(site)
    }

    /// Beside the directory that is served.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// The directory that is served.
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program of one of these names, in the search path or where programs of the administrator are.
pub(super) fn find(is_it: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let mut found: Vec<PathBuf> = places
        .filter_map(|place| fs::read_dir(place).ok())
        .flat_map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&is_it))
        .collect();
    found.sort();
    found.into_iter().next_back()
}

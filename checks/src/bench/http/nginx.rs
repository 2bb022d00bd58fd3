//! nginx, as a yardstick: one process, as our server is one.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::{Server, start};
use super::site::{Site, find};

/// Where it is, if it is there.
pub(super) fn program() -> Option<PathBuf> {
    find(|name| name == "nginx")
}

pub(super) struct Nginx;

impl Nginx {
    pub fn start(site: &Site, php: Option<&Path>) -> io::Result<Server> {
        let program = program().ok_or(io::ErrorKind::NotFound)?;
        // Free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = site.path("nginx.conf");
        fs::write(&config, configuration(site, php, address))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(site.path("")).arg("-e").arg(site.path("nginx.log")).arg("-c").arg(config);
        let child = start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
        Server::of_others(child, address)
    }
}

fn configuration(site: &Site, php: Option<&Path>, address: SocketAddr) -> String {
    let (root, log, pid) = (site.root(), site.path("nginx.log"), site.path("nginx.pid"));
    let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {};", site.path(format!("nginx-{what}")).display()));
    let php = php.map_or(String::new(), |socket| {
        format!(
            "location ~ \\.php$ {{ fastcgi_pass unix:{}; \
             fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; \
             fastcgi_param REQUEST_METHOD $request_method; fastcgi_param QUERY_STRING $query_string; }}",
            socket.display()
        )
    });
    format!(
        "daemon off; master_process off; pid {}; error_log {};\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; {}\n\
         server {{ listen {address} backlog=4096; root {}; {php} }} }}\n",
        pid.display(),
        log.display(),
        places.join(" "),
        root.display()
    )
}

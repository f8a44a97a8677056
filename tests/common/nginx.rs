//! A real nginx in front, configured as Skyline ships it: `/flux/` is stripped, HTTP/1.0 upstream.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::process::Daemon;
use super::{free_port, wait_until};

pub struct Nginx {
    _daemon: Daemon,
    _dir: TempDir,
    pub port: u16,
}

impl Nginx {
    /// `/flux/` as nginx's example has it, and `/apache/` as the Apache example's `ProxyPass` without a
    /// trailing slash makes it: the program then sees `//metric_data`.
    pub fn in_front_of(flux_port: u16) -> Nginx {
        let port = free_port();
        let site = format!(
            "  gzip on;\n\
               upstream flux {{ server 127.0.0.1:{flux_port}; keepalive 20; }}\n\
               server {{\n\
                 listen 127.0.0.1:{port};\n\
                 client_max_body_size 1024K;\n\
                 proxy_read_timeout 120s; proxy_connect_timeout 120s; proxy_send_timeout 120s;\n\
                 proxy_set_header Host $host;\n\
                 proxy_set_header Forwarded $proxy_add_x_forwarded_for;\n\
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
                 proxy_set_header X-Forwarded-Proto $scheme;\n\
                 location /flux/ {{ proxy_pass http://flux/; }}\n\
                 location /apache {{ proxy_pass http://flux/; }}\n\
               }}\n"
        );
        Nginx::start(&site, port)
    }

    /// `site` stands inside `http { … }` and listens on `port`.
    pub fn start(site: &str, port: u16) -> Nginx {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().display();
        let config = format!(
            "daemon off; master_process off; pid {path}/nginx.pid; error_log stderr warn;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n\
               access_log off;\n\
               client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;\n\
               fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
             {site}\n\
             }}\n"
        );
        let file = dir.path().join("nginx.conf");
        fs::write(&file, config).expect("a file of our own");
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(dir.path()).arg("-c").arg(&file);
        let mut daemon = Daemon::spawn("nginx", &mut command);
        wait_until("nginx listens", || {
            assert!(daemon.exited().is_none(), "{}", daemon.said());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Nginx {
            _daemon: daemon,
            _dir: dir,
            port,
        }
    }
}

//! One listener per shard and address: SO_REUSEPORT lets the kernel share connections out. Activated ones are
//! shared out by [`crate::preflight::of_shard`].

use super::shard::Shard;
use super::socket;
use super::{connection, line};
use crate::config::Listen;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How long accepting pauses when there is no descriptor or no place for one more connection: those
/// that wait stay in the backlog.
const PAUSE: Duration = Duration::from_millis(10);

/// Binds before any executor runs, so that a refused start is one line.
pub fn bind(listen: &Listen, backlog: u32) -> io::Result<Socket> {
    let socket = match listen {
        Listen::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.set_tcp_nodelay(true)?;
            socket.bind(&(*address).into())?;
            socket
        }
        Listen::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            socket
        }
    };
    socket.listen(backlog as i32)?;
    Ok(socket)
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug)]
pub enum Speaks {
    Http,
    Line,
}

/// Accepts until the service drains. An accept that fails (EMFILE, a client that has gone) costs a pause.
pub async fn run(shard: Rc<Shard>, listener: socket::Listener, speaks: Speaks) {
    loop {
        while shard.connections.full() {
            glommio::timer::sleep(PAUSE).await;
        }
        match listener.accept().await {
            Ok(stream) => {
                let shard = shard.clone();
                match speaks {
                    Speaks::Http => glommio::spawn_local(connection::serve(shard, stream)),
                    Speaks::Line => glommio::spawn_local(line::serve(shard, stream)),
                }
                .detach();
            }
            Err(_) => {
                shard.accept_errors.set(shard.accept_errors.get() + 1);
                glommio::timer::sleep(PAUSE).await;
            }
        }
    }
}

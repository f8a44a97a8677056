//! A statsd that keeps what it is sent.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use socket2::SockRef;

use super::wait_until;

pub struct Statsd {
    socket: UdpSocket,
    pub datagrams: Vec<Vec<u8>>,
}

impl Statsd {
    pub fn start() -> Statsd {
        Statsd::on("127.0.0.1:0").expect("a free port")
    }

    pub fn on(address: &str) -> std::io::Result<Statsd> {
        let socket = UdpSocket::bind(address)?;
        // Loopback loses what does not fit.
        SockRef::from(&socket).set_recv_buffer_size(16 << 20)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(Statsd {
            socket,
            datagrams: Vec::new(),
        })
    }

    /// As `statsd.endpoint` wants it.
    pub fn endpoint(&self) -> String {
        let address = self.socket.local_addr().expect("it is bound");
        address.to_string()
    }

    /// Takes what has come.
    pub fn receive(&mut self) {
        let mut buffer = vec![0; 65_536];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.datagrams.push(buffer[..length].to_vec()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return;
                }
                Err(error) => panic!("a socket of our own: {error}"),
            }
        }
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).expect("UTF-8");
        let texts = self.datagrams.iter().map(text);
        let lines = texts.flat_map(|text| text.split('\n').map(str::to_owned).collect::<Vec<_>>());
        lines.collect()
    }

    pub fn wait_lines(&mut self, count: usize) -> Vec<String> {
        wait_until(&format!("statsd has {count} lines"), || {
            self.receive();
            self.lines().len() >= count
        });
        self.lines()
    }
}

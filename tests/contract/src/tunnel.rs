//! A proxy on the way to the backend, which can go dead for the connections that it has.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Takes `CONNECT`, whatever for.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    opened: AtomicUsize,
    /// How many of those that were opened are dead.
    dead: AtomicUsize,
}

impl Tunnel {
    /// Listens until the process ends.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("cannot listen");
        let (address, state) = (listener.local_addr().expect("no address"), Arc::new(State::default()));
        let own = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = own.clone();
                std::thread::spawn(move || state.serve(client));
            }
        });
        Tunnel { address, state }
    }

    /// As the agent's configuration has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections came.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.state.opened.load(Ordering::SeqCst)
    }

    /// From now on nothing comes through the connections that there are, and nobody is told.
    pub fn forget(&self) {
        self.state.dead.store(self.opened(), Ordering::SeqCst);
    }
}

impl State {
    fn serve(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        let mut head = BufReader::new(client.try_clone()?);
        let mut line = String::new();
        head.read_line(&mut line)?;
        let target = line.split(' ').nth(1).ok_or(io::ErrorKind::InvalidData)?.to_owned();
        while line != "\r\n" {
            line.clear();
            head.read_line(&mut line)?;
        }
        let server = TcpStream::connect(target)?;
        (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        let (back_from, back_to) = (server.try_clone()?, client.try_clone()?);
        let own = self.clone();
        let back = std::thread::spawn(move || own.pass(number, back_from, back_to));
        let there = self.pass(number, client, server);
        back.join().map_err(|_| io::ErrorKind::Other)?.and(there)
    }

    fn pass(&self, number: usize, mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
        let mut bytes = [0; 4096];
        loop {
            let count = from.read(&mut bytes)?;
            while number < self.dead.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_secs(1));
            }
            if count == 0 {
                return to.shutdown(Shutdown::Write);
            }
            to.write_all(&bytes[..count])?;
        }
    }
}

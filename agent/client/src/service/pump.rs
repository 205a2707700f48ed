//! Standard input and output, joined to a TCP connection.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::agent::ServiceError;

/// Read and written at once.
const BUFFER: usize = 64 << 10;
/// How long the name and the connection may take together. ssh waits for longer, and says less.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that was made.
#[derive(Debug)]
pub struct Pump(TcpStream);

/// Connects.
pub fn connect(address: &str, port: u16) -> Result<Pump, ServiceError> {
    let failed = |message: String| ServiceError::Connect { address: address.into(), port, message };
    let deadline = Instant::now() + PATIENCE;
    let mut last = "the name has no address".to_owned();
    for candidate in addresses(address, port).map_err(failed)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&candidate, left) {
            Ok(stream) => {
                // ssh decides what goes out together.
                let _ = stream.set_nodelay(true);
                return Ok(Pump(stream));
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                last = format!("no answer within {} s", PATIENCE.as_secs());
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(failed(last))
}

/// A resolver that does not answer is not waited for: the thread that asks it goes with the process.
fn addresses(address: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = address.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let (sender, receiver) = mpsc::channel();
    let name = address.to_owned();
    std::thread::spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        let _ = sender.send(found.map_err(|error| error.to_string()));
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(found) => found,
        Err(_) => Err(format!("the name was not resolved within {} s", PATIENCE.as_secs())),
    }
}

impl Pump {
    /// Copies both ways until the host has said all.
    pub fn run(self) -> io::Result<()> {
        let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let mut outgoing = self.0.try_clone()?;
        let mut incoming = self.0;
        // Ends with the process, should the host be done before whoever writes here.
        std::thread::spawn(move || {
            // A host that does not read any more says so to the other half as well.
            let _ = copy(&mut input, &mut outgoing);
            let _ = outgoing.shutdown(Shutdown::Write);
        });
        match copy(&mut incoming, &mut output) {
            // Whoever reads here is gone; a connection that was reset is over.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                Ok(())
            }
            other => other,
        }
    }
}

/// Not [`io::copy`]: that is splice(2) here, which keeps whoever reads the pipe waiting while it waits for the socket.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_that_nobody_listens_on_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        connect("127.0.0.1", port).unwrap();
        connect("localhost", port).unwrap();
        drop(listener);
        let text = connect("127.0.0.1", port).unwrap_err().to_string();
        assert!(text.contains("127.0.0.1") && text.contains("refused"), "{text}");
        assert!(matches!(connect("no host", port), Err(ServiceError::Connect { .. })));
    }
}

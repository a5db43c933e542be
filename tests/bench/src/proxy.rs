//! A proxy on loopback that simulates a slow network: it delays bytes by half a round trip in each direction.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// The maximum number of pieces in flight in one direction of a connection. When it is reached, the sender waits.
const MAX_IN_FLIGHT: usize = 256;
const PIECE: usize = 64 << 10;

/// Some bytes and the time of their arrival. An empty piece marks the end of the stream.
type Piece = (Instant, Vec<u8>);

/// Runs until the program ends.
pub(crate) struct Proxy {
    pub(crate) url: String,
}

impl Proxy {
    /// Starts a proxy to `server`. The first bytes of a client also wait one `round_trip`, the time that opening the
    /// connection would take.
    pub(crate) fn start(server: SocketAddrV4, round_trip: Duration) -> Result<Self, String> {
        Self::listen(server, round_trip).map_err(|error| format!("no proxy on loopback: {error}"))
    }

    fn listen(server: SocketAddrV4, round_trip: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("http://{}/", listener.local_addr()?);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // If the connection breaks, the client reports the error.
                let _ = connect(client, server, round_trip);
            }
        });
        Ok(Self { url })
    }
}

fn connect(client: TcpStream, server: SocketAddrV4, round_trip: Duration) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let to_server = server.try_clone()?;
    let to_client = client.try_clone()?;
    // Connections on loopback open immediately. On a real network, opening a connection takes a round trip, so the
    // first bytes wait that long.
    let now = Instant::now();
    pass(client, to_server, round_trip / 2, now + round_trip);
    pass(server, to_client, round_trip / 2, now);
    Ok(())
}

/// Forwards bytes after a `delay`. The connection counts as open from the time `open`: bytes that arrive before this
/// time are treated as if they arrived at this time.
fn pass(from: TcpStream, to: TcpStream, delay: Duration, open: Instant) {
    let (sender, receiver) = sync_channel(MAX_IN_FLIGHT);
    thread::spawn(move || depart(from, &sender, delay, open));
    thread::spawn(move || arrive(to, &receiver));
}

fn depart(mut from: TcpStream, network: &SyncSender<Piece>, delay: Duration, open: Instant) {
    let mut buffer = vec![0; PIECE];
    loop {
        let length = from.read(&mut buffer).unwrap_or(0);
        let arrival = Instant::now().max(open) + delay;
        let piece = buffer.get(..length).unwrap_or_default().to_vec();
        if network.send((arrival, piece)).is_err() || length == 0 {
            return;
        }
    }
}

fn arrive(mut to: TcpStream, network: &Receiver<Piece>) {
    for (arrival, piece) in network {
        thread::sleep(arrival.saturating_duration_since(Instant::now()));
        if piece.is_empty() || to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::Proxy;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    fn echo() -> SocketAddrV4 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut { stream }));
            }
        });
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(proxy.url.trim_start_matches("http://").trim_end_matches('/')).unwrap()
    }

    fn exchange(stream: &mut TcpStream) -> Duration {
        let started = Instant::now();
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        started.elapsed()
    }

    #[test]
    fn an_exchange_takes_one_round_trip_and_the_first_takes_two() {
        let round_trip = Duration::from_millis(60);
        let proxy = Proxy::start(echo(), round_trip).unwrap();
        let mut stream = connect(&proxy);
        assert!(exchange(&mut stream) >= 2 * round_trip);
        assert!(exchange(&mut stream) >= round_trip);
    }

    #[test]
    fn connections_do_not_wait_for_each_other() {
        let round_trip = Duration::from_millis(200);
        let proxy = Proxy::start(echo(), round_trip).unwrap();
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| exchange(&mut connect(&proxy)));
            }
        });
        assert!(started.elapsed() < 16 * round_trip, "{:?}", started.elapsed());
    }
}

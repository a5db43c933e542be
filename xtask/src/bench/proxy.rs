//! A road that is long: passes bytes on after half a round trip in each direction, on loopback.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// So many pieces may be on the road in one direction of one connection; the sender waits when there are more.
const ON_THE_ROAD: usize = 256;
const PIECE: usize = 64 << 10;

/// Bytes, and when they arrive. No bytes: the end.
type Piece = (Instant, Vec<u8>);

/// Stands before a server until the program ends.
pub(crate) struct Proxy {
    pub(crate) url: String,
}

impl Proxy {
    /// A way to `server` on which there and back takes `round_trip`, and opening a connection one more.
    pub(crate) fn start(server: SocketAddrV4, round_trip: Duration) -> Result<Self, String> {
        Self::listen(server, round_trip).map_err(|error| format!("no proxy on loopback: {error}"))
    }

    fn listen(server: SocketAddrV4, round_trip: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("http://{}/", listener.local_addr()?);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A connection that breaks is the client's affair.
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
    let (to_server, to_client) = (server.try_clone()?, client.try_clone()?);
    // The client believes at once that it is connected; in truth it would know after a round trip.
    let now = Instant::now();
    pass(client, to_server, round_trip / 2, now + round_trip);
    pass(server, to_client, round_trip / 2, now);
    Ok(())
}

/// Passes on what `from` says, `delay` later, as if nothing could have been sent before `open`.
fn pass(from: TcpStream, to: TcpStream, delay: Duration, open: Instant) {
    let (sender, receiver) = sync_channel(ON_THE_ROAD);
    thread::spawn(move || depart(from, &sender, delay, open));
    thread::spawn(move || arrive(to, &receiver));
}

fn depart(mut from: TcpStream, road: &SyncSender<Piece>, delay: Duration, open: Instant) {
    let mut buffer = vec![0; PIECE];
    loop {
        let length = from.read(&mut buffer).unwrap_or(0);
        let arrival = Instant::now().max(open) + delay;
        let piece = buffer.get(..length).unwrap_or_default().to_vec();
        if road.send((arrival, piece)).is_err() || length == 0 {
            return;
        }
    }
}

fn arrive(mut to: TcpStream, road: &Receiver<Piece>) {
    for (arrival, piece) in road {
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

    /// Says back whatever it hears.
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

    fn there_and_back(stream: &mut TcpStream) -> Duration {
        let started = Instant::now();
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        started.elapsed()
    }

    #[test]
    fn there_and_back_takes_a_round_trip_and_the_first_time_two() {
        let round_trip = Duration::from_millis(60);
        let proxy = Proxy::start(echo(), round_trip).unwrap();
        let mut stream = connect(&proxy);
        assert!(there_and_back(&mut stream) >= 2 * round_trip);
        assert!(there_and_back(&mut stream) >= round_trip);
    }

    #[test]
    fn connections_do_not_wait_for_each_other() {
        let round_trip = Duration::from_millis(200);
        let proxy = Proxy::start(echo(), round_trip).unwrap();
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| there_and_back(&mut connect(&proxy)));
            }
        });
        assert!(started.elapsed() < 16 * round_trip, "{:?}", started.elapsed());
    }
}

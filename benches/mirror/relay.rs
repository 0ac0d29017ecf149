//! The least that moving bytes from one socket to another costs: nobody who copies over TCP can do with less.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::table::{Line, print};
use crate::usage;

/// Bytes that are received and sent at once.
const CHUNK: usize = 1 << 20;

/// Runs, prints, and says what the least is.
pub fn run(gb: f64) -> Vec<Line> {
    let (writer, from) = pair();
    let (to, reader) = pair();
    let chunks = (gb * 1e9 / CHUNK as f64).ceil() as usize;
    let feeding = thread::spawn(move || feed(writer, chunks));
    let emptying = thread::spawn(move || drain(reader));
    let relaying = thread::spawn(move || relay(from, to));
    let (took, cpu) = relaying.join().expect("the relay ends");
    feeding.join().expect("the writer ends");
    let moved = emptying.join().expect("the reader ends") as f64 / 1e9;
    print(
        &["a relay, 1 MiB at a time", "GB/s", "cpu-s per GB on the wire"],
        &[vec![
            format!("{moved:.1} GB"),
            format!("{:.2}", moved / took.as_secs_f64()),
            format!("{:.2}", cpu.as_secs_f64() / moved),
        ]],
    );
    vec![[
        "the limit: a relay that only moves bytes".to_owned(),
        String::new(),
        String::new(),
        format!(
            "{:.2} GB/s, {:.2} cpu-s per GB on the wire",
            moved / took.as_secs_f64(),
            cpu.as_secs_f64() / moved
        ),
    ]]
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("it has an address");
    let one = TcpStream::connect(address).expect("connect");
    let (other, _) = listener.accept().expect("accept");
    (one, other)
}

fn feed(mut to: TcpStream, chunks: usize) {
    let chunk = vec![7; CHUNK];
    for _ in 0..chunks {
        to.write_all(&chunk).expect("write");
    }
}

fn drain(mut from: TcpStream) -> u64 {
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match from.read(&mut chunk).expect("read") {
            0 => return total,
            read => total += read as u64,
        }
    }
}

/// How long it took, and what processor time of this thread.
fn relay(mut from: TcpStream, mut to: TcpStream) -> (Duration, Duration) {
    let mut chunk = vec![0; CHUNK];
    let (started, before) = (Instant::now(), usage::of_this_thread());
    loop {
        let mut filled = 0;
        while filled < CHUNK {
            match from.read(&mut chunk[filled..]).expect("read") {
                0 => break,
                read => filled += read,
            }
        }
        if filled == 0 {
            return (started.elapsed(), usage::of_this_thread() - before);
        }
        to.write_all(&chunk[..filled]).expect("write");
    }
}

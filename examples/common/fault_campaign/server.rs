//! A server on this machine that says what it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Answers every request with the same bytes.
pub struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    pub fn new() -> std::io::Result<Self> {
        let answer = Arc::new(Mutex::new(Vec::new()));
        let told = answer.clone();
        let address = serve(move |_, stream| {
            let bytes = told.lock().expect("no panic while it is set").clone();
            // A client that has seen enough closes the connection.
            let _ = stream.write_all(&bytes);
        })?;
        Ok(Self { address, answer })
    }

    pub fn answer_with(&self, bytes: Vec<u8>) {
        *self.answer.lock().expect("no panic while it is set") = bytes;
    }

    pub fn url(&self, file: &str) -> String {
        format!("http://{}/{file}", self.address)
    }
}

/// A server of two files, the second an archive, whole or from the byte that is asked for, in pieces with
/// pauses between them.
pub fn slow_server(files: [Vec<u8>; 2], piece: usize, pause: Duration) -> std::io::Result<SocketAddr> {
    serve(move |head, stream| {
        let file = &files[usize::from(head.starts_with("get /set.tar.gz"))];
        let from =
            head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
        let (from, all) = (from.unwrap_or(0usize).min(file.len()), file.len());
        let status = match from {
            0 => "200 OK".to_string(),
            _ => format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{all}", all - 1),
        };
        let length = all - from;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"v1\"\r\nConnection: close\r\n\r\n"
        );
        let mut sent = stream.write_all(head.as_bytes());
        for piece in file[from..].chunks(piece) {
            // A client that was killed takes no more.
            if sent.is_err() {
                return;
            }
            sent = stream.write_all(piece);
            std::thread::sleep(pause);
        }
    })
}

/// Calls `answer` with the head of every request, in lower case, until the program ends.
fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                answer(&String::from_utf8_lossy(&head).to_ascii_lowercase(), &mut stream);
            });
        }
    });
    Ok(address)
}

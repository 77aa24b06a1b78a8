//! Downloads from a server on this machine, and archives that try to leave their folder.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use histoguard::data::{self, DataError};
use histoguard::download::{DownloadError, Downloader, Remote, UnpackLimits, unpack};
use histoguard::weights::{self, Pretrained};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

/// A server that answers every request as it is told to and keeps what it was asked.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` gets the number of the request from 0, its head and the connection, which is closed afterwards.
    fn new(mut answer: impl FnMut(usize, &str, &mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                kept.lock().unwrap().push(head.clone());
                answer(number, &head, &mut stream);
            }
        });
        Self { url, requests }
    }

    /// A well-behaved server of one file.
    fn of(file: Vec<u8>) -> Self {
        Self::new(move |_, head, stream| whole_or_range(head, stream, &file))
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn remote(&self) -> Remote {
        Remote::new(format!("{}/models/net.bin", self.url), 1..=1 << 20)
    }
}

/// Writes as much as the client takes: one that gave up has closed the connection.
fn send(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn whole(stream: &mut TcpStream, version: &str, file: &[u8], sent: usize) {
    let head = format!("200 OK\r\nContent-Length: {}\r\nETag: {version}", file.len());
    send(stream, &head, &file[..sent]);
}

fn whole_or_range(head: &str, stream: &mut TcpStream, file: &[u8]) {
    match header(head, "range").map(|range| range["bytes=".len()..range.len() - 1].parse::<usize>().unwrap())
    {
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", file.len() - 1, file.len());
            let length = file.len() - start;
            let head = format!("206 Partial Content\r\nContent-Range: {range}\r\nContent-Length: {length}");
            send(stream, &head, &file[start..]);
        }
        None => whole(stream, "\"v1\"", file, file.len()),
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn content() -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn downloader(cache: &Path) -> Downloader {
    Downloader::new()
        .with_cache(cache)
        .with_offline(false)
        .with_backoff(Duration::from_millis(1))
        .with_timeout(Duration::from_secs(30))
}

/// The names in a folder, without locks.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_downloaded_once() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::of(content());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let downloader = downloader(&cache.path().join("new/folder")).with_progress(move |progress| {
        assert_eq!((progress.file, progress.total), ("net.bin", Some(300_000)));
        kept.lock().unwrap().push(progress.bytes);
    });
    let remote = server.remote().with_sha256(sha256(&content()));
    for _ in 0..2 {
        let path = downloader.fetch(&remote).unwrap();
        assert_eq!(path, cache.path().join("new/folder/net.bin"));
        assert_eq!(fs::read(path).unwrap(), content());
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("get /models/net.bin http/1.1\r\n"), "{}", requests[0]);
    assert_eq!(names(&cache.path().join("new/folder")), ["net.bin"]);
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted() && seen.last() == Some(&300_000));
}

#[test]
fn a_broken_connection_is_continued() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::new(|number, head, stream| match number {
        0 => whole(stream, "\"v1\"", &content(), 100_000),
        _ => whole_or_range(head, stream, &content()),
    });
    let path = downloader(cache.path()).fetch(&server.remote()).unwrap();
    assert_eq!(fs::read(path).unwrap(), content());
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(header(&requests[0], "range"), None);
    assert_eq!(header(&requests[1], "range"), Some("bytes=100000-"));
    assert_eq!(header(&requests[1], "if-range"), Some("\"v1\""));
    assert_eq!(names(cache.path()), ["net.bin"]);
}

#[test]
fn another_program_continues_what_one_left() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::new(|number, head, stream| match number {
        0 => whole(stream, "\"v1\"", &content(), 100_000),
        _ => whole_or_range(head, stream, &content()),
    });
    let error = downloader(cache.path()).with_retries(0).fetch(&server.remote()).unwrap_err();
    assert!(matches!(error, DownloadError::Network { attempts: 1, .. }), "{error}");
    assert_eq!(names(cache.path()), [".partial-net.bin", ".partial-net.bin.version"]);
    let path = downloader(cache.path()).with_retries(0).fetch(&server.remote()).unwrap();
    assert_eq!(fs::read(path).unwrap(), content());
    assert_eq!(header(&server.requests()[1], "range"), Some("bytes=100000-"));
}

#[test]
fn a_server_that_ignores_ranges_or_has_a_new_file_sends_it_whole() {
    let cache = tempfile::tempdir().unwrap();
    let new: Vec<u8> = content().into_iter().rev().collect();
    let sent = new.clone();
    let server = Server::new(move |number, _, stream| match number {
        0 => whole(stream, "\"v1\"", &content(), 100_000),
        _ => whole(stream, "\"v2\"", &sent, sent.len()),
    });
    let path = downloader(cache.path()).fetch(&server.remote()).unwrap();
    assert_eq!(fs::read(path).unwrap(), new);
    assert_eq!(header(&server.requests()[1], "if-range"), Some("\"v1\""));
}

#[test]
fn without_a_version_only_a_known_hash_lets_a_download_go_on() {
    for hashed in [false, true] {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::new(|number, head, stream| match number {
            0 => send(stream, "200 OK\r\nContent-Length: 300000", &content()[..100_000]),
            _ => whole_or_range(head, stream, &content()),
        });
        let remote = server.remote();
        let remote = if hashed { remote.with_sha256(sha256(&content())) } else { remote };
        let path = downloader(cache.path()).fetch(&remote).unwrap();
        assert_eq!(fs::read(path).unwrap(), content());
        let expected = hashed.then_some("bytes=100000-");
        assert_eq!(header(&server.requests()[1], "range"), expected);
    }
}

#[test]
fn a_part_of_another_file_is_found_out_and_thrown_away() {
    let cache = tempfile::tempdir().unwrap();
    fs::write(cache.path().join(".partial-net.bin"), [7; 1000]).unwrap();
    let server = Server::of(content());
    let path = downloader(cache.path()).fetch(&server.remote().with_sha256(sha256(&content()))).unwrap();
    assert_eq!(fs::read(path).unwrap(), content());
    let requests = server.requests();
    let ranges: Vec<_> = requests.iter().map(|head| header(head, "range")).collect();
    assert_eq!(ranges, [Some("bytes=1000-"), None]);
}

#[test]
fn a_part_that_is_whole_needs_no_more_bytes() {
    let cache = tempfile::tempdir().unwrap();
    fs::write(cache.path().join(".partial-net.bin"), content()).unwrap();
    let server = Server::new(|_, _, stream| {
        send(stream, "416 Range Not Satisfiable\r\nContent-Range: bytes */300000\r\nContent-Length: 0", b"");
    });
    let path = downloader(cache.path()).fetch(&server.remote().with_sha256(sha256(&content()))).unwrap();
    assert_eq!(fs::read(path).unwrap(), content());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_part_longer_than_the_file_is_thrown_away() {
    let cache = tempfile::tempdir().unwrap();
    fs::write(cache.path().join(".partial-net.bin"), [7; 400_000]).unwrap();
    let server = Server::new(|_, head, stream| match header(head, "range") {
        Some(_) => send(stream, "416 Range Not Satisfiable\r\nContent-Range: bytes */300000", b""),
        None => whole(stream, "\"v1\"", &content(), 300_000),
    });
    let path = downloader(cache.path()).fetch(&server.remote().with_sha256(sha256(&content()))).unwrap();
    assert_eq!(fs::read(path).unwrap(), content());
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_wrong_length_is_an_error_before_the_body_and_in_one_without_a_length() {
    let declared = Server::of(content());
    let chunked = Server::new(|_, _, stream| {
        let mut body = format!("{:x}\r\n", content().len()).into_bytes();
        body.extend(content());
        body.extend(b"\r\n0\r\n\r\n");
        send(stream, "200 OK\r\nTransfer-Encoding: chunked", &body);
    });
    for (server, bytes) in [(&declared, 1..=299_999), (&declared, 300_001..=400_000), (&chunked, 1..=299_999)]
    {
        let cache = tempfile::tempdir().unwrap();
        let remote = Remote::new(server.remote().url(), bytes.clone());
        match downloader(cache.path()).fetch(&remote).unwrap_err() {
            DownloadError::Length { expected, found, .. } => {
                assert!(expected == bytes && !bytes.contains(&found))
            }
            error => panic!("{error}"),
        }
        assert!(names(cache.path()).is_empty());
    }
    assert_eq!(declared.requests().len() + chunked.requests().len(), 3);
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(fs::read(downloader(cache.path()).fetch(&chunked.remote()).unwrap()).unwrap(), content());
}

#[test]
fn a_wrong_hash_is_an_error_that_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::of(content());
    let error = downloader(cache.path()).fetch(&server.remote().with_sha256("a639ec97")).unwrap_err();
    match &error {
        DownloadError::Hash { expected, found, .. } => {
            assert_eq!((expected.as_str(), found), ("a639ec97", &sha256(&content())));
        }
        _ => panic!("{error}"),
    }
    assert!(names(cache.path()).is_empty());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_damaged_file_in_the_cache_is_downloaded_again() {
    let cache = tempfile::tempdir().unwrap();
    let mut damaged = content();
    damaged[5] ^= 1;
    fs::write(cache.path().join("net.bin"), damaged).unwrap();
    let server = Server::of(content());
    let path = downloader(cache.path()).fetch(&server.remote().with_sha256(sha256(&content()))).unwrap();
    assert_eq!(fs::read(path).unwrap(), content());
}

#[test]
fn a_silent_server_is_left_and_asked_again() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::new(|number, head, stream| match number {
        0 => {
            whole(stream, "\"v1\"", &content(), 100_000);
            // The connection stays open for longer than the client waits.
            let open = stream.try_clone().unwrap();
            thread::spawn(move || {
                thread::sleep(Duration::from_secs(20));
                drop(open);
            });
        }
        _ => whole_or_range(head, stream, &content()),
    });
    let downloader = downloader(cache.path()).with_timeout(Duration::from_millis(300));
    let path = downloader.fetch(&server.remote()).unwrap();
    assert_eq!(fs::read(path).unwrap(), content());
    assert_eq!(header(&server.requests()[1], "range"), Some("bytes=100000-"));
}

#[test]
fn a_missing_file_is_not_asked_for_twice() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::new(|_, _, stream| send(stream, "404 Not Found\r\nContent-Length: 0", b""));
    let error = downloader(cache.path()).fetch(&server.remote()).unwrap_err();
    assert!(matches!(error, DownloadError::Status { status: 404, .. }), "{error}");
    assert!(error.to_string().starts_with(server.remote().url()), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_busy_server_is_asked_again_but_not_for_ever() {
    let busy = |stream: &mut TcpStream| {
        send(stream, "503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0", b"");
    };
    let cache = tempfile::tempdir().unwrap();
    let server = Server::new(move |number, head, stream| match number {
        0 | 1 => busy(stream),
        _ => whole_or_range(head, stream, &content()),
    });
    let error = downloader(cache.path()).with_retries(1).fetch(&server.remote()).unwrap_err();
    assert!(matches!(error, DownloadError::Network { attempts: 2, .. }), "{error}");
    assert!(error.to_string().contains("status 503"), "{error}");
    downloader(cache.path()).with_retries(0).fetch(&server.remote()).unwrap();
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_server_that_always_breaks_off_at_one_place_is_given_up() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::new(|_, _, stream| whole(stream, "\"v1\"", &content(), 100_000));
    let error = downloader(cache.path()).with_retries(2).fetch(&server.remote()).unwrap_err();
    assert!(matches!(error, DownloadError::Network { attempts: 3, .. }), "{error}");
    // The first attempt brought bytes, so that two retries are left; each starts at the beginning again.
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn nobody_listening_is_a_network_error() {
    let cache = tempfile::tempdir().unwrap();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let remote = Remote::new(format!("http://{unused}/net.bin"), 1..=10);
    let error = downloader(cache.path()).with_retries(1).fetch(&remote).unwrap_err();
    assert!(matches!(error, DownloadError::Network { attempts: 2, .. }), "{error}");
}

#[test]
fn redirects_are_followed() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::new(|_, head, stream| match head.starts_with("get /models/") {
        true => send(stream, "302 Found\r\nLocation: /elsewhere?token=1\r\nContent-Length: 0", b""),
        false => whole_or_range(head, stream, &content()),
    });
    let path = downloader(cache.path()).fetch(&server.remote()).unwrap();
    assert_eq!((path.file_name().unwrap().to_str(), fs::read(&path).unwrap()), (Some("net.bin"), content()));
}

#[test]
fn two_at_once_make_one_download() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::new(|_, head, stream| {
        thread::sleep(Duration::from_millis(100));
        whole_or_range(head, stream, &content());
    });
    thread::scope(|scope| {
        let fetch = || downloader(cache.path()).fetch(&server.remote()).unwrap();
        let paths = [scope.spawn(fetch), scope.spawn(fetch)].map(|thread| thread.join().unwrap());
        assert!(paths.iter().all(|path| fs::read(path).unwrap() == content()));
    });
    assert_eq!(server.requests().len(), 1);
    assert_eq!(names(cache.path()), ["net.bin"]);
}

#[test]
fn offline_the_cache_is_all_there_is() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::of(content());
    let offline = downloader(cache.path()).with_offline(true);
    let remote = server.remote().with_sha256(sha256(&content()));
    let error = offline.fetch(&remote).unwrap_err();
    assert!(matches!(&error, DownloadError::Offline { path, .. } if path.ends_with("net.bin")), "{error}");
    fs::write(cache.path().join("net.bin"), &content()[1..]).unwrap();
    assert!(matches!(offline.fetch(&remote), Err(DownloadError::Hash { .. })));
    fs::write(cache.path().join("net.bin"), content()).unwrap();
    assert_eq!(offline.fetch(&remote).unwrap(), cache.path().join("net.bin"));
    assert!(server.requests().is_empty());
}

#[test]
fn addresses_that_cannot_be_downloaded_from_are_refused() {
    let cache = tempfile::tempdir().unwrap();
    for url in
        ["ftp://host/net.bin", "file:///etc/passwd", "http://host/", "http://host/..", "http:///net.bin"]
    {
        let error = downloader(cache.path()).fetch(&Remote::new(url, 1..=10)).unwrap_err();
        assert!(matches!(error, DownloadError::Url { .. }), "{url}: {error}");
    }
}

#[test]
fn published_files_come_from_a_mirror_under_their_names() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::of(content());
    let mirrored = downloader(cache.path()).with_mirror(format!("{}/mirror/", server.url));
    // The mirror's file is not the published one, which its length says before anything is read.
    for pretrained in [Pretrained::TorchvisionDenseNet121, Pretrained::TorchXrayVisionAll] {
        let error = weights::fetch(pretrained, &mirrored).unwrap_err();
        assert!(matches!(error, DownloadError::Length { found: 300_000, .. }), "{error}");
    }
    let error = data::download(&mirrored).unwrap_err();
    assert!(matches!(error, DataError::Download(DownloadError::Length { found: 300_000, .. })), "{error}");
    let requests = server.requests();
    for (request, name) in requests.iter().zip([
        "densenet121-a639ec97.pth",
        "nih-pc-chex-mimic_ch-google-openi-kaggle-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        "breakhis_v1.tar.gz",
    ]) {
        assert!(request.starts_with(&format!("get /mirror/{name} ")), "{request}");
    }
    assert_eq!(requests.len(), 3);
}

/// Adds an entry as it is, whatever its path.
fn put(archive: &mut tar::Builder<impl Write>, path: &str, kind: EntryType, body: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(body.len() as u64);
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    archive.append(&header, body).unwrap();
}

fn archive(path: &Path, fill: impl FnOnce(&mut tar::Builder<GzEncoder<fs::File>>)) -> PathBuf {
    let mut archive = tar::Builder::new(GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast()));
    fill(&mut archive);
    archive.into_inner().unwrap().finish().unwrap();
    path.to_path_buf()
}

const LIMITS: UnpackLimits = UnpackLimits { entries: 4, bytes: 1000 };

#[test]
fn archives_are_unpacked_below_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("./{}/name.txt", ["a-folder-with-a-long-name"; 8].join("/"));
    let file = archive(&folder.path().join("a.tar.gz"), |archive| {
        put(archive, "root/", EntryType::Directory, b"");
        put(archive, "root/empty.txt", EntryType::Regular, b"");
        let mut header = Header::new_gnu();
        header.set_size(5);
        archive.append_data(&mut header, &long, b"hello".as_slice()).unwrap();
        put(archive, "root/full.txt", EntryType::Regular, &[b'x'; 995]);
    });
    let target = folder.path().join("target");
    unpack(&file, &target, LIMITS).unwrap();
    assert_eq!(fs::read(target.join(long)).unwrap(), b"hello");
    assert_eq!(fs::read(target.join("root/full.txt")).unwrap(), [b'x'; 995]);
    assert_eq!(fs::read(target.join("root/empty.txt")).unwrap(), b"");
    // A folder that is there is left as it is.
    fs::write(&file, "no archive").unwrap();
    unpack(&file, &target, LIMITS).unwrap();
    assert_eq!(names(folder.path()), ["a.tar.gz", "target"]);
}

#[test]
fn archives_that_leave_their_folder_or_are_too_large_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |what: &str, fill: &dyn Fn(&mut tar::Builder<GzEncoder<fs::File>>)| {
        let file = archive(&folder.path().join("a.tar.gz"), |archive| {
            put(archive, "first.txt", EntryType::Regular, b"first");
            fill(archive);
        });
        let error = unpack(&file, folder.path().join("target"), LIMITS).unwrap_err();
        assert!(matches!(error, DownloadError::Archive { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(names(folder.path()), ["a.tar.gz"]);
    };
    for path in ["../outside.txt", "inside/../../outside.txt", "/tmp/outside.txt", "a/.."] {
        refused("a path below the target", &|archive| put(archive, path, EntryType::Regular, b"x"));
    }
    for (kind, shown) in [
        (EntryType::Symlink, "Symlink"),
        (EntryType::Link, "Link"),
        (EntryType::Char, "Char"),
        (EntryType::Fifo, "Fifo"),
    ] {
        refused(shown, &|archive| put(archive, "link", kind, b""));
    }
    refused("more than 4", &|archive| {
        for name in ["2", "3", "4", "5"] {
            put(archive, name, EntryType::Regular, b"");
        }
    });
    refused("more than 1000", &|archive| put(archive, "large", EntryType::Regular, &[0; 996]));
    refused("more than 64 KiB", &|archive| {
        put(archive, "././@LongLink", EntryType::GNULongName, &[b'a'; 1 << 20]);
        put(archive, "short", EntryType::Regular, b"x");
    });
}

#[test]
fn damaged_archives_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = archive(&folder.path().join("a.tar.gz"), |archive| {
        put(archive, "first.txt", EntryType::Regular, &content()[..900]);
    });
    let bytes = fs::read(&file).unwrap();
    for damaged in [&bytes[..0], &bytes[..5], &bytes[..bytes.len() / 2], b"no archive at all"] {
        fs::write(&file, damaged).unwrap();
        let error = unpack(&file, folder.path().join("target"), LIMITS).unwrap_err();
        assert!(matches!(error, DownloadError::Archive { .. }), "{error}");
        assert_eq!(names(folder.path()), ["a.tar.gz"]);
    }
    fs::remove_file(&file).unwrap();
    let error = unpack(&file, folder.path().join("target"), LIMITS).unwrap_err();
    assert!(matches!(&error, DownloadError::Io(error) if error.path == file), "{error}");
}

/// Images of each subtype at 40X, 100X, 200X and 400X: Spanhol et al. 2016, Table 1, by subtype as in the
/// data set's own README.
const COUNTS: [(&str, [usize; 4]); 8] = [
    ("B_A", [114, 113, 111, 106]),
    ("B_F", [253, 260, 264, 237]),
    ("B_TA", [149, 150, 140, 130]),
    ("B_PT", [109, 121, 108, 115]),
    ("M_DC", [864, 903, 896, 788]),
    ("M_LC", [156, 170, 163, 137]),
    ("M_MC", [205, 222, 196, 169]),
    ("M_PC", [145, 142, 135, 138]),
];

#[test]
fn breakhis_is_unpacked_if_all_its_images_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let breakhis = |name: &str, left_out: usize| {
        archive(&folder.path().join(name), |archive| {
            let counts = COUNTS.iter().flat_map(|(subtype, counts)| {
                let counts = counts.iter().zip([40, 100, 200, 400]);
                counts.flat_map(move |(&count, times)| (1..=count).map(move |i| (subtype, times, i)))
            });
            for (subtype, times, i) in counts.skip(left_out) {
                // The slide that stands under two subtypes, as in the published data.
                let slide = match (*subtype, i) {
                    ("M_DC" | "M_LC", 1..=10) => "13412".to_string(),
                    _ => subtype.replace('_', ""),
                };
                let name = format!("BreaKHis_v1/SOB_{subtype}-14-{slide}-{times}-{i:03}.png");
                put(archive, &name, EntryType::Regular, b"x");
            }
        })
    };
    let target = folder.path().join("BreaKHis_v1");
    let error = data::unpack(breakhis("part.tar.gz", 1), &target).unwrap_err();
    assert!(matches!(error, DataError::Incomplete { .. }), "{error}");
    assert!(error.to_string().contains("found 7908, and 1547 of"), "{error}");
    assert!(!target.exists());

    let found = data::unpack(breakhis("BreaKHis_v1.tar.gz", 0), &target).unwrap();
    assert_eq!(found.paper_subset().len(), 1547);
    // The data set in the cache is found without a server.
    let offline = downloader(folder.path()).with_offline(true);
    assert_eq!(data::download(&offline).unwrap().len(), found.len());
}

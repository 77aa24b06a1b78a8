//! What a file is that is no checkpoint, by its first bytes.

/// How many bytes of a file's beginning tell what it is.
pub(super) const HEAD: u64 = 512;

/// What files begin with, and what they are.
const BEGINNINGS: [(&[u8], &str); 14] = [
    (
        b"version https://git-lfs.github.com/spec/",
        "a git-LFS pointer in place of the file; run `git lfs pull` in its repository",
    ),
    (b"\x1f\x8b", "a gzip archive; unpack it first (gunzip, tar -xzf)"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ\0", "an xz archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes (.h5); convert it to safetensors"),
    (b"\x93NUMPY", "an array of NumPy's (.npy)"),
    (b"GGUF", "a GGUF file"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"\x7fELF", "a program"),
];

/// What a file is that begins so, if that is known and no checkpoint.
pub(super) fn foreign(start: &[u8]) -> Option<&'static str> {
    if start.is_empty() {
        return Some("an empty file");
    }
    if let Some((_, kind)) = BEGINNINGS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some(kind);
    }
    if start.get(257..262) == Some(b"ustar") {
        return Some(
            "a tar archive; unpack it first (if torch before 0.2 wrote it: torch.load and torch.save it again)",
        );
    }
    if start.get(4..8) == Some(b"TFL3") {
        return Some("a TensorFlow Lite model");
    }
    // ModelProto: the version of the format (field 1), then the producer (field 2).
    if matches!(start, [8, 1..=20, 0x12, ..]) {
        return Some("an ONNX model; load the checkpoint that it was exported from");
    }
    let text =
        String::from_utf8_lossy(start).trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']).to_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") || text.starts_with("<head") {
        return Some(
            "an HTML page in place of the file; open its address in a browser, and download it again",
        );
    }
    if text.starts_with("<?xml") {
        return Some("an XML document, perhaps the error of a file server; download it again");
    }
    None
}

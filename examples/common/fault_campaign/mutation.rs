//! One input from another: damage as disks, networks and hands do it, and damage that knows the form, so that
//! it is not found out by the first checksum.

use std::io::{Cursor, Read, Write};

use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use histoguard::random::{Generator, RngExt};
use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// What stands where a number or a length stood.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "2",
    "255",
    "65536",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "-1e308",
    "1e999",
    "0.5",
    "1e-320",
    "null",
];
/// As the bytes of lengths, offsets and counts.
const EXTREMES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
];
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Of a file inside an archive that is not unpacked any further.
const LARGEST: u64 = 1 << 20;

/// A changed copy; `other` is a file of the same kind to splice with.
pub fn mutated(seed: &[u8], other: &[u8], rng: &mut Generator) -> Vec<u8> {
    let knowing = match rng.random_range(0..10) {
        0..4 => None,
        _ => by_form(seed, other, rng),
    };
    knowing.unwrap_or_else(|| {
        let mut bytes = seed.to_vec();
        for _ in 0..rng.random_range(1..5) {
            damage(&mut bytes, other, rng);
        }
        bytes
    })
}

/// Damage below the checksums and lengths of the form that the bytes have, if it is one that is known.
fn by_form(seed: &[u8], other: &[u8], rng: &mut Generator) -> Option<Vec<u8>> {
    if seed.starts_with(PNG) {
        return png(seed, rng);
    }
    if seed.starts_with(b"\x1f\x8b") {
        return gzip(seed, other, rng);
    }
    if seed.starts_with(b"PK\x03\x04") {
        return archive(seed, other, rng);
    }
    if seed.first() == Some(&b'{') {
        return json(seed, rng);
    }
    if seed.get(8) == Some(&b'{') {
        return headed(seed, rng);
    }
    seed.is_ascii().then(|| text(seed, other, rng))
}

/// One change that knows nothing of the form.
fn damage(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Generator) {
    if bytes.is_empty() {
        bytes.push(rng.random());
    }
    let length = bytes.len();
    let at = rng.random_range(0..length);
    let end = (at + 1 + rng.random_range(0..64)).min(length);
    match rng.random_range(0..12) {
        0 | 1 => bytes[at] ^= 1u8 << rng.random_range(0..8),
        2 => bytes[at] = EXTREMES[rng.random_range(0..5)] as u8,
        3 | 4 => overwrite(bytes, at, rng),
        5 => bytes.truncate(at),
        6 => drop(bytes.drain(at..end)),
        7 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        8 => {
            let more = vec![rng.random::<u8>(); rng.random_range(1..300)];
            bytes.splice(at..at, more);
        }
        9 => {
            let from = rng.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        10 => bytes[at..end].reverse(),
        _ => digits(bytes, at, rng),
    }
}

/// A length of one to eight bytes becomes an extreme one.
fn overwrite(bytes: &mut [u8], at: usize, rng: &mut Generator) {
    let value = EXTREMES[rng.random_range(0..EXTREMES.len())];
    let width = 1 << rng.random_range(0..4);
    let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
    let source = if rng.random() { &little[..width] } else { &big[8 - width..] };
    for (place, byte) in bytes[at..].iter_mut().zip(source) {
        *place = *byte;
    }
}

/// The number in digits at or after a place becomes another.
fn digits(bytes: &mut Vec<u8>, at: usize, rng: &mut Generator) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit) else { return };
    let start = at + start;
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
    bytes.splice(start..start + length, number.bytes());
}

/// Lines left out, doubled, swapped and changed.
fn text(seed: &[u8], other: &[u8], rng: &mut Generator) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = seed.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (from, to) = (rng.random_range(0..lines.len()), rng.random_range(0..lines.len()));
    match rng.random_range(0..4) {
        0 => drop(lines.remove(from)),
        1 => lines.insert(to, lines[from].clone()),
        2 => lines.swap(from, to),
        _ => damage(&mut lines[from], other, rng),
    }
    lines.join(&b'\n')
}

/// A chunk left out, doubled or changed, or the pixels before compression; every chunk with its right
/// checksum.
fn png(seed: &[u8], rng: &mut Generator) -> Option<Vec<u8>> {
    let mut chunks = chunks(seed)?;
    let at = rng.random_range(0..chunks.len());
    match rng.random_range(0..6) {
        0 => drop(chunks.remove(at)),
        1 => chunks.insert(rng.random_range(0..chunks.len()), chunks[at].clone()),
        2 => chunks[at].0[rng.random_range(0..4)] ^= 0x20,
        3 => {
            let data = &mut chunks.iter_mut().find(|(name, _)| name == b"IDAT")?.1;
            let mut pixels = inflated(ZlibDecoder::new(data.as_slice()))?;
            damage(&mut pixels, &[], rng);
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&pixels).ok()?;
            *data = encoder.finish().ok()?;
        }
        // The first chunk holds the sizes and the form of the pixels.
        4 => damage(&mut chunks[0].1, &[], rng),
        _ => damage(&mut chunks[at].1, &[], rng),
    }
    let mut bytes = PNG.to_vec();
    for (name, data) in chunks {
        let named = [name.as_slice(), &data].concat();
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(&named);
        let mut sum = flate2::Crc::new();
        sum.update(&named);
        bytes.extend(sum.sum().to_be_bytes());
    }
    Some(bytes)
}

/// Names and contents of a PNG's chunks.
fn chunks(png: &[u8]) -> Option<Vec<([u8; 4], Vec<u8>)>> {
    let (mut rest, mut chunks) = (&png[PNG.len()..], Vec::new());
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        chunks.push((rest.get(4..8)?.try_into().ok()?, rest.get(8..8 + length)?.to_vec()));
        rest = rest.get(12 + length..)?;
    }
    Some(chunks).filter(|chunks| !chunks.is_empty())
}

/// The archive inside changed, and compressed again; half of the time with the right checksum in its headers.
fn gzip(seed: &[u8], other: &[u8], rng: &mut Generator) -> Option<Vec<u8>> {
    let mut inside = inflated(GzDecoder::new(seed))?;
    let other = inflated(GzDecoder::new(other)).unwrap_or_default();
    for _ in 0..rng.random_range(1..4) {
        // Headers are where lengths and names are; the first is at the start.
        let header = 512 * rng.random_range(0..(inside.len() / 512).max(1));
        match rng.random_range(0..3) {
            0 => damage(&mut inside, &other, rng),
            _ if header + 157 < inside.len() => {
                let field = [0, 100, 124, 136, 148, 156][rng.random_range(0..6)];
                overwrite(&mut inside[header + field..], 0, rng);
            }
            _ => {}
        }
    }
    if rng.random() {
        inside.chunks_mut(512).for_each(tar_checksum);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&inside).ok()?;
    encoder.finish().ok()
}

/// The sum of a tar header's bytes in its place, if it is a header.
fn tar_checksum(block: &mut [u8]) {
    if block.len() == 512 && &block[257..262] == b"ustar" {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// One of a zip archive's files changed, left out or doubled under another name, the others as they are.
fn archive(seed: &[u8], other: &[u8], rng: &mut Generator) -> Option<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(seed)).ok()?;
    let mut files = Vec::new();
    for at in 0..archive.len() {
        let file = archive.by_index(at).ok()?;
        let name = file.name().ok()?.into_owned();
        files.push((name, inflated(file)?));
    }
    // The pickle says what everything else is.
    let pickle = files.iter().position(|(name, _)| name.ends_with("data.pkl"));
    let at = pickle.filter(|_| rng.random_range(0..4) > 0).unwrap_or(rng.random_range(0..files.len()));
    match rng.random_range(0..8) {
        0 => drop(files.remove(at)),
        1 => files[at].0.push('x'),
        _ => damage(&mut files[at].1, other, rng),
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in files {
        writer.start_file(name, options).ok()?;
        writer.write_all(&bytes).ok()?;
    }
    Some(writer.finish().ok()?.into_inner())
}

/// The JSON behind a length changed, with its new length.
fn headed(seed: &[u8], rng: &mut Generator) -> Option<Vec<u8>> {
    let length = usize::try_from(u64::from_le_bytes(seed[..8].try_into().ok()?)).ok()?;
    let header = json(seed.get(8..8 + length)?, rng)?;
    Some([&(header.len() as u64).to_le_bytes(), header.as_slice(), &seed[8 + length..]].concat())
}

/// A value somewhere inside replaced, left out or doubled; what stands behind the JSON stays.
fn json(seed: &[u8], rng: &mut Generator) -> Option<Vec<u8>> {
    let mut values = serde_json::Deserializer::from_slice(seed).into_iter::<Value>();
    let mut value = values.next()?.ok()?;
    let rest = &seed[values.byte_offset()..];
    for _ in 0..rng.random_range(1..4) {
        let mut left = rng.random_range(0..count(&value));
        change(&mut value, &mut left, rng);
    }
    Some([serde_json::to_vec(&value).ok()?.as_slice(), rest].concat())
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(values) => values.values().map(count).sum(),
        _ => 0,
    }
}

/// Changes the value that comes after so many others; whether it was found.
fn change(value: &mut Value, left: &mut usize, rng: &mut Generator) -> bool {
    if *left == 0 {
        replace(value, rng);
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(values) => values.iter_mut().any(|value| change(value, left, rng)),
        Value::Object(values) => values.values_mut().any(|value| change(value, left, rng)),
        _ => false,
    }
}

fn replace(value: &mut Value, rng: &mut Generator) {
    match value {
        Value::Array(values) if !values.is_empty() && rng.random() => {
            let at = rng.random_range(0..values.len());
            match rng.random() {
                true => drop(values.remove(at)),
                false => values.insert(at, values[at].clone()),
            }
            return;
        }
        Value::Object(values) if !values.is_empty() && rng.random() => {
            let key = values.keys().nth(rng.random_range(0..values.len())).cloned().expect("not empty");
            let taken = values.remove(&key).expect("one of its keys");
            if rng.random() {
                values.insert(format!("{key}_"), taken);
            }
            return;
        }
        _ => {}
    }
    *value = match rng.random_range(0..8) {
        0 => Value::Array(Vec::new()),
        1 => Value::Object(serde_json::Map::new()),
        2 => Value::String("x".repeat(rng.random_range(0..70))),
        3 => (0..rng.random_range(1..200)).fold(Value::Null, |inner, _| Value::Array(vec![inner])),
        4 => Value::Bool(rng.random()),
        _ => serde_json::from_str(NUMBERS[rng.random_range(0..NUMBERS.len())]).unwrap_or(Value::Null),
    };
}

fn inflated(from: impl Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LARGEST).read_to_end(&mut bytes).ok().map(|_| bytes)
}

//! A pickle's bytes, counted.

use std::io::{BufRead, Read};

/// The longest pickle that is read; that of a DenseNet-201 with its optimizer has under 1 MB.
pub(super) const MAX_BYTES: u64 = 64 << 20;
/// The most instructions that are followed and elements that are copied.
const MAX_STEPS: usize = 4 << 20;
/// The longest name of a class or function.
const MAX_LINE: u64 = 1 << 10;

/// A source of pickles with a limit for all of them together.
pub(super) struct Input<R> {
    source: R,
    consumed: u64,
    steps: usize,
}

impl<R: BufRead> Input<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, consumed: 0, steps: 0 }
    }

    /// The bytes read so far.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Counts `steps` more.
    pub(super) fn step(&mut self, steps: usize) -> Result<(), String> {
        self.steps = self.steps.saturating_add(steps);
        match self.steps > MAX_STEPS {
            true => Err(format!("a pickle of more than {MAX_STEPS} steps")),
            false => Ok(()),
        }
    }

    fn consume(&mut self, length: u64) -> Result<(), String> {
        self.consumed = self.consumed.saturating_add(length);
        match self.consumed > MAX_BYTES {
            true => Err(format!("a pickle of more than {MAX_BYTES} bytes")),
            false => Ok(()),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.consume(N as u64)?;
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map(|()| bytes).map_err(|_| ENDED.into())
    }

    pub(super) fn byte(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next bytes; memory grows with what is there, whatever `length` says.
    pub(super) fn bytes(&mut self, length: u64) -> Result<Vec<u8>, String> {
        self.consume(length)?;
        let mut bytes = Vec::new();
        match self.source.by_ref().take(length).read_to_end(&mut bytes) {
            Ok(read) if read as u64 == length => Ok(bytes),
            Ok(_) => Err(ENDED.into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Passes over the next bytes.
    pub(super) fn skip(&mut self, length: u64) -> Result<(), String> {
        self.consume(length)?;
        match std::io::copy(&mut self.source.by_ref().take(length), &mut std::io::sink()) {
            Ok(read) if read == length => Ok(()),
            Ok(_) => Err(ENDED.into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A text up to the end of the line.
    pub(super) fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        let read = self.source.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        self.consume(read.map_err(|error| error.to_string())? as u64)?;
        match line.pop() {
            Some(b'\n') => String::from_utf8(line).map_err(|_| "a name that is not UTF-8".into()),
            _ => Err("a name that does not end".into()),
        }
    }
}

const ENDED: &str = "a pickle that ends too early";

//! What pickles of protocols 0 and 1 write as lines of text.

use super::heap::Value;

/// A line of INT, LONG or FLOAT.
pub(super) fn number(line: &str) -> Result<Value, String> {
    let digits = line.strip_suffix('L').unwrap_or(line);
    if let ("00" | "01", false) = (digits, line.ends_with('L')) {
        return Ok(Value::Bool(digits == "01"));
    }
    if let Ok(number) = digits.parse() {
        return Ok(Value::Int(number));
    }
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Value::Long(bytes_of(unsigned).into()));
    }
    line.parse::<f64>().map(|_| Value::Other).map_err(|_| format!("{line:?} where a number belongs"))
}

/// The magnitude of a decimal number, little-endian.
fn bytes_of(digits: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for digit in digits.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in &mut bytes {
            carry += u32::from(*byte) * 10;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    bytes
}

/// A place of the memo.
pub(super) fn place(line: &str) -> Result<u32, String> {
    line.parse().map_err(|_| format!("{line:?} where a place of the memo belongs"))
}

/// A text between quotation marks, as Python 2 writes it.
pub(super) fn string(line: &str) -> Result<String, String> {
    let quoted = |mark: char| line.strip_prefix(mark)?.strip_suffix(mark);
    let inner = quoted('\'').or_else(|| quoted('"')).ok_or("a text without its quotation marks")?;
    unescaped(inner, "x")
}

/// A text without its escapes: of a number's, those letters in `numbered`.
pub(super) fn unescaped(text: &str, numbered: &str) -> Result<String, String> {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let letter = escape.chars().next().ok_or("a text that ends in an escape")?;
        rest = &escape[letter.len_utf8()..];
        let digits = match letter {
            letter if !numbered.contains(letter) => 0,
            'x' => 2,
            'u' => 4,
            _ => 8,
        };
        if digits == 0 {
            match (letter, numbered) {
                ('n', "x") => plain.push('\n'),
                ('r', "x") => plain.push('\r'),
                ('t', "x") => plain.push('\t'),
                ('\\' | '\'' | '"', "x") => plain.push(letter),
                _ => plain.extend(['\\', letter]),
            }
            continue;
        }
        let number = rest.get(..digits).and_then(|number| u32::from_str_radix(number, 16).ok());
        plain.push(number.and_then(char::from_u32).ok_or("an escape of no character")?);
        rest = &rest[digits..];
    }
    plain.push_str(rest);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_pythons_pickle_writes() {
        assert!(
            matches!(number("01"), Ok(Value::Bool(true))) && matches!(number("00"), Ok(Value::Bool(false)))
        );
        assert!(matches!(number("-12"), Ok(Value::Int(-12))) && matches!(number("7L"), Ok(Value::Int(7))));
        let magic = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
        assert!(matches!(number("119547037146038801333356L"), Ok(Value::Long(bytes)) if *bytes == magic));
        assert!(matches!(number("1e-05"), Ok(Value::Other)) && number("os").is_err());
        // `pickle.dumps("a\\b\n\u20ac", 0)`
        assert_eq!(unescaped("a\\u005cb\\u000a\\u20ac", "uU").unwrap(), "a\\b\n\u{20ac}");
        assert_eq!(string("'it\\'s\\x21'").unwrap(), "it's!");
        assert!(unescaped("\\ud8", "uU").is_err() && string("plain").is_err());
    }
}

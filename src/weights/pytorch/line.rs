//! Numbers and texts as protocol 0 writes them, a line each, and integers of any length.

use super::heap::Value;

/// An integer in two's complement, little-endian.
pub(super) fn long(bytes: Vec<u8>) -> Value {
    if bytes.len() > 8 {
        return Value::Long(bytes.into());
    }
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut number = if negative { [0xff; 8] } else { [0; 8] };
    number[..bytes.len()].copy_from_slice(&bytes);
    Value::Int(i64::from_le_bytes(number))
}

/// An integer in decimal.
pub(super) fn integer(line: &str) -> Result<Value, String> {
    match line.parse::<i128>() {
        Ok(number) => {
            let bytes = number.to_le_bytes();
            // As short as pickle writes it: the last byte holds the sign.
            let sign = if number < 0 { 0xff } else { 0 };
            let mut length = bytes.len();
            while length > 1 && bytes[length - 1] == sign && (bytes[length - 2] ^ sign) & 0x80 == 0 {
                length -= 1;
            }
            Ok(long(bytes[..length].to_vec()))
        }
        Err(_) if is_decimal(line) => Ok(Value::Other),
        Err(_) => Err(format!("{line:?} where a number belongs")),
    }
}

/// Whether these are digits behind a sign or none.
fn is_decimal(line: &str) -> bool {
    let digits = line.strip_prefix('-').unwrap_or(line);
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// A place of the memo.
pub(super) fn place(line: &str) -> Result<u32, String> {
    line.parse().map_err(|_| format!("{line:?} where a place of the memo belongs"))
}

/// A text in Python's quotes.
pub(super) fn quoted(line: &str) -> Result<String, String> {
    let quote = line.chars().next().filter(|quote| matches!(quote, '\'' | '"'));
    let inner = quote.and_then(|quote| line.get(1..)?.strip_suffix(quote));
    unescaped(inner.ok_or_else(|| format!("{line:?} where a text in quotes belongs"))?, "\\'\"ntrx")
}

/// A text of which the characters beyond Latin-1 are escaped.
pub(super) fn unicode(line: &str) -> Result<String, String> {
    unescaped(line, "uU")
}

/// The text with these kinds of escapes replaced.
fn unescaped(text: &str, kinds: &str) -> Result<String, String> {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let kind = after.chars().next().filter(|kind| kinds.contains(*kind));
        let digits = match kind {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        rest = match (kind, digits) {
            (None, _) => {
                plain.push('\\');
                after
            }
            (Some(kind), 0) => {
                plain.push(match kind {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                });
                &after[1..]
            }
            (Some(_), digits) => {
                let code = after.get(1..1 + digits).and_then(|code| u32::from_str_radix(code, 16).ok());
                plain.push(code.and_then(char::from_u32).ok_or_else(|| format!("the escape in {text:?}"))?);
                &after[1 + digits..]
            }
        };
    }
    plain.push_str(rest);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_pickles_own() {
        // pickle.dumps(n, 2) of the same numbers: LONG1 in as few bytes as hold the sign.
        assert!(matches!(integer("-129").unwrap(), Value::Int(-129)));
        assert!(matches!(integer("9223372036854775807").unwrap(), Value::Int(i64::MAX)));
        let Value::Long(magic) = integer("119547037146038801333356").unwrap() else { panic!() };
        assert_eq!(*magic, [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]);
        assert!(matches!(integer(&"9".repeat(60)).unwrap(), Value::Other));
        assert!(integer("").is_err() && integer("1x").is_err() && integer("-").is_err());
    }

    #[test]
    fn texts_are_pythons() {
        // repr("a'\\n\x00\"") and its raw-unicode-escape.
        assert_eq!(quoted(r#"'a\'\\n\n\x00"'"#).unwrap(), "a'\\n\n\0\"");
        assert_eq!(unicode(r"a\u005cb\u20ac").unwrap(), "a\\b\u{20ac}");
        assert!(quoted("abc").is_err() && quoted("'").is_err() && unicode(r"\ud800").is_err());
    }
}

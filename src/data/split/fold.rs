//! The authors' fold files: `name.png|magnification|fold|train` or `|test`, one image a line.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::data::DataError;
use crate::data::breakhis::ImageName;
use crate::file::IoError;

const LINE: &str = "a line like SOB_B_A-14-22549AB-100-001.png|100|1|train";

/// Whether each image named in the file is for testing.
pub(super) fn read_fold_file(path: &Path) -> Result<HashMap<String, bool>, DataError> {
    let expected = "a readable fold file in UTF-8";
    let text = fs::read_to_string(path).map_err(IoError::at(path, expected))?;
    let mut tests = HashMap::new();
    // `lines` takes CRLF as well as LF; copies differ.
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |expected, found: &str| DataError::FoldFile {
            path: path.to_path_buf(),
            line: number + 1,
            expected,
            found: format!("{:?}", found.chars().take(120).collect::<String>()),
        };
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, magnification, fold, side] = fields[..] else { return Err(wrong(LINE, line)) };
        let Some(image) = ImageName::parse(name) else { return Err(wrong(LINE, line)) };
        if magnification != image.magnification.times().to_string() || fold.parse::<u32>().is_err() {
            return Err(wrong(LINE, line));
        }
        let test = match side {
            "train" => false,
            "test" => true,
            _ => return Err(wrong("train or test as the last field", side)),
        };
        if tests.insert(image.to_string(), test).is_some_and(|before| before != test) {
            return Err(wrong("each image on one side", line));
        }
    }
    if tests.is_empty() {
        let (path, found) = (path.to_path_buf(), "no line".to_string());
        return Err(DataError::FoldFile { path, line: 0, expected: LINE, found });
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<HashMap<String, bool>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dsfold1.txt");
        fs::write(&path, text).unwrap();
        read_fold_file(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn both_line_endings_are_read() {
        let lines =
            ["SOB_B_A-14-22549AB-100-001.png|100|1|train", "SOB_M_DC-14-2523-40-002.png|40|1|test", ""];
        for ending in ["\n", "\r\n"] {
            let folds = read(&lines.join(ending)).unwrap();
            assert_eq!(folds.len(), 2);
            assert!(!folds["SOB_B_A-14-22549AB-100-001.png"]);
            assert!(folds["SOB_M_DC-14-2523-40-002.png"]);
        }
    }

    #[test]
    fn other_lines_are_named() {
        let good = "SOB_B_A-14-22549AB-100-001.png|100|1|train\n";
        for (bad, said) in [
            ("", "line 0: expected a line like"),
            ("name.png|100|1|train", "line 1: expected a line like"),
            ("SOB_B_A-14-22549AB-100-001.png|200|1|train", "line 1: expected a line like"),
            ("SOB_B_A-14-22549AB-100-001.png|100|1", "line 1: expected a line like"),
            (
                "SOB_B_A-14-22549AB-100-001.png|100|1|valid",
                "expected train or test as the last field, found \"valid\"",
            ),
            (
                &format!("{good}SOB_B_A-14-22549AB-100-001.png|100|1|test"),
                "line 2: expected each image on one side",
            ),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(
            read_fold_file(Path::new("/nowhere/dsfold1.txt")).unwrap_err().to_string().contains("nowhere")
        );
    }
}

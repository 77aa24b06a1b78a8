//! What is to be known about a file that loaded.

use std::fmt::{Display, Formatter, Result};

use super::error::Tensors;

/// What is to be known about a file that loaded; shown as one line, empty if there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// What the file has before the network's names, such as `state_dict.module.`.
    pub prefix: String,
    /// Tensors that are not the network's and were left out.
    pub beside: Vec<String>,
    /// Functions and classes that a pickle names and that were not called: what they would have made is missing.
    pub not_run: Vec<String>,
}

impl Display for Notes {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let list = |names: &[String]| Tensors(names.to_vec()).to_string();
        let mut parts = Vec::new();
        if !self.beside.is_empty() {
            parts.push(format!("tensors beside the network left out: {}", list(&self.beside)));
        }
        if !self.not_run.is_empty() {
            parts.push(format!("named in the file and not run: {}", list(&self.not_run)));
        }
        f.write_str(&parts.join("; "))
    }
}

//! One of several parts of a run.

use std::fmt;
use std::str::FromStr;

use crate::parameter::{Parameter, ParameterError};

/// Where schedulers tell a task its number, the innermost first: HyperQueue may run within a job of Slurm.
const VARIABLES: [&str; 3] = ["HQ_TASK_ID", "SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"];

const RANGE: &str = "INDEX/COUNT with indices from 0, such as 0/4 to 3/4, or auto/COUNT";

/// One of several parts of a run over a data set, each for a process or a machine of its own: every
/// [`count`](Self::count)-th batch, from the one at [`index`](Self::index).
///
/// As text it is `index/count`, with indices from 0, and `auto/count` takes the index from the scheduler
/// that runs the process: [`from_scheduler`](Self::from_scheduler).
///
/// ```
/// use histoguard::evaluate::Shard;
///
/// let shard: Shard = "3/8".parse()?;
/// assert_eq!((shard.index(), shard.count()), (3, 8));
/// let error = "8/8".parse::<Shard>().unwrap_err();
/// assert!(error.to_string().ends_with("indices from 0, such as 0/4 to 3/4, or auto/COUNT, found 8/8"));
/// # Ok::<(), histoguard::parameter::ParameterError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// The part at `index`, counted from 0, of `count`.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] if there is no such part.
    pub fn new(index: usize, count: usize) -> Result<Self, ParameterError> {
        let shard = Self { index, count };
        Parameter::new("shard", RANGE, index < count, shard).check()?;
        Ok(shard)
    }

    /// The part of `count` whose index the scheduler gives this process: of a HyperQueue task
    /// (`HQ_TASK_ID`), a Slurm array (`SLURM_ARRAY_TASK_ID`) or an indexed job of Kubernetes
    /// (`JOB_COMPLETION_INDEX`), the first of these that is set. Arrays have to count from 0:
    /// `--array=0-7` for eight parts.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] if none is set, or to something else than an index below `count`.
    pub fn from_scheduler(count: usize) -> Result<Self, ParameterError> {
        Self::from_variables(count, |name| std::env::var(name).ok())
    }

    fn from_variables(
        count: usize,
        value: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, ParameterError> {
        let set = VARIABLES.into_iter().find_map(|name| Some((name, value(name)?)));
        let expected = format!("an index from 0, below {count}");
        let Some((name, found)) = set else {
            let (parameter, expected) = (VARIABLES.join(", ").into(), format!("{expected}, in one of them"));
            return Err(ParameterError { parameter, expected: expected.into(), found: "none set".into() });
        };
        match found.parse() {
            Ok(index) if index < count => Ok(Self { index, count }),
            _ => Err(ParameterError { parameter: name.into(), expected: expected.into(), found }),
        }
    }

    /// Which part it is, from 0.
    pub fn index(self) -> usize {
        self.index
    }

    /// How many parts there are.
    pub fn count(self) -> usize {
        self.count
    }

    /// Whether the batch at this place among all is of this part.
    pub(crate) fn has(self, batch: usize) -> bool {
        batch % self.count == self.index
    }

    /// How many of so many images are of this part.
    pub(crate) fn images(self, all: usize, batch_size: usize) -> usize {
        let batches = (0..all.div_ceil(batch_size)).filter(|&batch| self.has(batch));
        batches.map(|batch| batch_size.min(all - batch * batch_size)).sum()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ParameterError;

    fn from_str(text: &str) -> Result<Self, ParameterError> {
        let parts = text.split_once('/').and_then(|(index, count)| {
            Some((index, count.parse::<usize>().ok().filter(|&count| count > 0)?))
        });
        if let Some(("auto", count)) = parts {
            return Self::from_scheduler(count);
        }
        let shard = parts.and_then(|(index, count)| Self::new(index.parse().ok()?, count).ok());
        let refused =
            || ParameterError { parameter: "shard".into(), expected: RANGE.into(), found: text.into() };
        shard.ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_every_image_once() {
        for (images, batch_size, count) in [(0, 3, 2), (7, 3, 2), (7, 3, 5), (100, 16, 3), (5, 1, 5)] {
            let parts = (0..count).map(|index| Shard::new(index, count).unwrap());
            assert_eq!(parts.map(|part| part.images(images, batch_size)).sum::<usize>(), images);
        }
        assert_eq!(Shard::new(1, 2).unwrap().images(7, 3), 3);
    }

    #[test]
    fn no_part_is_read_out_of_anything_else() {
        for text in ["", "3", "3/", "/3", "3/3", "-1/3", "0/0", "a/3", "0/3/1", "auto/0", "1.0/3"] {
            assert!(text.parse::<Shard>().unwrap_err().to_string().starts_with("shard: expected"), "{text}");
        }
    }

    #[test]
    fn the_innermost_scheduler_gives_the_index() {
        let of = |variables: &[(&str, &str)]| {
            let value = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
            Shard::from_variables(4, value)
        };
        let both = [("SLURM_ARRAY_TASK_ID", "1"), ("HQ_TASK_ID", "3")];
        assert_eq!(of(&both).unwrap().index(), 3);
        assert_eq!(of(&both[..1]).unwrap().to_string(), "1/4");
        assert_eq!(of(&[("JOB_COMPLETION_INDEX", "0")]).unwrap().index(), 0);
        let error = |variables: &[_]| of(variables).unwrap_err().to_string();
        assert_eq!(error(&[("HQ_TASK_ID", "4")]), "HQ_TASK_ID: expected an index from 0, below 4, found 4");
        assert!(error(&[]).ends_with("in one of them, found none set"));
    }
}

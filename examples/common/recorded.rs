//! What is known of the images that checkpoints were trained on, and a split that keeps to it.

use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;
use histoguard::data::{ImageSet, Split, TrainingRecord};

use crate::common::failure::Failure;
use crate::common::images::{self, ImageOptions, Subset};
use crate::common::output::note;

/// The records beside some checkpoints.
pub struct Recorded {
    records: Vec<(PathBuf, Option<TrainingRecord>)>,
    /// Whether the command line asks for a split of its own.
    own_split: bool,
}

impl Recorded {
    /// Reads what lies beside the checkpoints.
    pub fn read(checkpoints: &[PathBuf], given: &ArgMatches) -> Result<Self, Failure> {
        let read = |path: &PathBuf| Ok((path.clone(), TrainingRecord::read_beside(path)?));
        let records = checkpoints.iter().map(read).collect::<Result<_, Failure>>()?;
        Ok(Self { records, own_split: is_given(given, "split") || is_given(given, "fold_file") })
    }

    fn known(&self) -> impl Iterator<Item = &TrainingRecord> {
        self.records.iter().filter_map(|(_, record)| record.as_ref())
    }

    /// The options, with what the command line leaves open as it was when the first checkpoint was trained.
    pub fn complete(&self, options: &ImageOptions, given: &ArgMatches) -> ImageOptions {
        let mut complete = options.clone();
        let Some(settings) = self.known().next().map(|record| &record.settings) else { return complete };
        let open = |name| !is_given(given, name);
        if open("image_size") {
            let recorded = settings["image_size"].as_u64().and_then(|size| usize::try_from(size).ok());
            complete.image_size = recorded.or(options.image_size);
        }
        // A program that is none of these examples keeps other settings.
        let Ok(then) = serde_json::from_value::<ImageOptions>(settings["images"].clone()) else {
            return complete;
        };
        if open("seed") {
            complete.seed = then.seed;
        }
        if open("data") && open("images") {
            (complete.data, complete.images) = (then.data, then.images);
        }
        if open("subset") && complete.data.is_some() {
            complete.subset = then.subset;
        }
        // What BreakHis was split by says nothing of a folder of classes.
        let elsewhere = complete.subset == Some(Subset::Folders) && then.subset != complete.subset;
        if !self.own_split && !elsewhere {
            (complete.split, complete.fold_file) = (then.split, then.fold_file);
        }
        complete
    }

    /// The images, with those on the test side that none of the checkpoints has seen; other images than the
    /// recorded ones, and those for which the command line asks it, are split as the options say.
    pub fn split(&self, options: &ImageOptions) -> Result<Split, Failure> {
        let mut known = self.known();
        let Some(first) = known.next() else { return images::open(options) };
        let found = images::found(options)?;
        let record = known.try_fold(first.clone(), |joined, record| joined.joined(record))?;
        let seen = record.seen(&found)?;
        if self.own_split || seen.is_clean() {
            note(format_args!(
                "not the recorded split: {}",
                if self.own_split { "the options ask for another" } else { "none of these images is in it" }
            ));
            return images::share(options, &found);
        }
        let split = record.split(&found)?;
        images::tell(&split);
        Ok(split)
    }

    /// What a report is to say of each checkpoint and these test images.
    pub fn notes(&self, test: &ImageSet) -> Result<Vec<String>, Failure> {
        let mut notes = Vec::new();
        for (checkpoint, record) in &self.records {
            let name = checkpoint.file_name().unwrap_or_default().to_string_lossy();
            let Some(record) = record else {
                let beside = TrainingRecord::beside(checkpoint);
                let missing = beside.file_name().unwrap_or_default().to_string_lossy().into_owned();
                notes.push(format!(
                    "{name}: which images it was trained on is not known, for want of {missing}"
                ));
                continue;
            };
            let seen = record.seen(test)?;
            if !seen.is_clean() {
                notes.push(format!("{name}: {seen}"));
            }
        }
        Ok(notes)
    }
}

fn is_given(given: &ArgMatches, name: &str) -> bool {
    given.value_source(name) == Some(ValueSource::CommandLine)
}

//! Certifying a data set by randomized smoothing.

use serde_json::json;
use web_time::Instant;

use super::error::EvaluationError;
use super::result::{CertificationResult, readable};
use super::run::{Chunk, Conduct, Journal, Passes, Run, Shard, check_data, images_identity};
use crate::attack::{AttackError, Settings};
use crate::classifier::Frozen;
use crate::data::LabeledImages;
use crate::defense::smoothing::{Smoothing, SmoothingError, Tally};
use crate::parameter;

/// Draws after which those of an image are kept on disk: a kill loses at most so many.
const KEPT_AFTER: usize = 500;
/// Their name in the journal.
const DRAWS: &str = "draws";

/// Certifies every image of a data set by [`Smoothing`] over a base classifier (CERTIFY and PREDICT of Cohen,
/// Rosenfeld & Kolter, ICML 2019).
///
/// How it goes about the work (progress, resuming, cancelling) is set by [`Run`]; a resumed certification
/// goes on in the middle of an image, to the same certificates bit for bit. Its [`Progress`](super::Progress)
/// counts draws. The batch size is that of reading images; [`Smoothing::draws_a_batch`] is that of the
/// classifier. Neither changes a result.
///
/// ```
/// use histoguard::data::TensorSet;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let base = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let images = Tensor::<1>::from_floats([0.1, 0.48, 0.6, 0.95], &device).reshape([4, 1, 1, 1]);
/// let data = TensorSet::new(images, vec![0, 0, 1, 1], vec!["dark".into(), "bright".into()])?;
/// let result = Certification::new(&base, Smoothing::new(0.25).with_draws(1000)).run(&data)?;
/// // 0.1 and 0.95 are further than 0.3 from the boundary, and 0.6 than 0.05; 0.48 is so near that smoothing abstains.
/// let curve = &result.accuracy.all;
/// assert_eq!([0.0, 0.05, 0.3].map(|radius| curve.at(radius).hits), [3, 3, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Certification<'a> {
    base: &'a Frozen,
    smoothing: Smoothing,
    conduct: Conduct<'a>,
}

impl<'a> Run<'a> for Certification<'a> {
    fn conduct(&mut self) -> &mut Conduct<'a> {
        &mut self.conduct
    }
}

impl<'a> Certification<'a> {
    /// Of this base classifier, which has to know the noise: see [`Smoothing`].
    pub fn new(base: &'a Frozen, smoothing: Smoothing) -> Self {
        Self { base, smoothing, conduct: Conduct::default() }
    }

    /// Certifies these images.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`]: a setting out of its range or hopeless, no image, a classifier with another
    /// number of classes, an image that cannot be read or has values outside \[0,1\], a state folder that
    /// does not fit, or the cancel flag.
    pub fn run(&self, data: &dyn LabeledImages) -> Result<CertificationResult, EvaluationError> {
        let started = Instant::now();
        let journal = self.draw_all(data, None)?;
        let images = (0..data.len()).map(|p| {
            let tally = drawn(&journal, p).expect("drawn above");
            (data.name(p), data.group(p), data.label(p), tally)
        });
        let about = (data.classes(), data.is_synthetic());
        let result = CertificationResult::new(self.smoothing, about, images);
        Ok(CertificationResult { seconds: started.elapsed().as_secs_f64(), ..result })
    }

    /// Certifies this shard of the images, and gives their number: as
    /// [`Evaluation::run_shard`](super::Evaluation::run_shard) does, for [`run`](Self::run) to put together.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); and [`EvaluationError::Parameter`] without a folder to
    /// [resume from](Run::resume_from).
    pub fn run_shard(&self, data: &dyn LabeledImages, shard: Shard) -> Result<usize, EvaluationError> {
        self.conduct.state_parameter().check()?;
        self.draw_all(data, Some(shard))?;
        Ok(self.conduct.images(Some(shard), data.len()))
    }

    fn draw_all(&self, data: &dyn LabeledImages, shard: Option<Shard>) -> Result<Journal, EvaluationError> {
        parameter::check(self.smoothing.parameters().into_iter().chain([self.conduct.parameter()]))?;
        check_data(data, [self.base])?;
        let mut journal = self.journal(data, shard)?;
        let each = self.smoothing.selection_draws + self.smoothing.draws;
        let total = self.conduct.images(shard, data.len()) * each;
        let passes = Passes::new(&self.conduct, shard, total);
        passes.expect(DRAWS, total, 1.0);
        let everyone: Vec<usize> = (0..data.len()).collect();
        self.conduct.watched([self.base], || {
            passes.batches(&everyone).try_for_each(|batch| self.draw(data, batch, &mut journal, &passes))
        })?;
        Ok(journal)
    }

    fn journal(&self, data: &dyn LabeledImages, shard: Option<Shard>) -> Result<Journal, EvaluationError> {
        self.conduct.journal(shard, || {
            // However many copies go through the classifier at once, the certificates are the same.
            let smoothing = Smoothing { draws_a_batch: 1, ..self.smoothing };
            Ok(vec![
                ("smoothing", readable(smoothing.settings())),
                ("classes", json!(data.classes())),
                ("images", images_identity(data).into()),
                ("classifier", self.conduct.identity(self.base, data)?.into()),
            ])
        })
    }

    /// All draws of these images that are missing.
    fn draw(
        &self,
        data: &dyn LabeledImages,
        positions: &[usize],
        journal: &mut Journal,
        passes: &Passes<'_, '_>,
    ) -> Result<(), EvaluationError> {
        let finished = |tally: &Tally| self.smoothing.certificate(tally).is_some();
        let before: usize =
            positions.iter().filter_map(|&p| drawn(journal, p)).map(|tally| tally.draws()).sum();
        if before > 0 {
            passes.add(DRAWS, before, false);
        }
        let pending: Vec<usize> = positions
            .iter()
            .copied()
            .filter(|&p| !drawn(journal, p).is_some_and(|tally| finished(&tally)))
            .collect();
        if pending.is_empty() {
            return Ok(());
        }
        let batch = data.batch(&pending, self.base.device())?;
        for (row, &position) in pending.iter().enumerate() {
            let image = batch.images.clone().narrow(0, row, 1);
            let fresh = || Tally::new(image.shape().num_elements(), self.base.num_classes());
            let mut tally = drawn(journal, position).unwrap_or_else(fresh);
            let mut kept = tally.draws();
            while !finished(&tally) {
                passes.go_on()?;
                let before = tally.draws();
                self.smoothing
                    .certify_more(self.base, &image, batch.indices[row], &mut tally)
                    .map_err(|error| ended(error, || data.name(position), passes))?;
                if finished(&tally) || tally.draws() - kept >= KEPT_AFTER {
                    kept = tally.draws();
                    journal.add(Chunk { notes: vec![(position, json!(tally))], ..Chunk::of(DRAWS) })?;
                }
                passes.add(DRAWS, tally.draws() - before, true);
            }
        }
        Ok(())
    }
}

/// All draws of an image so far.
fn drawn(journal: &Journal, image: usize) -> Option<Tally> {
    journal.note(DRAWS, image)
}

fn ended(error: SmoothingError, image: impl FnOnce() -> String, passes: &Passes<'_, '_>) -> EvaluationError {
    match error {
        SmoothingError::Stopped => passes.ended("randomized smoothing", AttackError::Stopped),
        source => EvaluationError::Smoothing { image: image(), source },
    }
}

//! How an attack learns: images that it breaks, over epochs.

use super::accuracy_curves::epoch_ticks;
use super::canvas::Canvas;
use super::chart::{Line, Panels, Plot};
use super::figure::Paint;
use crate::report::ReportError;
use crate::statistics::Proportion;

const PLOT: (i32, i32) = (820, 520);
/// Markers on every epoch up to here.
const MARKED: usize = 30;

/// The share of right images that an attack breaks after each epoch in which it was learned, a line for each
/// set of images: what it learned from and what it has not seen.
///
/// ```
/// use histoguard::report::figures::{BrokenOverEpochs, Figure};
/// use histoguard::statistics::Proportion;
///
/// let curve = |hits: [usize; 3]| hits.map(|hits| Proportion::new(hits, 30)).into();
/// let sets = [("training images", curve([2, 9, 25])), ("test images", curve([1, 6, 14]))];
/// let figure = BrokenOverEpochs::new("AdvGAN within Linf 8/255", sets);
/// assert!(figure.draw()?.width() > 800);
/// # Ok::<(), histoguard::report::ReportError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BrokenOverEpochs {
    title: String,
    sets: Vec<(String, Vec<Proportion>)>,
    synthetic: bool,
}

impl BrokenOverEpochs {
    /// Sets of images by name, each with what was broken of it after every epoch from the first on.
    pub fn new<N: Into<String>>(
        title: impl Into<String>,
        sets: impl IntoIterator<Item = (N, Vec<Proportion>)>,
    ) -> Self {
        let sets = sets.into_iter().map(|(name, broken)| (name.into(), broken)).collect();
        Self { title: title.into(), sets, synthetic: false }
    }

    /// Stamps the figure if the images were drawn, not photographed.
    pub fn synthetic(mut self, synthetic: bool) -> Self {
        self.synthetic = synthetic;
        self
    }
}

impl Paint for BrokenOverEpochs {
    fn paint(&self) -> Result<Canvas, ReportError> {
        let last = self.sets.iter().map(|(_, broken)| broken.len()).max().unwrap_or(0);
        if last == 0 {
            return Err(ReportError::refused("sets", "at least one epoch", "none"));
        }
        let marked = last <= MARKED;
        let room = if last == 1 { 1.0 } else { (last - 1) as f64 * 0.03 };
        let line = |(series, (_, broken)): (usize, &(String, Vec<Proportion>))| {
            let point = |(epoch, broken): (usize, &Proportion)| Some((epoch as f64, 100.0 * broken.value?));
            let points = (1..).zip(broken).filter_map(point).collect();
            Line { points, band: Vec::new(), series, stroke: if marked { 3 } else { 2 } }
        };
        let plot = Plot {
            title: "right images broken (%)".into(),
            x_label: "epoch".into(),
            x_range: (1.0 - room, last as f64 + room),
            x_ticks: epoch_ticks(1, last),
            lines: self.sets.iter().enumerate().map(line).collect(),
        };
        Panels {
            title: self.title.clone(),
            note: None,
            synthetic: self.synthetic,
            marked,
            entries: self.sets.iter().map(|(name, _)| name.clone()).zip(0..).collect(),
            size: PLOT,
            plots: vec![plot],
        }
        .paint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::Figure;

    #[test]
    fn text_stays_clear_of_plots_and_other_text() {
        for epochs in [1, 2, 30, 31, 400] {
            let broken: Vec<Proportion> = (0..epochs).map(|hits| Proportion::new(hits, epochs)).collect();
            let long = "AdvGAN by distillation with a very long description ".repeat(4);
            let sets =
                ["training images", "validation images", "test images"].map(|set| (set, broken.clone()));
            let clashes = BrokenOverEpochs::new(long, sets).synthetic(true).paint().unwrap().clashes();
            assert!(clashes.is_empty(), "{epochs}: {clashes:?}");
        }
    }

    #[test]
    fn refuses_curves_without_epochs() {
        assert!(BrokenOverEpochs::new("", [("test", Vec::new())]).draw().is_err());
        assert!(BrokenOverEpochs::new::<String>("", []).draw().is_err());
    }
}

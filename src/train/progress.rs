//! Progress as plain lines, for logs and pipes, where burn-train's dashboard cannot be drawn.

use std::io::Write;
use std::time::Duration;

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::MetricDefinition;
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};
use web_time::Instant;

use super::{EpochRecord, History};

const PAUSE: Duration = Duration::from_secs(10);

/// Writes a line to standard error at most every ten seconds.
pub(super) struct PlainProgress {
    label: String,
    epoch: usize,
    epochs: usize,
    split: String,
    images: usize,
    training_images: usize,
    started: Instant,
    last: Instant,
}

impl PlainProgress {
    pub(super) fn new(label: &str, first_epoch: usize, epochs: usize) -> Self {
        let (label, split, now) = (label.to_string(), String::new(), Instant::now());
        Self {
            label,
            epoch: first_epoch,
            epochs,
            split,
            images: 0,
            training_images: 0,
            started: now,
            last: now,
        }
    }
}

/// Writes a line to standard error; a training does not end because nobody reads them any more.
pub(super) fn say(line: String) {
    let _ = std::io::stderr().write_all((line + "\n").as_bytes());
}

/// The line at the end of an epoch, with the time left.
pub(super) fn epoch_line(
    label: &str,
    record: &EpochRecord,
    history: &History,
    run: usize,
    epochs: usize,
) -> String {
    let taken = &history.seconds[history.seconds.len().saturating_sub(run)..];
    let mean = taken.iter().sum::<f64>() / taken.len().max(1) as f64;
    let left = mean * epochs.saturating_sub(record.epoch) as f64;
    let attacked = record.attacked.map_or(String::new(), |attacked| {
        let [accuracy, fgsm] = [attacked.accuracy, attacked.fgsm_accuracy].map(|share| 100.0 * share);
        format!(", under attack {accuracy:.1} %, after one FGSM step {fgsm:.1} %")
    });
    format!(
        "{label}: epoch {}/{epochs}, loss {:.4}, accuracy {:.1} %, validation loss {:.4}, accuracy {:.1} %{attacked}; {} left",
        record.epoch,
        record.train_loss,
        100.0 * record.train_accuracy,
        record.validation_loss,
        100.0 * record.validation_accuracy,
        duration(left),
    )
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

impl TrainingProgressLogger for PlainProgress {
    fn start(&mut self, total_epochs: usize, starting_epoch: usize, _: Option<usize>, _: Option<&str>) {
        (self.epochs, self.epoch) = (total_epochs, starting_epoch);
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.epoch = epoch + 1;
    }

    fn start_split(&mut self, split: &str, total_items: usize) {
        (self.split, self.images) = (split.to_string(), total_items);
        self.started = Instant::now();
        if split == "train" {
            self.training_images = total_items;
        }
    }

    fn update_split(&mut self, items_processed: usize) {
        if self.last.elapsed() >= PAUSE {
            self.last = Instant::now();
            let Self { label, epoch, epochs, split, images, training_images, started, .. } = self;
            let seconds_an_image = started.elapsed().as_secs_f64() / items_processed.max(1) as f64;
            let later = epochs.saturating_sub(*epoch) * *training_images;
            let left = duration(seconds_an_image * (images.saturating_sub(items_processed) + later) as f64);
            say(format!(
                "{label}: epoch {epoch}/{epochs}, {split} {items_processed}/{images} images, {left} left"
            ));
        }
    }

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _: String) {}
}

impl EvaluationProgressLogger for PlainProgress {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: usize) {}

    fn update_test_progress(&mut self, _: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRendererTraining for PlainProgress {
    fn update_train(&mut self, _: MetricState) {}

    fn update_valid(&mut self, _: MetricState) {}
}

impl MetricsRendererEvaluation for PlainProgress {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl MetricsRenderer for PlainProgress {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, _: MetricDefinition) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_the_mean_of_this_run() {
        let record = EpochRecord {
            epoch: 3,
            train_loss: 0.5,
            train_accuracy: 0.75,
            validation_loss: 0.25,
            validation_accuracy: 1.0,
            attacked: None,
        };
        // Epoch 1 ran before the resume, on a slower machine: it does not count.
        let history = History { epochs: vec![record; 3], seconds: vec![900.0, 60.0, 80.0] };
        let line = epoch_line("original", &record, &history, 2, 5);
        assert_eq!(
            line,
            "original: epoch 3/5, loss 0.5000, accuracy 75.0 %, validation loss 0.2500, accuracy 100.0 %; \
             2 min 20 s left"
        );
    }

    #[test]
    fn durations_read_like_a_clock() {
        assert_eq!([duration(59.4), duration(60.0), duration(3599.0)], ["59 s", "1 min 0 s", "59 min 59 s"]);
        assert_eq!(duration(7300.0), "2 h 1 min");
    }
}

//! Optimisers that know one image each, side by side, so that the victim sees batches.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvError, Sender, channel};
use std::thread;

use crate::attack::Goal;
use crate::attack::prelude::*;

/// The victim as the optimiser of one image sees it.
#[derive(Debug)]
pub struct Oracle {
    questions: Sender<Vec<f64>>,
    answers: Receiver<(f64, Vec<f32>)>,
}

impl Oracle {
    /// The loss at this point, and its gradient.
    ///
    /// # Errors
    ///
    /// [`RecvError`] after a stop: nobody answers any more.
    pub fn ask(&self, point: &[f64]) -> Result<(f64, Vec<f32>), RecvError> {
        // Nobody listens after a stop, and then nobody answers either.
        let _ = self.questions.send(point.to_vec());
        self.answers.recv()
    }
}

/// What `optimise` makes of each image, given its row, its values and an oracle for the goal's `loss`, on a
/// thread each.
///
/// Every round takes one question from each optimiser that still runs and puts them to the victim as one
/// batch. The first `steps` of the rounds are reported as steps of the task.
///
/// # Errors
///
/// [`AttackError::Stopped`].
///
/// # Panics
///
/// Panics if `optimise` does.
pub fn side_by_side(
    task: &Task<'_>,
    steps: usize,
    loss: impl Fn(&Goal, Tensor<2>) -> Tensor<1>,
    optimise: impl Fn(usize, &[f64], Oracle) -> Vec<f64> + Sync,
) -> Result<Tensor<4>, AttackError> {
    let (images, size) = (task.images(), task.size());
    let batch =
        |points: &[Vec<f64>]| batch(points.iter().flatten().map(|&value| value as f32).collect(), &images);
    let pixels: Vec<f64> = values(images.clone()).into_iter().map(f64::from).collect();
    let optimise = &optimise;
    thread::scope(|scope| {
        let start = |(row, image)| {
            let ((questions, asked), (answer, answers)) = (channel(), channel());
            let oracle = Oracle { questions, answers };
            (asked, answer, scope.spawn(move || optimise(row, image, oracle)))
        };
        let runs: Vec<_> = pixels.chunks(size).enumerate().map(start).collect();
        for round in 0.. {
            // A run that has ended has let go of its oracle.
            let question =
                |(row, (asked, ..)): (usize, &(Receiver<Vec<f64>>, _, _))| Some((row, asked.recv().ok()?));
            let (rows, points): (Vec<usize>, Vec<_>) = runs.iter().enumerate().filter_map(question).unzip();
            if rows.is_empty() {
                break;
            }
            (if round < steps { task.step() } else { task.go_on() })?;
            let asking = task.keep(&rows);
            let pass = asking.gradient(&batch(&points), |logits| loss(asking.goal(), logits));
            let losses = values(loss(asking.goal(), pass.logits));
            let gradients = values(pass.gradient);
            for (i, row) in rows.into_iter().enumerate() {
                let answer = (f64::from(losses[i]), gradients[i * size..][..size].to_vec());
                // A run that is gone is noticed in the next round.
                let _ = runs[row].1.send(answer);
            }
        }
        let ends = runs.into_iter().map(|(.., run)| run.join().unwrap_or_else(|panic| resume_unwind(panic)));
        Ok(batch(&ends.collect::<Vec<_>>()))
    })
}

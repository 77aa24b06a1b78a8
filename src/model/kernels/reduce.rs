//! Sums over a batch that do not depend on the number of threads: fixed groups of images, added in order.

use std::ops::Range;

use super::arch::{Conv, planes};
use super::buffer::{Buffer, Ptr};
use super::crew::Crew;
use super::simd::LANES;
use super::workers::Workers;

/// Groups that a batch is cut into at most.
const GROUPS: usize = 8;

/// Fixed groups of a batch's images.
#[derive(Clone, Copy)]
pub(super) struct Groups {
    n: usize,
    each: usize,
}

impl Groups {
    pub(super) fn new(n: usize) -> Self {
        // Of one image each, eight groups write and read their sums more than they add to them.
        let least = if n >= GROUPS { 2 } else { 1 };
        Groups { n, each: n.div_ceil(GROUPS).max(least) }
    }

    pub(super) fn count(self) -> usize {
        self.n.div_ceil(self.each)
    }

    /// Runs `work(group, images, crew)` for all groups and returns the results in order.
    pub(super) fn map<T: Send>(
        self,
        workers: &Workers,
        work: impl Fn(usize, Range<usize>, &Crew) -> T + Sync,
    ) -> Vec<T> {
        let images = |group: usize| group * self.each..((group + 1) * self.each).min(self.n);
        workers.map(self.count(), |group, crew| work(group, images(group), crew))
    }
}

/// Sums of gradients, and of gradients times centred inputs, a lane.
pub(super) struct Sums {
    pub d: Vec<f64>,
    pub dx: Vec<f64>,
    single_d: Vec<f32>,
    single_dx: Vec<f32>,
}

impl Sums {
    pub(super) fn new(planes: usize) -> Self {
        let lanes = planes * LANES;
        Sums {
            d: vec![0.0; lanes],
            dx: vec![0.0; lanes],
            single_d: vec![0.0; lanes],
            single_dx: vec![0.0; lanes],
        }
    }

    /// Where the kernels add an image's sums, of `d` and of `dx`.
    pub(super) fn targets(&mut self) -> (Ptr, Ptr) {
        (Ptr(self.single_d.as_mut_ptr()), Ptr(self.single_dx.as_mut_ptr()))
    }

    /// Moves an image's sums into the totals.
    pub(super) fn flush(&mut self) {
        for (totals, singles) in [(&mut self.d, &mut self.single_d), (&mut self.dx, &mut self.single_dx)] {
            for (total, single) in totals.iter_mut().zip(singles) {
                *total += f64::from(*single);
                *single = 0.0;
            }
        }
    }

    /// The sum over all groups, in order.
    pub(super) fn total(groups: Vec<Sums>) -> Sums {
        let mut groups = groups.into_iter();
        let mut total = groups.next().expect("a batch has a group");
        for group in groups {
            for (total, group) in [(&mut total.d, group.d), (&mut total.dx, group.dx)] {
                total.iter_mut().zip(group).for_each(|(total, group)| *total += group);
            }
        }
        total
    }
}

/// Where a kernel adds up weight gradients.
#[derive(Clone, Copy)]
pub(super) struct WeightSum {
    pub to: Ptr,
    /// Nothing was added yet, and the memory holds anything.
    pub fresh: bool,
}

/// Weight gradients of a 1x1 or 3x3 convolution, a group: `[group][in plane][tap][out plane][in][out]`.
pub(super) struct WeightSums {
    buffer: Buffer,
    size: usize,
}

impl WeightSums {
    pub(super) fn new(groups: usize, in_planes: usize, taps: usize, out_planes: usize) -> Self {
        let size = in_planes * taps * out_planes * LANES * LANES;
        WeightSums { buffer: Buffer::new(groups * size), size }
    }

    /// A group's sums, for the one task that owns them.
    pub(super) fn group(&self, group: usize) -> WeightSum {
        WeightSum { to: self.buffer.ptr().at(group * self.size), fresh: true }
    }

    /// Adds up the groups into the convolution's gradient, `[out][in][tap]`.
    pub(super) fn finish(&self, conv: &Conv, lanes_in: &[usize], gradient: &mut [f32], workers: &Workers) {
        /// Input channels of a task: a cache line of a 1x1 convolution's gradient.
        const STRIP: usize = 16;
        let (taps, out_planes) = (conv.taps, planes(conv.out));
        let gradient = Ptr(gradient[..conv.len()].as_mut_ptr());
        workers.each(conv.inp.div_ceil(STRIP), |strip| {
            let inputs = strip * STRIP..((strip + 1) * STRIP).min(conv.inp);
            let mut sums = vec![[0.0f32; LANES]; inputs.len() * taps];
            for plane in 0..out_planes {
                let elements = inputs.clone().flat_map(|i| (0..taps).map(move |t| (lanes_in[i], t)));
                for ((lane, t), total) in elements.zip(&mut sums) {
                    let at = ((lane / LANES * taps + t) * out_planes + plane) * LANES * LANES
                        + lane % LANES * LANES;
                    let mut sum = [0.0; LANES];
                    for group in self.buffer.chunks_exact(self.size) {
                        let part: &[f32; LANES] = group[at..].first_chunk().expect("a line of sums");
                        for lane in 0..LANES {
                            sum[lane] += part[lane];
                        }
                    }
                    *total = sum;
                }
                for o in 0..LANES.min(conv.out - plane * LANES) {
                    let at = ((plane * LANES + o) * conv.inp + inputs.start) * taps;
                    for (element, sum) in sums.iter().enumerate() {
                        // SAFETY: an element of the gradient, whose input channel belongs to this task alone.
                        unsafe { *gradient.at(at + element).0 = sum[o] };
                    }
                }
            }
        });
    }

    /// The same for the stem, whose sums are `[group][out plane][in, row][8][out]`.
    pub(super) fn finish_stem(&self, conv: &Conv, gradient: &mut [f32]) {
        let rows = conv.inp * 7;
        for (index, gradient) in gradient[..conv.len()].iter_mut().enumerate() {
            let (o, row, column) = (index / (rows * 7), index / 7 % rows, index % 7);
            let at = ((o / LANES * rows + row) * 8 + column) * LANES + o % LANES;
            *gradient = self.buffer.chunks_exact(self.size).map(|group| group[at]).sum();
        }
    }

    /// Sums for the stem's gradient.
    pub(super) fn stem(groups: usize, conv: &Conv) -> Self {
        let size = planes(conv.out) * conv.inp * 7 * 8 * LANES;
        WeightSums { buffer: Buffer::new(groups * size), size }
    }
}

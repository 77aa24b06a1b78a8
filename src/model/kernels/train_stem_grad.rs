//! Training mode: the stem's gradients, and those of the images.

use super::buffer::Buffer;
use super::crew::Crew;
use super::grad_kernels::{NormBackTo, StemSums, SumTargets};
use super::norm_grad::{Shared, coefficients, write_norm};
use super::reduce::{Groups, Sums, WeightSums};
use super::simd::{LANES, MAX_PIXELS, dispatch};
use super::stem::{StemBack, StemWeights, Unpool};
use super::train::TrainState;
use super::workers::Workers;

impl TrainState {
    /// Gradients of the stem's parameters, and of the images if `wants_images`, from that of the first block's features.
    pub(super) fn stem_back(
        &self,
        workers: &Workers,
        g: &Buffer,
        shared: &Shared,
        params: &mut [f32],
        wants_images: bool,
    ) -> Option<Vec<f32>> {
        let (plan, size) = (&self.plan, self.size);
        let planes = plan.stem_planes;
        let (stride, pixels) = self.extent(0);
        let complete = self.complete(0, shared);
        let conv_stride = planes * size.conv_pixels() * LANES;
        // The gradient of norm0's output: sparse, and cheaper to make twice than to keep.
        let unpooled = |image: usize, conv: &Buffer, crew: &Crew| {
            let x = self.blocks[0].x.ptr().at(image * stride);
            let back = complete.back(g.ptr().at(image * stride), x, pixels * LANES, &self.behind(0).mean);
            let d = Buffer::new(planes * pixels * LANES);
            crew.split(planes, 1, |_, from, to| {
                // SAFETY: the parts write different planes.
                unsafe { dispatch(self.level, NormBackTo { back, planes: (from, to), pixels, y: d.ptr() }) }
            });
            let winners = self.winners.ptr().at(image * planes * pixels * LANES / 4);
            crew.split(size.conv_height, 1, |_, from, to| {
                let rows = (from, to);
                // SAFETY: the parts write different rows.
                unsafe {
                    dispatch(self.level, Unpool { size, planes, d: d.ptr(), winners, rows, conv: conv.ptr() })
                }
            });
        };
        let groups = Groups::new(self.n);
        let sums = groups.map(workers, |_, images, crew| {
            let mut sums = Sums::new(planes);
            let conv = Buffer::new(conv_stride);
            for image in images {
                unpooled(image, &conv, crew);
                let sums_of = SumTargets::new(&mut sums);
                crew.split(planes, 1, |_, from, to| {
                    let kernel = StemSums {
                        d: conv.ptr(),
                        x: self.conv0.ptr().at(image * conv_stride),
                        planes: (from, to),
                        pixels: size.conv_pixels(),
                        mean: &self.norm0.mean,
                        sums: sums_of,
                    };
                    // SAFETY: the parts add to sums of different planes.
                    unsafe { dispatch(self.level, kernel) };
                });
                sums.flush();
            }
            sums
        });
        let sums = Sums::total(sums);
        write_norm(params, &plan.norm0, &plan.identity(), &self.norm0, &sums);

        let (norm, count) = (&self.norm0, self.n * size.conv_pixels());
        let back = coefficients(self.frozen, Some(&norm.scale), &sums.d, &sums.dx, &norm.inv, count);
        let weights = WeightSums::stem(groups.count(), &plan.conv0);
        let images = groups.map(workers, |group, images, crew| {
            let mut sum = weights.group(group);
            let conv = Buffer::new(conv_stride + MAX_PIXELS * LANES);
            let mut gradients = Vec::new();
            for image in images {
                unpooled(image, &conv, crew);
                let (d, x) = (conv.ptr(), self.conv0.ptr().at(image * conv_stride));
                let back = back.back(d, x, size.conv_pixels() * LANES, &norm.mean);
                let padded = self.padded.ptr().at(image * size.padded());
                crew.split(planes, 1, |_, from, to| {
                    let (planes, pixels) = ((from, to), size.conv_pixels());
                    // SAFETY: the parts write different planes, and sums of these.
                    unsafe {
                        dispatch(self.level, NormBackTo { back, planes, pixels, y: d });
                        dispatch(self.level, StemWeights { size, planes, padded, d, sum });
                    }
                });
                sum.fresh = false;
                if wants_images {
                    let padded = Buffer::zeroed(size.padded());
                    crew.split(size.padded_height(), 2, |_, from, to| {
                        let (weights, rows) = (&self.stem.backward, (from, to));
                        let kernel = StemBack { plan, size, weights, d, padded: padded.ptr(), rows };
                        // SAFETY: the parts write different rows.
                        unsafe { dispatch(self.level, kernel) };
                    });
                    let first = gradients.len();
                    gradients.resize(first + size.image(), 0.0);
                    size.crop(&padded, &mut gradients[first..]);
                }
            }
            gradients
        });
        weights.finish_stem(&plan.conv0, &mut params[plan.conv0.offset..]);
        wants_images.then(|| images.concat())
    }
}

//! Training mode: all gradients, layer by layer over the batch.

use super::buffer::Buffer;
use super::conv3::Conv3;
use super::eval_grad::Pointwise;
use super::forward_kernels::NormPool;
use super::grad_kernels::{
    BottleneckBack, BottleneckWeights, FeaturesBack, GrowBack, GrowWeights, NormBackHalo, NormBackTo,
    PooledWeights, SpreadBack, SumTargets,
};
use super::norm_grad::{Coefficients, Shared, coefficients, write_norm};
use super::reduce::{Groups, Sums, WeightSums};
use super::simd::{LANES, MAX_PIXELS, dispatch};
use super::tile::CHUNK;
use super::train::TrainState;
use super::train_batch::{BottleneckImage, NormHalo};
use super::train_norm::NormState;
use super::winograd;
use super::winograd_weights::{self, PointSums, WeightsOfSums};
use super::workers::Workers;

/// Gradients of a loss.
#[derive(Clone, Debug)]
pub(crate) struct Gradients {
    /// In the order of [`Arch::parameters`](super::Arch::parameters).
    pub params: Vec<f32>,
    /// `[n, in_channels, height, width]`, if asked for.
    pub images: Option<Vec<f32>>,
}

impl TrainState {
    /// Gradients of a loss whose gradient with respect to the pooled features is `grad`; those of the images too if
    /// `wants_images`. What a block kept is freed as soon as the block is passed.
    ///
    /// # Shapes
    ///
    /// - grad: `[n, features]`
    /// - params: memory for the gradients of the parameters, as many, whatever it holds
    ///
    /// # Panics
    ///
    /// If a length does not fit.
    pub(crate) fn backward(self, grad: &[f32], params: Vec<f32>, wants_images: bool) -> Gradients {
        let plan = &self.plan;
        assert_eq!(params.len(), plan.num_parameters, "length of the parameters");
        assert_eq!(
            grad.len(),
            self.n * plan.norm5.channels,
            "gradient of {} x {} features",
            self.n,
            plan.norm5.channels
        );
        Workers::gather(self.n, |workers| self.backward_with(workers, grad, params, wants_images))
    }

    fn backward_with(
        mut self,
        workers: &Workers,
        grad: &[f32],
        mut params: Vec<f32>,
        wants_images: bool,
    ) -> Gradients {
        let plan = &self.plan.clone();
        let last = plan.blocks.len() - 1;
        let mut shared = Shared::new(plan.blocks[last].planes);
        let mut g = self.features_back(workers, grad, &mut shared, &mut params);
        for i in (0..=last).rev() {
            for j in (0..plan.blocks[i].layers.len()).rev() {
                self.layer_back(workers, i, j, &g, &mut shared, &mut params);
                self.blocks[i].layers.pop();
            }
            if i > 0 {
                let mut before = Shared::new(plan.blocks[i - 1].planes);
                g = self.transition_back(workers, i, &g, &shared, &mut before, &mut params);
                shared = before;
                self.blocks.pop();
            }
        }
        let images = self.stem_back(workers, &g, &shared, &mut params, wants_images);
        Gradients { params, images }
    }

    /// Statistics that cover all lanes of a block: those of the norm behind it.
    pub(super) fn behind(&self, block: usize) -> &NormState {
        self.blocks[block].transition.as_ref().map_or(&self.norm5, |(norm, _)| norm)
    }

    /// Floats of an image's features in a block, and its pixels.
    pub(super) fn extent(&self, block: usize) -> (usize, usize) {
        let halo = self.blocks[block].halo;
        let pixels = halo.height * halo.width;
        (self.plan.blocks[block].planes * pixels * LANES, pixels)
    }

    /// The correction of complete gradients of a block's lanes.
    pub(super) fn complete(&self, block: usize, shared: &Shared) -> Coefficients {
        let (_, pixels) = self.extent(block);
        coefficients(self.frozen, None, &shared.d, &shared.dx, &self.behind(block).inv, self.n * pixels)
    }

    fn features_back(
        &self,
        workers: &Workers,
        grad: &[f32],
        shared: &mut Shared,
        params: &mut [f32],
    ) -> Buffer {
        let last = self.plan.blocks.len() - 1;
        let block = &self.plan.blocks[last];
        let (stride, pixels) = self.extent(last);
        let g = Buffer::new(self.n * stride + MAX_PIXELS * LANES);
        let groups = Groups::new(self.n).map(workers, |_, images, _| {
            let mut sums = Sums::new(block.planes);
            for image in images {
                let mut d = vec![0.0; block.planes * LANES];
                let grad = &grad[image * self.plan.norm5.channels..];
                for (&grad, &lane) in grad.iter().zip(&block.lanes) {
                    d[lane] = grad / pixels as f32;
                }
                let x = self.blocks[last].x.ptr().at(image * stride);
                let kernel = FeaturesBack {
                    norm: self.norm5.relu(x, pixels * LANES, block.planes),
                    mean: &self.norm5.mean,
                    d: &d,
                    pixels,
                    g: g.ptr().at(image * stride),
                    sums: SumTargets::new(&mut sums),
                };
                // SAFETY: the buffers have these sizes, and the groups write different images; so in all steps below.
                unsafe { dispatch(self.level, kernel) };
                sums.flush();
            }
            sums
        });
        let sums = Sums::total(groups);
        shared.add(&self.norm5, &sums);
        write_norm(params, &self.plan.norm5, &block.lanes, &self.norm5, &sums);
        g
    }

    fn layer_back(
        &self,
        workers: &Workers,
        i: usize,
        j: usize,
        g: &Buffer,
        shared: &mut Shared,
        params: &mut [f32],
    ) {
        let (block, layer) = (&self.plan.blocks[i], &self.plan.blocks[i].layers[j]);
        let state = &self.blocks[i].layers[j];
        let (halo, level) = (self.blocks[i].halo, self.level);
        let (mid_planes, growth_planes) = (self.plan.mid_planes, self.plan.growth_planes);
        let (stride, pixels) = self.extent(i);
        let plane = pixels * LANES;
        let groups = Groups::new(self.n);
        let identity = self.plan.identity();

        let again;
        let mid = match &state.mid {
            Some(mid) => mid,
            None => {
                again = self.bottleneck(workers, i, j);
                &again
            }
        };

        // conv2 and norm2's ReLU.
        let complete = self.complete(i, shared);
        let dz = Buffer::new(self.n * mid_planes * plane);
        let weights = WeightSums::new(groups.count(), mid_planes, 9, growth_planes);
        let made = winograd::made(level, halo, self.n, &state.conv2.backward, workers);
        let sums = groups.map(workers, |group, images, crew| {
            let mut sum = weights.group(group);
            let mut sums = Sums::new(mid_planes);
            let mut haloed = Buffer::new((mid_planes + growth_planes) * halo.plane());
            halo.clear(&mut haloed);
            let (a, dy) = (haloed.ptr(), haloed.ptr().at(mid_planes * halo.plane()));
            let conv = Conv3 {
                level,
                x: dy,
                halo,
                planes: growth_planes,
                out_planes: mid_planes,
                direct: &state.conv2.backward,
                points: winograd::points(level, halo, self.n, made.as_ref(), &state.conv2.backward),
            };
            let scratch = conv.scratch(crew.parts());
            let wins = winograd::pays(halo);
            let floats = |wins: bool, floats: usize| Buffer::new(if wins { floats } else { 0 });
            let products = floats(wins, winograd_weights::sums(mid_planes, growth_planes));
            let working = floats(wins, crew.parts() * winograd_weights::scratch(growth_planes));
            for image in images {
                let mid = mid.ptr().at(image * mid_planes * plane);
                let (g, x) = (g.ptr().at(image * stride), self.blocks[i].x.ptr().at(image * stride));
                let back = complete.back(g, x, plane, &self.behind(i).mean);
                let norm = state.norm2.relu(mid, plane, mid_planes);
                crew.split(halo.height, 1, |_, from, to| {
                    let rows = (from, to);
                    let back =
                        NormBackHalo { back, first: layer.planes, planes: growth_planes, halo, rows, y: dy };
                    // SAFETY: the parts write different rows.
                    unsafe {
                        dispatch(level, NormHalo { norm, halo, rows, y: a });
                        dispatch(level, back);
                    }
                });
                let sums_of = SumTargets::new(&mut sums);
                crew.split(mid_planes, 1, |part, from, to| {
                    let then = GrowBack {
                        a,
                        halo,
                        x: mid,
                        mean: &state.norm2.mean,
                        y: dz.ptr().at(image * mid_planes * plane),
                        plane,
                        sums: sums_of,
                    };
                    let (planes, out_planes) = ((from, to), growth_planes);
                    // SAFETY: the parts write different planes, and sums of these, and have their own scratch.
                    unsafe {
                        if wins {
                            let scratch = working.ptr().at(part * winograd_weights::scratch(out_planes));
                            let (to, fresh) = (products.ptr(), sum.fresh);
                            let kernel = PointSums { x: a, dy, halo, planes, out_planes, scratch, to, fresh };
                            dispatch(level, kernel);
                        } else {
                            dispatch(level, GrowWeights { a, dy, halo, planes, out_planes, sum });
                        }
                        conv.planes(&scratch, part, planes, then);
                    }
                });
                sum.fresh = false;
                sums.flush();
            }
            if wins {
                crew.split(mid_planes, 1, |_, from, to| {
                    let (planes, out_planes) = ((from, to), growth_planes);
                    let kernel = WeightsOfSums { from: products.ptr(), planes, out_planes, to: sum.to };
                    // SAFETY: the parts write the weights of different planes.
                    unsafe { dispatch(level, kernel) };
                });
            }
            sums
        });
        let sums = Sums::total(sums);
        weights.finish(&layer.conv2, &identity, &mut params[layer.conv2.offset..], workers);
        drop(weights);
        write_norm(params, &layer.norm2, &identity, &state.norm2, &sums);

        // norm2, conv1 and norm1's ReLU.
        let norm2 = &state.norm2;
        let mid_back =
            coefficients(self.frozen, Some(&norm2.scale), &sums.d, &sums.dx, &norm2.inv, self.n * pixels);
        let weights = WeightSums::new(groups.count(), layer.planes, 1, mid_planes);
        let sums = groups.map(workers, |group, images, crew| {
            let mut sum = weights.group(group);
            let mut sums = Sums::new(layer.planes);
            let widest = ((layer.planes + mid_planes) * (CHUNK + 1) + MAX_PIXELS) * LANES;
            let scratch = Buffer::new(crew.parts() * widest);
            for image in images {
                let x = self.blocks[i].x.ptr().at(image * stride);
                let mid_at = image * mid_planes * plane;
                let sums_of = SumTargets::new(&mut sums);
                crew.split(layer.planes, 1, |part, from, to| {
                    let scratch = scratch.ptr().at(part * widest);
                    let kernel = BottleneckWeights {
                        norm: state.norm1.relu(x, plane, layer.planes),
                        back: mid_back.back(dz.ptr().at(mid_at), mid.ptr().at(mid_at), plane, &norm2.mean),
                        mid_planes,
                        weights: &state.conv1.backward,
                        scratch,
                        pixels,
                        range: (from, to),
                        sum,
                        then: BottleneckBack {
                            a: scratch,
                            first: 0,
                            x,
                            plane,
                            mean: &state.norm1.mean,
                            scale: &state.norm1.scale,
                            y: g.ptr().at(image * stride),
                            sums: sums_of,
                        },
                    };
                    // SAFETY: the parts write different planes, and sums of these.
                    unsafe { dispatch(level, kernel) };
                });
                sum.fresh = false;
                sums.flush();
            }
            sums
        });
        let sums = Sums::total(sums);
        weights.finish(&layer.conv1, &block.lanes, &mut params[layer.conv1.offset..], workers);
        shared.add(&state.norm1, &sums);
        write_norm(params, &layer.norm1, &block.lanes, &state.norm1, &sums);
    }

    /// conv1's output of a layer that did not keep it.
    fn bottleneck(&self, workers: &Workers, i: usize, j: usize) -> Buffer {
        let (layer, state) = (&self.plan.blocks[i].layers[j], &self.blocks[i].layers[j]);
        let (stride, pixels) = self.extent(i);
        let (out_planes, mid_stride) = (self.plan.mid_planes, self.plan.mid_planes * pixels * LANES);
        let mid = Buffer::new(self.n * mid_stride);
        workers.map(self.n, |image, crew| {
            let x = self.blocks[i].x.ptr().at(image * stride);
            let kernel = BottleneckImage {
                level: self.level,
                norm: state.norm1.relu(x, pixels * LANES, layer.planes),
                weights: &state.conv1,
                pixels,
                out_planes,
                y: mid.ptr().at(image * mid_stride),
            };
            // SAFETY: each image's planes lie in the buffers.
            unsafe { kernel.run(crew) }
        });
        mid
    }

    /// From the gradient of block `i`'s first planes to that of all planes of the block before.
    fn transition_back(
        &self,
        workers: &Workers,
        i: usize,
        g: &Buffer,
        shared: &Shared,
        before: &mut Shared,
        params: &mut [f32],
    ) -> Buffer {
        let plan = &self.plan;
        let (block, previous) = (&plan.blocks[i], &plan.blocks[i - 1]);
        let transition = previous.transition.as_ref().expect("a transition between two blocks");
        let (state, conv) = self.blocks[i - 1].transition.as_ref().expect("a transition between two blocks");
        let halo = self.blocks[i - 1].halo;
        let ((stride_out, pixels_out), (stride, pixels)) = (self.extent(i), self.extent(i - 1));
        let complete = self.complete(i, shared);
        let mut y = Buffer::new(self.n * stride + MAX_PIXELS * LANES);
        if halo.height % 2 == 1 || halo.width % 2 == 1 {
            // A last odd row or column has no part in the average.
            y.fill(0.0);
        }
        let groups = Groups::new(self.n);
        let weights = WeightSums::new(groups.count(), previous.planes, 1, block.first_planes);
        let sums = groups.map(workers, |group, images, crew| {
            let mut sum = weights.group(group);
            let mut sums = Sums::new(previous.planes);
            let dy = Buffer::new((block.first_planes * pixels_out + MAX_PIXELS) * LANES);
            let pooled = Buffer::new(previous.planes * pixels_out * LANES);
            for image in images {
                let x = self.blocks[i - 1].x.ptr().at(image * stride);
                let x_out = self.blocks[i].x.ptr().at(image * stride_out);
                let back = complete.back(
                    g.ptr().at(image * stride_out),
                    x_out,
                    pixels_out * LANES,
                    &self.behind(i).mean,
                );
                let outs_of = block.first_planes;
                crew.split(outs_of, 1, |_, from, to| {
                    let planes = (from, to);
                    // SAFETY: the parts write different planes.
                    unsafe {
                        dispatch(self.level, NormBackTo { back, planes, pixels: pixels_out, y: dy.ptr() })
                    }
                });
                let norm = state.relu(x, pixels * LANES, previous.planes);
                let sums_of = SumTargets::new(&mut sums);
                crew.split(previous.planes, 1, |_, from, to| {
                    let planes = (from, to);
                    let weights = PooledWeights {
                        pool: NormPool { norm, halo, y: pooled.ptr() },
                        dy: dy.ptr(),
                        pixels: pixels_out,
                        planes,
                        out_planes: outs_of,
                        sum,
                    };
                    let kernel = Pointwise {
                        x: dy.ptr(),
                        plane: pixels_out * LANES,
                        planes: outs_of,
                        weights: &conv.backward,
                        outs: planes,
                        range: (0, pixels_out),
                        rounded: None,
                        then: SpreadBack {
                            norm,
                            halo,
                            mean: &state.mean,
                            y: y.ptr().at(image * stride),
                            sums: sums_of,
                        },
                    };
                    // SAFETY: the parts write different planes, and sums of these.
                    unsafe {
                        dispatch(self.level, weights);
                        dispatch(self.level, kernel);
                    }
                });
                sum.fresh = false;
                sums.flush();
            }
            sums
        });
        let sums = Sums::total(sums);
        weights.finish(&transition.conv, &previous.lanes, &mut params[transition.conv.offset..], workers);
        before.add(state, &sums);
        write_norm(params, &transition.norm, &previous.lanes, state, &sums);
        y
    }
}

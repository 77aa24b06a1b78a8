//! Training mode: all gradients, layer by layer over the batch.

use super::arch::Norm;
use super::buffer::{Buffer, Ptr};
use super::eval_grad::Pointwise;
use super::forward_kernels::{Conv3, NormPool};
use super::grad_kernels::{
    BottleneckBack, BottleneckWeights, FeaturesBack, GrowBack, GrowWeights, NormBackHalo, NormBackTo,
    PooledWeights, SpreadBack, StemSums, SumTargets,
};
use super::plane::NormBack;
use super::reduce::{Groups, Sums, WeightSums};
use super::simd::{LANES, MAX_PIXELS, dispatch};
use super::stem::{StemBack, StemWeights, Unpool};
use super::tile::CHUNK;
use super::train::{NormHalo, NormState, TrainState};

/// Gradients of a loss.
#[derive(Clone, Debug)]
pub(crate) struct Gradients {
    /// In the order of [`Arch::parameters`](super::Arch::parameters).
    pub params: Vec<f32>,
    /// `[n, in_channels, height, width]`, if asked for.
    pub images: Option<Vec<f32>>,
}

/// A batch norm's share in the gradient of its input, a lane: see [`NormBack`].
struct Coefficients {
    c1: Vec<f32>,
    c2: Vec<f32>,
    c3: Vec<f32>,
}

impl Coefficients {
    fn back<'a>(&'a self, d: Ptr, x: Ptr, plane: usize, mean: &'a [f32]) -> NormBack<'a> {
        NormBack { d, x, plane, c1: &self.c1, c2: &self.c2, c3: &self.c3, mean }
    }
}

/// What all norms over a block's features add to the gradient of a lane through the batch statistics. They share these
/// statistics, so it is applied once, when the lane's gradient is complete.
struct Shared {
    d: Vec<f64>,
    dx: Vec<f64>,
}

impl Shared {
    fn new(planes: usize) -> Self {
        Shared { d: vec![0.0; planes * LANES], dx: vec![0.0; planes * LANES] }
    }

    fn add(&mut self, norm: &NormState, sums: &Sums) {
        for (lane, &scale) in norm.scale.iter().enumerate() {
            self.d[lane] += f64::from(scale) * sums.d[lane];
            self.dx[lane] += f64::from(scale) * sums.dx[lane];
        }
    }
}

/// The norm's own factor comes with `scale`; where the incoming gradient already has it, `scale` is None.
fn coefficients(
    frozen: bool,
    scale: Option<&[f32]>,
    d: &[f64],
    dx: &[f64],
    inv: &[f32],
    count: usize,
) -> Coefficients {
    let lanes = 0..inv.len();
    let scale = |lane: usize| scale.map_or(1.0, |s| f64::from(s[lane]));
    let batch = if frozen { 0.0 } else { -1.0 / count as f64 };
    Coefficients {
        c1: lanes.clone().map(|l| scale(l) as f32).collect(),
        c2: lanes.clone().map(|l| (batch * scale(l) * d[l]) as f32).collect(),
        c3: lanes.map(|l| (batch * scale(l) * dx[l] * f64::from(inv[l]).powi(2)) as f32).collect(),
    }
}

fn write_norm(params: &mut [f32], norm: &Norm, lanes: &[usize], state: &NormState, sums: &Sums) {
    for (c, &lane) in lanes.iter().enumerate().take(norm.channels) {
        params[norm.gamma + c] = (sums.dx[lane] * f64::from(state.inv[lane])) as f32;
        params[norm.beta + c] = sums.d[lane] as f32;
    }
}

impl TrainState {
    /// Gradients of a loss whose gradient with respect to the pooled features is `grad`; those of the images too if
    /// `wants_images`. May be called more than once.
    ///
    /// # Shapes
    ///
    /// - grad: `[n, features]`
    ///
    /// # Panics
    ///
    /// If `grad` does not fit the batch.
    pub(crate) fn backward(&self, grad: &[f32], wants_images: bool) -> Gradients {
        let plan = &self.plan;
        assert_eq!(
            grad.len(),
            self.n * plan.norm5.channels,
            "gradient of {} x {} features",
            self.n,
            plan.norm5.channels
        );
        let mut params = vec![0.0; plan.num_parameters];
        let last = plan.blocks.len() - 1;
        let mut shared = Shared::new(plan.blocks[last].planes);
        let mut g = self.features_back(grad, &mut shared, &mut params);
        for i in (0..=last).rev() {
            for j in (0..plan.blocks[i].layers.len()).rev() {
                self.layer_back(i, j, &g, &mut shared, &mut params);
            }
            if i > 0 {
                let mut before = Shared::new(plan.blocks[i - 1].planes);
                g = self.transition_back(i, &g, &shared, &mut before, &mut params);
                shared = before;
            }
        }
        let images = self.stem_back(&g, &shared, &mut params, wants_images);
        Gradients { params, images }
    }

    /// Statistics that cover all lanes of a block: those of the norm behind it.
    fn behind(&self, block: usize) -> &NormState {
        self.blocks[block].transition.as_ref().map_or(&self.norm5, |(norm, _)| norm)
    }

    /// Floats of an image's features in a block, and its pixels.
    fn extent(&self, block: usize) -> (usize, usize) {
        let halo = self.blocks[block].halo;
        let pixels = halo.height * halo.width;
        (self.plan.blocks[block].planes * pixels * LANES, pixels)
    }

    /// The correction of complete gradients of a block's lanes.
    fn complete(&self, block: usize, shared: &Shared) -> Coefficients {
        let (_, pixels) = self.extent(block);
        coefficients(self.frozen, None, &shared.d, &shared.dx, &self.behind(block).inv, self.n * pixels)
    }

    fn features_back(&self, grad: &[f32], shared: &mut Shared, params: &mut [f32]) -> Buffer {
        let last = self.plan.blocks.len() - 1;
        let block = &self.plan.blocks[last];
        let (stride, pixels) = self.extent(last);
        let g = Buffer::new(self.n * stride + MAX_PIXELS * LANES);
        let groups = Groups::new(self.n).map(|_, images| {
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

    fn layer_back(&self, i: usize, j: usize, g: &Buffer, shared: &mut Shared, params: &mut [f32]) {
        let (block, layer) = (&self.plan.blocks[i], &self.plan.blocks[i].layers[j]);
        let state = &self.blocks[i].layers[j];
        let (halo, level) = (self.blocks[i].halo, self.level);
        let (mid_planes, growth_planes) = (self.plan.mid_planes, self.plan.growth_planes);
        let (stride, pixels) = self.extent(i);
        let plane = pixels * LANES;
        let groups = Groups::new(self.n);
        let identity = self.plan.identity();

        // conv2 and norm2's ReLU.
        let complete = self.complete(i, shared);
        let dz = Buffer::new(self.n * mid_planes * plane);
        let weights = WeightSums::new(groups.count(), mid_planes, 9, growth_planes);
        let sums = groups.map(|group, images| {
            let mut sum = weights.group(group);
            let mut sums = Sums::new(mid_planes);
            let mut haloed = Buffer::new((mid_planes + growth_planes) * halo.plane());
            halo.clear(&mut haloed);
            let (a, dy) = (haloed.ptr(), haloed.ptr().at(mid_planes * halo.plane()));
            for image in images {
                let mid = state.mid.ptr().at(image * mid_planes * plane);
                let (g, x) = (g.ptr().at(image * stride), self.blocks[i].x.ptr().at(image * stride));
                let back = complete.back(g, x, plane, &self.behind(i).mean);
                let kernel = Conv3 {
                    x: dy,
                    halo,
                    planes: growth_planes,
                    weights: &state.conv2.backward,
                    out_planes: mid_planes,
                    range: (0, halo.height * halo.width),
                    then: GrowBack {
                        a,
                        halo,
                        x: mid,
                        mean: &state.norm2.mean,
                        y: dz.ptr().at(image * mid_planes * plane),
                        plane,
                        sums: SumTargets::new(&mut sums),
                    },
                };
                // SAFETY: as above.
                unsafe {
                    dispatch(level, NormHalo { norm: state.norm2.relu(mid, plane, mid_planes), halo, y: a });
                    dispatch(
                        level,
                        NormBackHalo { back, first: layer.planes, planes: growth_planes, halo, y: dy },
                    );
                    dispatch(
                        level,
                        GrowWeights { a, dy, halo, in_planes: mid_planes, out_planes: growth_planes, sum },
                    );
                    dispatch(level, kernel);
                }
                sum.fresh = false;
                sums.flush();
            }
            sums
        });
        let sums = Sums::total(sums);
        weights.finish(&layer.conv2, &identity, &mut params[layer.conv2.offset..]);
        drop(weights);
        write_norm(params, &layer.norm2, &identity, &state.norm2, &sums);

        // norm2, conv1 and norm1's ReLU.
        let norm2 = &state.norm2;
        let mid_back =
            coefficients(self.frozen, Some(&norm2.scale), &sums.d, &sums.dx, &norm2.inv, self.n * pixels);
        let weights = WeightSums::new(groups.count(), layer.planes, 1, mid_planes);
        let sums = groups.map(|group, images| {
            let mut sum = weights.group(group);
            let mut sums = Sums::new(layer.planes);
            let scratch = Buffer::new(((layer.planes + mid_planes) * (CHUNK + 1) + MAX_PIXELS) * LANES);
            for image in images {
                let x = self.blocks[i].x.ptr().at(image * stride);
                let mid_at = image * mid_planes * plane;
                let kernel = BottleneckWeights {
                    norm: state.norm1.relu(x, plane, layer.planes),
                    back: mid_back.back(dz.ptr().at(mid_at), state.mid.ptr().at(mid_at), plane, &norm2.mean),
                    mid_planes,
                    weights: &state.conv1.backward,
                    scratch: scratch.ptr(),
                    pixels,
                    sum,
                    then: BottleneckBack {
                        a: scratch.ptr(),
                        first: 0,
                        x,
                        plane,
                        mean: &state.norm1.mean,
                        scale: &state.norm1.scale,
                        y: g.ptr().at(image * stride),
                        sums: SumTargets::new(&mut sums),
                    },
                };
                // SAFETY: as above.
                unsafe { dispatch(level, kernel) };
                sum.fresh = false;
                sums.flush();
            }
            sums
        });
        let sums = Sums::total(sums);
        weights.finish(&layer.conv1, &block.lanes, &mut params[layer.conv1.offset..]);
        shared.add(&state.norm1, &sums);
        write_norm(params, &layer.norm1, &block.lanes, &state.norm1, &sums);
    }

    /// From the gradient of block `i`'s first planes to that of all planes of the block before.
    fn transition_back(
        &self,
        i: usize,
        g: &Buffer,
        shared: &Shared,
        before: &mut Shared,
        params: &mut [f32],
    ) -> Buffer {
        let plan = &self.plan;
        let (block, previous) = (&plan.blocks[i], &plan.blocks[i - 1]);
        let transition = previous.transition.as_ref().expect("a transition between two blocks");
        let (norm, conv) = self.blocks[i - 1].transition.as_ref().expect("a transition between two blocks");
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
        let sums = groups.map(|group, images| {
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
                let kernel = Pointwise {
                    x: dy.ptr(),
                    plane: pixels_out * LANES,
                    planes: block.first_planes,
                    weights: &conv.backward,
                    out_planes: previous.planes,
                    range: (0, pixels_out),
                    then: SpreadBack {
                        norm: norm.relu(x, pixels * LANES, previous.planes),
                        halo,
                        mean: &norm.mean,
                        y: y.ptr().at(image * stride),
                        sums: SumTargets::new(&mut sums),
                    },
                };
                let pool =
                    NormPool { norm: norm.relu(x, pixels * LANES, previous.planes), halo, y: pooled.ptr() };
                // SAFETY: as above.
                unsafe {
                    let (planes, pixels) = (block.first_planes, pixels_out);
                    dispatch(self.level, NormBackTo { back, planes, pixels, y: dy.ptr() });
                    dispatch(
                        self.level,
                        PooledWeights { pool, dy: dy.ptr(), pixels, out_planes: planes, sum },
                    );
                    dispatch(self.level, kernel);
                }
                sum.fresh = false;
                sums.flush();
            }
            sums
        });
        let sums = Sums::total(sums);
        weights.finish(&transition.conv, &previous.lanes, &mut params[transition.conv.offset..]);
        before.add(norm, &sums);
        write_norm(params, &transition.norm, &previous.lanes, norm, &sums);
        y
    }

    fn stem_back(
        &self,
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
        let unpooled = |image: usize, conv: &Buffer| {
            let x = self.blocks[0].x.ptr().at(image * stride);
            let back = complete.back(g.ptr().at(image * stride), x, pixels * LANES, &self.behind(0).mean);
            let d = Buffer::new(planes * pixels * LANES);
            // SAFETY: as above.
            unsafe {
                dispatch(self.level, NormBackTo { back, planes, pixels, y: d.ptr() });
                let winners = self.winners.ptr().at(image * planes * pixels * LANES / 4);
                let rows = (0, size.conv_height);
                dispatch(self.level, Unpool { size, planes, d: d.ptr(), winners, rows, conv: conv.ptr() });
            }
        };
        let groups = Groups::new(self.n);
        let sums = groups.map(|_, images| {
            let mut sums = Sums::new(planes);
            let conv = Buffer::new(conv_stride);
            for image in images {
                unpooled(image, &conv);
                let kernel = StemSums {
                    d: conv.ptr(),
                    x: self.conv0.ptr().at(image * conv_stride),
                    planes,
                    pixels: size.conv_pixels(),
                    mean: &self.norm0.mean,
                    sums: SumTargets::new(&mut sums),
                };
                // SAFETY: as above.
                unsafe { dispatch(self.level, kernel) };
                sums.flush();
            }
            sums
        });
        let sums = Sums::total(sums);
        write_norm(params, &plan.norm0, &plan.identity(), &self.norm0, &sums);

        let (norm, count) = (&self.norm0, self.n * size.conv_pixels());
        let back = coefficients(self.frozen, Some(&norm.scale), &sums.d, &sums.dx, &norm.inv, count);
        let weights = WeightSums::stem(groups.count(), &plan.conv0);
        let images = groups.map(|group, images| {
            let mut sum = weights.group(group);
            let conv = Buffer::new(conv_stride + MAX_PIXELS * LANES);
            let mut gradients = Vec::new();
            for image in images {
                unpooled(image, &conv);
                let x = self.conv0.ptr().at(image * conv_stride);
                let back = back.back(conv.ptr(), x, size.conv_pixels() * LANES, &norm.mean);
                let padded = self.padded.ptr().at(image * size.padded());
                // SAFETY: as above.
                unsafe {
                    let d = conv.ptr();
                    dispatch(self.level, NormBackTo { back, planes, pixels: size.conv_pixels(), y: d });
                    dispatch(self.level, StemWeights { size, planes, padded, d, sum });
                    sum.fresh = false;
                    if wants_images {
                        let padded = Buffer::zeroed(size.padded());
                        let weights = &self.stem.backward;
                        let rows = (0, size.padded_height());
                        dispatch(self.level, StemBack { plan, size, weights, d, padded: padded.ptr(), rows });
                        let first = gradients.len();
                        gradients.resize(first + size.image(), 0.0);
                        size.crop(&padded, &mut gradients[first..]);
                    }
                }
            }
            gradients
        });
        weights.finish_stem(&plan.conv0, &mut params[plan.conv0.offset..]);
        wants_images.then(|| images.concat())
    }
}

//! Weights in the order in which the register tiles read them.

use super::arch::{Conv, Norm, Plan, planes};
use super::buffer::Buffer;
use super::simd::{LANES, Level};

/// Scale and shift of every lane, zero where there is no channel.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

/// Spreads a vector over its lanes, zero elsewhere.
pub(super) fn spread(values: &[f32], lanes: &[usize]) -> Vec<f32> {
    let mut out = vec![0.0; planes(lanes[values.len() - 1] + 1) * LANES];
    for (&value, &lane) in values.iter().zip(lanes) {
        out[lane] = value;
    }
    out
}

/// What a norm does with its running statistics, a channel.
pub(super) fn running_affine(norm: &Norm, params: &[f32], stats: &[f32], eps: f32) -> Affine {
    let mut affine = Affine { scale: Vec::new(), shift: Vec::new() };
    for c in 0..norm.channels {
        let scale = params[norm.gamma + c] / (stats[norm.var + c] + eps).sqrt();
        affine.scale.push(scale);
        affine.shift.push(params[norm.beta + c] - stats[norm.mean + c] * scale);
    }
    affine
}

impl Affine {
    pub(super) fn spread(&self, lanes: &[usize]) -> Affine {
        Affine { scale: spread(&self.scale, lanes), shift: spread(&self.shift, lanes) }
    }
}

/// `[in][out]`, or the other way round, of one pair of planes.
type Block = [[f32; LANES]; LANES];

fn block(packed: &mut Buffer, index: usize) -> &mut Block {
    let (lines, _) = packed.as_chunks_mut::<LANES>();
    let (blocks, _) = lines.as_chunks_mut::<LANES>();
    &mut blocks[index]
}

/// Packs a 1x1 convolution between two planes from its rows, one an output channel, that begin with the plane's inputs.
fn pointwise<'a>(rows: impl Iterator<Item = &'a [f32]>, forward: &mut Block, backward: &mut Block) {
    for (line, row) in backward.iter_mut().zip(rows) {
        line.copy_from_slice(&row[..LANES]);
    }
    for (i, line) in forward.iter_mut().enumerate() {
        for (to, row) in line.iter_mut().zip(&*backward) {
            *to = row[i];
        }
    }
}

/// Multiplies the backward weights of two planes by the factors of both sides.
fn fold(backward: &mut Block, out: Option<&[f32]>, inp: Option<&[f32]>) {
    if out.is_none() && inp.is_none() {
        return;
    }
    for (o, line) in backward.iter_mut().enumerate() {
        let scale = out.map_or(1.0, |out| out[o]);
        for (i, weight) in line.iter_mut().enumerate() {
            *weight = *weight * scale * inp.map_or(1.0, |inp| inp[i]);
        }
    }
}

/// A convolution's weights, packed for both directions; in bf16 as [`super::bf16`] says.
pub(super) struct Weights {
    /// `[out plane][in plane][tap][in][out]`.
    pub forward: Buffer,
    /// `[in plane][out plane][tap, flipped][out][in]`.
    pub backward: Buffer,
}

/// Packs `[unit][32 in][32 out]` weights for [`Bf16::tile`](super::bf16::Bf16::tile), in half of the memory.
pub(super) fn halves(weights: &[f32]) -> Buffer {
    let mut packed = Buffer::new(weights.len() / 2);
    for (unit, packed) in weights.chunks_exact(LANES * LANES).zip(packed.chunks_exact_mut(LANES * LANES / 2))
    {
        for (index, packed) in packed.iter_mut().enumerate() {
            let (out, pair) = (index / 256 * 16 + index % 16, index / 16 % 16);
            let [low, high] =
                [0, 1].map(|i| half::bf16::from_f32(unit[(2 * pair + i) * LANES + out]).to_bits());
            *packed = f32::from_bits(u32::from(high) << 16 | u32::from(low));
        }
    }
    packed
}

/// Factors of a convolution's outputs and inputs that are folded into its backward weights. The forward ones stay as they
/// are: a rounded product there is a rounding error of every activation.
#[derive(Clone, Copy, Default)]
pub(super) struct Folded<'a> {
    pub out: Option<&'a [f32]>,
    pub inp: Option<&'a [f32]>,
}

impl Weights {
    /// Packs a 1x1 or 3x3 convolution whose channels lie in the given lanes.
    pub(super) fn pack(
        params: &[f32],
        conv: &Conv,
        lanes_out: &[usize],
        lanes_in: &[usize],
        folded: Folded,
    ) -> Weights {
        let (lanes_out, lanes_in) = (&lanes_out[..conv.out], &lanes_in[..conv.inp]);
        let (out_planes, in_planes) =
            (planes(lanes_out[conv.out - 1] + 1), planes(lanes_in[conv.inp - 1] + 1));
        let taps = conv.taps;
        let size = out_planes * in_planes * taps * LANES * LANES;
        // Where every lane is a channel's, nothing is left as it was.
        let whole = (conv.out, conv.inp) == (out_planes * LANES, in_planes * LANES);
        let empty = if whole { Buffer::new } else { Buffer::zeroed };
        let (mut forward, mut backward) = (empty(size), empty(size));
        let weights = &params[conv.offset..][..conv.len()];
        // Block by block, as what is written for one output channel lies far apart.
        for (first, outs) in (0..conv.out).step_by(LANES).zip(lanes_out.chunks(LANES)) {
            for (start, inputs) in (0..conv.inp).step_by(LANES).zip(lanes_in.chunks(LANES)) {
                if whole && taps == 1 {
                    let (op, ip) = (first / LANES, start / LANES);
                    let rows = weights[first * conv.inp + start..].chunks(conv.inp);
                    let forward = block(&mut forward, op * in_planes + ip);
                    let backward = block(&mut backward, ip * out_planes + op);
                    pointwise(rows, forward, backward);
                    fold(backward, folded.out.map(|out| &out[first..]), folded.inp.map(|inp| &inp[start..]));
                    continue;
                }
                for (o, &lo) in (first..).zip(outs) {
                    let scale = folded.out.map_or(1.0, |s| s[o]);
                    let kernels = weights[(o * conv.inp + start) * taps..].chunks_exact(taps);
                    for ((i, &li), kernel) in (start..).zip(inputs).zip(kernels) {
                        let (op, ip) = (lo / LANES, li / LANES);
                        let (lo, li) = (lo % LANES, li % LANES);
                        let back = folded.inp.map_or(1.0, |s| s[i]);
                        for (t, &w) in kernel.iter().enumerate() {
                            forward[(((op * in_planes + ip) * taps + t) * LANES + li) * LANES + lo] = w;
                            let tap = taps - 1 - t;
                            backward[(((ip * out_planes + op) * taps + tap) * LANES + lo) * LANES + li] =
                                w * scale * back;
                        }
                    }
                }
            }
        }
        Weights { forward, backward }
    }

    /// As a level's convolutions read them.
    pub(super) fn at(self, level: Level) -> Weights {
        if !level.is_bf16() {
            return self;
        }
        Weights { forward: halves(&self.forward), backward: halves(&self.backward) }
    }

    /// Packs the stem: forward `[out plane][in, row][7][out]`, backward `[plane of (in, row, 8)][out plane][out][..]`.
    pub(super) fn pack_stem(params: &[f32], plan: &Plan, inp_scale: Option<&[f32]>) -> Weights {
        let conv = &plan.conv0;
        let rows = conv.inp * 7;
        let mut forward = Buffer::zeroed(plan.stem_planes * rows * 7 * LANES);
        let mut backward = Buffer::zeroed(planes(rows * 8) * plan.stem_planes * LANES * LANES);
        for (index, &w) in params[conv.offset..][..conv.len()].iter().enumerate() {
            let (o, row, column) = (index / (rows * 7), index / 7 % rows, index % 7);
            let (op, lane) = (o / LANES, o % LANES);
            let scale = inp_scale.map_or(1.0, |s| s[o]);
            forward[((op * rows + row) * 7 + column) * LANES + lane] = w;
            let n = row * 8 + column;
            backward[((n / LANES * plan.stem_planes + op) * LANES + lane) * LANES + n % LANES] = w * scale;
        }
        Weights { forward, backward }
    }
}

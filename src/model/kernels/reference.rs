//! A DenseNet in float64, with plain loops and a tape: what the kernels are held against.

use super::Arch;

/// Uniform numbers in [0, 1) from a seed.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
    pub(crate) fn vector(&mut self, len: usize, low: f32, high: f32) -> Vec<f32> {
        (0..len).map(|_| low + (high - low) * self.uniform()).collect()
    }
}

/// Random parameters and running statistics that keep activations near 1.
pub(crate) fn weights(arch: &Arch, random: &mut Random) -> (Vec<f32>, Vec<f32>) {
    let mut params = Vec::new();
    for slot in arch.parameters() {
        let fan: usize = slot.shape[1..].iter().product();
        let (low, high) = match slot.shape.len() {
            1 if slot.name.ends_with("bias") => (-0.4, 0.4),
            1 => (0.5, 1.5),
            _ => (-(6.0 / fan as f32).sqrt(), (6.0 / fan as f32).sqrt()),
        };
        params.extend(random.vector(slot.len(), low, high));
    }
    let mut stats = Vec::new();
    for slot in arch.statistics() {
        let (low, high) = if slot.name.ends_with("mean") { (-0.5, 0.5) } else { (0.5, 2.0) };
        stats.extend(random.vector(slot.len(), low, high));
    }
    (params, stats)
}

#[derive(Clone)]
struct Tensor {
    shape: [usize; 4],
    data: Vec<f64>,
    grad: Vec<f64>,
}

enum Op {
    Input,
    Conv { x: usize, weight: usize, out: usize, side: usize, stride: usize, pad: usize },
    Norm { x: usize, gamma: usize, beta: usize, mean: Vec<f64>, inv: Vec<f64>, batch: bool },
    Relu { x: usize },
    MaxPool { x: usize, winners: Vec<usize> },
    AveragePool { x: usize },
    Concat { parts: Vec<usize> },
}

/// One pass of the reference.
pub(crate) struct Reference {
    params: Vec<f64>,
    stats: Vec<f64>,
    batch: bool,
    eps: f64,
    tape: Vec<(Op, Tensor)>,
    /// Statistics of the batch, unbiased variance.
    pub statistics: Vec<f64>,
    /// `[n, features]`
    pub pooled: Vec<f64>,
    /// How near a ReLU or a max-pool is to deciding otherwise.
    pub margin: f64,
    pub param_grad: Vec<f64>,
    pub image_grad: Vec<f64>,
    next: (usize, usize),
}

impl Reference {
    pub(crate) fn new(
        arch: &Arch,
        params: &[f64],
        stats: &[f64],
        batch: bool,
        images: &[f64],
        [n, h, w]: [usize; 3],
    ) -> Self {
        let mut net = Reference {
            params: params.to_vec(),
            stats: stats.to_vec(),
            batch,
            eps: f64::from(arch.bn_eps),
            tape: Vec::new(),
            statistics: stats.to_vec(),
            pooled: Vec::new(),
            margin: f64::INFINITY,
            param_grad: vec![0.0; params.len()],
            image_grad: Vec::new(),
            next: (0, 0),
        };
        let x = net.push(Op::Input, [n, arch.in_channels, h, w], images.to_vec());
        let x = net.conv(x, arch.num_init_features, 7, 2, 3);
        let x = net.norm_relu(x);
        let mut x = net.max_pool(x);
        let growth = arch.growth_rate;
        for (i, &layers) in arch.block_config.iter().enumerate() {
            let mut parts = vec![x];
            for _ in 0..layers {
                let all = net.concat(&parts);
                let a = net.norm_relu(all);
                let b = net.conv(a, arch.bn_size * growth, 1, 1, 0);
                let a = net.norm_relu(b);
                parts.push(net.conv(a, growth, 3, 1, 1));
            }
            x = net.concat(&parts);
            if i + 1 < arch.block_config.len() {
                let a = net.norm_relu(x);
                let channels = net.tape[x].1.shape[1] / 2;
                let b = net.conv(a, channels, 1, 1, 0);
                x = net.average_pool(b);
            }
        }
        let x = net.norm_relu(x);
        let t = &net.tape[x].1;
        let pixels = t.shape[2] * t.shape[3];
        net.pooled = t.data.chunks(pixels).map(|c| c.iter().sum::<f64>() / pixels as f64).collect();
        net
    }

    fn push(&mut self, op: Op, shape: [usize; 4], data: Vec<f64>) -> usize {
        let grad = vec![0.0; data.len()];
        assert_eq!(shape.iter().product::<usize>(), data.len());
        self.tape.push((op, Tensor { shape, data, grad }));
        self.tape.len() - 1
    }

    fn conv(&mut self, x: usize, out: usize, side: usize, stride: usize, pad: usize) -> usize {
        let t = &self.tape[x].1;
        let [n, c, h, w] = t.shape;
        let weight = self.next.0;
        self.next.0 += out * c * side * side;
        let (oh, ow) = ((h + 2 * pad - side) / stride + 1, (w + 2 * pad - side) / stride + 1);
        let mut y = vec![0.0; n * out * oh * ow];
        each_tap([n, c, h, w], [out, oh, ow], side, stride, pad, |xi, wi, yi| {
            y[yi] += t.data[xi] * self.params[weight + wi]
        });
        self.push(Op::Conv { x, weight, out, side, stride, pad }, [n, out, oh, ow], y)
    }

    fn norm_relu(&mut self, x: usize) -> usize {
        let t = &self.tape[x].1;
        let [n, c, h, w] = t.shape;
        let (gamma, beta, stat) = (self.next.0, self.next.0 + c, self.next.1);
        self.next = (self.next.0 + 2 * c, self.next.1 + 2 * c);
        let count = (n * h * w) as f64;
        let (mut mean, mut inv) = (vec![0.0; c], vec![0.0; c]);
        for ch in 0..c {
            let (m, v) = if self.batch {
                let values = || (0..n).flat_map(|i| &t.data[(i * c + ch) * h * w..][..h * w]);
                let m = values().sum::<f64>() / count;
                let v = values().map(|x| (x - m).powi(2)).sum::<f64>() / count;
                self.statistics[stat + ch] = m;
                self.statistics[stat + c + ch] = v * count / (count - 1.0);
                (m, v)
            } else {
                (self.stats[stat + ch], self.stats[stat + c + ch])
            };
            (mean[ch], inv[ch]) = (m, 1.0 / (v + self.eps).sqrt());
        }
        let channel = |i: usize| i / (h * w) % c;
        let norm = |(i, x): (usize, &f64)| {
            let ch = channel(i);
            (x - mean[ch]) * inv[ch] * self.params[gamma + ch] + self.params[beta + ch]
        };
        let y: Vec<f64> = t.data.iter().enumerate().map(norm).collect();
        let relu = y.iter().map(|y| y.max(0.0)).collect();
        self.margin = y.iter().fold(self.margin, |margin, y| margin.min(y.abs()));
        let batch = self.batch;
        let shape = t.shape;
        let x = self.push(Op::Norm { x, gamma, beta, mean, inv, batch }, shape, y);
        self.push(Op::Relu { x }, shape, relu)
    }

    fn max_pool(&mut self, x: usize) -> usize {
        let t = &self.tape[x].1;
        let [n, c, h, w] = t.shape;
        let (oh, ow) = ((h - 1) / 2 + 1, (w - 1) / 2 + 1);
        let (mut y, mut winners) = (Vec::new(), Vec::new());
        let mut margin = self.margin;
        for (plane, r, col) in
            (0..n * c).flat_map(|p| (0..oh).flat_map(move |r| (0..ow).map(move |c| (p, r, c))))
        {
            let (mut best, mut second, mut at) = (f64::NEG_INFINITY, f64::NEG_INFINITY, 0);
            for (kr, kc) in (0..3).flat_map(|r| (0..3).map(move |c| (r, c))) {
                let (py, px) = (2 * r + kr, 2 * col + kc);
                if py >= 1 && px >= 1 && py <= h && px <= w {
                    let i = (plane * h + py - 1) * w + px - 1;
                    if t.data[i] > best {
                        (second, best, at) = (best, t.data[i], i);
                    } else {
                        second = second.max(t.data[i]);
                    }
                }
            }
            if best > 0.0 {
                margin = margin.min(best - second);
            }
            y.push(best);
            winners.push(at);
        }
        self.margin = margin;
        self.push(Op::MaxPool { x, winners }, [n, c, oh, ow], y)
    }

    fn average_pool(&mut self, x: usize) -> usize {
        let t = &self.tape[x].1;
        let [n, c, h, w] = t.shape;
        let mut y = vec![0.0; n * c * (h / 2) * (w / 2)];
        each_quarter(t.shape, |xi, yi| y[yi] += t.data[xi] / 4.0);
        self.push(Op::AveragePool { x }, [n, c, h / 2, w / 2], y)
    }

    fn concat(&mut self, parts: &[usize]) -> usize {
        let [n, _, h, w] = self.tape[parts[0]].1.shape;
        let channels = parts.iter().map(|&p| self.tape[p].1.shape[1]).sum();
        let mut y = Vec::new();
        for i in 0..n {
            for &p in parts {
                let size = self.tape[p].1.data.len() / n;
                y.extend(&self.tape[p].1.data[i * size..][..size]);
            }
        }
        self.push(Op::Concat { parts: parts.to_vec() }, [n, channels, h, w], y)
    }

    /// Fills the gradients of the loss `sum(pooled * grad)`.
    pub(crate) fn backward(&mut self, grad: &[f64]) {
        let last = &mut self.tape.last_mut().unwrap().1;
        let pixels = last.shape[2] * last.shape[3];
        last.grad = grad.iter().flat_map(|g| std::iter::repeat_n(g / pixels as f64, pixels)).collect();
        for at in (0..self.tape.len()).rev() {
            let (before, rest) = self.tape.split_at_mut(at);
            let (op, y) = &rest[0];
            match op {
                Op::Input => self.image_grad = y.grad.clone(),
                &Op::Conv { x, weight, out, side, stride, pad } => {
                    let x = &mut before[x].1;
                    let (params, param_grad) = (&self.params, &mut self.param_grad);
                    each_tap(x.shape, [out, y.shape[2], y.shape[3]], side, stride, pad, |xi, wi, yi| {
                        x.grad[xi] += y.grad[yi] * params[weight + wi];
                        param_grad[weight + wi] += y.grad[yi] * x.data[xi];
                    });
                }
                Op::Norm { x, gamma, beta, mean, inv, batch } => {
                    let x = &mut before[*x].1;
                    let [n, c, h, w] = x.shape;
                    for ch in 0..c {
                        let indices =
                            || (0..n).flat_map(move |i| (i * c + ch) * h * w..(i * c + ch + 1) * h * w);
                        let hat = |x: f64| (x - mean[ch]) * inv[ch];
                        let sum: f64 = indices().map(|i| y.grad[i]).sum();
                        let sum_hat: f64 = indices().map(|i| y.grad[i] * hat(x.data[i])).sum();
                        self.param_grad[gamma + ch] += sum_hat;
                        self.param_grad[beta + ch] += sum;
                        let count = (n * h * w) as f64;
                        let through = if *batch { 1.0 } else { 0.0 };
                        for i in indices() {
                            let centred = y.grad[i] - through * (sum + hat(x.data[i]) * sum_hat) / count;
                            x.grad[i] += self.params[gamma + ch] * inv[ch] * centred;
                        }
                    }
                }
                Op::Relu { x } => {
                    for (i, g) in y.grad.iter().enumerate() {
                        if y.data[i] > 0.0 {
                            before[*x].1.grad[i] += g;
                        }
                    }
                }
                Op::MaxPool { x, winners } => {
                    for (&i, g) in winners.iter().zip(&y.grad) {
                        before[*x].1.grad[i] += g;
                    }
                }
                Op::AveragePool { x } => {
                    let x = &mut before[*x].1;
                    each_quarter(x.shape, |xi, yi| x.grad[xi] += y.grad[yi] / 4.0);
                }
                Op::Concat { parts } => {
                    let mut from = y.grad.chunks(y.shape[2] * y.shape[3]);
                    for (i, &p) in (0..y.shape[0]).flat_map(|i| parts.iter().map(move |p| (i, p))) {
                        let [_, c, h, w] = before[p].1.shape;
                        for to in before[p].1.grad[i * c * h * w..][..c * h * w].chunks_mut(h * w) {
                            to.iter_mut().zip(from.next().unwrap()).for_each(|(to, g)| *to += g);
                        }
                    }
                }
            }
        }
    }
}

/// Calls `f(x index, weight index, y index)` for every product of a convolution.
fn each_tap(
    [n, c, h, w]: [usize; 4],
    [out, oh, ow]: [usize; 3],
    side: usize,
    stride: usize,
    pad: usize,
    mut f: impl FnMut(usize, usize, usize),
) {
    for (i, o) in (0..n).flat_map(|i| (0..out).map(move |o| (i, o))) {
        for (ch, kr, kc) in
            (0..c).flat_map(|ch| (0..side).flat_map(move |r| (0..side).map(move |c| (ch, r, c))))
        {
            let wi = ((o * c + ch) * side + kr) * side + kc;
            for r in (0..oh).filter(|r| (pad..h + pad).contains(&(r * stride + kr))) {
                for col in (0..ow).filter(|c| (pad..w + pad).contains(&(c * stride + kc))) {
                    let xi = ((i * c + ch) * h + r * stride + kr - pad) * w + col * stride + kc - pad;
                    f(xi, wi, ((i * out + o) * oh + r) * ow + col);
                }
            }
        }
    }
}

fn each_quarter([n, c, h, w]: [usize; 4], mut f: impl FnMut(usize, usize)) {
    for (p, r, col) in
        (0..n * c).flat_map(|p| (0..h / 2 * 2).flat_map(move |r| (0..w / 2 * 2).map(move |c| (p, r, c))))
    {
        f((p * h + r) * w + col, (p * (h / 2) + r / 2) * (w / 2) + col / 2);
    }
}

pub(crate) fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// |a - b| / |b|
pub(crate) fn distance(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    let size: f64 = b.iter().map(|b| b * b).sum();
    if difference == 0.0 { 0.0 } else { (difference / size).sqrt() }
}

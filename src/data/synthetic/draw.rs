//! From parameters to an image: stroma, then epithelium, then nuclei.

use std::f32::consts::TAU;

use image::RgbImage;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt};

use super::appearance::{TissueParameters, normal};
use super::canvas::{Canvas, Dyes, Outline};
use super::noise::{Noise, mix, smooth_step};
use crate::random::{Purpose, generator};

/// Empty slide: lumen, fat and tears.
const EMPTY: Dyes = Dyes { blue: 0.03, pink: 0.05 };
/// Body of epithelial cells.
const CYTOPLASM: Dyes = Dyes { blue: 0.30, pink: 0.42 };
/// Mean radius of a plainly benign nucleus; stroma and lymphocytes keep to it in both classes.
const PLAIN_RADIUS: f32 = 0.016;

/// Draws an image of this width and height in pixels.
pub(super) fn draw(size: [u32; 2], tissue: &TissueParameters) -> RgbImage {
    let rng = &mut generator(Purpose::TISSUE, tissue.look.seed, &[]);
    let mut painter = Painter { canvas: Canvas::new(size), tissue: *tissue, fields: Fields::new(rng) };
    painter.stroma();
    painter.spindles(rng);
    painter.empty_spaces(rng);
    painter.epithelium(rng);
    painter.lymphocytes(rng);
    painter.canvas.develop(&tissue.look)
}

/// The smooth random fields of an image.
struct Fields {
    flow: Noise,
    fibre: Noise,
    gap: Noise,
    patch: Noise,
    chromatin: Noise,
    angle: f32,
    gaps: f32,
}

impl Fields {
    fn new(rng: &mut Xoshiro256PlusPlus) -> Self {
        let mut field = || Noise::new(rng.random());
        let (flow, fibre, gap, patch, chromatin) = (field(), field(), field(), field(), field());
        Self { flow, fibre, gap, patch, chromatin, angle: rng.random_range(0.0..TAU), gaps: rng.random() }
    }

    /// Coordinates along and across the fibres, which bend.
    fn along_fibres(&self, x: f32, y: f32) -> (f32, f32) {
        let (cos, sin) = (self.angle.cos(), self.angle.sin());
        let (u, v) = (x * cos + y * sin, y * cos - x * sin);
        (u, v + 0.35 * self.flow.at(u * 1.7, v * 1.7) + 0.06 * self.flow.at(u * 6.0 + 40.0, v * 6.0))
    }
}

/// A nucleus to be drawn.
struct Nucleus {
    at: (f32, f32),
    radius: f32,
    stretch: f32,
    angle: f32,
    irregularity: f32,
    /// Density of its rim.
    density: f32,
    /// How pale its middle is, 0 to 1.
    pale: f32,
}

struct Painter {
    canvas: Canvas,
    tissue: TissueParameters,
    fields: Fields,
}

impl Painter {
    fn stroma(&mut self) {
        let fields = &self.fields;
        // Fibres finer than a pixel or two would only be noise.
        let finest = 0.25 / self.canvas.pixel;
        let gaps = mix(0.36, 0.48, fields.gaps);
        self.canvas.fill(|x, y| {
            let (u, v) = fields.along_fibres(x, y);
            let fibre = fields.fibre.rough(u * 4.0, v * finest.min(38.0));
            let patch = fields.patch.rough(x * 2.5, y * 2.5);
            let pink = 0.22 + 0.62 * fibre + 0.28 * (patch - 0.5);
            let open =
                1.0 - smooth_step(gaps - 0.12, gaps, fields.gap.rough(u * 3.0 + 9.0, v * finest.min(16.0)));
            Dyes { blue: 0.07 + 0.07 * patch, pink }.towards(EMPTY, 0.85 * open)
        });
    }

    /// The thin nuclei of the stroma, laid along the fibres.
    fn spindles(&mut self, rng: &mut Xoshiro256PlusPlus) {
        let (width, height) = self.canvas.extent();
        let count = (rng.random_range(20.0..70.0) * width * height) as usize;
        for _ in 0..count {
            let at = (rng.random_range(0.0..width), rng.random_range(0.0..height));
            let step = 0.01;
            let (_, v0) = self.fields.along_fibres(at.0, at.1);
            let (_, vx) = self.fields.along_fibres(at.0 + step, at.1);
            let (_, vy) = self.fields.along_fibres(at.0, at.1 + step);
            // Fibres run where the coordinate across them does not change.
            let angle = (vx - v0).atan2(-(vy - v0)) + 0.15 * normal(rng);
            let nucleus = Nucleus {
                at,
                radius: PLAIN_RADIUS * rng.random_range(0.5..0.8),
                stretch: rng.random_range(2.5..5.0),
                angle,
                irregularity: 0.08,
                density: rng.random_range(0.8..1.2),
                pale: 0.1,
            };
            self.nucleus(&nucleus, rng);
        }
    }

    /// Fat cells and tears, in both classes; more where there are no lumens, so that neither is the paler one.
    fn empty_spaces(&mut self, rng: &mut Xoshiro256PlusPlus) {
        let (width, height) = self.canvas.extent();
        for _ in 0..rng.random_range(0..4) + (6.0 * self.tissue.gland_loss) as usize {
            let at = (rng.random_range(0.0..width), rng.random_range(0.0..height));
            let outline =
                Outline::new(at, rng.random_range(0.03..0.13), 1.2, rng.random_range(0.0..TAU), 0.12, rng);
            let rim = Dyes { blue: 0.12, pink: 0.7 };
            self.paint(&outline, 1.25, |pixel, depth, dyes| {
                let wall = outline.coverage(depth / 1.06, pixel, 0.004);
                let inside = outline.coverage(depth, pixel, 0.003);
                *dyes = dyes.towards(rim, 0.6 * wall).towards(EMPTY, inside);
            });
        }
    }

    /// Glands and solid nests. How much there is of them is no matter of class; which of the two they are is.
    fn epithelium(&mut self, rng: &mut Xoshiro256PlusPlus) {
        let (width, height) = self.canvas.extent();
        let wanted = mix(0.14, 0.46, self.tissue.look.cellularity) * width * height;
        let (mut area, mut placed) = (0.0, Vec::<Outline>::new());
        for _ in 0..80 {
            let radius = rng.random_range(0.09..0.24_f32);
            let at = (rng.random_range(-0.05..width + 0.05), rng.random_range(-0.05..height + 0.05));
            let stretch = rng.random_range(1.0..1.8);
            let apart =
                |other: &Outline| (at.0 - other.x).hypot(at.1 - other.y) > 0.85 * (radius + other.radius);
            if area >= wanted || !placed.iter().all(apart) {
                continue;
            }
            let solid = rng.random::<f32>() < self.tissue.gland_loss;
            let waviness = if solid { mix(0.10, 0.22, self.tissue.grade) } else { 0.07 };
            let outline = Outline::new(at, radius, stretch, rng.random_range(0.0..TAU), waviness, rng);
            placed.push(outline);
            let share = if solid { self.nest(&outline, rng) } else { self.gland(&outline, rng) };
            area += share * TAU / 2.0 * radius * radius;
        }
        // Single cells that have left their nests.
        let astray = self.tissue.gland_loss * rng.random_range(0.0..40.0) * width * height;
        for _ in 0..astray as usize {
            let at = (rng.random_range(0.0..width), rng.random_range(0.0..height));
            if !self.is_empty(at) {
                self.epithelial(at, rng.random_range(0.0..TAU), rng);
            }
        }
    }

    /// A ring of nuclei round a lumen; gives the share of the outline that is cells.
    fn gland(&mut self, outline: &Outline, rng: &mut Xoshiro256PlusPlus) -> f32 {
        let radius = self.tissue.nucleus_radius;
        let rows = if rng.random::<f32>() < 0.45 { 2 } else { 1 };
        // The wall holds its rows of nuclei and some cytoplasm on the lumen's side.
        let wall = (radius * (2.4 * rows as f32 + 1.6) / outline.radius).min(0.8);
        let lumen = 1.0 - wall;
        let (patch, frayed) = (self.fields.patch, rng.random_range(0.03..0.12));
        let secretion = Dyes { blue: 0.05, pink: rng.random_range(0.05..0.4) };
        self.paint(outline, 1.15, |pixel, depth, dyes| {
            let membrane = outline.coverage(depth / 1.05, pixel, 0.002);
            let inside = outline.coverage(depth, pixel, 0.002);
            *dyes = dyes.towards(Dyes { blue: 0.1, pink: 0.85 }, 0.55 * membrane).towards(CYTOPLASM, inside);
        });
        self.canvas.change((outline.x, outline.y), outline.reach(), |x, y, dyes| {
            let depth = outline.depth(x, y);
            if depth > lumen + 0.1 {
                return;
            }
            let edge = lumen + frayed * (patch.at(x * 40.0, y * 40.0) - 0.5);
            let open = 1.0 - smooth_step(edge - 0.07, edge + 0.02, depth);
            let content = EMPTY.towards(secretion, smooth_step(0.45, 0.7, patch.rough(x * 9.0, y * 9.0)));
            *dyes = dyes.towards(content, open);
        });
        for row in 0..rows {
            let depth = 1.0 - radius * (1.25 + 2.1 * row as f32) / outline.radius;
            if depth < 0.15 {
                break;
            }
            // Steps of equal length along the outline, whatever its shape.
            let (mut angle, mut end) = (rng.random_range(0.0..0.3_f32), TAU);
            end += angle - 0.6 * radius / outline.radius;
            while angle < end {
                let jitter = 1.0 + 0.02 * normal(rng);
                let (at, next) = (outline.point(angle, depth * jitter), outline.point(angle + 0.01, depth));
                let outward = (at.1 - outline.y).atan2(at.0 - outline.x);
                self.epithelial(at, outward + 0.12 * normal(rng), rng);
                let speed = (next.0 - at.0).hypot(next.1 - at.1).max(0.3 * outline.radius * 0.01) / 0.01;
                angle += radius * rng.random_range(1.75..2.15) / speed;
            }
        }
        1.0 - lumen * lumen
    }

    /// A solid heap of cells; gives the share of the outline that is cells.
    fn nest(&mut self, outline: &Outline, rng: &mut Xoshiro256PlusPlus) -> f32 {
        let body = CYTOPLASM.towards(Dyes { blue: 0.24, pink: 0.5 }, rng.random());
        let patch = self.fields.patch;
        let retracted = rng.random::<f32>() < 0.35;
        self.paint(outline, 1.25, |pixel, depth, dyes| {
            let cleft = if retracted { outline.coverage(depth / 1.07, pixel, 0.004) } else { 0.0 };
            *dyes = dyes.towards(EMPTY, 0.8 * cleft).towards(body, outline.coverage(depth, pixel, 0.006));
        });
        self.canvas.change((outline.x, outline.y), outline.reach(), |x, y, dyes| {
            let inside = well_inside(outline.depth(x, y));
            if inside > 0.0 {
                let hole = smooth_step(0.70, 0.76, patch.rough(x * 14.0 + 5.0, y * 14.0));
                *dyes = dyes.towards(EMPTY, 0.9 * hole * inside);
            }
        });
        let radius = self.tissue.nucleus_radius;
        let spacing = radius * mix(2.05, 1.75, self.tissue.grade);
        let tries = (9.0 * (outline.reach() / spacing).powi(2)) as usize;
        let mut placed: Vec<(f32, f32)> = Vec::new();
        for _ in 0..tries.min(6000) {
            let at = outline.point(rng.random_range(0.0..TAU), rng.random::<f32>().sqrt() * 0.95);
            if placed.iter().all(|other| (at.0 - other.0).hypot(at.1 - other.1) > spacing) {
                placed.push(at);
                self.epithelial(at, rng.random_range(0.0..TAU), rng);
            }
        }
        1.0
    }

    /// A nucleus of the epithelium, as even or uneven as the grade has it.
    fn epithelial(&mut self, at: (f32, f32), angle: f32, rng: &mut Xoshiro256PlusPlus) {
        let TissueParameters { grade, nucleus_radius, size_variation, irregularity, .. } = self.tissue;
        let nucleus = Nucleus {
            at,
            radius: nucleus_radius * (1.0 + size_variation * normal(rng)).clamp(0.4, 2.2),
            stretch: rng.random_range(1.15..1.55),
            angle,
            irregularity,
            density: (mix(1.0, 0.92, grade) * (1.0 + 0.5 * size_variation * normal(rng))).max(0.4),
            pale: mix(0.15, 0.55, grade) * rng.random_range(0.6..1.2),
        };
        self.nucleus(&nucleus, rng);
    }

    /// Patches of small, dark, round nuclei, in both classes.
    fn lymphocytes(&mut self, rng: &mut Xoshiro256PlusPlus) {
        let (width, height) = self.canvas.extent();
        for _ in 0..rng.random_range(0..4) {
            let at = (rng.random_range(0.0..width), rng.random_range(0.0..height));
            let spread = rng.random_range(0.04..0.14);
            for _ in 0..rng.random_range(8..60) {
                let at = (at.0 + spread * normal(rng), at.1 + spread * normal(rng));
                let nucleus = Nucleus {
                    at,
                    radius: PLAIN_RADIUS * rng.random_range(0.55..0.75),
                    stretch: 1.1,
                    angle: rng.random_range(0.0..TAU),
                    irregularity: 0.04,
                    density: rng.random_range(1.1..1.5),
                    pale: 0.05,
                };
                if !self.is_empty(at) {
                    self.nucleus(&nucleus, rng);
                }
            }
        }
    }

    /// Whether there is no tissue at this point.
    fn is_empty(&self, at: (f32, f32)) -> bool {
        self.canvas.at(at.0, at.1).is_none_or(|dyes| dyes.pink < 0.15)
    }

    fn nucleus(&mut self, nucleus: &Nucleus, rng: &mut impl Rng) {
        let &Nucleus { at, radius, stretch, angle, irregularity, density, pale } = nucleus;
        let outline = Outline::new(at, radius, stretch, angle, irregularity, rng);
        let (chromatin, offset) = (self.fields.chromatin, rng.random_range(0.0..100.0_f32));
        let nucleolus = (rng.random_range(-0.3..0.3) * radius, rng.random_range(-0.3..0.3) * radius);
        let (grain, dot) = (2.2 / radius, pale > 0.3);
        let edge = 0.06 * radius;
        let half = (0.7 * self.canvas.pixel + edge) / radius;
        self.canvas.change(at, outline.reach() * 1.1 + 2.0 * self.canvas.pixel, |x, y, dyes| {
            let depth = outline.depth(x, y);
            let inside = 1.0 - smooth_step(1.0 - half, 1.0 + half, depth);
            if inside <= 0.0 {
                return;
            }
            let clumps = 0.75 + 0.5 * chromatin.at(x * grain + offset, y * grain);
            let middle = 1.0 - pale * (1.0 - depth * depth).max(0.0);
            let mut blue = density * clumps * middle;
            if dot {
                let away = (x - at.0 - nucleolus.0).hypot(y - at.1 - nucleolus.1) / radius;
                blue += 0.5 * (1.0 - smooth_step(0.12, 0.3, away));
            }
            // Where nuclei overlap, light passes both; the tissue is thin, so not the whole of both.
            let blue = blue.max(dyes.blue) + 0.25 * blue.min(dyes.blue);
            *dyes = dyes.towards(Dyes { blue, pink: 0.30 + 0.25 * dyes.pink }, inside);
        });
    }

    /// Changes the dyes round an outline, out to a depth of `out`.
    fn paint(&mut self, outline: &Outline, out: f32, mut change: impl FnMut(f32, f32, &mut Dyes)) {
        let pixel = self.canvas.pixel;
        let reach = outline.reach() * out + 2.0 * self.canvas.pixel;
        self.canvas.change((outline.x, outline.y), reach, |x, y, dyes| {
            change(pixel, outline.depth(x, y), dyes);
        });
    }
}

impl Outline {
    /// How much of a pixel at this depth is inside: from 1 to 0 over about a pixel and `softness`.
    fn coverage(&self, depth: f32, pixel: f32, softness: f32) -> f32 {
        let half = (0.7 * pixel + softness) / self.radius;
        1.0 - smooth_step(1.0 - half, 1.0 + half, depth)
    }
}

/// 1 well inside an outline, 0 at its edge.
fn well_inside(depth: f32) -> f32 {
    1.0 - smooth_step(0.75, 0.95, depth)
}

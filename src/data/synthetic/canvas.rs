//! Densities of the two dyes over an image, and the shapes that are drawn into them.

use std::f32::consts::TAU;
use std::ops::Range;

use image::{Rgb, RgbImage};
use rand::{Rng, RngExt};

use super::appearance::Look;
use super::noise::{Noise, mix};

/// Amounts of the dyes in every pixel. Coordinates are in units of the shorter side.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    /// Length of a pixel's side.
    pub(super) pixel: f32,
    dyes: Vec<Dyes>,
}

/// Optical densities of haematoxylin and eosin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dyes {
    pub(super) blue: f32,
    pub(super) pink: f32,
}

impl Dyes {
    /// These at share 0, the others at 1.
    pub(super) fn towards(self, other: Self, share: f32) -> Self {
        Self { blue: mix(self.blue, other.blue, share), pink: mix(self.pink, other.pink, share) }
    }
}

/// A closed outline: a stretched circle with waves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) radius: f32,
    stretch: f32,
    direction: (f32, f32),
    /// The second to fifth wave, as parts of the cosine and of the sine.
    waves: [(f32, f32); 4],
}

impl Outline {
    /// An outline of this mean radius; `stretch` is its length over its width, along `angle`.
    pub(super) fn new(
        at: (f32, f32),
        radius: f32,
        stretch: f32,
        angle: f32,
        waviness: f32,
        rng: &mut impl Rng,
    ) -> Self {
        let mut wave = |k: usize| {
            let height = waviness * rng.random_range(-1.0_f32..1.0) / (k as f32).sqrt();
            let phase = rng.random_range(0.0..TAU);
            (height * phase.cos(), height * phase.sin())
        };
        let waves = [wave(1), wave(2), wave(3), wave(4)];
        Self {
            x: at.0,
            y: at.1,
            radius,
            stretch: stretch.sqrt(),
            direction: (angle.cos(), angle.sin()),
            waves,
        }
    }

    /// Distance from the centre: 0 there, 1 on the outline.
    pub(super) fn depth(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.x, y - self.y);
        let along = (dx * self.direction.0 + dy * self.direction.1) / self.stretch;
        let across = (dy * self.direction.0 - dx * self.direction.1) * self.stretch;
        let length = along.hypot(across).max(1e-9);
        length / (self.radius * self.swell(along / length, across / length))
    }

    /// The point at this depth in this direction.
    pub(super) fn point(&self, angle: f32, depth: f32) -> (f32, f32) {
        let (sin, cos) = angle.sin_cos();
        let length = depth * self.radius * self.swell(cos, sin);
        let (along, across) = (length * cos * self.stretch, length * sin / self.stretch);
        let (cos, sin) = self.direction;
        (self.x + along * cos - across * sin, self.y + along * sin + across * cos)
    }

    /// The farthest that the outline at depth 1 can be from the centre.
    pub(super) fn reach(&self) -> f32 {
        let waves: f32 = self.waves.iter().map(|(even, odd)| even.hypot(*odd)).sum();
        self.radius * self.stretch.max(1.0 / self.stretch) * (1.0 + waves)
    }

    /// The outline's distance from the centre over `radius`, in the direction of this cosine and sine.
    fn swell(&self, cos: f32, sin: f32) -> f32 {
        let (mut c, mut s, mut swell) = (cos, sin, 1.0);
        for (even, odd) in self.waves {
            // The next multiple of the angle; cheaper than a cosine for each pixel.
            (c, s) = (c * cos - s * sin, s * cos + c * sin);
            swell += even * c - odd * s;
        }
        swell.max(0.3)
    }
}

impl Canvas {
    pub(super) fn new([width, height]: [u32; 2]) -> Self {
        let (width, height) = (width as usize, height as usize);
        let dyes = vec![Dyes::default(); width * height];
        Self { width, height, pixel: 1.0 / width.min(height) as f32, dyes }
    }

    /// Width and height in units of the shorter side.
    pub(super) fn extent(&self) -> (f32, f32) {
        (self.width as f32 * self.pixel, self.height as f32 * self.pixel)
    }

    /// Replaces every pixel's dyes.
    pub(super) fn fill(&mut self, mut dyes: impl FnMut(f32, f32) -> Dyes) {
        let (width, pixel) = (self.width, self.pixel);
        for (place, target) in self.dyes.iter_mut().enumerate() {
            let (x, y) = (place % width, place / width);
            *target = dyes((x as f32 + 0.5) * pixel, (y as f32 + 0.5) * pixel);
        }
    }

    /// Changes the dyes of pixels no farther than `reach` from a point.
    pub(super) fn change(&mut self, at: (f32, f32), reach: f32, mut change: impl FnMut(f32, f32, &mut Dyes)) {
        let range = |centre: f32, length: usize| -> Range<usize> {
            let bound = |value: f32| (value / self.pixel).clamp(0.0, length as f32) as usize;
            bound(centre - reach)..(bound(centre + reach) + 1).min(length)
        };
        let (columns, rows) = (range(at.0, self.width), range(at.1, self.height));
        for y in rows {
            for x in columns.clone() {
                let (u, v) = ((x as f32 + 0.5) * self.pixel, (y as f32 + 0.5) * self.pixel);
                if (u - at.0).powi(2) + (v - at.1).powi(2) <= reach * reach {
                    change(u, v, &mut self.dyes[y * self.width + x]);
                }
            }
        }
    }

    /// The dyes at a point inside the image.
    pub(super) fn at(&self, x: f32, y: f32) -> Option<Dyes> {
        let (x, y) = (x / self.pixel, y / self.pixel);
        let inside = x >= 0.0 && y >= 0.0 && (x as usize) < self.width && (y as usize) < self.height;
        inside.then(|| self.dyes[y as usize * self.width + x as usize])
    }

    /// Light through the dyes (Beer and Lambert), with the camera's noise.
    pub(super) fn develop(&self, look: &Look) -> RgbImage {
        let grain = Noise::new(look.seed ^ 0xc0ffee);
        let (width, height) = self.extent();
        RgbImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            let dyes = self.dyes[y as usize * self.width + x as usize];
            let (blue, pink) = (dyes.blue * look.haematoxylin, dyes.pink * look.eosin);
            let (u, v) = (x as f32 * self.pixel / width - 0.5, y as f32 * self.pixel / height - 0.5);
            let light = 1.0 - look.vignette * 2.0 * (u * u + v * v);
            let noise = 0.03 * (grain.at(x as f32 * 0.9, y as f32 * 0.9) - 0.5);
            Rgb([0, 1, 2].map(|c| {
                let density = blue * look.blue_dye[c] + pink * look.pink_dye[c];
                let value = look.light[c] * light * (-density).exp() + noise;
                (value * 255.0).round().clamp(0.0, 255.0) as u8
            }))
        })
    }
}

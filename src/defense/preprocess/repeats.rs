//! How often each image was asked about.

use std::collections::HashMap;

/// Images that are remembered at least.
const REMEMBERED: usize = 1 << 20;

/// How often each image was asked about, for at least the last 1,048,576 different images, in at most about
/// 80 MB. An image that was asked about before those counts as new.
#[derive(Debug)]
pub(super) struct Repeats {
    recent: HashMap<u64, u64>,
    earlier: HashMap<u64, u64>,
    remembered: usize,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { recent: HashMap::new(), earlier: HashMap::new(), remembered: REMEMBERED }
    }
}

impl Repeats {
    /// How often this image was asked about before now.
    pub(super) fn count(&mut self, image: u64) -> u64 {
        if self.recent.len() >= self.remembered && !self.recent.contains_key(&image) {
            self.earlier = std::mem::take(&mut self.recent);
        }
        let before = self.recent.get(&image).or_else(|| self.earlier.get(&image)).copied().unwrap_or(0);
        self.recent.insert(image, before + 1);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_as_many_other_images_as_promised_in_bounded_memory() {
        let mut repeats = Repeats { remembered: 10, ..Repeats::default() };
        for round in 0..5 {
            assert_eq!(repeats.count(0), round);
            for other in 1..10 {
                assert_eq!(repeats.count(other + 100 * round), 0);
            }
        }
        (1000..1100).for_each(|other| assert_eq!(repeats.count(other), 0));
        assert_eq!(repeats.count(0), 0, "forgotten");
        assert!(repeats.recent.len() + repeats.earlier.len() <= 20);
    }
}

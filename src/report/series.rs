//! Which color a series has, in figures and on the page.

/// The color of a series among so many, and how often colors came round before it. The first series, such as
/// the worst case of all, has a color of its own.
pub(super) fn color(series: usize, colors: usize) -> (usize, usize) {
    let others = colors - 1;
    series.checked_sub(1).map_or((0, 0), |other| (1 + other % others, other / others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_looks_like_the_first_series_or_like_another() {
        let all: Vec<(usize, usize)> = (0..30).map(|series| color(series, 6)).collect();
        assert!(all[1..].iter().all(|(color, _)| (1..6).contains(color)));
        assert!((0..30).all(|a| (0..a).all(|b| all[a] != all[b])));
    }
}

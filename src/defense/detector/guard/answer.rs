//! What a guarded classifier says of an image.

/// A class, or a rejection.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The class with the highest logit; `None` if a logit is NaN.
    pub class: Option<usize>,
    /// The score of each detector.
    pub scores: Vec<f64>,
    /// Which of them give alarm.
    pub alarms: Vec<bool>,
}

impl Answer {
    /// Whether no detector gives alarm and there is a class.
    pub fn is_accepted(&self) -> bool {
        self.class.is_some() && !self.alarms.contains(&true)
    }

    /// Whether the image is accepted as this class.
    pub fn is_accepted_as(&self, class: usize) -> bool {
        self.is_accepted() && self.class == Some(class)
    }
}

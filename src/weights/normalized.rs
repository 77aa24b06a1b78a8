//! Names of the network behind its normalisation, which leaves no trace in them.

use burn::module::ModuleDisplay;

use super::checkpointed::Checkpointed;
use super::names::WRAPPER;
use crate::model::Normalized;

impl<C: Checkpointed + ModuleDisplay> Checkpointed for Normalized<C> {
    const HEAD: &str = C::HEAD;
    const LISTS: &[(&str, &str)] = C::LISTS;

    fn tensor_name(path: &str) -> String {
        C::tensor_name(path.trim_start_matches(WRAPPER))
    }

    fn present_name(name: &str) -> String {
        C::present_name(name)
    }

    fn is_beside(name: &str) -> bool {
        C::is_beside(name)
    }
}

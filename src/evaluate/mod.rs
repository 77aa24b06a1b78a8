//! Running attacks over a data set, and what to conclude from them.

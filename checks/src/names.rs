//! Values with names: in tables, in JSON, and on the command line.
//!
//! A list of values is an enum that derives strum's `VariantArray`, `IntoStaticStr`, `EnumString` and
//! `Display`. So it is written down once, and its names, its order and its parser cannot disagree.

use std::fmt::Display;

use strum::VariantArray;

/// A value out of a list that derives its names.
pub trait Named: VariantArray + Copy + Into<&'static str> {
    /// What such a value is: `gate`, say.
    const WHAT: &'static str;

    /// The names of all of them, in their order.
    fn names() -> Vec<&'static str> {
        Self::VARIANTS.iter().map(|&value| value.into()).collect()
    }
}

/// What is wrong with a name that is not in the list.
pub fn unknown<T: Named>(name: &str) -> String {
    not_among(T::WHAT, name, T::names())
}

/// What is wrong with a name that is not among these.
pub fn not_among<T: Display>(what: &str, name: &str, known: impl IntoIterator<Item = T>) -> String {
    let known: Vec<_> = known.into_iter().map(|name| name.to_string()).collect();
    format!("no {what} is called `{name}`; there are {}", known.join(", "))
}

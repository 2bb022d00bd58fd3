//! Values of the command line that have names: `--help` lists them, a typo gets a suggestion, and shells
//! complete them.

use std::error::Error;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use reveille_checks::names::Named;

/// One of a list of values.
pub fn named<T>() -> impl TypedValueParser<Value = T>
where
    T: Named + FromStr + Send + Sync,
    T::Err: Into<Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
{
    names(T::names())
}

/// Something that is made from one of these names.
pub fn names<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: Into<Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
{
    PossibleValuesParser::new(names.into_iter().collect::<Vec<_>>()).try_map(|name| name.parse())
}

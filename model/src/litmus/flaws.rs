//! The flaws of one wakeup optimisation, and its sound forms, as tests in kernel C.

/// A test with its name: what is to be searched, and pasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// The name in its first line
    pub name: &'static str,
    /// The whole file
    pub text: &'static str,
}

macro_rules! examples {
    ($($name:literal),* $(,)?) => {
        &[$(Example { name: $name, text: include_str!(concat!("../../litmus/flaws/", $name, ".litmus")) }),*]
    };
}

/// All of them: for each flaw the protocol that loses a wakeup and the form that does not, then the kernel's own
/// form with and without its barrier, and the library's.
///
/// ```
/// use reveille_model::litmus::{FLAWS, Model, Observation, Test};
///
/// let flaw = FLAWS.iter().find(|flaw| flaw.name == "F3-repoll").ok_or("it is there")?;
/// assert_eq!(Test::parse(flaw.text)?.run(Model::Lkmm)?.observation, Observation::Sometimes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const FLAWS: &[Example] = examples![
    "F1-never-rearmed",
    "F1-sound-counted",
    "F2-armed-before-enqueue",
    "F2-sound-armed-after-enqueue",
    "F3-repoll",
    "F3-sound-full-barrier",
    "F4-activation",
    "F4-sound-armed-after-enqueue",
    "has-sleeper-before-6.14",
    "sound-has-sleeper",
    "sound-per-entry",
];

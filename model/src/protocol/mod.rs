//! Protocols whose wakeups are in question, each written as a [program](crate::program).

/// An enum whose variants have names for tables and command lines.
macro_rules! named {
    ($(#[$attribute:meta])* $type:ident ($what:literal) { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$doc])* $variant,)*
        }

        impl $type {
            /// All of them, in the order of the documentation.
            pub const ALL: &[$type] = &[$($type::$variant),*];

            /// The name used in tables and on command lines.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::memory::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                $crate::memory::UnknownName::find($what, name, $type::ALL)
            }
        }
    };
}

pub mod completion;
pub mod poll_wake;
pub mod pool;

//! Holds the code of reveille against its checkers.

//! What a wakeup protocol may do, formally.

//! A wait queue for programs that sleep in io_uring.

//! Against the kernel.

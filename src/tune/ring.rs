//! Whether the kernel lets us have an io_uring: asked by setting one up. An edge.

use std::io;

/// `Err` with the errno.
pub fn tried() -> Result<(), i32> {
    // struct io_uring_params: 120 bytes, all zero = nothing asked for.
    let mut params = [0u64; 15];
    // SAFETY: `params` is as large as the kernel's struct, aligned, and outlives the call.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
    if ring >= 0 {
        // SAFETY: the descriptor was just returned to us and nobody else knows it.
        unsafe { libc::close(ring as libc::c_int) };
        return Ok(());
    }
    Err(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

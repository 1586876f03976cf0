//! The I/O priority of this process.

/// Puts the thread that calls, and those that it starts later, into the idle class: the disk serves
/// them when nobody else asks. Without effect where the scheduler of the disk has no classes.
#[cfg(target_os = "linux")]
pub fn set_idle_io_priority() {
    const WHO_PROCESS: libc::c_long = 1;
    const CLASS_IDLE: libc::c_long = 3 << 13;
    // SAFETY: the call takes numbers alone; 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0 as libc::c_long, CLASS_IDLE) };
}

/// Other systems have no such call.
#[cfg(not(target_os = "linux"))]
pub fn set_idle_io_priority() {}

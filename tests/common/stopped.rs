//! One thread of another process, stopped with ptrace: a shard that does not move while the others do.

pub struct Stopped(libc::pid_t);

impl Stopped {
    pub fn thread(pid: u32, name: &str) -> Stopped {
        let folder = format!("/proc/{pid}/task");
        let thread: libc::pid_t = std::fs::read_dir(folder)
            .expect("the process runs")
            .map(|entry| entry.expect("a thread").path())
            .filter(|path| {
                let comm = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
                comm.starts_with(name)
            })
            // The executor is the oldest of the threads with its name; the others are its helpers.
            .map(|path| path.file_name().unwrap().to_str().unwrap().parse().unwrap())
            .min()
            .expect("a thread of this name");
        // SAFETY: plain system calls on a thread of our own child.
        unsafe {
            let none = std::ptr::null_mut::<libc::c_void>();
            assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, thread, none, none), 0);
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, thread, none, none), 0);
            let mut status = 0;
            assert_eq!(libc::waitpid(thread, &mut status, libc::__WALL), thread);
        }
        Stopped(thread)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: as above; the thread is stopped by us.
        unsafe {
            let none = std::ptr::null_mut::<libc::c_void>();
            libc::ptrace(libc::PTRACE_DETACH, self.0, none, none);
        }
    }
}

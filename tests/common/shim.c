/* Between the program and its C library: fails or holds writes to files whose path contains a pattern,
 * and moves the wall clock. Told what to do through a few bytes of shared memory (shim.rs). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { PASS, FAIL, HOLD };

struct control {
    int32_t verb;
    int32_t struck; /* calls that were failed or held */
    int64_t shift;  /* seconds added to the wall clock */
};

static volatile struct control *control;
static const char *pattern;

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv("SHIM_CONTROL");
    pattern = getenv("SHIM_PATTERN");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) control = at;
}

/* Whether this call fails. */
static int strike(int fd) {
    char link[64], path[4096];
    if (!control || control->verb == PASS || !pattern) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, pattern)) return 0;
    __sync_fetch_and_add(&control->struck, 1);
    while (control->verb == HOLD) usleep(1000);
    if (control->verb != FAIL) return 0;
    errno = EIO;
    return 1;
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* A kernel older than 6.1, as far as a ring shows it. */
long syscall(long number, ...) {
    NEXT(syscall);
    long a[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_io_uring_setup && getenv("SHIM_NO_DEFER_TASKRUN")) {
        const uint32_t defer_taskrun = 1u << 13, *parameters = (const uint32_t *)a[1];
        if (parameters[2] & defer_taskrun) {
            errno = EINVAL;
            return -1;
        }
    }
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    NEXT(write);
    return strike(fd) ? -1 : next(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    NEXT(pwrite);
    return strike(fd) ? -1 : next(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    NEXT(pwrite64);
    return strike(fd) ? -1 : next(fd, bytes, count, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    NEXT(writev);
    return strike(fd) ? -1 : next(fd, parts, count);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    NEXT(pwritev64);
    return strike(fd) ? -1 : next(fd, parts, count, at);
}

int fdatasync(int fd) {
    NEXT(fdatasync);
    return strike(fd) ? -1 : next(fd);
}

int fsync(int fd) {
    NEXT(fsync);
    return strike(fd) ? -1 : next(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    NEXT(clock_gettime);
    int status = next(clock, now);
    if (status == 0 && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += control->shift;
    return status;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

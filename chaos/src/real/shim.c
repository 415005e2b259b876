/* Loaded before libc into a node: its wall clock and its disk do what one page of a shared file says, at once. Only
 * files are touched: sockets are never written with pwrite, nor synced. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* As `shim.rs` writes it. */
struct control {
    int64_t clock_ns;
    int64_t sync_errno;
    int64_t write_errno;
    int64_t sync_delay_us;
    int64_t write_delay_us;
};

static volatile struct control *control;

static int (*real_clock)(clockid_t, struct timespec *);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);

__attribute__((constructor)) static void begin(void) {
    real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    real_pwrite = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
    const char *path = getenv("PALISADE_CHAOS_CONTROL");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        void *page = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
        control = page == MAP_FAILED ? NULL : page;
        close(fd);
    }
}

static int held(int64_t delay_us, int64_t error) {
    if (delay_us > 0)
        usleep((useconds_t)delay_us);
    if (error != 0)
        errno = (int)error;
    return error != 0;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    if (real_clock == NULL)
        begin();
    int code = real_clock(id, at);
    if (code == 0 && control != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        at->tv_sec += control->clock_ns / 1000000000;
    return code;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at != NULL)
        *at = now.tv_sec;
    return now.tv_sec;
}

int fsync(int fd) {
    if (control != NULL && held(control->sync_delay_us, control->sync_errno))
        return -1;
    return real_fsync(fd);
}

int fdatasync(int fd) {
    if (control != NULL && held(control->sync_delay_us, control->sync_errno))
        return -1;
    return real_fdatasync(fd);
}

/* Not by each other's name: another library before libc may have these as well, and would be asked twice. */
static ssize_t put(int fd, const void *bytes, size_t size, off_t at) {
    if (control != NULL && held(control->write_delay_us, control->write_errno))
        return -1;
    return real_pwrite(fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at) {
    return put(fd, bytes, size, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    return put(fd, bytes, size, at);
}

/* A power cut for tests, without root: an LD_PRELOAD shim that notes every change of a file below UNDO_DIR in the
 * file UNDO_LOG, together with what was there before, and every fsync or fdatasync that made changes durable.
 * After the process was killed, the test takes back what was never synced (power.rs).
 *
 * A file is known by its inode, so that it is found again after a rename. Directory entries count as durable.
 * UNDO_FAIL_SYNC=n makes the sync after n others fail with EIO.
 * sync_file_range is not looked at: it neither flushes the drive's cache nor writes metadata, so it makes nothing
 * durable. One record, all numbers in the machine's own order:
 *   u64 kind, ino, offset, length, old size, old length | old bytes | new bytes
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE = 2, SYNCED = 3, BORN = 4 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *dir;
static int log_fd = -1;
static uint64_t records;
static long syncs_until_failure = -1;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_openat)(int, const char *, int, ...);

__attribute__((constructor)) static void start(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_openat = dlsym(RTLD_NEXT, "openat");
    dir = getenv("UNDO_DIR");
    const char *failing = getenv("UNDO_FAIL_SYNC");
    if (failing) syncs_until_failure = atol(failing);
    const char *log = getenv("UNDO_LOG");
    if (!dir || !log) return;
    log_fd = real_openat(AT_FDCWD, log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) { perror("undo: UNDO_LOG"); _exit(97); }
    /* A restarted process goes on with the numbers of the one before it. */
    struct stat st;
    uint64_t h[6];
    if (fstat(log_fd, &st) != 0) _exit(97);
    off_t at = 0;
    while (at + (off_t)sizeof h <= st.st_size) {
        if (pread(log_fd, h, sizeof h, at) != (ssize_t)sizeof h) _exit(97);
        off_t end = at + (off_t)(sizeof h + h[5] + (h[0] == WRITE ? h[3] : 0));
        if (end > st.st_size) break;
        at = end;
        records++;
    }
    /* What the kill cut short did not happen. */
    if (at < st.st_size && real_ftruncate(log_fd, at) != 0) _exit(97);
}

static int tracked(int fd, struct stat *st) {
    if (log_fd < 0 || fd == log_fd || fd < 0) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    size_t d = strlen(dir);
    if (n <= (ssize_t)d) return 0;
    path[n] = 0;
    return strncmp(path, dir, d) == 0 && path[d] == '/' && fstat(fd, st) == 0 && S_ISREG(st->st_mode);
}

/* The record goes out in one write, so that a kill leaves it whole or not there. */
static void note(uint64_t kind, struct stat *st, uint64_t off, uint64_t len, const void *old, uint64_t old_len,
                 const void *new) {
    uint64_t h[6] = {kind, st->st_ino, off, len, (uint64_t)st->st_size, old_len};
    uint64_t new_len = kind == WRITE ? len : 0;
    size_t all = sizeof h + old_len + new_len;
    char *buf = malloc(all);
    if (!buf) _exit(97);
    memcpy(buf, h, sizeof h);
    if (old_len) memcpy(buf + sizeof h, old, old_len);
    if (new_len) memcpy(buf + sizeof h + old_len, new, new_len);
    if (real_write(log_fd, buf, all) != (ssize_t)all) { static const char m[] = "undo: log\n"; real_write(2, m, sizeof m - 1); _exit(97); }
    free(buf);
    records++;
}

static void note_write(int fd, struct stat *st, uint64_t off, const void *new, uint64_t len) {
    uint64_t old_len = 0;
    if (off < (uint64_t)st->st_size) old_len = (uint64_t)st->st_size - off < len ? (uint64_t)st->st_size - off : len;
    char *old = malloc(old_len + 1);
    if (!old) _exit(97);
    /* The descriptor may be write-only. */
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (old_len) {
        int r = real_openat(AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
        if (r < 0 || pread(r, old, old_len, (off_t)off) != (ssize_t)old_len) _exit(97);
        close(r);
    }
    note(WRITE, st, off, len, old, old_len, new);
    free(old);
}

static void note_truncate(int fd, struct stat *st, uint64_t to) {
    uint64_t old_len = to < (uint64_t)st->st_size ? (uint64_t)st->st_size - to : 0;
    char *old = malloc(old_len + 1);
    if (!old) _exit(97);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (old_len) {
        int r = real_openat(AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
        if (r < 0 || pread(r, old, old_len, (off_t)to) != (ssize_t)old_len) _exit(97);
        close(r);
    }
    note(TRUNCATE, st, to, 0, old, old_len, NULL);
    free(old);
}

ssize_t write(int fd, const void *buf, size_t len) {
    if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
    struct stat st;
    if (!tracked(fd, &st)) return real_write(fd, buf, len);
    pthread_mutex_lock(&lock);
    fstat(fd, &st);
    int append = fcntl(fd, F_GETFL) & O_APPEND;
    note_write(fd, &st, append ? (uint64_t)st.st_size : (uint64_t)lseek(fd, 0, SEEK_CUR), buf, len);
    ssize_t r = real_write(fd, buf, len);
    pthread_mutex_unlock(&lock);
    return r;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off) {
    struct stat st;
    if (!tracked(fd, &st)) return real_pwrite(fd, buf, len, off);
    pthread_mutex_lock(&lock);
    fstat(fd, &st);
    note_write(fd, &st, (uint64_t)off, buf, len);
    ssize_t r = real_pwrite(fd, buf, len, off);
    pthread_mutex_unlock(&lock);
    return r;
}
ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off) { return pwrite(fd, buf, len, off); }

/* Short counts are allowed, so the vector calls write their first piece. */
ssize_t writev(int fd, const struct iovec *v, int n) {
    for (int i = 0; i < n; i++)
        if (v[i].iov_len) return write(fd, v[i].iov_base, v[i].iov_len);
    return 0;
}
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t off) {
    for (int i = 0; i < n; i++)
        if (v[i].iov_len) return pwrite(fd, v[i].iov_base, v[i].iov_len, off);
    return 0;
}
ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t off) { return pwritev(fd, v, n, off); }

int ftruncate(int fd, off_t to) {
    struct stat st;
    if (!tracked(fd, &st)) return real_ftruncate(fd, to);
    pthread_mutex_lock(&lock);
    fstat(fd, &st);
    note_truncate(fd, &st, (uint64_t)to);
    int r = real_ftruncate(fd, to);
    pthread_mutex_unlock(&lock);
    return r;
}
int ftruncate64(int fd, off64_t to) { return ftruncate(fd, to); }

/* Ways of writing that are not followed are refused; callers fall back to plain writes. */
int fallocate(int fd, int mode, off_t off, off_t len) { (void)fd, (void)mode, (void)off, (void)len; errno = EOPNOTSUPP; return -1; }
int fallocate64(int fd, int mode, off64_t off, off64_t len) { return fallocate(fd, mode, off, len); }
ssize_t copy_file_range(int a, off64_t *b, int c, off64_t *d, size_t e, unsigned f) {
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile64(int a, int b, off64_t *c, size_t d) { (void)a, (void)b, (void)c, (void)d; errno = EINVAL; return -1; }
ssize_t sendfile(int a, int b, off_t *c, size_t d) { (void)a, (void)b, (void)c, (void)d; errno = EINVAL; return -1; }

static int synced(int fd, int (*call)(int)) {
    struct stat st;
    if (!tracked(fd, &st)) return call(fd);
    pthread_mutex_lock(&lock);
    uint64_t upto = records;
    /* Once, as Linux does: the next one would succeed, with the data gone. */
    int fail = syncs_until_failure >= 0 && syncs_until_failure-- == 0;
    pthread_mutex_unlock(&lock);
    if (fail) { errno = EIO; return -1; }
    int r = call(fd);
    if (r == 0) {
        pthread_mutex_lock(&lock);
        note(SYNCED, &st, upto, 0, NULL, 0, NULL);
        pthread_mutex_unlock(&lock);
    }
    return r;
}
int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

static int opened(int at, const char *path, int flags, mode_t mode) {
    if (!real_openat) real_openat = dlsym(RTLD_NEXT, "openat");
    if (log_fd < 0 || !(flags & (O_CREAT | O_TRUNC))) return real_openat(at, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat before, st;
    int existed = fstatat(at, path, &before, 0) == 0;
    /* Emptying it is done by hand, so that it is noted. */
    int fd = real_openat(at, path, flags & ~O_TRUNC, mode);
    if (fd >= 0 && tracked(fd, &st)) {
        if (!existed) note(BORN, &st, 0, 0, NULL, 0, NULL);
        else if (flags & O_TRUNC) { note_truncate(fd, &st, 0); real_ftruncate(fd, 0); }
    } else if (fd >= 0 && existed && (flags & O_TRUNC)) {
        real_ftruncate(fd, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}
static mode_t mode_of(int flags, va_list ap) { return flags & (O_CREAT | __O_TMPFILE) ? (mode_t)va_arg(ap, int) : 0; }
#define OPENER(name) \
    int name(const char *path, int flags, ...) { \
        va_list ap; va_start(ap, flags); mode_t m = mode_of(flags, ap); va_end(ap); \
        return opened(AT_FDCWD, path, flags, m); }
#define OPENERAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        va_list ap; va_start(ap, flags); mode_t m = mode_of(flags, ap); va_end(ap); \
        return opened(at, path, flags, m); }
OPENER(open)
OPENER(open64)
OPENERAT(openat)
OPENERAT(openat64)

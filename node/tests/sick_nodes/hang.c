/* Loaded before libc: while the file that PALISADE_HANG names is there, no sync of a file ends. What a disk does that
 * has stopped answering. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void hang(void) {
    const char *flag = getenv("PALISADE_HANG");
    while (flag != NULL && access(flag, F_OK) == 0)
        usleep(10000);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (real == NULL)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    hang();
    return real(fd);
}

int fsync(int fd) {
    static int (*real)(int);
    if (real == NULL)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    hang();
    return real(fd);
}

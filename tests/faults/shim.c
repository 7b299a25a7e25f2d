/*
 * Lets one system call of a program go wrong at a named place: loaded in front of the C library (LD_PRELOAD) by the fault
 * tests, so that the program itself has nothing in it for them.
 *
 * SHIPWAKE_FAULT=call,path,nth,what
 *   call  write, sync, create, link, rename, unlink or truncate; to write is also to send
 *   path  a part of the path that the call is about; of a descriptor, of its file ("socket:" for a connection); of link and
 *         rename, the new path
 *   nth   at the nth of these calls, counted from 1
 *   what  before, after  the process is killed before or after the call
 *         half           half of what is to be written is written, then the process is killed
 *         error:N        the call fails with errno N, and so do all that follow
 *         once:N         the call fails with errno N, once
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum what { NOTHING, BEFORE, AFTER, HALF, ERROR, ONCE };

static struct {
    char call[16], path[128];
    long nth;
    enum what what;
    int number;
} plan;

static atomic_long calls;

__attribute__((constructor)) static void read_plan(void) {
    char what[32] = "";
    const char *text = getenv("SHIPWAKE_FAULT");
    if (!text) return;
    int fields = sscanf(text, "%15[^,],%127[^,],%ld,%31s", plan.call, plan.path, &plan.nth, what);
    if (!strcmp(what, "before")) plan.what = BEFORE;
    else if (!strcmp(what, "after")) plan.what = AFTER;
    else if (!strcmp(what, "half")) plan.what = HALF;
    else if (sscanf(what, "error:%d", &plan.number) == 1) plan.what = ERROR;
    else if (sscanf(what, "once:%d", &plan.number) == 1) plan.what = ONCE;
    if (fields != 4 || plan.what == NOTHING) {
        fprintf(stderr, "SHIPWAKE_FAULT is not call,path,nth,what: %s\n", text);
        abort();
    }
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* What happens to this call. Kills the process when it is to die before it. */
static enum what at(const char *call, const char *path) {
    if (plan.what == NOTHING || strcmp(call, plan.call) || !path || !strstr(path, plan.path)) return NOTHING;
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (number < plan.nth || (number > plan.nth && plan.what != ERROR)) return NOTHING;
    if (plan.what == BEFORE) die();
    return plan.what;
}

static enum what at_file(const char *call, int file) {
    char link[32], path[PATH_MAX];
    if (plan.what == NOTHING || strcmp(call, plan.call)) return NOTHING;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return NOTHING;
    path[length] = 0;
    return at(call, path);
}

#define REAL(name, ...) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* A call that is made whole or not at all. */
#define CALL(found, ...) \
    enum what what = (found); \
    if (what == ERROR || what == ONCE) { errno = plan.number; return -1; } \
    __typeof__(real(__VA_ARGS__)) result = real(__VA_ARGS__); \
    if (what == AFTER) die(); \
    return result

/* A call that writes `length` bytes. */
#define WRITE(found, half, ...) \
    enum what what = (found); \
    if (what == HALF) { (void)!(half); die(); } \
    if (what == ERROR || what == ONCE) { errno = plan.number; return -1; } \
    __typeof__(real(__VA_ARGS__)) result = real(__VA_ARGS__); \
    if (what == AFTER) die(); \
    return result

ssize_t write(int file, const void *bytes, size_t length) {
    REAL(write);
    WRITE(at_file("write", file), real(file, bytes, length / 2), file, bytes, length);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    WRITE(at_file("write", file), real(file, parts, (count + 1) / 2), file, parts, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t position) {
    REAL(pwrite64);
    WRITE(at_file("write", file), real(file, bytes, length / 2, position), file, bytes, length, position);
}

ssize_t send(int socket, const void *bytes, size_t length, int flags) {
    REAL(send);
    WRITE(at_file("write", socket), real(socket, bytes, length / 2, flags), socket, bytes, length, flags);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    WRITE(at_file("write", socket), 0, socket, message, flags);
}

int fsync(int file) {
    REAL(fsync);
    CALL(at_file("sync", file), file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    CALL(at_file("sync", file), file);
}

int ftruncate64(int file, off64_t length) {
    REAL(ftruncate64);
    CALL(at_file("truncate", file), file, length);
}

int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    CALL(flags & O_CREAT ? at("create", path) : NOTHING, path, flags, mode);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    REAL(linkat);
    CALL(at("link", to), from_folder, from, to_folder, to, flags);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    CALL(at("rename", to), from, to);
}

int unlink(const char *path) {
    REAL(unlink);
    CALL(at("unlink", path), path);
}

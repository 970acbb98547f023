/* Preloaded into a process that writes an experience store: every write to data.mdb and every sync, in order, with its
 * bytes, so that a test can play a power cut after each. Little-endian records: kind, offset, size, bytes.
 *   W  a write; D  the same through a descriptor that waits for the disk (O_DSYNC); S  everything written is on the disk
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int trace(void) {
    static int descriptor = -1;
    if (descriptor < 0) descriptor = open(getenv("WRITE_TRACE"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    return descriptor;
}

static int ours(int descriptor) {
    char link[64] = "/proc/self/fd/", path[4096];
    char digits[16];
    int count = 0, number = descriptor;
    do digits[count++] = (char)('0' + number % 10); while ((number /= 10) > 0);
    size_t end = strlen(link);
    while (count) link[end++] = digits[--count];
    link[end] = 0;
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 9) return 0;
    path[length] = 0;
    return strcmp(path + length - 9, "/data.mdb") == 0;
}

static void record(char kind, int64_t offset, const void *bytes, int64_t size) {
    struct iovec parts[4] = {{&kind, 1}, {&offset, 8}, {&size, 8}, {(void *)bytes, (size_t)size}};
    syscall(SYS_writev, trace(), parts, 4L);
}

static char kind_of(int descriptor) {
    return fcntl(descriptor, F_GETFL) & O_DSYNC ? 'D' : 'W';
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset) {
    if (ours(descriptor)) record(kind_of(descriptor), offset, bytes, (int64_t)size);
    return syscall(SYS_pwrite64, descriptor, bytes, size, offset);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off_t offset) {
    return pwrite(descriptor, bytes, size, offset);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    if (ours(descriptor)) {
        int64_t place = lseek(descriptor, 0, SEEK_CUR);
        for (int index = 0; index < count; place += (int64_t)parts[index++].iov_len)
            record(kind_of(descriptor), place, parts[index].iov_base, (int64_t)parts[index].iov_len);
    }
    return syscall(SYS_writev, descriptor, parts, count);
}

int fdatasync(int descriptor) {
    long result = syscall(SYS_fdatasync, descriptor);
    if (ours(descriptor)) record('S', 0, "", 0);
    return (int)result;
}

int fsync(int descriptor) {
    long result = syscall(SYS_fsync, descriptor);
    if (ours(descriptor)) record('S', 0, "", 0);
    return (int)result;
}

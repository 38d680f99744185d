// The wall clock of this process, plus an offset in nanoseconds that stands at the
// start of the file named by LOCKSTEP_CLOCK and may change at any moment.
//
// The real time comes from the system call itself, never through dlsym: an
// allocator that reads the clock before it is ready (Redis's jemalloc does) would
// be asked for memory by dlsym, and wait for itself.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static _Atomic(int64_t) *offset; // NULL: the process is only starting

static void __attribute__((constructor)) map_offset(void) {
	const char *name = getenv("LOCKSTEP_CLOCK");
	int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		abort(); // a test that believes in a stepped clock must not pass without one
	close(fd);
	offset = page;
}

static int64_t now(clockid_t id) {
	struct timespec ts;
	syscall(SYS_clock_gettime, id, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec + (offset ? atomic_load(offset) : 0);
}

int clock_gettime(clockid_t id, struct timespec *ts) {
	if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)
		return (int)syscall(SYS_clock_gettime, id, ts);
	int64_t t = now(id);
	ts->tv_sec = t / SECOND;
	ts->tv_nsec = t % SECOND;
	return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
	(void)zone; // obsolete: nobody gets one
	int64_t t = now(CLOCK_REALTIME);
	tv->tv_sec = t / SECOND;
	tv->tv_usec = t % SECOND / 1000;
	return 0;
}

time_t time(time_t *result) {
	time_t t = now(CLOCK_REALTIME) / SECOND;
	if (result)
		*result = t;
	return t;
}

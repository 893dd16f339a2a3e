// SPDX-License-Identifier: MIT
/* Keeps probe.h. */
#include "probe.h"
#include "tool.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* As the library reads: 2 MiB at a time into huge pages, several at once. */
#define REQUEST ((size_t)2 << 20)
#define READERS 4
#define DISK_NS 250000000u
#define MEMORY_NS 100000000u

struct reader {
	pthread_t thread;
	int fd;
	uint64_t file_bytes, start_ns;
	unsigned index, n_slots;
	char *buf;			/* slots of a request; every READERS-th is this one's */
	uint64_t done;
};

static void *read_main(void *arg)
{
	struct reader *r = arg;
	const uint64_t requests = r->file_bytes / REQUEST;

	/* spread over the file, so that no cache of the last bytes helps */
	for (uint64_t i = r->index; now_ns() - r->start_ns < DISK_NS; i += READERS) {
		uint64_t at = requests ? i * 7 % requests * REQUEST : 0;
		ssize_t n = pread(r->fd, r->buf + i % r->n_slots * REQUEST, REQUEST, (off_t)at);

		if (n <= 0)
			break;
		r->done += (uint64_t)n;
		if (!requests)
			break;
	}
	return NULL;
}

double probe_disk(const char *path, uint64_t bytes)
{
	const unsigned turns = bytes / REQUEST / READERS > 1 ? bytes / REQUEST / READERS : 1;
	const size_t size = turns * READERS * REQUEST;
	struct reader r[READERS] = { 0 };
	uint64_t start, done = 0;
	unsigned n = 0;
	struct stat st;
	char *buf;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (fd < 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	buf = mmap(NULL, size + REQUEST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	if (buf == MAP_FAILED || fstat(fd, &st)) {
		close(fd);
		return 0;
	}
	madvise(buf, size + REQUEST, MADV_HUGEPAGE);
	for (size_t i = 0; i < size + REQUEST; i += 4096)
		buf[i] = 1;
	start = now_ns();
	for (; n < READERS; n++) {
		r[n] = (struct reader){
			.fd = fd, .file_bytes = (uint64_t)st.st_size, .start_ns = start, .index = n,
			.n_slots = turns * READERS,
		};
		r[n].buf = buf + (-(uintptr_t)buf & (REQUEST - 1));
		if (pthread_create(&r[n].thread, NULL, read_main, &r[n]))
			break;
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(r[i].thread, NULL);
		done += r[i].done;
	}
	start = now_ns() - start;
	munmap(buf, size + REQUEST);
	close(fd);
	return (double)done / ((double)start / 1e9);
}

struct scanner {
	pthread_t thread;
	const uint64_t *p;
	size_t n;
	uint64_t start_ns, passes, sum;
};

static void *scan_main(void *arg)
{
	struct scanner *s = arg;
	uint64_t sum[8] = { 0 };

	do {
		for (size_t i = 0; i < s->n; i += 8)
			for (int j = 0; j < 8; j++)
				sum[j] += s->p[i + j];
		s->passes++;
	} while (now_ns() - s->start_ns < MEMORY_NS);
	for (int j = 0; j < 8; j++)
		s->sum += sum[j];
	return NULL;
}

double probe_memory(unsigned n_threads, uint64_t bytes)
{
	struct scanner *s = tool_alloc(n_threads * sizeof(*s));
	size_t each = bytes / n_threads / 64 * 64;
	double rate = 0;
	unsigned n = 0;
	uint64_t start;
	char *buf;

	buf = mmap(NULL, each * n_threads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	if (buf == MAP_FAILED) {
		free(s);
		return 0;
	}
	madvise(buf, each * n_threads, MADV_HUGEPAGE);
	for (size_t i = 0; i < each * n_threads; i += 4096)
		buf[i] = 1;
	start = now_ns();
	for (; n < n_threads; n++) {
		s[n] = (struct scanner){ .p = (const uint64_t *)(buf + n * each), .n = each / 8,
			.start_ns = start };
		if (pthread_create(&s[n].thread, NULL, scan_main, &s[n]))
			break;
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(s[i].thread, NULL);
		rate += (double)s[i].passes * (double)each;
	}
	rate /= (double)(now_ns() - start) / 1e9;
	munmap(buf, each * n_threads);
	free(s);
	return rate;
}

// SPDX-License-Identifier: MIT
/* Keeps probe.h. */
#include "probe.h"
#include "tool.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each depth is measured so often, in turn with the others: a disk's rate drifts. */
#define ROUNDS 3
#define SLICE_NS 50000000u
#define MEMORY_NS 100000000u
#define READERS_MOST 32
/* A depth is better when its worst round is so much faster than the best of the one used. */
#define BETTER 1.15

struct reading {
	int fd;
	uint64_t requests;		/* of the file; 0: it is smaller than one */
	char *buf;			/* slots of a request */
	unsigned n_slots;
	uint64_t end_ns;
	_Atomic uint64_t next, done;
};

static void *read_main(void *arg)
{
	struct reading *r = arg;

	do {
		const uint64_t i = r->next++;
		/* spread over the file, so that no cache of the last bytes helps */
		const uint64_t step = r->requests % 7 ? 7 : 11;
		const uint64_t at = r->requests ? i * step % r->requests * PROBE_REQUEST : 0;
		ssize_t n = pread(r->fd, r->buf + i % r->n_slots * PROBE_REQUEST, PROBE_REQUEST,
				  (off_t)at);

		if (n <= 0)
			break;
		r->done += (uint64_t)n;
	} while (r->requests && now_ns() < r->end_ns);
	return NULL;
}

/* Bytes per second of one slice of time. */
static double read_slice(struct reading *r, unsigned depth)
{
	const uint64_t start = now_ns();
	pthread_t thread[READERS_MOST];
	unsigned n = 0;

	r->done = 0;
	r->end_ns = start + SLICE_NS;
	while (n < depth && n < READERS_MOST && !pthread_create(&thread[n], NULL, read_main, r))
		n++;
	for (unsigned i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	return (double)r->done / ((double)(now_ns() - start) / 1e9);
}

static int by_rate(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure_depths(struct reading *r, struct probe_disk *p)
{
	const unsigned depth[] = { p->depth, p->other[0].depth, p->other[1].depth };
	double rate[1 + PROBE_OTHERS][ROUNDS];

	for (int i = 0; i < ROUNDS; i++)
		for (int d = 0; d <= PROBE_OTHERS; d++)
			rate[d][i] = read_slice(r, depth[d]);
	for (int d = 0; d <= PROBE_OTHERS; d++)
		qsort(rate[d], ROUNDS, sizeof(rate[d][0]), by_rate);
	p->rate = rate[0][ROUNDS / 2];
	for (int d = 0; d < PROBE_OTHERS; d++) {
		p->other[d].rate = rate[1 + d][ROUNDS / 2];
		if (r->requests && rate[1 + d][0] > BETTER * rate[0][ROUNDS - 1])
			p->better = p->other[d].depth;
	}
}

struct probe_disk probe_disk(const char *path, uint64_t bytes, unsigned depth)
{
	struct probe_disk p = { .depth = depth ? depth : PROBE_USUAL };
	struct reading r = { .n_slots = (unsigned)(bytes / PROBE_REQUEST) };
	struct stat st;
	size_t size;
	char *buf;

	p.other[0].depth = p.depth > 4 ? 4 : PROBE_USUAL;
	p.other[1].depth = p.depth < READERS_MOST ? READERS_MOST : PROBE_USUAL;
	if (r.n_slots < 4)
		r.n_slots = 4;
	size = (r.n_slots + 1) * PROBE_REQUEST;
	r.fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (r.fd < 0)
		r.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (r.fd < 0)
		return p;
	buf = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buf != MAP_FAILED && !fstat(r.fd, &st)) {
		madvise(buf, size, MADV_HUGEPAGE);
		for (size_t i = 0; i < size; i += 4096)
			buf[i] = 1;
		r.buf = buf + (-(uintptr_t)buf & (PROBE_REQUEST - 1));
		r.requests = (uint64_t)st.st_size / PROBE_REQUEST;
		measure_depths(&r, &p);
	}
	if (buf != MAP_FAILED)
		munmap(buf, size);
	close(r.fd);
	return p;
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

/* SPDX-License-Identifier: MIT */
/*
 * Usage: checkasm [--seed=N] [--filter=TEXT] [--rounds=N] [--bench | --once=TOKENS]
 *
 * A test is named "level/area/kernel"; the filter picks those that contain its text.
 * A failure names the seed that brings it back. --once checks nothing: it runs each product
 * once, for an emulator that counts instructions (tests/bench/instructions.sh).
 */
#include "tests/kernels/checkasm/checkasm.h"
#include "tests/test.h"
#ifdef __x86_64__
#include "kernels/x86/vnni.h"
#endif

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const struct checkasm_test *const areas[] = {
	checkasm_mat,
	checkasm_ops,
};

#define PAGE		4096
#define PATTERN		0xa5

static const char *current = "start";

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t checkasm_random(struct checkasm *c)
{
	return mix(c->rng += 0x9e3779b97f4a7c15);
}

size_t checkasm_range(struct checkasm *c, size_t lo, size_t hi)
{
	return lo + checkasm_random(c) % (hi - lo + 1);
}

float checkasm_normal(struct checkasm *c)
{
	int32_t sum = 0;

	for (int i = 0; i < 3; i++) {
		uint64_t r = checkasm_random(c);

		for (int j = 0; j < 4; j++)
			sum += (int16_t)(r >> 16 * j);
	}
	return (float)sum / 65536.0f;
}

bool checkasm_fail(struct checkasm *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	return false;
}

struct checkasm_mem checkasm_alloc(struct checkasm *c, size_t bytes, size_t align,
				   enum checkasm_at at)
{
	size_t room = (bytes + PAGE - 1) / PAGE * PAGE, offset = 0;
	struct checkasm_mem m;
	char *map;

	room = room ? room : PAGE;
	m.map_bytes = room + 2 * PAGE;
	map = mmap(NULL, m.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED || mprotect(map + PAGE, room, PROT_READ | PROT_WRITE)) {
		perror("checkasm: no memory");
		exit(1);
	}
	if (at == CHECKASM_END)
		offset = (room - bytes) / align * align;
	else if (at == CHECKASM_ANYWHERE)
		offset = checkasm_range(c, 0, (room - bytes) / align) * align;
	if (room >= 4u << 20)	/* to be timed */
		madvise(map + PAGE, room, MADV_HUGEPAGE);
	memset(map + PAGE, PATTERN, room);
	m.map = map;
	m.p = map + PAGE + offset;
	return m;
}

void checkasm_free(struct checkasm_mem *m)
{
	munmap(m->map, m->map_bytes);
	m->p = NULL;
}

size_t checkasm_differ(const float *a, const float *b, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (memcmp(&a[i], &b[i], sizeof(*a)) && !(isnan(a[i]) && isnan(b[i])))
			break;
	return i;
}

double checkasm_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A kernel left its buffers: say which, the rest cannot be run. */
static void on_fault(int sig)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "not ok %d - %s: signal %d, access outside a buffer\n",
			 test_count + 1, current, sig);

	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		_exit(2);
	_exit(1);
}

struct options {
	uint64_t seed;
	const char *filter;
	unsigned int rounds;
	bool bench;
	size_t once;
};

static void run_test(const struct checkasm_test *t, struct checkasm *c, const struct options *o)
{
	char name[128];
	bool ok = true;

	c->arg = t->arg;
	snprintf(name, sizeof(name), "%s/%s", c->k->isa, t->name);
	if ((o->filter && !strstr(name, o->filter)) || !t->own(c))
		return;
	for (unsigned int i = 0; i < o->rounds && ok && !c->once; i++) {
		char what[192];

		snprintf(what, sizeof(what), "%s (--seed=%" PRIu64 ")", name, o->seed + i);
		current = what;
		c->rng = o->seed + i;
		ok = t->check(c);
		if (!ok)
			test_ok(false, "%s: %s", what, c->why);
	}
	if (ok && !c->once)
		test_ok(true, "%s", name);
	if (ok && (o->bench || c->once) && t->bench)
		t->bench(c);
	current = "between tests";
}

static void run_level(const struct linnet_kernels *ref, const struct linnet_kernels *k,
		      const struct options *o)
{
	struct checkasm c = { .ref = ref, .k = k, .once = o->once };

	for (size_t a = 0; a < sizeof(areas) / sizeof(areas[0]); a++)
		for (const struct checkasm_test *t = areas[a]; t->name; t++)
			run_test(t, &c, o);
}

/*
 * The products of the level avxvnni with EVEX encodings: for machines that have AVX-512 VNNI and
 * no AVX-VNNI. The compiler's translation of the same source is what this checks; that the level
 * itself has no such encoding is checked by tests/kernels/encodings.sh.
 */
static void run_evexvnni(const struct linnet_kernels *ref, const struct options *o)
{
#ifdef __x86_64__
	struct linnet_kernels evex, *k = &evex;
	struct checkasm c = { .ref = ref, .k = k };

	if (!__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512vnni") ||
	    linnet_kernels_init(&evex, "avx2"))
		return;
	evex.isa = "evexvnni";
	LINNET_VNNI_TYPES(LINNET_VNNI_FILL_evexvnni)
	linnet_kernels_limits_evexvnni(k);
	for (const struct checkasm_test *t = checkasm_mat; t->name; t++)
		run_test(t, &c, o);
#else
	(void)ref;
	(void)o;
#endif
}

int main(int argc, char **argv)
{
	struct options o = { .seed = (uint64_t)time(NULL), .rounds = 40 };
	const char *const *level = linnet_kernels_levels();
	struct linnet_kernels ref, k;
	struct sigaction sa = { .sa_handler = on_fault };

	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--seed=", 7)) {
			o.seed = strtoull(argv[i] + 7, NULL, 0);
		} else if (!strncmp(argv[i], "--filter=", 9)) {
			o.filter = argv[i] + 9;
		} else if (!strncmp(argv[i], "--rounds=", 9)) {
			o.rounds = (unsigned int)strtoul(argv[i] + 9, NULL, 0);
		} else if (!strcmp(argv[i], "--bench")) {
			o.bench = true;
		} else if (!strncmp(argv[i], "--once=", 7)) {
			o.once = strtoul(argv[i] + 7, NULL, 0);
		} else {
			fprintf(stderr, "usage: checkasm [--seed=N] [--filter=TEXT] "
					"[--rounds=N] [--bench | --once=TOKENS]\n");
			return 2;
		}
	}
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	sigaction(SIGFPE, &sa, NULL);
	printf("# seed %" PRIu64 "\n", o.seed);

	if (!test_ok(!linnet_kernels_init(&ref, "ref"), "level ref"))
		return test_end();
	for (; *level; level++) {
		if (!strcmp(*level, "ref"))
			continue;
		if (test_ok(!linnet_kernels_init(&k, *level), "level %s", *level))
			run_level(&ref, &k, &o);
	}
	if (!o.once)
		run_evexvnni(&ref, &o);
	return test_end();
}

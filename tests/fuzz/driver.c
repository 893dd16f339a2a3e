// SPDX-License-Identifier: MIT
/*
 * Stands in for libFuzzer where clang is not there: replays the files of the folders it is
 * given, then mutations and mixtures of them, from a seed, until the time is over. It knows
 * nothing of coverage. Options it understands, in libFuzzer's form: -max_total_time=
 * SECONDS -seed=N -artifact_prefix=PATH; others are passed over. An input that ends the
 * process is left in PATHcrash.
 */
#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_BYTES (1u << 16)

static struct input {
	uint8_t *p;
	size_t n;
} *inputs;
static size_t n_inputs;
static char artifact[4096] = "crash";
static uint8_t current[MAX_BYTES];
static size_t current_n;

static void keep(int sig)
{
	FILE *f = fopen(artifact, "wb");

	if (f) {
		fwrite(current, 1, current_n, f);
		fclose(f);
	}
	fprintf(stderr, "signal %d; the input is in %s\n", sig, artifact);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void add_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct input *more;
	uint8_t *p;
	size_t n;

	if (!f)
		return;
	p = malloc(MAX_BYTES);
	must(p);
	n = fread(p, 1, MAX_BYTES, f);
	fclose(f);
	more = realloc(inputs, (n_inputs + 1) * sizeof(*inputs));
	must(more);
	inputs = more;
	inputs[n_inputs++] = (struct input){ p, n };
}

static void add_folder(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[4096];
	struct stat st;

	if (!d)
		return;
	while ((e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (!stat(path, &st) && S_ISREG(st.st_mode))
			add_file(path);
	}
	closedir(d);
}

static void mutate(uint64_t *state)
{
	static const uint64_t odd[] = {
		0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
		1ull << 32, 1ull << 61, INT64_MAX, 1ull << 63, UINT64_MAX,
	};
	const struct input *other = &inputs[fuzz_next(state) % n_inputs];
	size_t at = current_n ? fuzz_next(state) % current_n : 0, n;
	uint64_t v;

	switch (fuzz_next(state) % 7) {
	case 0:
		if (current_n)
			current[at] ^= 1u << fuzz_next(state) % 8;
		break;
	case 1:
		if (current_n)
			current[at] = (uint8_t)fuzz_next(state);
		break;
	case 2:
		v = odd[fuzz_next(state) % (sizeof(odd) / sizeof(odd[0]))];
		n = 1u << fuzz_next(state) % 4;
		if (current_n >= n)
			memcpy(current + at % (current_n - n + 1), &v, n);
		break;
	case 3:
		current_n = at;
		break;
	case 4:
		n = fuzz_next(state) % 32;
		n = n < current_n - at ? n : current_n - at;
		memmove(current + at, current + at + n, current_n - at - n);
		current_n -= n;
		break;
	case 5:
		n = fuzz_next(state) % 32;
		if (current_n + n > MAX_BYTES)
			break;
		memmove(current + at + n, current + at, current_n - at);
		for (size_t i = 0; i < n; i++)
			current[at + i] = other->n ? other->p[(at + i) % other->n] : 0;
		current_n += n;
		break;
	case 6:
		n = other->n ? fuzz_next(state) % other->n : 0;
		if (at + other->n - n > MAX_BYTES)
			break;
		memcpy(current + at, other->p + n, other->n - n);
		current_n = at + other->n - n;
		break;
	}
}

static void run(void)
{
	uint8_t *exact = malloc(current_n ? current_n : 1);

	/* a block of the input's own size, so that reads past its end are seen */
	must(exact);
	memcpy(exact, current, current_n);
	LLVMFuzzerTestOneInput(exact, current_n);
	free(exact);
}

int main(int argc, char **argv)
{
	static const int fatal[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	uint64_t state = 0x9e3779b97f4a7c15u, runs = 0;
	time_t end = time(NULL) + 60;

	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "-max_total_time=", 16))
			end = time(NULL) + atol(argv[i] + 16);
		else if (!strncmp(argv[i], "-seed=", 6))
			state ^= (uint64_t)atoll(argv[i] + 6) << 1;
		else if (!strncmp(argv[i], "-artifact_prefix=", 17))
			snprintf(artifact, sizeof(artifact), "%.4000scrash", argv[i] + 17);
		else if (argv[i][0] != '-')
			add_folder(argv[i]);
	}
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		signal(fatal[i], keep);
	if (!n_inputs)
		inputs = calloc(n_inputs = 1, sizeof(*inputs));
	must(inputs);
	for (size_t i = 0; i < n_inputs; i++, runs++) {
		current_n = inputs[i].n;
		if (current_n)
			memcpy(current, inputs[i].p, current_n);
		run();
	}
	while (time(NULL) < end) {
		const struct input *in = &inputs[fuzz_next(&state) % n_inputs];

		current_n = in->n;
		if (current_n)
			memcpy(current, in->p, current_n);
		for (unsigned i = 1 + fuzz_next(&state) % 6; i; i--)
			mutate(&state);
		run();
		runs++;
	}
	fprintf(stderr, "stat::number_of_executed_units: %llu\n", (unsigned long long)runs);
	for (size_t i = 0; i < n_inputs; i++)
		free(inputs[i].p);
	free(inputs);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * A model on the device of a guest, and what the guest's kernel says of memory: of all shared
 * memory, which buffers are made of, and of the buffers of this process.
 */
#ifndef LINNET_TESTS_VM_MACHINE_H
#define LINNET_TESTS_VM_MACHINE_H

#include "tests/model/run.h"

#include <dirent.h>

#define MACHINE_TOKENS 24

static const char *path;

/* Bytes behind a name in a file of /proc: with "kB", or with the unit that leaves no rest. */
static inline uint64_t read_bytes(const char *file, const char *name)
{
	unsigned long long n = 0;
	char line[256], unit[8] = "";
	FILE *f = fopen(file, "r");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, name, strlen(name)) &&
			sscanf(line + strlen(name), " %llu %7s", &n, unit) >= 1;
	if (f)
		fclose(f);
	return n << (*unit == 'M' ? 20 : *unit ? 10 : 0);
}

static inline uint64_t shared(void)
{
	return read_bytes("/proc/meminfo", "Shmem:");
}

/* What the driver says of this process's file. */
static inline uint64_t of_driver(const char *key)
{
	DIR *d = opendir("/proc/self/fdinfo");
	uint64_t bytes = 0;
	struct dirent *e;
	char file[300];

	while (d && (e = readdir(d))) {
		snprintf(file, sizeof(file), "/proc/self/fdinfo/%s", e->d_name);
		bytes += read_bytes(file, key);
	}
	if (d)
		closedir(d);
	return bytes;
}

static inline bool open_run(struct run *r, const char *engine, uint64_t memory)
{
	struct linnet_model_options mo = LINNET_INIT(mo);
	struct linnet_session_options so = LINNET_INIT(so);

	*r = (struct run){ .n_tokens = MACHINE_TOKENS, .n_first = MACHINE_TOKENS / 2, .n_each = 1 };
	mo.engine = engine;
	mo.memory_bytes = memory;
	so.n_ctx = 256;
	so.n_batch = MACHINE_TOKENS;
	return run_open(r, path, &mo, &so, NULL) &&
	       (!linnet_model_load(r->m, NULL, NULL, &err) ||
		test_ok(false, "%s: %s", path, err.message));
}

#endif

// SPDX-License-Identifier: MIT
/*
 * runtime/memory/prefix.h: a page comes back as it was saved or not at all: whatever a
 * file holds, whichever system call fails, wherever a process dies, however many of them
 * use the folder.
 */
#include "runtime/memory/prefix.h"
#include "tests/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linnet/stream.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE	(5 * 4096u)
#define LARGE	((5u << 20) + 4096)
#define PAGES	6

static char dir[] = "/tmp/linnet-prefix-XXXXXX";
static struct linnet_queue *queue;
static struct linnet_error err;
static int32_t ids[PAGES * LINNET_KV_PAGE];
static const struct linnet_hash128 model = { { 1, 2 } };

/* -------------------------------------------- system calls that fail, or are the last */

static enum { WORK, FAIL, DIE } mode;
static int countdown, failure;

/* True: this call fails. half: what a process that dies has still done. */
static bool strike(void)
{
	if (mode == WORK || countdown-- != 0)
		return false;
	if (mode == DIE)
		kill(getpid(), SIGKILL);
	errno = failure;
	return true;
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
	if (mode == DIE && countdown == 0)
		syscall(SYS_pwrite64, fd, buf, n / 2 / 4096 * 4096, at);
	return strike() ? -1 : syscall(SYS_pwrite64, fd, buf, n, at);
}

int fsync(int fd)
{
	return strike() ? -1 : (int)syscall(SYS_fsync, fd);
}

int fallocate(int fd, int how, off_t at, off_t n)
{
	return strike() ? -1 : (int)syscall(SYS_fallocate, fd, how, at, n);
}

int renameat(int from, const char *old, int to, const char *new)
{
	return strike() ? -1 : (int)syscall(SYS_renameat2, from, old, to, new, 0);
}

int futimens(int fd, const struct timespec t[2])
{
	return strike() ? -1 : (int)syscall(SYS_utimensat, fd, NULL, t, 0);
}

int openat(int fd, const char *name, int flags, ...)
{
	return strike() ? -1 : (int)syscall(SYS_openat, fd, name, flags, 0600);
}

ssize_t pread(int fd, void *buf, size_t n, off_t at)
{
	return strike() ? -1 : syscall(SYS_pread64, fd, buf, n, at);
}

/* ------------------------------------------------------------------------- helpers */

/* The bytes of a page: any other text, page or place gives others. */
static void fill(unsigned char *buf, size_t n, const int32_t *text, uint32_t page)
{
	uint64_t x = page * 77 + 1;

	for (size_t i = 0; i < ((size_t)page + 1) * LINNET_KV_PAGE; i++)
		x = (x ^ (uint32_t)text[i]) * 0x9e3779b97f4a7c15u;
	for (size_t i = 0; i < n; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		buf[i] = x >> 56;
	}
}

static void *block(size_t n)
{
	void *p = aligned_alloc(4096, n);

	if (!p)
		exit(1);
	return p;
}

static struct linnet_prefix *use(uint64_t max, struct linnet_hash128 who, size_t page_bytes)
{
	struct linnet_prefix *p;

	if (linnet_prefix_open(&p, dir, max, who, page_bytes, &err)) {
		printf("Bail out! %s\n", err.message);
		exit(1);
	}
	return p;
}

static int save(struct linnet_prefix *p, const int32_t *text, uint32_t page, size_t n)
{
	unsigned char *buf = block(n);
	int ret;

	fill(buf, n, text, page);
	ret = linnet_prefix_save(p, text, page, buf);
	free(buf);
	return ret < 0 ? ret : 0;
}

/* 1: there and right; 0: not there; -1: there and wrong, which must never be. */
static int there(struct linnet_prefix *p, const int32_t *text, uint32_t page, size_t n)
{
	unsigned char *buf = block(n), *want = block(n);
	int ret;

	fill(want, n, text, page);
	memset(buf, 0xa5, n);
	ret = linnet_prefix_load(p, queue, text, page, buf);
	if (ret == 1)
		ret = memcmp(buf, want, n) ? -1 : 1;
	else
		ret = 0;
	free(buf);
	free(want);
	return ret;
}

struct folder {
	int files, temporary;
	uint64_t bytes;
	char name[300];			/* of some file */
};

static struct folder look(void)
{
	struct folder f = { 0 };
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		struct stat st;

		if (*e->d_name == '.' || !strcmp(e->d_name, "lock") ||
		    fstatat(dirfd(d), e->d_name, &st, 0))
			continue;
		f.bytes += (uint64_t)st.st_size;
		if (strstr(e->d_name, ".tmp")) {
			f.temporary++;
			continue;
		}
		f.files++;
		snprintf(f.name, sizeof(f.name), "%s/%s", dir, e->d_name);
	}
	if (d)
		closedir(d);
	return f;
}

static void empty(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s/*", dir);
	if (system(command))
		exit(1);
}

/* --------------------------------------------------------------------------- tests */

static void test_round(size_t n)
{
	const struct linnet_hash128 other = { { 1, 3 } };
	struct linnet_prefix *p = use(1 << 30, model, n), *q;
	struct linnet_prefix_stats st;
	int32_t text[PAGES * LINNET_KV_PAGE];
	bool ok = true;

	memcpy(text, ids, sizeof(text));
	for (uint32_t i = 0; i < PAGES; i++)
		ok &= !there(p, ids, i, n) && !save(p, ids, i, n) && there(p, ids, i, n) == 1;
	test_ok(ok && look().files == PAGES && !look().temporary, "pages of %zu bytes", n);
	ok = !save(p, ids, 2, n);
	linnet_prefix_stats(p, &st);
	test_ok(ok && st.saved == PAGES && st.loaded == PAGES && !st.rejected,
		"what is there is not written again");
	linnet_prefix_close(p);

	p = use(1 << 30, model, n);
	text[2 * LINNET_KV_PAGE + 100]++;
	ok = there(p, text, 0, n) == 1 && there(p, text, 1, n) == 1;
	for (uint32_t i = 2; i < PAGES; i++)
		ok &= !there(p, text, i, n);
	test_ok(ok, "texts share what they have in common, and nothing after it");
	q = use(1 << 30, other, n);
	ok = !there(q, ids, 0, n);
	linnet_prefix_close(q);
	q = use(1 << 30, model, n + 4096);
	test_ok(ok && !there(q, ids, 0, n + 4096), "another model or layout finds nothing");
	linnet_prefix_stats(q, &st);
	test_ok(st.rejected == 1, "a page of another size is counted");
	linnet_prefix_close(q);
	linnet_prefix_close(p);
	empty();
}

static void test_damage(void)
{
	struct linnet_prefix *p = use(1 << 30, model, PAGE);
	struct linnet_prefix_stats st;
	int wrong = 0, kept = 0, n = 0;
	char name[300];
	off_t size;

	save(p, ids, 0, PAGE);
	snprintf(name, sizeof(name), "%s", look().name);
	size = (off_t)look().bytes;
	for (off_t at = 0; at < size; at += at < 1300 ? 1 : 611, n++) {
		int fd;
		char c;

		save(p, ids, 0, PAGE);
		fd = open(name, O_RDWR);
		if (syscall(SYS_pread64, fd, &c, 1, at) != 1)
			exit(1);
		c ^= 1 << n % 8;
		if (syscall(SYS_pwrite64, fd, &c, 1, at) != 1)
			exit(1);
		close(fd);
		wrong += there(p, ids, 0, PAGE);
		kept += !access(name, F_OK);
	}
	linnet_prefix_stats(p, &st);
	test_ok(!wrong && !kept && (int)st.rejected == n && st.note[0],
		"a bit changed in %d places: ignored, counted, removed", n);
	for (int i = 0; i < 4; i++) {
		static const int sizes[] = { 0, 100, 4096, 9000 };

		save(p, ids, 0, PAGE);
		if (truncate(name, i < 3 ? sizes[i] : size + 1))
			exit(1);
		wrong += there(p, ids, 0, PAGE);
		kept += !access(name, F_OK);
	}
	test_ok(!wrong && !kept, "too short, too long: ignored and removed");
	if (mkdir(name, 0700))
		exit(1);
	wrong = there(p, ids, 0, PAGE);
	test_ok(!wrong && !rmdir(name), "a folder of that name is ignored");
	if (symlink("/etc/passwd", name))
		exit(1);
	test_ok(!there(p, ids, 0, PAGE) && !unlink(name), "a link of that name is not followed");
	test_ok(!save(p, ids, 0, PAGE) && there(p, ids, 0, PAGE) == 1, "and then all is well");
	linnet_prefix_close(p);
	empty();
}

/* Let all files be older. */
static void age_all(int seconds)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		struct timespec t[2];
		struct stat st;

		if (fstatat(dirfd(d), e->d_name, &st, 0))
			continue;
		t[0] = t[1] = st.st_mtim;
		t[0].tv_sec = t[1].tv_sec -= seconds;
		utimensat(dirfd(d), e->d_name, t, 0);
	}
	if (d)
		closedir(d);
}

static void test_limit(void)
{
	/* headers of pages 0 to 2 take one block, the next ones' two */
	const uint64_t max = 4 * (4096 + PAGE) + 4096;
	struct linnet_prefix *p = use(max, model, PAGE), *q;
	struct linnet_prefix_stats st;
	int32_t other[PAGES * LINNET_KV_PAGE];
	char foreign[64];
	bool ok = true;
	FILE *f;

	snprintf(foreign, sizeof(foreign), "%s/letter.kv", dir);
	f = fopen(foreign, "w");
	if (!f || fclose(f))
		exit(1);
	for (size_t i = 0; i < PAGES * LINNET_KV_PAGE; i++)
		other[i] = ids[i] + 1;
	for (uint32_t i = 0; i < 4; i++)
		ok &= !save(p, ids, i, PAGE);
	age_all(60);
	test_ok(ok && look().files == 5, "four pages and somebody's file");
	ok &= !save(p, other, 0, PAGE);
	test_ok(ok && !there(p, ids, 3, PAGE) && there(p, ids, 2, PAGE) == 1,
		"the last page of the older text goes first");
	/* as if a minute had passed */
	age_all(60);
	ok = there(p, other, 0, PAGE) == 1;
	ok &= !save(p, other, 1, PAGE) && !save(p, other, 2, PAGE) && !save(p, other, 3, PAGE);
	for (uint32_t i = 0; i < 4; i++)
		ok &= there(p, other, i, PAGE) == 1;
	linnet_prefix_stats(p, &st);
	test_ok(ok && st.evicted >= 3 && look().bytes <= max && !access(foreign, F_OK),
		"the newer text stays, the folder keeps to its limit, and the other file stays");
	q = use(PAGE, model, PAGE);
	test_ok(save(q, ids, 0, PAGE) == -EFBIG && there(q, other, 0, PAGE) == 1,
		"a page larger than the limit is not saved, and nothing goes for it");
	linnet_prefix_close(q);
	linnet_prefix_close(p);
	unlink(foreign);
	empty();
}

/* Each system call of saving and loading fails once. */
static void test_failures(void)
{
	static const int errors[] = { EIO, ENOSPC, EINTR };
	int wrong = 0, left = 0, failed = 0, rounds = 0;

	for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
		for (int k = 0; k < 40; k++, rounds++) {
			struct linnet_prefix *p = use(1 << 30, model, PAGE);
			int ret, found;

			failure = errors[e];
			countdown = k;
			mode = FAIL;
			ret = save(p, ids, 1, PAGE);
			mode = WORK;
			failed += !!ret;
			left += look().temporary;
			found = there(p, ids, 1, PAGE);
			/* said to be saved: then it is there */
			wrong += found < 0 || (!ret && !found);
			save(p, ids, 1, PAGE);
			countdown = k;
			mode = FAIL;
			wrong += there(p, ids, 1, PAGE) < 0;
			mode = WORK;
			linnet_prefix_close(p);
			empty();
		}
	}
	test_ok(!wrong && !left && failed > 10, "%d rounds, a system call fails: %d saves failed, "
		"nothing is wrong or left behind", rounds, failed);
}

/* The process dies in each system call of saving. */
static void test_deaths(void)
{
	int wrong = 0, died = 0, whole = 0;
	bool clean;

	for (int k = 0; k < 40; k++) {
		struct linnet_prefix *p;
		int status, found;
		pid_t pid = fork();

		if (!pid) {
			p = use(1 << 30, model, PAGE);
			countdown = k;
			mode = DIE;
			save(p, ids, 0, PAGE);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid)
			exit(1);
		died += WIFSIGNALED(status);
		p = use(1 << 30, model, PAGE);
		found = there(p, ids, 0, PAGE);
		wrong += found < 0 || (!WIFSIGNALED(status) && !found);
		whole += found == 1;
		/* whoever comes next saves it, and tidies up */
		wrong += save(p, ids, 0, PAGE) || save(p, ids, 1, PAGE) ||
			 there(p, ids, 0, PAGE) != 1;
		clean = !look().temporary;
		wrong += !clean;
		linnet_prefix_close(p);
		empty();
	}
	test_ok(!wrong && died > 5 && whole > 0,
		"death in each of %d system calls: a right file or none, no temporary one stays",
		died);
}

/* Processes save and load all the time in a folder that is too small, and are killed. */
static void test_together(unsigned rounds)
{
	const uint64_t max = 6 * (3 * 4096 + PAGE);
	int wrong = 0, killed = 0, ended;
	uint64_t most = 0;
	uint32_t rng = 12345;

	for (unsigned r = 0; r < rounds; r++) {
		pid_t pid[4];

		for (int i = 0; i < 4; i++) {
			pid[i] = fork();
			if (pid[i])
				continue;
			struct linnet_prefix *p = use(max, model, PAGE);
			int32_t text[PAGES * LINNET_KV_PAGE];
			uint32_t x = r * 4 + (uint32_t)i + 1;

			/* the parent's threads are not here */
			if (linnet_queue_create(&queue, &(struct linnet_queue_options){
						.no_io_uring = true }, &err))
				_exit(2);
			for (;;) {
				x = x * 1664525 + 1013904223;
				memcpy(text, ids, sizeof(text));
				text[(x >> 8) % 4 * LINNET_KV_PAGE] += (x >> 16) % 3;
				if (x >> 31 && save(p, text, (x >> 24) % PAGES, PAGE) == -EBADMSG)
					_exit(3);
				if (there(p, text, (x >> 20) % PAGES, PAGE) < 0)
					_exit(3);
			}
		}
		for (int t = 0; t < 6; t++) {
			uint64_t bytes;

			rng = rng * 1664525 + 1013904223;
			usleep((rng >> 20) % 3000);
			bytes = look().bytes;
			most = bytes > most ? bytes : most;
		}
		for (int i = 0; i < 4; i++) {
			rng = rng * 1664525 + 1013904223;
			usleep((rng >> 22) % 1000);
			kill(pid[i], SIGKILL);
		}
		for (int i = 0; i < 4; i++) {
			if (waitpid(pid[i], &ended, 0) != pid[i])
				exit(1);
			killed += WIFSIGNALED(ended);
			wrong += !WIFSIGNALED(ended);
		}
		struct linnet_prefix *p = use(max, model, PAGE);
		struct linnet_prefix_stats st;

		for (uint32_t i = 0; i < PAGES; i++)
			wrong += there(p, ids, i, PAGE) < 0;
		linnet_prefix_stats(p, &st);
		wrong += (int)st.rejected;
		linnet_prefix_close(p);
	}
	test_ok(!wrong && killed == (int)rounds * 4,
		"%d processes killed at any moment: every file that has a name is right", killed);
	/* a folder is listed while files come and go: one may be seen in both places */
	test_ok(most <= max + 3 * 4096 + PAGE, "four processes keep to the limit (%llu of %llu)",
		(unsigned long long)most, (unsigned long long)max);
	empty();
}

int main(void)
{
	struct linnet_queue_options opts = { .no_io_uring = true };
	char file[64];
	struct linnet_prefix *p;
	FILE *f;

	if (!mkdtemp(dir) || linnet_queue_create(&queue, &opts, &err))
		return 1;
	for (size_t i = 0; i < PAGES * LINNET_KV_PAGE; i++)
		ids[i] = (int32_t)(i * 2654435761u >> 20);
	test_round(PAGE);
	test_round(LARGE);
	test_damage();
	test_limit();
	test_failures();
	test_deaths();
	test_together(getenv("LINNET_TEST_QUICK") || getenv("LINNET_SANITIZER") ? 10 : 60);
	snprintf(file, sizeof(file), "%s/file", dir);
	f = fopen(file, "w");
	if (!f || fclose(f))
		return 1;
	test_ok(linnet_prefix_open(&p, file, 1, model, PAGE, &err) == -ENOTDIR &&
		strstr(err.message, file), "a file is no folder: %s", err.message);
	snprintf(file, sizeof(file), "%s/none/none", dir);
	test_ok(linnet_prefix_open(&p, file, 1, model, PAGE, &err) == -ENOENT,
		"a folder's parent has to be there: %s", err.message);
	linnet_queue_destroy(queue);
	empty();
	rmdir(dir);
	return test_end();
}
